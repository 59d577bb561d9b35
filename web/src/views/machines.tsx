import { useMemo } from "preact/hooks";
import type { MachineView } from "../../generated/api.ts";
import { useUsage } from "../api/usage.ts";
import { useNow } from "../live/clock.ts";
import { useJobs, useLoaded, useMachines } from "../live/live.ts";
import { to } from "../router.ts";
import { Chips, Choice, Search } from "../ui/filters.tsx";
import { useSteps } from "../ui/more.tsx";
import { Bar } from "../ui/measure.tsx";
import { pure } from "../ui/pure.tsx";
import { State } from "../ui/state.tsx";
import { Clip } from "../ui/text.tsx";
import type { Gauge } from "../words/counts.ts";
import { counted } from "../words/filter.ts";
import { jobTitle } from "../words/job.ts";
import { byPool, cpuGauge, machineGroup, machineMatches, MACHINE_GROUPS, memoryGauge, startWords } from "../words/machine.ts";
import { ago, duration, moment } from "../words/time.ts";

export function Machines({ query }: { query: URLSearchParams }) {
  const loaded = useLoaded();
  const all = useMachines();
  const jobs = useJobs();
  const now = useNow();
  const usage = useUsage();
  const text = query.get("q") ?? "";
  const [pool, group] = [query.get("pool") ?? "", query.get("state") ?? ""];
  const machines = useMemo(() => [...all.values()].sort(byPool), [all]);
  const narrowed = useMemo(
    () => machines.filter((one) => (pool === "" || one.pool === pool) && machineMatches(one, text)),
    [machines, pool, text],
  );
  const chosen = useMemo(() => (group === "" ? narrowed : narrowed.filter((one) => machineGroup(one) === group)), [narrowed, group]);
  const counts = useMemo(() => counted(narrowed, machineGroup), [narrowed]);
  const { shown, more } = useSteps(chosen);
  const options = [
    { value: "", label: "All", count: narrowed.length },
    ...MACHINE_GROUPS.map((value) => ({ value, label: value, count: counts.get(value) ?? 0 })),
  ];
  return (
    <>
      <h1>Machines</h1>
      <div class="filters">
        <Search value={text} label="Search machines" />
        <Chips name="state" value={group} options={options} />
        <Choice name="pool" label="Pool" value={pool} options={[...new Set(machines.map((one) => one.pool))]} />
      </div>
      {!loaded && <p class="loading" role="status">Waiting for the server…</p>}
      {loaded && chosen.length === 0 && (
        <p class="empty">{machines.length > 0 ? <>No machine is like that. <a href="#/machines">All machines</a></> : "There is no machine now. Pools make them when jobs come, or keep some ready."}</p>
      )}
      {chosen.length > 0 && (
        <table class="list machines">
          <caption class="unseen">{chosen.length} machines</caption>
          <thead>
            <tr>
              <th scope="col">State</th><th scope="col">Machine</th><th scope="col">Pool</th><th scope="col">Began as</th>
              <th scope="col">Processors</th><th scope="col">Memory</th><th scope="col" class="number">In this state</th><th scope="col" class="number">Age</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((one) => {
              const [job, used] = [one.job ? jobs.get(one.job) : undefined, usage.get(one.id)];
              return (
                <Row
                  key={one.id} machine={one} job={job ? jobTitle(job) : one.job ?? ""} cpu={cpuGauge(one, used)} memory={memoryGauge(one, used)}
                  since={duration(Math.max(0, now - (moment(one.state_since) ?? now)))} age={ago(one.created_at, now)}
                />
              );
            })}
          </tbody>
        </table>
      )}
      {more}
    </>
  );
}

/** What a row shows, in words: it is drawn again when one of these is another, not whenever a second has gone by. */
interface Shown {
  machine: MachineView;
  /** The job's title. */
  job: string;
  cpu: Gauge;
  memory: Gauge;
  since: string;
  age: string;
}

const Row = pure(({ machine, job, cpu, memory, since, age }: Shown) => (
    <tr>
      <td><State state={machine.state} /></td>
      <td class="main">
        <a data-row href={to("machines", machine.id)}><code>{machine.id}</code></a>
        <p>
          {machine.job && <a href={to("jobs", machine.job)}><Clip text={job} most={100} /></a>}
          {machine.failure && <span class="why bad"><Clip text={machine.failure.message} most={220} /></span>}
          {machine.unrecorded && <span class="why bad"><Clip text={`its result is not recorded yet: ${machine.unrecorded.why}`} most={220} /></span>}
        </p>
      </td>
      <td><Clip text={machine.pool} most={40} /></td>
      <td>{startWords(machine)}</td>
      <td class="size" data-name="cpu">{cpu.text}<Bar gauge={cpu} /></td>
      <td class="size">{memory.text}<Bar gauge={memory} /></td>
      <td class="number">{since}</td>
      <td class="number">{age}</td>
    </tr>
));
