// The page's side of a log's worker.
import { whileHidden } from "../live/shown.ts";
import { PART_FAILED } from "../ui/parts.ts";
import type { Group, Line } from "./buffer.ts";
import type { Report, Request } from "./protocol.ts";
import type { Hits } from "./search.ts";

declare const LOG_WORKER: string;

export interface LogStatus {
  lines: number;
  size: number;
  dropped: number;
  groups: readonly Group[];
  /** Groups beyond those, which do not fold. */
  groupsBeyond: number;
  /** When the first and the last line came. */
  first: number;
  last: number;
  state: "reading" | "broken" | "ended";
  why?: string;
}

export const NOTHING: LogStatus = { lines: 0, size: 0, dropped: 0, groups: [], groupsBeyond: 0, first: 0, last: 0, state: "reading" };

export class LogClient {
  #worker = new Worker(new URL(LOG_WORKER, import.meta.url), { type: "module" });
  #waiting = new Map<number, (report: Report) => void>();
  #ticket = 0;
  #status = NOTHING;
  #unwatch: () => void;

  constructor(address: URL, raw: boolean, changed: (status: LogStatus) => void) {
    this.#worker.onmessage = ({ data }: MessageEvent<Report>) => {
      switch (data.kind) {
        case "grown": {
          const { kind: _, ...grown } = data;
          const { why: _why, ...before } = this.#status;
          this.#status = before.state === "ended" ? { ...this.#status, ...grown } : { ...before, ...grown, state: "reading" };
          return changed(this.#status);
        }
        case "ended":
        case "broken": {
          const { why: _, ...before } = this.#status;
          this.#status = { ...before, state: data.kind, ...(data.why === undefined ? {} : { why: data.why }) };
          return changed(this.#status);
        }
        default:
          this.#waiting.get(data.ticket)?.(data);
          this.#waiting.delete(data.ticket);
      }
    };
    // Its code does not come, or broke: nothing more is to be heard of it.
    this.#worker.onerror = () => {
      this.#status = { ...this.#status, state: "ended", why: PART_FAILED };
      changed(this.#status);
    };
    this.#say({ kind: "open", url: address.href, raw });
    this.#unwatch = whileHidden({ rest: () => this.#say({ kind: "rest" }), seen: () => this.#say({ kind: "go on" }) });
  }

  async lines(numbers: number[]): Promise<Line[]> {
    const report = await this.#ask((ticket) => ({ kind: "lines", ticket, numbers }));
    return report.kind === "lines" ? report.lines : [];
  }

  /** Lines with a text, from one on, and where to go on once there are more. Nothing when another search came meanwhile. */
  async search(text: string, most: number, from: number): Promise<Hits | undefined> {
    const report = await this.#ask((ticket) => ({ kind: "search", ticket, text, most, from }));
    return report.kind === "found" ? report : undefined;
  }

  close(): void {
    this.#unwatch();
    this.#worker.terminate();
  }

  #ask(request: (ticket: number) => Request): Promise<Report> {
    this.#ticket += 1;
    const ticket = this.#ticket;
    return new Promise((resolve) => {
      this.#waiting.set(ticket, resolve);
      this.#say(request(ticket));
    });
  }

  #say(request: Request): void {
    this.#worker.postMessage(request);
  }
}
