// The host in one strip: does it take work, what runs there, what is left of it.
import type { ForgeLimits, HostBudget } from "../../generated/api.ts";
import { askDrain, askUndrain } from "../api/deeds.tsx";
import { useMay } from "../api/session.ts";
import { useNow } from "../live/clock.ts";
import { useJobs, useLive } from "../live/live.ts";
import { capacity, limitGauge, shareGauge } from "../words/counts.ts";
import { brief, mib } from "../words/time.ts";
import { Measure } from "./measure.tsx";
import { Ago, Clip } from "./text.tsx";
import { isIdleRunner } from "../words/job.ts";

export function HostStrip() {
  const state = useLive();
  const jobs = useJobs();
  const mayDrain = useMay("admin");
  if (!state) return null;
  const { host, version } = state;
  const count = capacity(host.machines);
  const running = [...jobs.values()].filter((job) => job.state === "running" || job.state === "assigned").length;
  const queued = [...jobs.values()].filter((job) => job.state === "queued").length;
  // A forge's runner that stands by runs no job.
  const idle = [...jobs.values()].filter(isIdleRunner).length;
  return (
    <section class="host" aria-label="Host">
      <dl class="figures">
        <Figure name="running" value={running - idle} tone="work" link="#/jobs?state=running" />
        <Figure name="waiting" value={queued} tone={queued > 0 ? "wait" : ""} link="#/jobs?state=waiting" />
        <Figure name="ready" value={count.ready} tone="good" link="#/machines?state=ready" />
        <Figure name="starting" value={count.starting} tone="" link="#/machines?state=starting" />
        {count.held > 0 && <Figure name="held" value={count.held} tone="held" link="#/machines?state=held" />}
      </dl>
      <dl class="facts">
        <Budget budget={host.budget} />
        <Limits all={state.limits} />
        <div><dt>Server</dt><dd>{version.version}</dd></div>
        <div><dt>Machines by</dt><dd title={version.vmm_version}>{version.vmm}, <Clip text={version.accel} most={40} /></dd></div>
      </dl>
      {host.drained
        ? (
          <div class="drained">
            <p><b>Drained</b> <Ago at={host.drained.since} />{host.drained.why && <>: <Clip text={host.drained.why} most={300} /></>}</p>
            {mayDrain && <button type="button" onClick={askUndrain}>Take work again</button>}
          </div>
        )
        : mayDrain && <button type="button" class="quiet" onClick={askDrain}>Drain…</button>}
    </section>
  );
}

/** What machines take of the host, and of how much. */
function Budget({ budget }: { budget: HostBudget | undefined }) {
  if (!budget) return null;
  const { vcpus, memory_mib: memory, slots, disk_mib: disk } = budget;
  return (
    <>
      <Measure name="Processors" gauge={shareGauge(vcpus, String)} />
      <Measure name="Memory" gauge={shareGauge(memory, mib)} />
      {disk && <Measure name="Disk" gauge={shareGauge(disk, mib)} />}
      <Measure name="Addresses" gauge={shareGauge(slots, String)} />
    </>
  );
}

/** What forges still let be asked, where they say. */
function Limits({ all }: { all: readonly ForgeLimits[] }) {
  const now = useNow();
  return (
    <>
      {all.flatMap(({ forge, limits }) => limits.map((limit) => (
        <Measure
          key={`${forge} ${limit.credential} ${limit.resource}`}
          name={forge}
          about={`${limit.resource}, by ${limit.credential}`}
          gauge={limitGauge(limit, now, brief)}
        />
      )))}
    </>
  );
}

function Figure({ name, value, tone, link }: { name: string; value: number; tone: string; link: string }) {
  return (
    <div class={`figure ${tone}`}>
      <dt>{name}</dt>
      <dd><a href={link} aria-label={`${value} ${name}`}>{value}</a></dd>
    </div>
  );
}
