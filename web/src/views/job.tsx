import type { JobRecord } from "../../generated/api.ts";
import { address, call } from "../api/call.ts";
import { askCancel } from "../api/deeds.tsx";
import { useMay } from "../api/session.ts";
import { useNow } from "../live/clock.ts";
import { useJobs, useMachines, usePools } from "../live/live.ts";
import { isFinal } from "../live/state.ts";
import { plain } from "../log/buffer.ts";
import { LogView } from "../log/view.tsx";
import { to } from "../router.ts";
import { Icon } from "../ui/icons.tsx";
import { FaultBox, useLoad } from "../ui/load.tsx";
import { State } from "../ui/state.tsx";
import { Ago, Clip } from "../ui/text.tsx";
import { WaterfallTable } from "../ui/waterfall.tsx";
import { block, shown } from "../words/clip.ts";
import { poolOf } from "../words/counts.ts";
import { isIdleRunner, jobTitle, outcomeWords, programText, runnerOf, waitsAtForge, whyLine } from "../words/job.ts";
import { jobTook, waterfall } from "../words/phases.ts";
import { bytes, duration } from "../words/time.ts";
import { safeLink } from "../words/link.ts";

/** One job: the live one, or, where it is not among those, as it was asked for. */
export function Job({ id, query }: { id: string; query: URLSearchParams }) {
  const living = useJobs().get(id);
  // It is asked for in any case: what is live leaves out the long parts.
  const asked = useLoad(() => call("GET /api/v1/jobs/{id}", { id }), [id, living?.state]);
  const job = living ?? asked.value;
  // What goes on, and is not among the live ones any more, is not as it was asked for: the fault says how it is.
  if (!living && asked.fault && !(job && isFinal(job.state))) {
    return job && waitsAtForge(job) ? <Taken job={job} /> : <FaultBox fault={asked.fault} again={asked.again} />;
  }
  if (!job) return <p class="loading" role="status">Loading…</p>;
  const line = Number(query.get("line"));
  return (
    <article class="job">
      <Head job={job} />
      <div class="columns narrow">
        <div>
          <Why job={job} />
          <Phases job={job} />
        </div>
        <Facts job={job} />
      </div>
      <More job={job} whole={asked.value} />
      <section aria-labelledby="log-title">
        <h2 id="log-title">Log</h2>
        {waitsAtForge(job)
          ? <p class="empty">It waits at its forge. When a runner of this server takes it, its log is that runner’s.</p>
          : (
            // A new attempt begins a new log.
            <LogView
              key={`${job.id} ${job.attempt}`}
              source={address("GET /api/v1/jobs/{id}/log/events", { id: job.id, follow: true })}
              download={address("GET /api/v1/jobs/{id}/log", { id: job.id })}
              name={`${job.id}.log`}
              line={line > 0 ? line - 1 : undefined}
              linkTo={(number) => `${to("jobs", job.id)}?line=${number + 1}`}
              empty={job.state === "queued" ? "It waits; its log begins when it runs." : "It has written nothing."}
            />
          )}
      </section>
    </article>
  );
}

/** A job that waited at its forge and waits no more: its id went with the wait. */
function Taken({ job }: { job: JobRecord }) {
  const runner = runnerOf(job, useJobs().values());
  const page = safeLink(job.remote?.url);
  return (
    <article class="job">
      <header class="head">
        <p class="trail"><a href="#/jobs">Jobs</a> / <code>{job.id}</code></p>
        <h1><Clip text={jobTitle(job)} most={200} /></h1>
      </header>
      <p class="note">
        <Icon name="clock" />
        <span>
          It waits at its forge no more.{" "}
          {runner
            ? <>A runner of this server has it: <a href={to("jobs", runner.id)}>job <code>{runner.id}</code></a>.</>
            : <>A runner took it, or it was cancelled. A runner’s job here has an id of its own: <a href="#/jobs">all jobs</a>.</>}
          {page && <> <a href={page} target="_blank" rel="noreferrer noopener"><Icon name="external" />At its forge</a></>}
        </span>
      </p>
    </article>
  );
}

function Head({ job }: { job: JobRecord }) {
  // What waits at its forge can be cancelled only there.
  const mayCancel = useMay("operator") && !isFinal(job.state) && !waitsAtForge(job);
  const page = safeLink(job.remote?.url);
  return (
    <header class="head">
      <p class="trail"><a href="#/jobs">Jobs</a> / <code>{job.id}</code></p>
      <h1><Clip text={jobTitle(job)} most={200} /></h1>
      <div class="line">
        <State state={job.state} {...(isIdleRunner(job) ? { text: "waits for a job" } : {})} />
        {job.remote?.repository && <span><Clip text={job.remote.repository} /></span>}
        {job.remote?.git_ref && <code><Clip text={job.remote.git_ref} most={60} /></code>}
        {job.remote?.actor && <span>by <Clip text={job.remote.actor} most={60} /></span>}
        {page && <a href={page} target="_blank" rel="noreferrer noopener"><Icon name="external" />At its forge</a>}
        <span class="grow" />
        {mayCancel && <button type="button" class="danger" disabled={job.cancel_requested} onClick={() => askCancel(job)}>{job.cancel_requested ? "Being cancelled…" : "Cancel…"}</button>}
      </div>
    </header>
  );
}

