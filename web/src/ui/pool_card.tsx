import type { JobRecord, PoolView } from "../../generated/api.ts";
import { to } from "../router.ts";
import { type Capacity, capacity, forgeOf, obstacle } from "../words/counts.ts";
import { Clip, Since } from "./text.tsx";
import { Icon } from "./icons.tsx";

/** A pool at a glance. */
export function PoolCard({ pool, oldest }: { pool: PoolView; oldest: JobRecord | undefined }) {
  const name = pool.spec.name;
  const count = capacity(pool.machines);
  const why = obstacle(pool);
  const stopped = pool.paused || pool.host_drained;
  return (
    <li class={`card pool${why?.bad ? " bad" : ""}${stopped ? " stopped" : ""}`}>
      <header>
        <h3><a data-row href={to("pools", name)}>{name}</a></h3>
        <span class="from">{forgeOf(pool)}</span>
        {pool.paused && <span class="state held"><Icon name="pause" />paused</span>}
      </header>
      <CapacityBar count={count} min={pool.min_runners} max={pool.max_runners} />
      <dl class="row">
        <div><dt>busy</dt><dd>{count.busy}</dd></div>
        <div><dt>ready</dt><dd>{count.ready}</dd></div>
        <div><dt>starting</dt><dd>{count.starting}</dd></div>
        <div><dt>kept–most</dt><dd>{pool.min_runners}–{pool.max_runners}</dd></div>
        <div class={pool.queued > 0 ? "wait" : undefined}>
          <dt>queued{oldest && <>, <Since short at={oldest.queued_at} /></>}</dt>
          <dd>{pool.queued}</dd>
        </div>
      </dl>
      {why && <p class={why.bad ? "why bad" : "why"}><Clip text={why.text} most={240} /></p>}
    </li>
  );
}

/** How much of what a pool may have is in use. */
export function CapacityBar({ count, min, max }: { count: Capacity; min: number; max: number }) {
  const all = Math.max(max, count.busy + count.ready + count.starting, 1);
  const part = (value: number) => ({ width: `${(value / all) * 100}%` });
  const text = `${count.busy} busy, ${count.ready} ready, ${count.starting} starting, of at most ${max}; ${min} kept ready`;
  return (
    <div class="capacity" role="img" aria-label={text} title={text}>
      <i class="busy" style={part(count.busy)} />
      <i class="ready" style={part(count.ready)} />
      <i class="starting" style={part(count.starting)} />
    </div>
  );
}
