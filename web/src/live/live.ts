// The page's one live state, and its hooks.
import type { JobRecord } from "../../generated/api.ts";
import { url } from "../api/base.ts";
import { now, serverSaid } from "./clock.ts";
import { type Happening, happenings, missed } from "./happenings.ts";
import type { LiveState } from "./state.ts";
import { Store, useStore } from "./store.ts";
import { type Connection, Stream } from "./stream.ts";

export const live = new Store<LiveState | undefined>(undefined);
export const connection = new Store<Connection>({ kind: "connecting" });
export const lately = new Store<readonly Happening[]>([]);

/** The server is not of the version any more that this page is of. */
export const outdated = new Store(false);
let version: string | undefined;

/** Snapshots after the first: by each, the server may be another, and what was asked of it once is to be asked again. */
export const renewals = new Store(0);

/** Happenings that are kept. */
const KEPT = 60;

let ask: () => Promise<string | undefined> = () => Promise.resolve(undefined);

/** Says how to find out why the stream is broken, as far as there is a reason: an EventSource does not tell. */
export function onBroken(find: () => Promise<string | undefined>): void {
  ask = find;
}

export const stream = new Stream({
  open: () => new EventSource(url("api/v1/live")),
  heard: (state, delta) => {
    const before = live.get();
    // A snapshot may be older than its sending: nothing had changed since.
    if (delta) serverSaid(delta.at);
    live.set(state);
    if (before && !delta) renewals.update((count) => count + 1);
    version ??= state.version.version;
    outdated.set(state.version.version !== version);
    if (before) {
      // After a rest, or while there was no connection, all of it is told at once.
      const news = delta ? happenings(before, state, delta) : missed(before, state, new Date(now()).toISOString());
      if (news.length > 0) lately.update((old) => [...news.reverse(), ...old].slice(0, KEPT));
    }
  },
  pinged: serverSaid,
  connection: (next) => {
    if (next.kind !== "lost") return connection.set(next);
    // Why the attempt before came to nothing holds until more is known.
    const before = connection.get();
    const lost = before.kind === "lost" && before.why ? { ...next, why: before.why } : next;
    connection.set(lost);
    // Of this loss, if it is not over by then.
    void ask().then((why) => connection.get() === lost && connection.set(why ? { ...next, why } : next));
  },
});

const isThere = (state: LiveState | undefined) => state !== undefined;
const whole = (state: LiveState | undefined) => state;
const poolsOf = (state: LiveState | undefined) => state?.pools ?? NONE;
const jobsOf = (state: LiveState | undefined) => state?.jobs ?? NONE;
const machinesOf = (state: LiveState | undefined) => state?.machines ?? NONE;
const NONE: ReadonlyMap<string, never> = new Map<string, never>();

const asIs = (count: number) => count;

export const useLive = () => useStore(live, whole);
/** Whether the server has said anything yet. Unlike the others, it has nobody drawn again by what changes later. */
export const useLoaded = () => useStore(live, isThere);
export const usePools = () => useStore(live, poolsOf);
export const useJobs = (): ReadonlyMap<string, JobRecord> => useStore(live, jobsOf);
export const useRenewals = () => useStore(renewals, asIs);
export const useMachines = () => useStore(live, machinesOf);
