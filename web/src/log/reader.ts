// Reads a log into a buffer, over as many connections as that takes.
import type { LogChunk } from "../../generated/api.ts";
import { ApiFault, faultIn, oneLine, wordsOf } from "../api/fault.ts";
import { LogBuffer } from "./buffer.ts";
import { events } from "./events.ts";

const PAUSES = [500, 1000, 2000, 5000, 10_000];
/** A server says something every 15 s, in events. */
export const SILENCE = 40_000;
/** Why a connection was ended that nobody wants now. */
const RESTS = new Error("it rests");
/** The status of what broke on the way. */
const BROKEN = 500;

export interface Parts {
  /** The bytes at an address. Fails with an ApiFault, or a TypeError where the server is out of reach. */
  body(address: string, signal: AbortSignal): Promise<ReadableStream<Uint8Array>>;
  /** There is more, or other, in the buffer. */
  grown(): void;
  /** The connection broke; it is tried again. */
  broken(why: string): void;
  sleep(milliseconds: number): Promise<void>;
}

export class LogReader {
  buffer = new LogBuffer();
  #parts: Parts;
  #position = 0;
  #connection: AbortController | undefined;
  /** There while nothing is to be read. */
  #rest: { over: Promise<void>; end: () => void } | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Reads until the log ends: nothing when all is there, or why not. `raw`: the answer is the log's bytes, else events with positions. */
  async read(address: string, raw: boolean): Promise<string | undefined> {
    for (let failures = 0; ; failures += 1) {
      while (this.#rest) await this.#rest.over;
      const connection = new AbortController();
      this.#connection = connection;
      const watch = new Watch(connection);
      const before = this.buffer.size + this.buffer.dropped;
      try {
        if (raw) await this.#readRaw(address, connection.signal, watch);
        else if (!(await this.#readEvents(address, connection.signal, watch))) throw new Error("the connection ended before the log did");
        return undefined;
      } catch (thrown) {
        const { aborted, reason } = connection.signal;
        const rests = aborted && reason === RESTS;
        if (this.buffer.size + this.buffer.dropped > before || rests) failures = -1;
        if (rests) continue;
        const error: unknown = aborted ? reason : thrown;
        this.#parts.grown();
        if (error instanceof ApiFault && error.status < 500) return oneLine(error);
        // Busy, being replaced, or out of reach: worth another attempt.
        this.#parts.broken(oneLine(wordsOf(error)));
        await this.#parts.sleep(PAUSES[Math.min(Math.max(failures, 0), PAUSES.length - 1)] ?? 0);
      } finally {
        watch.end();
      }
    }
  }

  /** Gives its connection back until it is to go on: a browser has six for a host, over all its tabs. */
  rest(): void {
    if (this.#rest) return;
    let end = () => {};
    const over = new Promise<void>((resolve) => { end = resolve; });
    this.#rest = { over, end };
    this.#connection?.abort(RESTS);
  }

  goOn(): void {
    this.#rest?.end();
    this.#rest = undefined;
  }

  /** Whether the log's end was told. */
  async #readEvents(address: string, signal: AbortSignal, watch: Watch): Promise<boolean> {
    const from = new URL(address);
    from.searchParams.set("from", String(this.#position));
    for await (const event of events(await this.#parts.body(from.href, signal), () => watch.heard())) {
      if (event.name === "output") {
        const chunk = JSON.parse(event.data) as LogChunk;
        this.buffer.append(fromBase64(chunk.data), chunk.stream === "stderr", Date.parse(chunk.at) || 0);
        this.#position = chunk.next;
        this.#parts.grown();
      } else if (event.name === "end") {
        return true;
      } else if (event.name === "error") {
        throw faultIn(event.data, BROKEN) ?? new Error("the log cannot be read");
      }
    }
    return false;
  }

  /**
   * What is raw has no positions to go on at: each connection begins with all of it. What there was stays until then. It may be silent for
   * as long as its writer is.
   */
  async #readRaw(address: string, signal: AbortSignal, watch: Watch): Promise<void> {
    const reader = (await this.#parts.body(address, signal)).getReader();
    watch.end();
    for (let isFirst = true; ; isFirst = false) {
      const { done, value } = await reader.read();
      if (done) return;
      if (isFirst) this.buffer = new LogBuffer();
      this.buffer.append(value);
      this.#parts.grown();
    }
  }
}

/** Ends a connection of which nothing is heard: one whose other end is gone does not break by itself. */
class Watch {
  #connection: AbortController;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(connection: AbortController) {
    this.#connection = connection;
    this.heard();
  }

  heard(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connection.abort(new Error(`nothing was heard of the server for ${SILENCE / 1000} s`)), SILENCE);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

function fromBase64(text: string): Uint8Array {
  if ("fromBase64" in Uint8Array) {
    return (Uint8Array as unknown as { fromBase64(text: string): Uint8Array }).fromBase64(text);
  }
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}
