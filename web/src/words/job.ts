// Jobs in words.
import type { JobRecord, Outcome, WaitReason } from "../../generated/api.ts";
import { isFinal } from "../live/state.ts";
import { clipped } from "./clip.ts";
import { clock } from "./time.ts";

/** What to call it: what its forge calls it, its own name, or what it runs. */
export function jobTitle(job: JobRecord): string {
  const remote = job.remote;
  const parts = [remote?.workflow, remote?.name].filter(Boolean);
  if (parts.length > 0) return clipped(parts.join(" / "));
  if (job.spec.name) return clipped(job.spec.name);
  if (remote?.runner) return clipped(remote.runner);
  return clipped(programText(job)) || job.id;
}

/** What it runs, in a line or several. */
export function programText(job: JobRecord): string {
  const program = job.spec.program;
  if ("script" in program) return program.script.text.trim();
  if ("command" in program) return program.command.argv.join(" ");
  return program.image.args.join(" ");
}

/** A runner of a forge that has no job yet. */
export function isIdleRunner(job: JobRecord): boolean {
  return (job.state === "assigned" || job.state === "running") && job.remote != null && !job.remote.picked_up_at;
}

/** A job that waits at its forge, of which this server has heard. Its id goes with the wait. */
export function waitsAtForge(job: JobRecord): boolean {
  return job.state === "queued" && job.remote != null;
}

/** The runner that has taken a job that waited at its forge: it has a row, and an id, of its own. */
export function runnerOf(job: JobRecord, all: Iterable<JobRecord>): JobRecord | undefined {
  const wanted = job.remote;
  if (wanted?.id == null) return undefined;
  for (const one of all) {
    const has = one.remote;
    if (has?.picked_up_at && has.forge === wanted.forge && has.id === wanted.id) return one;
  }
  return undefined;
}

/** How it ended, in some words. */
export function outcomeWords(job: JobRecord): string {
  if (job.outcome) return outcome(job.outcome);
  return job.state.replaceAll("_", " ");
}

function outcome(how: Outcome): string {
  switch (how.outcome) {
    case "exited": return how.code === 0 ? "succeeded" : `exit code ${how.code}`;
    case "signalled": return `ended by signal ${how.signal}`;
    case "timed_out": return "killed at its deadline";
    case "cancelled": return "cancelled";
    case "lost": return `lost: ${clipped(how.reason)}`;
    case "unstartable": return `could not be started: ${clipped(how.reason)}`;
    // Each that the API describes has its words, or this does not build. A newer server may have others.
    default: how satisfies never; return "ended";
  }
}

/** The one line that says why it is where it is; empty while all goes well. */
export function whyLine(job: JobRecord): string {
  if (job.waiting) return clipped(waitWords(job.waiting), 400);
  if (job.cancel_requested && !isFinal(job.state)) return "is being cancelled";
  return clipped(job.reason ?? "", 400);
}

/** Why it waits, with what to do where somebody can do something. */
export function waitWords(why: WaitReason): string {
  switch (why.kind) {
    case "no_pool":
      return why.nearest
        ? `No pool has all its labels: the nearest, ${why.nearest}, lacks ${why.lacks.map((label) => `“${label}”`).join(", ")}`
        : "No pool is active";
    case "drained": return `The host is drained${why.why ? `: ${why.why}` : ""}`;
    case "paused": return `Pool ${why.pool} is paused`;
    case "image": {
      const far = why.percent == null ? why.status : `${why.status}, ${why.percent} %`;
      return `Its image ${why.image} is being fetched (${far})`;
    }
    case "starting": return `Machine ${why.machine} is starting for it (${why.state})`;
    case "backing_off":
      return `${why.failures} machines failed in a row; next attempt at ${clock(why.until)}: ${why.error}`;
    case "too_large": return `It needs a machine larger than this host's whole budget`;
    case "pool_at_maximum":
      return why.max === 0
        ? `Pool ${why.pool} may have no machines`
        : `All ${why.max} machines of pool ${why.pool} are in use`;
    case "host_full":
      return why.held
        ? `The host is full; ${why.held} held machines take ${why.held_mib ?? 0} MiB of it`
        : "The host's budget of processors or memory is used up";
    case "recording": return `It has ended, but the result could not be recorded yet: ${why.why}`;
    case "turn": return "A machine is about to be started for it";
    default: why satisfies never; return "It waits";
  }
}
