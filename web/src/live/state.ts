// What the server says is so, and how its changes change it. No IO here.
import type { ForgeLimits, HostView, JobRecord, LiveDelta, LiveSnapshot, MachineView, PoolView, Version } from "../../generated/api.ts";

export interface LiveState {
  readonly revision: number;
  readonly version: Version;
  readonly host: HostView;
  readonly limits: readonly ForgeLimits[];
  readonly pools: ReadonlyMap<string, PoolView>;
  readonly jobs: ReadonlyMap<string, JobRecord>;
  readonly machines: ReadonlyMap<string, MachineView>;
}

const FINAL = new Set(["succeeded", "failed", "cancelled", "timed_out", "lost"]);

/** Nothing more happens to a job in this state. */
export function isFinal(state: string): boolean {
  return FINAL.has(state);
}

export function fromSnapshot(snapshot: LiveSnapshot): LiveState {
  return {
    revision: snapshot.revision,
    version: snapshot.version,
    host: snapshot.host,
    limits: snapshot.limits ?? [],
    pools: by(snapshot.pools, (pool) => pool.spec.name),
    jobs: by(snapshot.jobs, (job) => job.id),
    machines: by(snapshot.machines, (machine) => machine.id),
  };
}

/** The state after a change; nothing when one before it was missed, so that only a new snapshot helps. */
export function apply(state: LiveState, delta: LiveDelta): LiveState | undefined {
  if (delta.revision !== state.revision + 1) return undefined;
  return {
    ...state,
    revision: delta.revision,
    host: delta.host ?? state.host,
    limits: delta.limits ?? state.limits,
    pools: changed(state.pools, delta.pools, delta.gone?.pools, (pool) => pool.spec.name),
    jobs: changed(state.jobs, delta.jobs, delta.gone?.jobs, (job) => job.id),
    machines: changed(state.machines, delta.machines, delta.gone?.machines, (machine) => machine.id),
  };
}

function by<T>(all: readonly T[], key: (one: T) => string): ReadonlyMap<string, T> {
  return new Map(all.map((one) => [key(one), one]));
}

/** The same map when nothing in it changed: who looks at it alone has nothing to do then. */
function changed<T>(
  all: ReadonlyMap<string, T>,
  some: readonly T[] | undefined,
  gone: readonly string[] | undefined,
  key: (one: T) => string,
): ReadonlyMap<string, T> {
  if (!some?.length && !gone?.length) return all;
  const next = new Map(all);
  for (const one of some ?? []) next.set(key(one), one);
  for (const one of gone ?? []) next.delete(one);
  return next;
}