function Why({ job }: { job: JobRecord }) {
  const why = whyLine(job);
  if (!why) return null;
  return (
    <p class={`note ${job.waiting ? "wait" : isFinal(job.state) && job.state !== "succeeded" ? "bad" : ""}`}>
      <Icon name={job.waiting ? "clock" : "warn"} />
      <span>{job.waiting && <b>Waits: </b>}{why}</span>
    </p>
  );
}

function Phases({ job }: { job: JobRecord }) {
  const now = useNow();
  const machines = useMachines();
  const starting = job.waiting?.kind === "starting" ? job.waiting.machine : undefined;
  const machine = machines.get(job.machine ?? starting ?? "");
  return (
    <section class="panel" aria-labelledby="phases-title">
      <h2 id="phases-title">Where the time went <small>{duration(jobTook(job, now))}</small></h2>
      <WaterfallTable of={waterfall(job, machine, now)} caption="The phases of this job" />
    </section>
  );
}

function Facts({ job }: { job: JobRecord }) {
  const machines = useMachines();
  const pool = poolOf(job);
  const cpu = (job.usage.user_us + job.usage.system_us) / 1000;
  return (
    <dl class="panel facts">
      <div><dt>Pool</dt><dd>{pool ? <a href={to("pools", pool)}><Clip text={pool} most={80} /></a> : "–"}</dd></div>
      <div>
        <dt>Machine</dt>
        <dd>{job.machine ? (machines.has(job.machine) ? <a href={to("machines", job.machine)}><Clip text={job.machine} most={80} /></a> : <><Clip text={job.machine} most={80} /> <small>(gone)</small></>) : "–"}</dd>
      </div>
      <div><dt>Came</dt><dd><Ago at={job.remote?.queued_at ?? job.queued_at} /></dd></div>
      <div><dt>Attempt</dt><dd>{job.attempt || "–"}</dd></div>
      {isFinal(job.state) && <div><dt>Outcome</dt><dd>{outcomeWords(job)}</dd></div>}
      {cpu > 0 && <div><dt>Processor</dt><dd>{duration(cpu)}</dd></div>}
      {job.usage.max_rss_kib > 0 && <div><dt>Memory</dt><dd>{bytes(job.usage.max_rss_kib * 1024)} at most</dd></div>}
      {job.usage.oom_kills > 0 && <div class="bad"><dt>Out of memory</dt><dd>{job.usage.oom_kills} processes were killed</dd></div>}
      {job.spec.image && <div><dt>Image</dt><dd><Clip text={job.spec.image} most={80} /></dd></div>}
      {job.remote?.runner && <div><dt>Runner</dt><dd><Clip text={job.remote.runner} most={80} /></dd></div>}
      {(job.remote?.labels ?? job.spec.labels ?? []).length > 0 && <div><dt>Labels</dt><dd><Clip text={(job.remote?.labels ?? job.spec.labels ?? []).join(", ")} /></dd></div>}
    </dl>
  );
}

/** What is there only sometimes. */
function More({ job, whole }: { job: JobRecord; whole: JobRecord | undefined }) {
  const pool = usePools().get(job.pool ?? "");
  const program = programText(whole ?? job);
  const artifacts = isFinal(job.state) ? (whole?.spec.artifacts ?? []) : [];
  const services = job.attempt > 0 ? (pool?.spec.services ?? []) : [];
  const last = job.autopsy;
  return (
    <>
      {job.notes.length > 0 && <ul class="panel notes">{job.notes.map((note) => <li key={note}><Clip text={note} most={500} /></li>)}</ul>}
      {last && (
        <details class="panel">
          <summary>What was known of the machine that was lost</summary>
          <p>It was {last.state}, at the step {last.step}{last.vmm ? `; ${last.vmm}` : ""}{last.oom_kills > 0 ? `; killed for memory ${last.oom_kills} times` : ""}.</p>
          <pre tabIndex={0} aria-label="The end of its console">{shown(plain(last.console_tail).slice(-8192).toWellFormed())}</pre>
        </details>
      )}
      {program && (
        <details class="panel">
          <summary>What it runs</summary>
          <pre tabIndex={0} aria-label="What it runs">{block(program, 20_000)}</pre>
        </details>
      )}
      {(artifacts.length > 0 || services.length > 0) && (
        <p class="downloads">
          {artifacts.map((path, index) => (
            <a key={path} download href={address("GET /api/v1/jobs/{id}/artifacts/{index}", { id: job.id, index }).href}>
              <Icon name="down" /><Clip text={path} most={60} />
            </a>
          ))}
          {services.map(({ name }) => (
            <a key={name} download={`${job.id}-${name}.log`} href={address("GET /api/v1/jobs/{id}/services/{service}/log", { id: job.id, service: name }).href}>
              <Icon name="down" />log of {name}
            </a>
          ))}
        </p>
      )}
    </>
  );
}
