// A log as it comes: bytes in blocks, and where its lines begin. Text is made of what is shown alone, so a log of a hundred
// megabytes costs little more than its bytes.

/** The most that is kept. What comes after it is counted, and can be downloaded. */
export const LARGEST = 256 * 1024 * 1024;
/** A line's most that is kept apart: one that never ends must not be copied whole to be shown. */
export const LONGEST_LINE = 64 * 1024;
/** Lines that are kept: each costs some bytes beside its own, and a log may be nothing but their ends. */
export const MOST_LINES = 1 << 22;
/** Groups that fold; a log may be nothing but their beginnings. */
export const MOST_GROUPS = 10_000;
/** Bytes that one step of a search looks at, or a little more. */
const STEP = 1 << 21;
/** What a line costs a search beside its bytes. */
const LINE_COST = 100;
/** Bytes of lines that are looked at together, and how much less each of them costs then. */
const RUN = 1 << 16;
const TOGETHER = 8;

const BLOCK = 1 << 20;
const LF = 10;
const CR = 13;
const ESC = 27;

export interface Group {
  /** The line of its title. */
  line: number;
  title: string;
  /** The line after its last; none while it is open. */
  end: number | undefined;
}

export interface Line {
  number: number;
  /** Its bytes as text, without its end; invalid UTF-8 is replaced. */
  text: string;
  /** Its first bytes came on standard error. */
  error: boolean;
  /** When the server had it, in milliseconds since 1970; 0 when unknown. */
  at: number;
  /** Bytes that are left out. */
  cut: number;
}

export class LogBuffer {
  #blocks: Uint8Array[] = [];
  #size = 0;
  #dropped = 0;
  #starts = new Grown((length) => new Uint32Array(length));
  #times = new Grown((length) => new Float64Array(length));
  #errors = new Grown((length) => new Uint8Array(length));
  #groups: Group[] = [];
  #open: Group[] = [];
  /** Groups beyond the bound, and how many of those are open: they are inside of all that are kept. */
  #beyond = 0;
  #openBeyond = 0;
  #changes = 0;
  /** The next byte begins a line. */
  #fresh = true;
  #decoder = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });

  /** How many lines there are; the last may not be complete. */
  get lines(): number {
    return this.#starts.length;
  }

  get size(): number {
    return this.#size;
  }

  /** Bytes that came after a bound. */
  get dropped(): number {
    return this.#dropped;
  }

  get groups(): readonly Group[] {
    return this.#groups;
  }

  /** Another number whenever the groups are others. */
  get groupChanges(): number {
    return this.#changes;
  }

  /** Groups that were not kept. */
  get groupsBeyond(): number {
    return this.#beyond;
  }

  append(data: Uint8Array, error = false, at = 0): void {
    const came = data.length;
    data = data.subarray(0, LARGEST - this.#size);
    for (let from = 0; from < data.length; ) {
      if (this.#fresh) {
        if (this.lines === MOST_LINES) {
          data = data.subarray(0, from);
          break;
        }
        this.#starts.push(this.#size + from);
        this.#times.push(at);
        this.#errors.push(error ? 1 : 0);
        this.#fresh = false;
      }
      const end = data.indexOf(LF, from);
      if (end < 0) break;
      from = end + 1;
      this.#fresh = true;
    }
    this.#dropped += came - data.length;
    this.#store(data);
    this.#lookForGroups();
  }

  /** One line; an empty one for a number that there is none of. */
  line(number: number): Line {
    if (number < 0 || number >= this.lines) return { number, text: "", error: false, at: 0, cut: 0 };
    const { bytes, cut } = this.#bytes(number);
    return {
      number,
      text: this.#decoder.decode(bytes),
      error: this.#errors.get(number) === 1,
      at: this.#times.get(number),
      cut,
    };
  }

  /**
   * A step of a search: lines that hold a text, whatever its case, at most `most` of them, from `from` on; and where the next step
   * begins. A step has a bound, so that whoever searches can do something else in between.
   */
  search(text: string, most: number, from: number): { found: number[]; next: number } {
    const wanted = text.toLowerCase();
    const found: number[] = [];
    let next = from;
    for (let left = STEP; next < this.lines && found.length < most && left > 0; ) {
      const end = this.#runFrom(next);
      if (!this.#mayHold(next, end, wanted)) {
        left -= (this.#startOf(end) - this.#startOf(next)) / TOGETHER;
        next = end;
        continue;
      }
      for (; next < end && found.length < most; next += 1) {
        const line = plain(this.line(next).text).toLowerCase();
        if (wanted !== "" && line.includes(wanted)) found.push(next);
        left -= line.length + LINE_COST;
      }
    }
    return { found, next };
  }

  /** Where a line begins; for the one after the last, where the log ends. */
  #startOf(number: number): number {
    return number < this.lines ? this.#starts.get(number) : this.#size;
  }

  /** The line after those that are looked at together: at least one. */
  #runFrom(from: number): number {
    const most = this.#startOf(from) + RUN;
    let end = from + 1;
    while (end < this.lines && this.#startOf(end + 1) <= most) end += 1;
    return end;
  }

  /** Whether a text, in lower case, may be in one of these lines. To look at all at once is much faster than line by line. */
  #mayHold(from: number, end: number, wanted: string): boolean {
    const bytes = this.#copy(this.#startOf(from), this.#startOf(end));
    // What is shown of such lines is not what they are; and a longer one is shown in part.
    if (bytes.length > RUN || bytes.includes(ESC) || bytes.includes(CR)) return true;
    return wanted !== "" && this.#decoder.decode(bytes).toLowerCase().includes(wanted);
  }

