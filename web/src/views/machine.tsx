import type { MachineView } from "../../generated/api.ts";
import { address } from "../api/call.ts";
import { askDestroy, askHold, askUnhold } from "../api/deeds.tsx";
import { useMay } from "../api/session.ts";
import { useUsage } from "../api/usage.ts";
import { useNow } from "../live/clock.ts";
import { useJobs, useLive, useMachines } from "../live/live.ts";
import { LogView } from "../log/view.tsx";
import { to } from "../router.ts";
import { Shell } from "../shell/shell.tsx";
import { Icon } from "../ui/icons.tsx";
import { Measure } from "../ui/measure.tsx";
import { State } from "../ui/state.tsx";
import { Ago, Clip, Since } from "../ui/text.tsx";
import { WaterfallTable } from "../ui/waterfall.tsx";
import { jobTitle } from "../words/job.ts";
import { cpuGauge, hasGuest, memoryGauge, startWords } from "../words/machine.ts";
import { machineWaterfall } from "../words/phases.ts";
import { duration, full, mib } from "../words/time.ts";

export function Machine({ id, part }: { id: string; part: string | undefined }) {
  const machine = useMachines().get(id);
  const loaded = useLive() !== undefined;
  const mayEnter = useMay("operator");
  if (!machine) {
    return loaded
      ? <><h1>Machine <Clip text={id} most={80} /></h1><p class="empty">It is gone: each machine is for one job and ends with it. <a href="#/machines">All machines</a></p></>
      : <p class="loading" role="status">Waiting for the server…</p>;
  }
  const shell = part === "shell" && mayEnter;
  return (
    <article class="machine">
      <Head machine={machine} />
      <nav class="tabs" aria-label="Of this machine">
        <a href={to("machines", id)} aria-current={shell ? undefined : "page"}>What it does</a>
        {mayEnter && <a href={to("machines", id, "shell")} aria-current={shell ? "page" : undefined}><Icon name="shell" />Shell</a>}
      </nav>
      {shell ? <ShellPart machine={machine} /> : <About machine={machine} />}
    </article>
  );
}

function Head({ machine }: { machine: MachineView }) {
  const may = useMay("operator") && machine.state !== "stopping";
  const held = machine.state === "held";
  // Of a job, cancelling it is the way; the machine goes with it.
  const works = !held && machine.job != null;
  return (
    <header class="head">
      <p class="trail"><a href="#/machines">Machines</a></p>
      <h1><code>{machine.id}</code></h1>
      <div class="line">
        <State state={machine.state} />
        <span>for <Since at={machine.state_since} /></span>
        {machine.held_until && <span>until {full(machine.held_until)}</span>}
        {machine.hold_secs != null && <span>to be held for {duration(machine.hold_secs * 1000)} after its job</span>}
        <span class="grow" />
        {may && works && <button type="button" onClick={() => askHold(machine)}>Hold…</button>}
        {may && works && machine.hold_secs != null && <button type="button" onClick={() => askUnhold(machine)}>Do not hold…</button>}
        {may && !works && <button type="button" class="danger" onClick={() => askDestroy(machine)}>{held ? "Let go…" : "Destroy…"}</button>}
      </div>
    </header>
  );
}

function About({ machine }: { machine: MachineView }) {
  const now = useNow();
  return (
    <>
      {machine.failure && <p class="note bad"><Icon name="warn" /><Clip text={machine.failure.message} most={2000} /></p>}
      {machine.unrecorded && <p class="note wait"><Icon name="clock" /><span>Its job’s result is known, but not recorded yet: <Clip text={machine.unrecorded.why} most={1000} /></span></p>}
      <div class="columns narrow">
        <section class="panel" aria-labelledby="phases-title">
          <h2 id="phases-title">Its phases</h2>
          <WaterfallTable of={machineWaterfall(machine, now)} caption="The phases of this machine" />
        </section>
        <Facts machine={machine} />
      </div>
      <section aria-labelledby="console-title">
        <h2 id="console-title">Console</h2>
        <LogView
          raw
          source={address("GET /api/v1/machines/{id}/console", { id: machine.id, follow: true })}
          download={address("GET /api/v1/machines/{id}/console", { id: machine.id })}
          name={`${machine.id}-console.log`}
          empty="Its kernel has written nothing."
        />
      </section>
    </>
  );
}

function Facts({ machine }: { machine: MachineView }) {
  const job = useJobs().get(machine.job ?? "");
  const usage = useUsage(machine.id).get(machine.id);
  const { shape } = machine;
  return (
    <dl class="panel facts">
      <div><dt>Pool</dt><dd><a href={to("pools", machine.pool)}>{machine.pool}</a></dd></div>
      <div><dt>Job</dt><dd>{machine.job ? <a href={to("jobs", machine.job)}><Clip text={job ? jobTitle(job) : machine.job} most={80} /></a> : "none"}</dd></div>
      <div><dt>Step</dt><dd>{machine.step}</dd></div>
      <div><dt>Began as</dt><dd>{startWords(machine)}</dd></div>
      <Measure name="Processors" gauge={cpuGauge(machine, usage)} />
      <Measure name="Memory" gauge={memoryGauge(machine, usage)} />
      <div><dt>Disk</dt><dd>{mib(shape.disk_mib)}</dd></div>
      <div><dt>Image</dt><dd><Clip text={shape.image} most={100} /></dd></div>
      <div><dt>Address</dt><dd>{machine.address ?? "–"}</dd></div>
      <div><dt>Process</dt><dd>{machine.pid ?? "–"}</dd></div>
      <div><dt>Made</dt><dd><Ago at={machine.created_at} /></dd></div>
    </dl>
  );
}

function ShellPart({ machine }: { machine: MachineView }) {
  if (!hasGuest(machine)) return <p class="empty">A shell can be had once its guest answers; it is {machine.state} now.</p>;
  return (
    <>
      {machine.job && machine.state !== "held" && (
        <p class="note"><Icon name="warn" /><span>A job runs in this machine. What you do there, you do to it; who did it is in the server’s log.</span></p>
      )}
      <Shell id={machine.id} />
    </>
  );
}
