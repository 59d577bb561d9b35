import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { apply, fromSnapshot } from "../../src/live/state.ts";
import { SILENCE, Stream } from "../../src/live/stream.ts";

const job = (id, state = "running", more = {}) => ({ id, state, finished_at: null, ...more });
const snapshot = (revision, more = {}) => ({
  revision, at: "2026-01-01T00:00:00Z", version: { version: "1" }, host: { machines: {} }, pools: [{ spec: { name: "p" } }], jobs: [job("a")],
  machines: [{ id: "m" }], ...more,
});

test("changes are put in, and what is gone is taken out", () => {
  const state = fromSnapshot(snapshot(4));
  const next = apply(state, { revision: 5, at: "", jobs: [job("a", "failed"), job("b")], gone: { machines: ["m"] } });
  assert.equal(next.jobs.get("a").state, "failed");
  assert.equal(next.jobs.size, 2);
  assert.equal(next.machines.size, 0);
  assert.equal(next.pools, state.pools, "what did not change is the same");
  assert.equal(state.machines.size, 1, "what was stays as it was");
});

test("limits stay as they are until they change", () => {
  const limits = [{ forge: "github", limits: [] }];
  const state = fromSnapshot(snapshot(4, { limits }));
  const next = apply(state, { revision: 5, at: "", host: { machines: { busy: 1 } } });
  assert.equal(next.limits, limits);
  assert.deepEqual(apply(next, { revision: 6, at: "", limits: [] }).limits, []);
  assert.deepEqual(fromSnapshot(snapshot(1)).limits, [], "a server of before");
});

test("a change that is not the next one is refused", () => {
  const state = fromSnapshot(snapshot(4));
  for (const revision of [3, 4, 6]) assert.equal(apply(state, { revision, at: "" }), undefined);
});

/** A stream with sources that the test speaks for. */
function world() {
  const sources = [];
  const heard = [];
  const connections = [];
  const stream = new Stream({
    open() {
      const listeners = new Map();
      const source = {
        closed: false,
        addEventListener: (name, listener) => listeners.set(name, listener),
        close() { this.closed = true; },
        say: (name, data) => listeners.get(name)?.({ data: typeof data === "string" ? data : JSON.stringify(data) }),
      };
      sources.push(source);
      return source;
    },
    heard: (state) => heard.push(state.revision),
    pinged: () => undefined,
    connection: (now) => connections.push(now.kind),
  });
  return { stream, sources, heard, connections };
}

test("a gap, nonsense, silence and an error each lead to a new connection and a new snapshot", () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  try {
    const breaks = [
      (source) => source.say("delta", { revision: 9, at: "" }),
      (source) => source.say("delta", "{ no JSON"),
      () => mock.timers.tick(SILENCE + 1),
      (source) => source.say("error", ""),
      (source) => source.say("ping", { revision: 3, at: "" }),
    ];
    for (const breaks_ of breaks) {
      const { stream, sources, heard, connections } = world();
      stream.start();
      sources[0].say("snapshot", snapshot(1));
      sources[0].say("delta", { revision: 2, at: "" });
      assert.deepEqual(heard, [1, 2]);
      breaks_(sources[0]);
      assert.equal(connections.at(-1), "lost", String(breaks_));
      assert.ok(sources[0].closed);
      // What an old source still says is not heard.
      sources[0].say("delta", { revision: 3, at: "" });
      mock.timers.tick(1000);
      assert.equal(sources.length, 2);
      sources[1].say("snapshot", snapshot(7));
      assert.deepEqual([heard.at(-1), connections.at(-1)], [7, "live"]);
      stream.stop();
    }
  } finally {
    mock.timers.reset();
  }
});

test("a stream that rests has no connection, is not called live, and goes on with a new snapshot", () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  try {
    const { stream, sources, heard, connections } = world();
    stream.start();
    sources[0].say("snapshot", snapshot(1));
    stream.stop();
    assert.deepEqual([sources[0].closed, connections.at(-1)], [true, "connecting"]);
    mock.timers.tick(10 * SILENCE);
    stream.hurry();
    assert.equal(sources.length, 1);
    stream.start();
    stream.hurry();
    assert.equal(sources.length, 2);
    sources[1].say("snapshot", snapshot(9));
    assert.deepEqual([heard, connections.at(-1)], [[1, 9], "live"]);
    stream.stop();
  } finally {
    mock.timers.reset();
  }
});

test("pings keep a quiet connection, and attempts become rarer", () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  try {
    const { stream, sources } = world();
    stream.start();
    sources[0].say("snapshot", snapshot(1));
    for (let n = 0; n < 10; n += 1) {
      mock.timers.tick(15_000);
      sources[0].say("ping", { revision: 1, at: "" });
    }
    assert.equal(sources.length, 1);
    const until = Date.now() + 60_000;
    sources[0].say("error", "");
    while (Date.now() < until) {
      mock.timers.tick(100);
      if (!sources.at(-1).closed) sources.at(-1).say("error", "");
    }
    assert.ok(sources.length > 4 && sources.length < 14, `${sources.length} attempts in a minute`);
    stream.stop();
    mock.timers.tick(60_000);
    assert.ok(sources.at(-1).closed);
  } finally {
    mock.timers.reset();
  }
});

test("what was asked for once is asked for again after each snapshot but the first", async () => {
  let source;
  globalThis.EventSource = class extends EventTarget {
    constructor() {
      super();
      source = this;
    }
    close() {}
  };
  Object.assign(globalThis, { document: { baseURI: "http://x/", hidden: true }, location: { hash: "" }, addEventListener: () => undefined });
  const { onBroken, connection, renewals, stream } = await import("../../src/live/live.ts");
  const whys = ["the server is away", undefined];
  onBroken(async () => whys.shift());
  const say = (name, data) => source.dispatchEvent(new MessageEvent(name, { data: JSON.stringify(data) }));
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  try {
    stream.start();
    say("snapshot", snapshot(1));
    say("delta", { revision: 2, at: "" });
    assert.equal(renewals.get(), 0);
    say("snapshot", snapshot(3));
    assert.equal(renewals.get(), 1);
    // Why it is lost is said until it is known otherwise, not anew with each attempt.
    say("error", "");
    for (const _ of [1, 2]) await null;
    assert.equal(connection.get().why, "the server is away");
    mock.timers.tick(1000);
    say("error", "");
    assert.equal(connection.get().why, "the server is away");
    for (const _ of [1, 2]) await null;
    assert.equal(connection.get().why, undefined);
    stream.stop();
  } finally {
    mock.timers.reset();
    delete globalThis.EventSource;
  }
});
