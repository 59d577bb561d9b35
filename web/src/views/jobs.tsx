import { useMemo } from "preact/hooks";
import type { JobRecord, MachineView } from "../../generated/api.ts";
import { useNow } from "../live/clock.ts";
import { useJobs, useLoaded, useMachines } from "../live/live.ts";
import { isFinal } from "../live/state.ts";
import { to } from "../router.ts";
import { Chips, Choice, Search } from "../ui/filters.tsx";
import { useSteps } from "../ui/more.tsx";
import { pure } from "../ui/pure.tsx";
import { State } from "../ui/state.tsx";
import { Clip } from "../ui/text.tsx";
import { MiniWaterfall } from "../ui/waterfall.tsx";
import { poolOf } from "../words/counts.ts";
import { counted, groupOf, GROUPS, matches, newestFirst } from "../words/filter.ts";
import { isIdleRunner, jobTitle, outcomeWords, whyLine } from "../words/job.ts";
import { jobTook, waterfall } from "../words/phases.ts";
import { ago, duration, full } from "../words/time.ts";

export function Jobs({ query }: { query: URLSearchParams }) {
  const loaded = useLoaded();
  const jobs = useJobs();
  const machines = useMachines();
  const now = useNow();
  const text = query.get("q") ?? "";
  const [pool, repository, group] = [query.get("pool") ?? "", query.get("repo") ?? "", query.get("state") ?? ""];
  const all = useMemo(() => [...jobs.values()].sort(newestFirst), [jobs]);
  const narrowed = useMemo(
    () => all.filter(
      (job) => (pool === "" || poolOf(job) === pool) && (repository === "" || job.remote?.repository === repository) && matches(job, text),
    ),
    [all, pool, repository, text],
  );
  const chosen = useMemo(() => (group === "" ? narrowed : narrowed.filter((job) => groupOf(job) === group)), [narrowed, group]);
  const counts = useMemo(() => counted(narrowed, groupOf), [narrowed]);
  const { shown, more } = useSteps(chosen);
  const options = [
    { value: "", label: "All", count: narrowed.length },
    ...GROUPS.map((one) => ({ ...one, count: counts.get(one.value) ?? 0 }))
      // Only forges have runners that stand by.
      .filter((one) => one.value !== "idle" || one.count > 0 || group === one.value),
  ];
  return (
    <>
      <h1>Jobs</h1>
      <div class="filters">
        <Search value={text} label="Search jobs" />
        <Chips name="state" value={group} options={options} />
        <Choice name="pool" label="Pool" value={pool} options={distinct(all.map(poolOf))} />
        <Choice name="repo" label="Repository" value={repository} options={distinct(all.map((job) => job.remote?.repository))} />
      </div>
      {!loaded && <p class="loading" role="status">Waiting for the server…</p>}
      {loaded && chosen.length === 0 && <Nothing any={all.length > 0} />}
      {chosen.length > 0 && (
        <table class="list jobs">
          <caption class="unseen">{chosen.length} jobs, newest first</caption>
          <thead>
            <tr>
              <th scope="col">State</th><th scope="col">Job</th><th scope="col">Pool</th>
              <th scope="col">Where the time went</th><th scope="col" class="number">Took</th><th scope="col" class="number">Came</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((job) => (
              <Row key={job.id} job={job} machine={job.machine ? machines.get(job.machine) : undefined} now={isFinal(job.state) ? minute(now) : now} />
            ))}
          </tbody>
        </table>
      )}
      {more}
    </>
  );
}

/** What has ended changes its looks once a minute. */
function minute(now: number): number {
  return Math.floor(now / 60_000) * 60_000;
}

const Row = pure(({ job, machine, now }: { job: JobRecord; machine: MachineView | undefined; now: number }) => {
  const why = whyLine(job);
  const repository = job.remote?.repository;
  return (
    <tr>
      <td><State state={job.state} {...(isIdleRunner(job) ? { text: "waits for a job" } : {})} /></td>
      <td class="main">
        <a data-row href={to("jobs", job.id)}><Clip text={jobTitle(job)} most={120} /></a>
        <p>
          {repository && <b><Clip text={repository} most={80} /></b>}
          {why && <span class={isFinal(job.state) ? "why" : "why live"}><Clip text={why} most={220} /></span>}
          {!why && isFinal(job.state) && job.state !== "succeeded" && <span class="why">{outcomeWords(job)}</span>}
          {job.attempt > 1 && <span class="why">attempt {job.attempt}</span>}
        </p>
      </td>
      <td><Clip text={poolOf(job) ?? "–"} most={28} /></td>
      <td><MiniWaterfall of={waterfall(job, machine, now)} /></td>
      <td class="number">{duration(jobTook(job, now))}</td>
      <td class="number"><time dateTime={job.queued_at} title={full(job.queued_at)}>{ago(job.queued_at, now)}</time></td>
    </tr>
  );
});

function Nothing({ any }: { any: boolean }) {
  return any
    ? <p class="empty">No job is like that. <a href="#/jobs">All jobs</a></p>
    : <p class="empty">No job has come yet. A forge’s job comes by itself; <code>fireactions run -- make test</code> queues one here.</p>;
}

function distinct(values: readonly (string | null | undefined)[]): string[] {
  return [...new Set(values.filter((value): value is string => Boolean(value)))].sort();
}
