import type { Operations } from "../../generated/api.ts";
import { encode, url } from "./base.ts";
import { serverIsNear } from "../live/clock.ts";
import { ApiFault, faultOf, oneLine, wordsOf } from "./fault.ts";

type Values = Record<string, string | number | boolean | undefined>;

/** How long an answer may take before it counts as lost. The server's own deadline is 30 s. */
const PATIENCE = 40_000;

let lostLogin: (fault: ApiFault) => void = () => undefined;

/** Says what is to happen when the server says that nobody is logged in. */
export function onLostLogin(then: (fault: ApiFault) => void): void {
  lostLogin = then;
}

/**
 * Asks the API. `values` fill the path's parameters; the others go into the query.
 * Fails with an ApiFault, or a TypeError where the server is out of reach.
 */
export async function call<O extends keyof Operations>(
  operation: O,
  values: Values = {},
  body?: Operations[O]["body"],
): Promise<Operations[O]["answer"]> {
  const response = await send(operation, values, body);
  const text = await response.text();
  return (text === "" ? undefined : JSON.parse(text)) as Operations[O]["answer"];
}

/** The same, with the answer as it comes: for what is a stream. */
export async function send(
  operation: keyof Operations,
  values: Values = {},
  body?: unknown,
  signal?: AbortSignal,
): Promise<Response> {
  const { method, path, query } = fill(operation, values);
  const deadline = signal ?? AbortSignal.timeout(PATIENCE);
  const response = await fetch(url(path, query), {
    method,
    credentials: "same-origin",
    cache: "no-store",
    redirect: "error",
    signal: deadline,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
  }).catch((error: unknown) => {
    if (deadline.aborted && signal === undefined) {
      throw new ApiFault(0, "the server did not answer in time", "try again");
    }
    throw error;
  });
  serverIsNear(response.headers.get("date"));
  if (response.ok) return response;
  const fault = await faultOf(response);
  if (fault.needsLogin && path !== "/api/v1/session") lostLogin(fault);
  throw fault;
}

/** Why there is no live view, in words; nothing where there would be one. */
export async function whyNot(): Promise<string | undefined> {
  const over = new AbortController();
  const timer = setTimeout(() => over.abort(), PATIENCE);
  try {
    await send("GET /api/v1/live", {}, undefined, over.signal);
    return undefined;
  } catch (error) {
    return over.signal.aborted ? "the server did not answer in time" : oneLine(wordsOf(error));
  } finally {
    clearTimeout(timer);
    // Nobody reads it.
    over.abort();
  }
}

/** The path of an operation, for links. */
export function address(operation: keyof Operations, values: Values): URL {
  const { path, query } = fill(operation, values);
  return url(path, query);
}

function fill(operation: string, values: Values): { method: string; path: string; query: Values } {
  const [method = "GET", template = "/"] = operation.split(" ");
  const query = { ...values };
  const path = template.replaceAll(/\{([a-z_]+)\}/g, (_, name: string) => {
    const value = query[name];
    delete query[name];
    return encode(String(value));
  });
  return { method, path, query };
}
