import assert from "node:assert/strict";
import { test } from "node:test";
import { machineWaterfall, waterfall } from "../../src/words/phases.ts";

const T = Date.parse("2026-01-01T12:00:00Z");
const at = (ms) => new Date(T + ms).toISOString();
const HOUR = 3_600_000;
const BOOT = { image: 1_000, net: 2_000, spawn: 3_000, kernel: 4_000, agent: 5_000 };
const spans = ({ spans: all }) => all.map((span) => [span.phase, span.start - T, span.end - T, span.open]);
const names = (all) => all.map((span) => span.phase);
const record = (more) => ({
  id: "j", spec: { program: { script: { text: "make" } }, labels: [] }, state: "succeeded", attempt: 1, phases: {}, remote: null,
  queued_at: at(0), assigned_at: null, started_at: null, finished_at: null, ...more,
});

test("a job that has ended is not charged for the boot of a machine that was ready, when that is gone", () => {
  const job = record({ phases: { ...BOOT, runner: 8_000, job: 40_000 }, assigned_at: at(2), started_at: at(10), finished_at: at(50) });
  const all = waterfall(job, undefined, T + HOUR);
  assert.deepEqual(spans(all), [["queued", 0, 2, false], ["runner", 2, 10, false], ["job", 10, 50, false]]);
  assert.deepEqual(names(all.before), ["image", "net", "spawn", "kernel", "agent"]);
  // A runner that stood by for an hour.
  const remote = { forge: "f", scope: "a", queued_at: at(0), picked_up_at: at(300) };
  const standing = waterfall(record({ ...job, remote, queued_at: at(-HOUR), assigned_at: at(-HOUR), started_at: at(-HOUR + 9) }), undefined, T + HOUR);
  assert.deepEqual(names(standing.spans), ["queued", "job"]);
});

test("a cold job is charged for all of its machine's boot, also where parts of that were at the same time", () => {
  // Network and disk are made together: 15 ms of phases fit into 14.
  const all = waterfall(record({ phases: BOOT, assigned_at: at(14), started_at: at(20), finished_at: at(50) }), undefined, T + HOUR);
  assert.deepEqual(names(all.spans), ["queued", "image", "net", "spawn", "kernel", "agent", "runner", "job"]);
  assert.deepEqual(all.before, []);
});

test("a machine that boots is in one phase, the one after those it has ended", () => {
  const booting = (phases) => machineWaterfall({ state: "booting", phases, created_at: at(0), state_since: at(3) }, T + 100);
  assert.deepEqual(spans(booting({ image: 1000, net: 1000, spawn: 1000 })).at(-1), ["kernel", 3, 100, true]);
  const { agent: _, ...upToKernel } = BOOT;
  assert.deepEqual(spans(booting(upToKernel)).slice(-2), [["kernel", 6, 10, false], ["agent", 10, 100, true]]);
  const all = names(booting(BOOT).spans);
  assert.equal(new Set(all).size, all.length, "each once");
  assert.deepEqual(spans(machineWaterfall({ state: "creating", phases: {}, created_at: at(0), state_since: at(0) }, T + 5)), [["image", 0, 5, true]]);
});

test("what a job made a warm machine do is drawn when it was, not when the machine became ready", () => {
  const machine = (state, more, since) => ({ state, phases: { ...BOOT, ...more }, created_at: at(0), state_since: at(since) });
  const of = (...given) => spans(machineWaterfall(machine(...given), T + HOUR + 500)).slice(5);
  assert.deepEqual(of("ready", {}, 15), []);
  assert.deepEqual(of("starting", {}, HOUR), [["runner", HOUR, HOUR + 500, true]]);
  assert.deepEqual(of("busy", { runner: 8_000 }, HOUR), [["runner", HOUR - 8, HOUR, false], ["job", HOUR, HOUR + 500, true]]);
  assert.deepEqual(of("stopping", { runner: 8_000, job: 90_000 }, HOUR), [
    ["runner", HOUR - 98, HOUR - 90, false], ["job", HOUR - 90, HOUR, false], ["teardown", HOUR, HOUR + 500, true],
  ]);
  assert.deepEqual(of("held", { runner: 8_000, job: 90_000 }, HOUR).at(-1), ["job", HOUR - 90, HOUR, false]);
  // A cold one's follows its boot, whatever the clocks say.
  assert.deepEqual(of("busy", { runner: 8_000 }, 10)[0], ["runner", 15, 23, false]);
});
