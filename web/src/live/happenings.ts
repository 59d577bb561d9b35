// What happened, in words, told from what was before a change and what is after it.
import type { JobRecord, LiveDelta, MachineView, PoolView } from "../../generated/api.ts";
import { isIdleRunner, jobTitle, outcomeWords } from "../words/job.ts";
import { moment } from "../words/time.ts";
import { to } from "../router.ts";
import type { LiveState } from "./state.ts";

export interface Happening {
  at: string;
  /** The state that it came to; gives mark and colour. */
  state: string;
  text: string;
  /** Where more is. */
  link: string;
}

/** What happened between two states while nobody listened, as far as it shows, in its order. `at`: when it is not known when. */
export function missed(before: LiveState, after: LiveState, at: string): Happening[] {
  const { jobs, machines, pools, revision } = after;
  const all = { revision, at, jobs: [...jobs.values()], machines: [...machines.values()], pools: [...pools.values()] };
  return happenings(before, after, all).sort((a, b) => (moment(a.at) ?? 0) - (moment(b.at) ?? 0));
}

export function happenings(before: LiveState, after: LiveState, delta: LiveDelta): Happening[] {
  const at = delta.at;
  return [
    ...(delta.jobs ?? []).flatMap((job) => ofJob(before.jobs.get(job.id), job, at)),
    ...(delta.machines ?? []).flatMap((machine) => ofMachine(before.machines.get(machine.id), machine)),
    ...(delta.pools ?? []).flatMap((pool) => ofPool(before.pools.get(pool.spec.name), pool, at)),
    ...ofHost(before, after, at),
  ];
}

function ofJob(before: JobRecord | undefined, job: JobRecord, at: string): Happening[] {
  // A forge's runner runs a job from when it has picked one up.
  const begun = before !== undefined && isIdleRunner(before) && !isIdleRunner(job);
  if (before?.state === job.state && before.attempt === job.attempt && !begun) return [];
  if (job.state === "assigned" || isIdleRunner(job)) return [];
  const words: Record<string, string> = {
    queued: before ? `waits again${job.reason ? `: ${job.reason}` : ""}` : "was queued",
    running: `runs${job.pool ? ` in pool ${job.pool}` : ""}`,
  };
  const text = `${jobTitle(job)} ${words[job.state] ?? `ended: ${outcomeWords(job)}`}`;
  const began = job.state === "queued" ? (before ? undefined : job.queued_at) : job.state === "running" ? (job.remote?.picked_up_at ?? job.started_at) : job.finished_at;
  return [{ at: began ?? at, state: job.state, text, link: to("jobs", job.id) }];
}

function ofMachine(before: MachineView | undefined, machine: MachineView): Happening[] {
  const link = to("machines", machine.id);
  if (machine.failure && !before?.failure) {
    return [{ at: machine.state_since, state: "failed", text: `Machine ${machine.id} failed: ${machine.failure.message}`, link }];
  }
  if (machine.state === "held" && before?.state !== "held") {
    return [{ at: machine.state_since, state: "held", text: `Machine ${machine.id} is held to be looked into`, link }];
  }
  return [];
}

function ofPool(before: PoolView | undefined, pool: PoolView, at: string): Happening[] {
  if (!before) return [];
  const name = pool.spec.name;
  const say = (state: string, text: string) => [{ at, state, text, link: to("pools", name) }];
  if (before.paused !== pool.paused) {
    return say(pool.paused ? "paused" : "ready", `Pool ${name} ${pool.paused ? "was paused" : "takes work again"}`);
  }
  if (pool.problem && pool.problem !== before.problem) return say("failed", `Pool ${name}: ${pool.problem}`);
  if (pool.backoff && pool.backoff.failures !== before.backoff?.failures) {
    return say("failed", `Pool ${name} waits after ${pool.backoff.failures} failures: ${pool.backoff.reason}`);
  }
  return [];
}

function ofHost(before: LiveState, after: LiveState, at: string): Happening[] {
  const [was, is] = [before.host.drained, after.host.drained];
  if (Boolean(was) === Boolean(is)) return [];
  const text = is ? `The host was drained${is.why ? `: ${is.why}` : ""}` : "The host takes work again";
  return [{ at, state: is ? "paused" : "ready", text, link: "#/" }];
}
