import { useJobs, useLive, usePools, lately } from "../live/live.ts";
import { useStore } from "../live/store.ts";
import type { Happening } from "../live/happenings.ts";
import { HistoryChart } from "../ui/history.tsx";
import { HostStrip } from "../ui/host.tsx";
import { PoolCard } from "../ui/pool_card.tsx";
import { StateDot } from "../ui/state.tsx";
import { Ago, Clip, Since } from "../ui/text.tsx";
import { to } from "../router.ts";
import { oldestWaits } from "../words/counts.ts";
import { jobTitle, whyLine } from "../words/job.ts";

export function Overview() {
  if (!useLive()) return <p class="loading" role="status">Waiting for the server…</p>;
  return (
    <div class="overview">
      <h1 class="unseen">Overview</h1>
      <HostStrip />
      <div class="columns">
        <div>
          <HistoryChart />
          <Pools />
        </div>
        <div>
          <Waiting />
          <Lately />
        </div>
      </div>
    </div>
  );
}

function Pools() {
  const pools = usePools();
  const waits = oldestWaits(useJobs().values());
  const all = [...pools.values()].sort((a, b) => a.spec.name.localeCompare(b.spec.name));
  return (
    <section aria-labelledby="pools-title">
      <h2 id="pools-title">Pools</h2>
      {all.length === 0 && <p class="empty">No pool is configured.</p>}
      <ul class="cards">
        {all.map((pool) => <PoolCard key={pool.spec.name} pool={pool} oldest={waits.get(pool.spec.name)} />)}
      </ul>
    </section>
  );
}

const SHOWN = 8;

function Waiting() {
  const jobs = useJobs();
  const waiting = [...jobs.values()].filter((job) => job.state === "queued");
  waiting.sort((a, b) => a.queued_at.localeCompare(b.queued_at));
  return (
    <section class="panel" aria-labelledby="waiting-title">
      <h2 id="waiting-title">Waiting {waiting.length > 0 && <small>{waiting.length}</small>}</h2>
      {waiting.length === 0 && <p class="empty">No job waits.</p>}
      <ol class="feed">
        {waiting.slice(0, SHOWN).map((job) => (
          <li key={job.id}>
            <StateDot state="queued" />
            <div>
              <a data-row href={to("jobs", job.id)}><Clip text={jobTitle(job)} most={80} /></a>
              <p><Clip text={whyLine(job) || "It waits for a machine"} most={200} /></p>
            </div>
            <Since at={job.queued_at} />
          </li>
        ))}
      </ol>
      {waiting.length > SHOWN && <p class="more"><a href="#/jobs?state=waiting">All {waiting.length}</a></p>}
    </section>
  );
}

const whole = (all: readonly Happening[]) => all;

function Lately() {
  const all = useStore(lately, whole);
  return (
    <section class="panel" aria-labelledby="lately-title">
      <h2 id="lately-title">Lately</h2>
      {all.length === 0 && <p class="empty">Nothing has happened since this page was opened.</p>}
      <ol class="feed">
        {all.slice(0, 20).map((one) => (
          <li key={`${one.at}${one.text}`}>
            <StateDot state={one.state} />
            <a href={one.link}><Clip text={one.text} most={200} /></a>
            <Ago at={one.at} />
          </li>
        ))}
      </ol>
    </section>
  );
}
