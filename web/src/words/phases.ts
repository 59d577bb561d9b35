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

const BOOT = ["image", "net", "spawn", "kernel", "agent"] as const;

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
  const all: Span[] = [span("queued", queued, Math.max(queued, taken ?? end), taken === undefined && finished === undefined)];
  all.push(...boot(job, machine, assigned, now));
  if (assigned !== undefined) {
    const online = job.remote ? runnerEnd(job, assigned, end) : (moment(job.started_at) ?? end);
    all.push(span("runner", assigned, online, online === end && finished === undefined));
  }
  if (started !== undefined) all.push(span("job", started, end, finished === undefined));
  const teardown = job.phases["teardown"];
  if (teardown !== undefined) all.push(span("teardown", end, end + teardown / 1000, false));
  const spans = all.filter((one) => one.open || one.end > queued || one.phase === "queued");
  const before = all.filter((one) => !spans.includes(one));
  return { from: queued, to: Math.max(end, ...spans.map((one) => one.end), queued + 1), spans, before };
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

/** A machine's own phases, from its beginning. */
export function machineWaterfall(machine: MachineView, now: number): Waterfall {
  const from = moment(machine.created_at) ?? now;
  const spans: Span[] = [];
  let at = from;
  for (const phase of PHASES) {
    const took = machine.phases[phase];
    if (took === undefined || phase === "queued") continue;
    spans.push(span(phase, at, at + took / 1000, false));
    at += took / 1000;
  }
  const going: Partial<Record<string, PhaseName>> = {
    creating: "image", booting: "kernel", starting: "runner", busy: "job", stopping: "teardown",
  };
  const open = going[machine.state];
  if (open !== undefined) {
    const since = moment(machine.state_since) ?? at;
    const begin = open === "image" || open === "kernel" ? at : Math.max(at, since);
    spans.push(span(open, begin, Math.max(begin, now), true));
  }
  return { from, to: Math.max(from + 1, ...spans.map((one) => one.end)), spans, before: [] };
}

function span(phase: PhaseName, start: number, end: number, open: boolean): Span {
  return { phase, start, end: Math.max(start, end), open };
}

/** How long a job has taken, from its coming to its end, or until now. */
export function jobTook(job: JobRecord, now: number): number {
  const end = moment(job.finished_at) ?? now;
  return Math.max(0, end - cameAt(job, now));
}
