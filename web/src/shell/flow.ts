// Output on its way to the terminal, with a bound. A browser's WebSocket cannot be told to wait, and a program may write faster than
// a terminal draws, or while the tab is hidden. What is beyond the bound is left out, and said: so what is drawn is never far behind
// what happens, and Ctrl+C is seen to act.

/** Bytes that wait to be drawn. */
export const MOST = 4 << 20;

export class Flow {
  #write: (data: Uint8Array, drawn: () => void) => void;
  #skipped: (bytes: number) => void;
  #waiting = 0;
  #left = 0;

  /** `write` draws, and says when it has; `skipped` says that so many bytes are left out here. */
  constructor(write: (data: Uint8Array, drawn: () => void) => void, skipped: (bytes: number) => void) {
    this.#write = write;
    this.#skipped = skipped;
  }

  write(data: Uint8Array): void {
    // Until all that waits is drawn: one large gap says more than a thousand small ones.
    if (this.#left > 0 || this.#waiting + data.length > MOST) {
      this.#left += data.length;
      return;
    }
    this.#waiting += data.length;
    this.#write(data, () => this.#drawn(data.length));
  }

  #drawn(bytes: number): void {
    this.#waiting -= bytes;
    if (this.#waiting > 0 || this.#left === 0) return;
    const left = this.#left;
    this.#left = 0;
    this.#skipped(left);
  }
}
