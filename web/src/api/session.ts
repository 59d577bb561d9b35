// Who looks, and what they may do.
import { Store, useStore } from "../live/store.ts";
import type { LoginWays, Role, Session } from "../../generated/api.ts";
import { url } from "./base.ts";
import { call } from "./call.ts";
import { ApiFault, oneLine } from "./fault.ts";

export type Who = { kind: "unknown" } | { kind: "nobody"; why: string } | { kind: "somebody"; session: Session };

export const who = new Store<Who>({ kind: "unknown" });

/** Asks who is logged in. Out of reach, what was known stays. */
export async function lookWho(): Promise<void> {
  try {
    who.set({ kind: "somebody", session: await call("GET /api/v1/session") });
  } catch (error) {
    // Either it wants a login, or nobody can come this way, and it says why.
    if (error instanceof ApiFault && [401, 403].includes(error.status)) nobody(error);
  }
}

/** Nobody is logged in, or not any more. */
export function nobody(fault: ApiFault): void {
  who.set({ kind: "nobody", why: fault.status === 403 ? oneLine(fault) : "" });
}

/** How people log in here. Where it cannot be asked, with a token. */
export async function loginWays(): Promise<LoginWays> {
  try {
    return await call("GET /api/v1/session/ways");
  } catch {
    return { token: true };
  }
}

/** Where a browser goes to log in by the provider. It comes back to the page. */
export function providerUrl(): string {
  return url("/api/v1/session/oidc").href;
}

/** Logs in. Fails where the server refuses the token, and where what it gave for it did not last until the next request. */
export async function logIn(token: string): Promise<void> {
  await call("POST /api/v1/session", {}, { token });
  const session = await call("GET /api/v1/session").catch((error: unknown) => {
    if (!(error instanceof ApiFault && error.needsLogin)) throw error;
    throw new ApiFault(error.status, "the token is right, but the browser did not keep the login", KEEPING);
  });
  who.set({ kind: "somebody", session });
}

/** What keeps a browser from keeping a login. */
const KEEPING =
  "let this page have cookies; and where a proxy says that the page came by HTTPS (X-Forwarded-Proto), open it by https://";

export async function logOut(): Promise<void> {
  await call("DELETE /api/v1/session");
  await lookWho();
}

const ORDER: readonly Role[] = ["viewer", "operator", "admin"];

const role = (now: Who) => (now.kind === "somebody" ? now.session.role : undefined);

/** Whether who looks may do what needs this role. The server decides again. */
export function useMay(needed: Role): boolean {
  const has = useStore(who, role);
  return has !== undefined && ORDER.indexOf(has) >= ORDER.indexOf(needed);
}
