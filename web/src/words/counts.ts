// Counting what there is.
import type { JobRecord, PoolView, RateLimit, Share } from "../../generated/api.ts";
import { moment } from "./time.ts";

export interface Capacity {
  ready: number;
  busy: number;
  starting: number;
  held: number;
  stopping: number;
}

export function capacity(machines: Record<string, number>): Capacity {
  const of = (...states: string[]) => states.reduce((sum, state) => sum + (machines[state] ?? 0), 0);
  return {
    ready: of("ready"),
    busy: of("starting", "busy"),
    starting: of("creating", "booting"),
    held: of("held"),
    stopping: of("stopping"),
  };
}

/** The pool that a job is in, or waits for. */
export function poolOf(job: JobRecord): string | undefined {
  if (job.pool) return job.pool;
  const why = job.waiting;
  return why && "pool" in why && typeof why.pool === "string" ? why.pool : undefined;
}

/** When the longest waiting job of each pool came. */
export function oldestWaits(jobs: Iterable<JobRecord>): Map<string, JobRecord> {
  const oldest = new Map<string, JobRecord>();
  for (const job of jobs) {
    const pool = poolOf(job);
    if (job.state !== "queued" || pool === undefined) continue;
    const known = oldest.get(pool);
    if (!known || (moment(job.queued_at) ?? 0) < (moment(known.queued_at) ?? 0)) oldest.set(pool, job);
  }
  return oldest;
}

/** What keeps a pool from making machines, in words; nothing while it may. */
export function obstacle(pool: PoolView): { text: string; bad: boolean } | undefined {
  if (pool.host_drained) return { text: "The host is drained", bad: false };
  if (pool.paused) return { text: "Paused", bad: false };
  if (pool.problem) return { text: pool.problem, bad: true };
  if (pool.backoff) return { text: `Waits after ${pool.backoff.failures} failures: ${pool.backoff.reason}`, bad: true };
  return pool.waiting_for ? { text: pool.waiting_for, bad: false } : undefined;
}

/** Where a pool's jobs come from. */
export function forgeOf(pool: PoolView): string {
  return pool.spec.forge?.name ?? "built-in queue";
}

/** From here on a part of something is nearly all of it. */
const NEARLY = 0.9;

export interface Gauge {
  text: string;
  /** Which part is taken, 0 to 1; nothing where there is no limit. */
  part: number | undefined;
  /** There is hardly anything left. */
  scarce: boolean;
}

/** How much of something is taken, in these words. */
export function shareGauge(share: Share, say: (count: number) => string): Gauge {
  const of = share.of ?? undefined;
  if (of === undefined) return { text: `${say(share.used)} taken`, part: undefined, scarce: false };
  const part = of > 0 ? Math.min(share.used / of, 1) : 1;
  return { text: `${say(share.used)} of ${say(of)}`, part, scarce: part >= NEARLY };
}

/** What a forge still lets be asked. It speaks with each answer; a window that has ended since is a new one, of which nothing is known. */
export function limitGauge(limit: RateLimit, now: number, say: (ms: number) => string): Gauge {
  const blocked = (moment(limit.blocked_until) ?? 0) - now;
  if (blocked > 0) return { text: `asks nothing for ${say(blocked)}, as the forge wants it`, part: 1, scarce: true };
  const left = (moment(limit.reset_at) ?? Number.NaN) - now;
  if (left <= 0) return { text: `${limit.limit} requests, anew`, part: 0, scarce: false };
  const part = limit.limit > 0 ? Math.min(1 - limit.remaining / limit.limit, 1) : 1;
  const when = Number.isNaN(left) ? "" : `, anew in ${say(left)}`;
  return { text: `${limit.remaining} of ${limit.limit} requests left${when}`, part, scarce: part >= NEARLY };
}
