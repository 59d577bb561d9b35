import assert from "node:assert/strict";
import { test } from "node:test";
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
