// Which line is in which row, when groups are folded.
import type { Group } from "./buffer.ts";

interface Hidden {
  /** The first line that is not shown. */
  from: number;
  /** The first that is shown again. */
  to: number;
}

export class Rows {
  readonly count: number;
  #hidden: Hidden[] = [];

  /** `folded` holds the lines of the titles of folded groups. */
  constructor(lines: number, groups: readonly Group[], folded: ReadonlySet<number>) {
    let shownFrom = 0;
    let hidden = 0;
    for (const group of groups) {
      if (!folded.has(group.line) || group.line < shownFrom) continue;
      const to = Math.min(group.end ?? lines, lines);
      const from = group.line + 1;
      if (to > from) {
        this.#hidden.push({ from, to });
        hidden += to - from;
        shownFrom = to;
      }
    }
    this.count = lines - hidden;
  }

  /** The line in a row. */
  line(row: number): number {
    let line = row;
    for (const { from, to } of this.#hidden) {
      if (line < from) break;
      line += to - from;
    }
    return line;
  }

  /** The row of a line; of a hidden one, the row of its group's title. */
  row(line: number): number {
    let before = 0;
    for (const { from, to } of this.#hidden) {
      if (line < from) break;
      if (line < to) return from - 1 - before;
      before += to - from;
    }
    return line - before;
  }
}
