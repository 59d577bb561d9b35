import type { Fault } from "../../generated/api.ts";

/** A request that failed, in the server's own words where it had some. */
export class ApiFault extends Error {
  readonly status: number;
  readonly hint: string | undefined;

  constructor(status: number, message: string, hint?: string | null) {
    super(message);
    this.name = "ApiFault";
    this.status = status;
    this.hint = hint ?? undefined;
  }

  /** Nobody is logged in (any more). */
  get needsLogin(): boolean {
    return this.status === 401;
  }
}

/** What an answer that is no success says. */
export async function faultOf(response: Response): Promise<ApiFault> {
  const text = await response.text().catch(() => "");
  try {
    const body = JSON.parse(text) as { error?: Partial<Fault> };
    if (typeof body.error?.message === "string") {
      return new ApiFault(response.status, body.error.message, body.error.hint);
    }
  } catch {
    // A proxy's answer, perhaps: no JSON.
  }
  return new ApiFault(response.status, `the server answered ${response.status} ${response.statusText}`.trim());
}

/** Words for whatever was thrown. */
export function wordsOf(error: unknown): { message: string; hint?: string } {
  if (error instanceof ApiFault) {
    return error.hint === undefined ? { message: error.message } : { message: error.message, hint: error.hint };
  }
  if (error instanceof TypeError) {
    return { message: "the server cannot be reached", hint: "it may be restarting, or the network is down" };
  }
  return { message: error instanceof Error ? error.message : String(error) };
}
