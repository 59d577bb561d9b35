import type { JobRecord, MachineUsage, MachineView } from "../../generated/api.ts";
import { useUsage } from "../api/usage.ts";
import { useNow } from "../live/clock.ts";
import { useJobs, useLive, useMachines } from "../live/live.ts";
import { to } from "../router.ts";
import { Chips, Choice, Search } from "../ui/filters.tsx";
import { useSteps } from "../ui/more.tsx";
import { Bar } from "../ui/measure.tsx";
import { pure } from "../ui/pure.tsx";
import { State } from "../ui/state.tsx";
import { Clip } from "../ui/text.tsx";
import { jobTitle } from "../words/job.ts";
import { cpuGauge, machineGroup, machineMatches, MACHINE_GROUPS, memoryGauge, startWords } from "../words/machine.ts";
import { ago, duration, moment } from "../words/time.ts";

export function Machines({ query }: { query: URLSearchParams }) {
  const loaded = useLive() !== undefined;
  const machines = [...useMachines().values()].sort((a, b) => a.pool.localeCompare(b.pool) || a.created_at.localeCompare(b.created_at));
  const jobs = useJobs();
  const now = useNow();
  const usage = useUsage();
  const text = query.get("q") ?? "";
  const [pool, group] = [query.get("pool") ?? "", query.get("state") ?? ""];
  const narrowed = machines.filter((one) => (pool === "" || one.pool === pool) && machineMatches(one, text));
  const chosen = narrowed.filter((one) => group === "" || machineGroup(one) === group);
  const { shown, more } = useSteps(chosen);
  const options = [
    { value: "", label: "All", count: narrowed.length },
    ...MACHINE_GROUPS.map((value) => ({ value, label: value, count: narrowed.filter((one) => machineGroup(one) === value).length })),
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
            {shown.map((one) => <Row key={one.id} machine={one} job={one.job ? jobs.get(one.job) : undefined} usage={usage.get(one.id)} now={now} />)}
          </tbody>
        </table>
      )}
      {more}
    </>
  );
}

interface Shown {
  machine: MachineView;
  job: JobRecord | undefined;
  usage: MachineUsage | undefined;
  now: number;
}

const Row = pure(({ machine, job, usage, now }: Shown) => {
  const [cpu, memory] = [cpuGauge(machine, usage), memoryGauge(machine, usage)];
  return (
    <tr>
      <td><State state={machine.state} /></td>
      <td class="main">
        <a data-row href={to("machines", machine.id)}><code>{machine.id}</code></a>
        <p>
          {machine.job && <a href={to("jobs", machine.job)}><Clip text={job ? jobTitle(job) : machine.job} most={100} /></a>}
          {machine.failure && <span class="why bad"><Clip text={machine.failure.message} most={220} /></span>}
          {machine.unrecorded && <span class="why bad"><Clip text={`its result is not recorded yet: ${machine.unrecorded.why}`} most={220} /></span>}
        </p>
      </td>
      <td><Clip text={machine.pool} most={40} /></td>
      <td>{startWords(machine)}</td>
      <td class="size" data-name="cpu">{cpu.text}<Bar gauge={cpu} /></td>
      <td class="size">{memory.text}<Bar gauge={memory} /></td>
      <td class="number">{duration(Math.max(0, now - (moment(machine.state_since) ?? now)))}</td>
      <td class="number">{ago(machine.created_at, now)}</td>
    </tr>
  );
});
