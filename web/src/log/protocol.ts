// What the page and its log's worker say to each other.
import type { Group, Line } from "./buffer.ts";

export type Request =
  /** Begins to read. `raw`: the answer is the log's bytes; else it is events with positions. */
  | { kind: "open"; url: string; raw: boolean }
  | { kind: "lines"; ticket: number; numbers: number[] }
  | { kind: "search"; ticket: number; text: string; most: number };

export type Report =
  /** What there is by now. */
  | { kind: "grown"; lines: number; size: number; dropped: number; groups: Group[]; first: number; last: number }
  /** Reading ended: all is there, or why not. */
  | { kind: "ended"; why?: string }
  /** The connection broke; it is tried again. */
  | { kind: "broken"; why: string }
  | { kind: "lines"; ticket: number; lines: Line[] }
  | { kind: "found"; ticket: number; numbers: number[] };
