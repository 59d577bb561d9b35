import assert from "node:assert/strict";
import { test } from "node:test";
import { groupOf } from "../../src/words/filter.ts";
import { isIdleRunner, runnerOf, waitsAtForge } from "../../src/words/job.ts";

const remote = (more) => ({ forge: "github", scope: "acme", id: 7, ...more });
const job = (id, state, more) => ({ id, state, spec: { program: { image: { args: [] } }, labels: [] }, remote: null, ...more });

test("a job that waits at its forge is none of this server's yet, and its runner's is found", () => {
  const waits = job("a", "queued", { remote: remote() });
  assert.ok(waitsAtForge(waits) && !waitsAtForge(job("b", "queued")) && !waitsAtForge(job("c", "running", { remote: remote() })));
  const taken = job("d", "running", { remote: remote({ picked_up_at: "2026-01-01T00:00:00Z" }) });
  const others = [
    waits, job("e", "running"), job("f", "running", { remote: remote() }),
    job("g", "running", { remote: { ...taken.remote, id: 8 } }), job("h", "running", { remote: { ...taken.remote, forge: "gitea" } }),
  ];
  assert.equal(runnerOf(waits, [...others, taken])?.id, "d");
  assert.equal(runnerOf(waits, others), undefined);
  const unnumbered = remote({ id: null });
  assert.equal(runnerOf(job("i", "queued", { remote: unnumbered }), [job("j", "running", { remote: { ...taken.remote, id: null } })]), undefined);
  assert.ok(isIdleRunner(others[2]) && !isIdleRunner(taken));
});

test("a runner that stands by is not a job that runs", () => {
  const picked = remote({ picked_up_at: "2026-01-01T00:00:00Z" });
  assert.deepEqual([job("a", "running"), job("b", "assigned"), job("c", "running", { remote: picked })].map(groupOf), ["running", "running", "running"]);
  assert.deepEqual([job("a", "running", { remote: remote() }), job("b", "assigned", { remote: remote() })].map(groupOf), ["idle", "idle"]);
  assert.deepEqual([job("a", "queued", { remote: remote() }), job("b", "failed", { remote: remote() })].map(groupOf), ["waiting", "failed"]);
});

test("what a forge's runner does is told from when it has a job", async () => {
  // The addresses of what it tells are those of a page.
  Object.assign(globalThis, { location: { hash: "" }, addEventListener: () => undefined });
  const { happenings, missed } = await import("../../src/live/happenings.ts");
  const state = (...jobs) => ({ host: {}, machines: new Map(), pools: new Map(), jobs: new Map(jobs.map((one) => [one.id, one])) });
  const told = (before, after) => happenings(state(...before), state(after), { at: "", jobs: [after] }).map((one) => one.text);
  const stands = job("a", "running", { remote: remote({ name: "lint" }) });
  const works = { ...stands, remote: remote({ name: "lint", picked_up_at: "2026-01-01T00:00:00Z" }) };
  assert.deepEqual(told([], stands), []);
  assert.deepEqual(told([stands], works), ["lint runs"]);
  assert.deepEqual(told([works], { ...works, notes: [] }), []);
  assert.deepEqual(told([works], { ...works, state: "succeeded" }), ["lint ended: succeeded"]);
  assert.deepEqual(told([], job("b", "running", { spec: { ...stands.spec, name: "make" } })), ["make runs"]);
  // What came while nobody listened, in its order and at its time.
  const [early, late] = ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00.5Z"];
  const ended = job("c", "failed", { finished_at: late });
  const queued = job("d", "queued", { queued_at: early });
  const news = missed(state(works), state(works, ended, queued), "2026-01-02T00:00:00Z");
  assert.deepEqual(news.map((one) => [one.at, one.link]), [[early, "#/jobs/d"], [late, "#/jobs/c"]]);
});
