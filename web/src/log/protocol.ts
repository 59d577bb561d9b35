// What the page and its log's worker say to each other.
import type { Group, Line } from "./buffer.ts";

export type Request =
  /** Begins to read. `raw`: the answer is the log's bytes; else it is events with positions. */
  | { kind: "open"; url: string; raw: boolean }
  /** Holds no connection until it is to go on. */
  | { kind: "rest" }
  | { kind: "go on" }
  | { kind: "lines"; ticket: number; numbers: number[] }
  /** Ends the search before it. */
  | { kind: "search"; ticket: number; text: string; most: number; from: number };

export type Report =
  /** What there is by now. `groups` only when they are others than those that were told last. */
  | { kind: "grown"; lines: number; size: number; dropped: number; groups?: Group[]; groupsBeyond: number; first: number; last: number }
  /** Reading ended: all is there, or why not. */
  | { kind: "ended"; why?: string }
  /** The connection broke; it is tried again. */
  | { kind: "broken"; why: string }
  | { kind: "lines"; ticket: number; lines: Line[] }
  | { kind: "found"; ticket: number; numbers: number[]; next: number }
  /** The search was ended by the next one. */
  | { kind: "unwanted"; ticket: number };
