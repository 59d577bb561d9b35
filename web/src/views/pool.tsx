import type { PoolView } from "../../generated/api.ts";
import { encode } from "../api/base.ts";
import { askPause, askResume, askScale, askUnscale } from "../api/deeds.tsx";
import { useMay } from "../api/session.ts";
import { useJobs, useLive, useMachines, usePools } from "../live/live.ts";
import { isFinal } from "../live/state.ts";
import { to } from "../router.ts";
import { HistoryChart } from "../ui/history.tsx";
import { Icon } from "../ui/icons.tsx";
import { CapacityBar } from "../ui/pool_card.tsx";
import { State } from "../ui/state.tsx";
import { Ago, Clip, Since } from "../ui/text.tsx";
import { capacity, forgeOf, obstacle, poolOf } from "../words/counts.ts";
import { isIdleRunner, jobTitle, whyLine } from "../words/job.ts";
import { mib } from "../words/time.ts";

export function Pool({ name }: { name: string }) {
  const pool = usePools().get(name);
  const loaded = useLive() !== undefined;
  if (!pool) {
    return loaded
      ? <><h1>Pool</h1><p class="empty">There is no pool of this name. <a href="#/pools">All pools</a></p></>
      : <p class="loading" role="status">Waiting for the server…</p>;
  }
  const why = obstacle(pool);
  return (
    <article class="pool-view">
      <Head pool={pool} />
      {why && <p class={`note ${why.bad ? "bad" : "wait"}`}><Icon name={why.bad ? "warn" : "clock"} /><Clip text={why.text} most={1000} /></p>}
      <div class="columns narrow">
        <div>
          <HistoryChart pool={name} />
          <Jobs pool={name} />
          <Machines pool={name} />
        </div>
        <Facts pool={pool} />
      </div>
    </article>
  );
}

function Head({ pool }: { pool: PoolView }) {
  const may = useMay("admin");
  const scaled = pool.min_runners !== pool.spec.min_runners || pool.max_runners !== pool.spec.max_runners;
  return (
    <header class="head">
      <p class="trail"><a href="#/pools">Pools</a></p>
      <h1>{pool.spec.name}</h1>
      <div class="line">
        <span>{forgeOf(pool)}</span>
        {pool.paused && <State state="paused" />}
        <span class="grow" />
        {may && scaled && <button type="button" onClick={() => askUnscale(pool)}>As configured…</button>}
        {may && <button type="button" onClick={() => askScale(pool)}>Scale…</button>}
        {may && (pool.paused
          ? <button type="button" class="primary" onClick={() => askResume(pool)}>Resume…</button>
          : <button type="button" onClick={() => askPause(pool)}>Pause…</button>)}
      </div>
      <CapacityBar count={capacity(pool.machines)} min={pool.min_runners} max={pool.max_runners} />
    </header>
  );
}

function Facts({ pool }: { pool: PoolView }) {
  const { spec } = pool;
  return (
    <dl class="panel facts">
      <div><dt>Kept ready</dt><dd>{pool.min_runners}</dd></div>
      <div><dt>At most</dt><dd>{pool.max_runners}</dd></div>
      <div><dt>Queue</dt><dd>{pool.queued}</dd></div>
      <div><dt>Labels</dt><dd><Clip text={Object.values(spec.labels).join(", ") || "none"} /></dd></div>
      <div><dt>Size</dt><dd>{spec.shape.vcpus} {spec.shape.vcpus === 1 ? "processor" : "processors"}, {mib(spec.shape.memory_mib)}, disk {mib(spec.shape.disk_mib)}</dd></div>
      <div><dt>Image</dt><dd><Clip text={spec.shape.image} most={100} /></dd></div>
      <div><dt>Begins as</dt><dd>{spec.start === "boot" ? "boot" : "clone, where that is possible"}</dd></div>
      <div><dt>Init</dt><dd>{spec.init === "image" ? "the image’s own" : "the agent"}</dd></div>
      <div><dt>Services</dt><dd><Clip text={(spec.services ?? []).map((one) => one.name).join(", ") || "none"} /></dd></div>
    </dl>
  );
}

function Jobs({ pool }: { pool: string }) {
  const all = [...useJobs().values()].filter((job) => !isFinal(job.state) && poolOf(job) === pool);
  // Runners that stand by have no job yet.
  const jobs = all.filter((job) => !isIdleRunner(job));
  const idle = all.length - jobs.length;
  return (
    <section class="panel" aria-labelledby="jobs-title">
      <h2 id="jobs-title">Its jobs <small>{jobs.length}</small></h2>
      {jobs.length === 0 && <p class="empty">None now. <a href={`#/jobs?pool=${encode(pool)}`}>Those that have ended</a></p>}
      <ol class="feed">
        {jobs.slice(0, 50).map((job) => (
          <li key={job.id}>
            <State state={job.state} />
            <div>
              <a data-row href={to("jobs", job.id)}><Clip text={jobTitle(job)} most={80} /></a>
              {whyLine(job) && <p><Clip text={whyLine(job)} most={200} /></p>}
            </div>
            <Since at={job.queued_at} />
          </li>
        ))}
      </ol>
      {idle > 0 && <p class="more"><a href={`#/jobs?state=idle&pool=${encode(pool)}`}>{idle === 1 ? "A runner waits" : `${idle} runners wait`} for a job</a></p>}
    </section>
  );
}

function Machines({ pool }: { pool: string }) {
  const machines = [...useMachines().values()].filter((one) => one.pool === pool);
  return (
    <section class="panel" aria-labelledby="machines-title">
      <h2 id="machines-title">Its machines <small>{machines.length}</small></h2>
      <ol class="feed">
        {machines.slice(0, 50).map((one) => (
          <li key={one.id}>
            <State state={one.state} />
            <a data-row href={to("machines", one.id)}><code>{one.id}</code></a>
            <Ago at={one.state_since} />
          </li>
        ))}
      </ol>
    </section>
  );
}