  #store(data: Uint8Array): void {
    for (let from = 0; from < data.length; ) {
      const inBlock = this.#size % BLOCK;
      if (inBlock === 0) this.#blocks.push(new Uint8Array(BLOCK));
      const piece = data.subarray(from, from + BLOCK - inBlock);
      this.#blocks.at(-1)?.set(piece, inBlock);
      this.#size += piece.length;
      from += piece.length;
    }
  }

  /** What is shown of a line: what came after its last carriage return, as on a terminal. */
  #bytes(number: number): { bytes: Uint8Array; cut: number } {
    const start = this.#starts.get(number);
    let end = number + 1 < this.lines ? this.#starts.get(number + 1) - 1 : this.#size - (this.#fresh ? 1 : 0);
    const whole = this.#copy(Math.max(start, end - LONGEST_LINE), end);
    let length = whole.length;
    while (length > 0 && whole[length - 1] === CR) length -= 1;
    const back = whole.lastIndexOf(CR, length - 1);
    if (back >= 0 && length > 0) return { bytes: whole.subarray(back + 1, length), cut: 0 };
    const cut = end - start - whole.length;
    if (cut === 0) return { bytes: whole.subarray(0, length), cut };
    // The beginning says more than the end.
    end = start + LONGEST_LINE;
    return { bytes: this.#copy(start, end), cut };
  }

  #copy(start: number, end: number): Uint8Array {
    const first = Math.floor(start / BLOCK);
    const block = this.#blocks[first];
    if (block && end <= (first + 1) * BLOCK) return block.subarray(start % BLOCK, start % BLOCK + end - start);
    const copy = new Uint8Array(Math.max(0, end - start));
    for (let at = start; at < end; ) {
      const piece = this.#blocks[Math.floor(at / BLOCK)]?.subarray(at % BLOCK, at % BLOCK + end - at);
      if (!piece) break;
      copy.set(piece, at - start);
      at += piece.length;
    }
    return copy;
  }

  /** Complete lines that begin or end a group, from the one that holds this byte. */
  #looked = 0;
  #lookForGroups(): void {
    const complete = this.#fresh ? this.lines : this.lines - 1;
    for (; this.#looked < complete; this.#looked += 1) {
      const start = this.#starts.get(this.#looked);
      const first = this.#blocks[Math.floor(start / BLOCK)]?.[start % BLOCK];
      // "::group::" and "##[group]": most lines begin otherwise, and are not looked at.
      if (first !== 58 && first !== 35) continue;
      const mark = groupMark(this.line(this.#looked).text);
      if (mark === undefined) continue;
      if (mark === "end") {
        if (this.#openBeyond > 0) {
          this.#openBeyond -= 1;
          continue;
        }
        const open = this.#open.pop();
        if (!open) continue;
        open.end = this.#looked + 1;
        this.#changes += 1;
      } else if (this.#groups.length === MOST_GROUPS) {
        this.#beyond += 1;
        this.#openBeyond += 1;
      } else {
        this.#changes += 1;
        const group: Group = { line: this.#looked, title: mark.title, end: undefined };
        this.#groups.push(group);
        this.#open.push(group);
      }
    }
  }
}

/** What a line says of groups. */
export function groupMark(text: string): "end" | { title: string } | undefined {
  if (text.startsWith("::endgroup::") || text.startsWith("##[endgroup]")) return "end";
  for (const mark of ["::group::", "##[group]"]) {
    if (text.startsWith(mark)) return { title: text.slice(mark.length, mark.length + 200) };
  }
  return undefined;
}

// A terminal's sequences: CSI, then OSC and other strings with their content, then the short ones.
const SEQUENCES = /\u001B\[[0-?]*[ -/]*[@-~]|\u001B[\]PX^_][^\u0007\u001B]*(?:\u0007|\u001B\\)?|\u001B[ -/]*[0-~]?/g;

/** Text without a terminal's sequences. */
export function plain(text: string): string {
  return text.includes("\u001B") ? text.replaceAll(SEQUENCES, "") : text;
}

type Numbers = Float64Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

/** An array of numbers that grows. */
class Grown {
  #make: (length: number) => Numbers;
  #all: Numbers;
  length = 0;

  constructor(make: (length: number) => Numbers) {
    this.#make = make;
    this.#all = make(1024);
  }

  push(value: number): void {
    if (this.length === this.#all.length) {
      const larger = this.#make(this.#all.length * 2);
      larger.set(this.#all);
      this.#all = larger;
    }
    this.#all[this.length] = value;
    this.length += 1;
  }

  get(index: number): number {
    return this.#all[index] ?? 0;
  }
}
