// How time becomes length. A job of an hour would leave nothing to see of the second in which it began; so where the work is
// much longer than the way to it, it is drawn shorter.
import type { Waterfall } from "./phases.ts";

export interface Scale {
  /** The part of the length, 0 to 1, at a time in milliseconds since 1970. */
  at: (time: number) => number;
  /** Milliseconds since the beginning that are written below. */
  marks: number[];
  /** Where the scale changes. */
  breakAt?: number;
}

/** The way to the work gets this part of the length, where it would have less than a quarter. */
const WAY = 0.68;
const SHORT = 0.25;

export function scaleOf({ from, to, spans }: Waterfall): Scale {
  const work = spans.find((span) => span.phase === "job")?.start;
  const all = to - from;
  const way = work === undefined ? all : work - from;
  if (way <= 0 || way >= all * SHORT) {
    return { at: (time) => (time - from) / all, marks: [0, all / 4, all / 2, (all * 3) / 4, all] };
  }
  const begin = from + way;
  const at = (time: number) => (time <= begin ? ((time - from) / way) * WAY : WAY + ((time - begin) / (to - begin)) * (1 - WAY));
  return { at, marks: [0, way / 2, way, all], breakAt: WAY };
}
