// The hits of one text in a log, and which of them is looked at.
import type { Hits } from "./search.ts";

/** Hits that are looked for at most. */
export const MOST = 10_000;

export class Finding {
  #search: (most: number, from: number) => Promise<Hits | undefined>;
  #changed: () => void;
  #hits: number[] = [];
  #at = -1;
  /** Where to look for more. */
  #next = 0;
  #searched = false;
  #busy = false;

  /** `search` looks for so many lines, from one on. */
  constructor(search: (most: number, from: number) => Promise<Hits | undefined>, changed: () => void) {
    this.#search = search;
    this.#changed = changed;
  }

  /** The first hit; nothing where somebody has asked for it already. */
  async begin(): Promise<number | undefined> {
    return this.#searched || this.#busy ? undefined : this.move(1);
  }

  /** The next hit, or the one before; over the end it begins again, with what has come since. Nothing where there is none. */
  async move(by: 1 | -1): Promise<number | undefined> {
    if (this.#busy) return undefined;
    const next = this.#at + by;
    if (next < 0 || next >= this.#hits.length) await this.#more();
    const count = this.#hits.length;
    if (count > 0) this.#at = this.#at < 0 && by < 0 ? count - 1 : (this.#at + by + count) % count;
    this.#changed();
    return this.#hits[this.#at];
  }

  /** Where it is, in words. */
  get words(): string {
    const { length } = this.#hits;
    if (length > 0) return `${this.#at + 1} of ${length.toLocaleString()}${length >= MOST ? "+" : ""}`;
    return this.#searched && !this.#busy ? "nothing" : "searching…";
  }

  get hasWay(): boolean {
    return this.#hits.length > 1;
  }

  async #more(): Promise<void> {
    if (this.#hits.length >= MOST) return;
    this.#busy = true;
    this.#changed();
    const more = await this.#search(MOST - this.#hits.length, this.#next);
    this.#busy = false;
    if (more) {
      const last = this.#hits.at(-1) ?? -1;
      this.#hits.push(...more.numbers.filter((number) => number > last));
      this.#next = more.next;
      this.#searched = true;
    }
  }
}
