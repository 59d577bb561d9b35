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

/** The fault that a text of the server tells, the body of an answer or an event of a stream; nothing where it tells none. */
export function faultIn(text: string, status: number): ApiFault | undefined {
  try {
    const { error } = JSON.parse(text) as { error?: Partial<Fault> };
    if (typeof error?.message === "string") return new ApiFault(status, error.message, error.hint);
  } catch {
    // A proxy's words, perhaps: no JSON.
  }
  return undefined;
}

/** What an answer that is no success says. */
export async function faultOf(response: Response): Promise<ApiFault> {
  const text = await response.text().catch(() => "");
  return faultIn(text, response.status) ?? new ApiFault(response.status, `the server answered ${response.status} ${response.statusText}`.trim());
}

/** What failed and what to do, in one line. */
export function oneLine({ message, hint }: { message: string; hint?: string | undefined }): string {
  return [message, hint].filter(Boolean).join(": ");
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
