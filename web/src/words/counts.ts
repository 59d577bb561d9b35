// Counting what there is.
import type { JobRecord, MachineView, PoolView } from "../../generated/api.ts";
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

/** What machines take of the host. */
export function taken(machines: Iterable<MachineView>): { vcpus: number; memory: number; disk: number } {
  const all = { vcpus: 0, memory: 0, disk: 0 };
  for (const { shape } of machines) {
    all.vcpus += shape.vcpus;
    all.memory += shape.memory_mib;
    all.disk += shape.disk_mib;
  }
  return all;
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
