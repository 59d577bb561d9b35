// Where the seconds of a job went: its phases as spans of time, as far as they are known.
import type { JobRecord, MachineView } from "../../generated/api.ts";
import { isFinal } from "../live/state.ts";
import { moment } from "./time.ts";

export const PHASES = ["queued", "image", "net", "spawn", "kernel", "agent", "runner", "job", "teardown"] as const;
export type PhaseName = (typeof PHASES)[number];

/** What happens in each phase. */
export const PHASE_WORDS: Record<PhaseName, string> = {
  queued: "waits for a machine",
  image: "root image and scratch disk",
  net: "network",
  spawn: "VMM started",
  kernel: "kernel boots",
  agent: "agent makes the machine ready",
  runner: "work delivered until it runs",
  job: "the work itself",
  teardown: "everything undone",
};

const BOOT: readonly PhaseName[] = ["image", "net", "spawn", "kernel", "agent"];
/** What a machine does once it has a job. */
const JOB: readonly PhaseName[] = ["runner", "job", "teardown"];

export interface Span {
  phase: PhaseName;
  /** Milliseconds since 1970. */
  start: number;
  end: number;
  /** It goes on. */
  open: boolean;
}

export interface Waterfall {
  /** When the job came. What ended before cost it nothing. */
  from: number;
  to: number;
  spans: Span[];
  /** Done before the job came, by a machine that was kept ready. */
  before: Span[];
}

/** A job's phases. `machine` is its machine, while there is one. */
export function waterfall(job: JobRecord, machine: MachineView | undefined, now: number): Waterfall {
  const queued = cameAt(job, now);
  const assigned = moment(job.assigned_at);
  const started = moment(job.remote ? job.remote.picked_up_at : job.started_at);
  const finished = moment(job.finished_at) ?? (isFinal(job.state) ? (started ?? assigned ?? queued) : undefined);
  const end = finished ?? now;
  const taken = job.remote ? (started ?? (isFinal(job.state) ? undefined : assigned)) : assigned;
  const begun = boot(job, machine, assigned, now);
  const all: Span[] = [span("queued", queued, Math.max(queued, taken ?? end), taken === undefined && finished === undefined), ...begun];
  if (assigned !== undefined) {
    const online = job.remote ? runnerEnd(job, assigned, end) : (moment(job.started_at) ?? end);
    all.push(span("runner", assigned, online, online === end && finished === undefined));
  }
  if (started !== undefined) all.push(span("job", started, end, finished === undefined));
  const teardown = job.phases["teardown"];
  if (teardown !== undefined) all.push(span("teardown", end, end + teardown / 1000, false));
  // Without its machine it is not known when the boot was: it was for this job, or it was not.
  const warm = !machine && assigned !== undefined && leastTook(job) > assigned - queued;
  const costs = (one: Span) => (!machine && begun.includes(one) ? !warm : one.open || one.end > queued || one.phase === "queued");
  const [spans, before] = [all.filter(costs), all.filter((one) => !costs(one))];
  return { from: queued, to: Math.max(end, ...spans.map((one) => one.end), queued + 1), spans, before };
}

/** The least time in which the machine can have booted: its disk and its network are made at the same time. */
function leastTook({ phases }: JobRecord): number {
  return BOOT.reduce((sum, phase) => sum + (phase === "net" ? 0 : (phases[phase] ?? 0) / 1000), 0);
}

/** When the job came: at its forge, where it comes from one. */
function cameAt(job: JobRecord, now: number): number {
  const here = moment(job.queued_at) ?? now;
  return moment(job.remote?.queued_at) ?? moment(job.remote?.picked_up_at) ?? here;
}

/** When a forge's runner was online. */
function runnerEnd(job: JobRecord, assigned: number, end: number): number {
  const took = job.phases["runner"];
  return took === undefined ? Math.min(moment(job.started_at) ?? end, end) : assigned + took / 1000;
}

/** How the machine came to be ready: from its row's beginning, or, once the row is gone, up to when it got the job. */
function boot(job: JobRecord, machine: MachineView | undefined, assigned: number | undefined, now: number): Span[] {
  const times = machine?.phases ?? job.phases;
  const known = BOOT.filter((phase) => times[phase] !== undefined);
  const took = known.reduce((sum, phase) => sum + (times[phase] ?? 0) / 1000, 0);
  let at = machine ? (moment(machine.created_at) ?? now) : (assigned ?? now) - took;
  const spans: Span[] = [];
  for (const phase of known) {
    const end = at + (times[phase] ?? 0) / 1000;
    spans.push(span(phase, at, end, false));
    at = end;
  }
  const next = BOOT[known.length];
  if (machine && (machine.state === "creating" || machine.state === "booting") && next !== undefined) {
    spans.push(span(next, at, Math.max(at, now), true));
  }
  return spans;
}

/** A machine's own phases, from its beginning. What is known of them is how long they took, and when its state began. */
export function machineWaterfall(machine: MachineView, now: number): Waterfall {
  const from = moment(machine.created_at) ?? now;
  const took = (phase: PhaseName) => (machine.phases[phase] ?? 0) / 1000;
  const known = (phase: PhaseName) => machine.phases[phase] !== undefined;
  const spans: Span[] = [];
  let at = from;
  const put = (phase: PhaseName, open: boolean) => {
    const end = open ? Math.max(at, now) : at + took(phase);
    spans.push(span(phase, at, end, open));
    at = end;
  };
  for (const phase of BOOT.filter(known)) put(phase, false);
  const next = BOOT[spans.length];
  if (machine.state === "creating" || machine.state === "booting") {
    if (next !== undefined) put(next, true);
    return { from, to: Math.max(from + 1, at), spans, before: [] };
  }
  // A machine may have been ready for hours until its job came: what the job made it do came right before this state.
  const since = Math.max(at, moment(machine.state_since) ?? at);
  const done = JOB.filter(known);
  at = Math.max(at, since - done.reduce((sum, phase) => sum + took(phase), 0));
  for (const phase of done) put(phase, false);
  const going: Partial<Record<string, PhaseName>> = { starting: "runner", busy: "job", stopping: "teardown" };
  const open = going[machine.state];
  if (open !== undefined && !done.includes(open)) {
    at = Math.max(at, since);
    put(open, true);
  }
  return { from, to: Math.max(from + 1, at), spans, before: [] };
}

function span(phase: PhaseName, start: number, end: number, open: boolean): Span {
  return { phase, start, end: Math.max(start, end), open };
}

/** How long a job has taken, from its coming to its end, or until now. */
export function jobTook(job: JobRecord, now: number): number {
  const end = moment(job.finished_at) ?? now;
  return Math.max(0, end - cameAt(job, now));
}
