// The one stream of changes: connects, notices silence and gaps, and connects anew.
import type { LiveDelta, LivePing, LiveSnapshot } from "../../generated/api.ts";
import { apply, fromSnapshot, type LiveState } from "./state.ts";

/** The server says something every 15 s. */
export const SILENCE = 40_000;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;

export type Connection =
  | { kind: "connecting" }
  | { kind: "live" }
  /** Since when nothing was heard, when it is tried again, by this computer's clock; and why, once that is known. */
  | { kind: "lost"; since: number; again: number; why?: string };

/** What an EventSource has that is used here. */
export interface Source {
  addEventListener(name: string, listener: (event: MessageEvent<string>) => void): void;
  close(): void;
}

export interface Parts {
  open(): Source;
  heard(state: LiveState, delta: LiveDelta | undefined): void;
  /** It is this time at the server. */
  pinged(at: string): void;
  connection(now: Connection): void;
}

export class Stream {
  #parts: Parts;
  #source: Source | undefined;
  #state: LiveState | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pause = FIRST_PAUSE;
  #lastHeard = Date.now();
  #stopped = true;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  start(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#lastHeard = Date.now();
    this.#parts.connection({ kind: "connecting" });
    this.#connect();
  }

  stop(): void {
    this.#stopped = true;
    this.#end();
    // It is not live from here on.
    this.#parts.connection({ kind: "connecting" });
  }

  /** Does not wait for the next attempt: the network is back, or somebody asked. */
  hurry(): void {
    if (this.#stopped || this.#source) return;
    this.#end();
    this.#connect();
  }

  #end(): void {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = undefined;
  }

  #connect(): void {
    const source = this.#parts.open();
    this.#source = source;
    const on = <T>(name: string, take: (data: T) => void) => {
      source.addEventListener(name, (event) => {
        if (source !== this.#source) return;
        this.#wait();
        try {
          take(JSON.parse(event.data) as T);
        } catch {
          this.#lost();
        }
      });
    };
    this.#wait();
    on<LiveSnapshot>("snapshot", (snapshot) => {
      this.#state = fromSnapshot(snapshot);
      this.#heard(undefined);
    });
    on<LiveDelta>("delta", (delta) => {
      const next = this.#state && apply(this.#state, delta);
      if (!next) return this.#lost();
      this.#state = next;
      this.#heard(delta);
    });
    on<LivePing>("ping", (ping) => {
      this.#parts.pinged(ping.at);
      // What was missed shows here, too.
      if (this.#state && ping.revision !== this.#state.revision) this.#lost();
      else this.#lastHeard = Date.now();
    });
    source.addEventListener("error", () => {
      if (source === this.#source) this.#lost();
    });
  }

  #heard(delta: LiveDelta | undefined): void {
    if (!this.#state) return;
    this.#lastHeard = Date.now();
    this.#pause = FIRST_PAUSE;
    this.#parts.connection({ kind: "live" });
    this.#parts.heard(this.#state, delta);
  }

  #wait(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lost(), SILENCE);
  }

  #lost(): void {
    this.#end();
    if (this.#stopped) return;
    // Not all pages at once, when a server comes back.
    const pause = this.#pause * (0.5 + Math.random() / 2);
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
    this.#parts.connection({ kind: "lost", since: this.#lastHeard, again: Date.now() + pause });
    this.#timer = setTimeout(() => this.#connect(), pause);
  }
}
