import assert from "node:assert/strict";
import { test } from "node:test";
import { input, MOST, parse, resize } from "../../src/shell/frames.ts";
import { clipped } from "../../src/words/clip.ts";
import { limitGauge, shareGauge } from "../../src/words/counts.ts";
import { matches } from "../../src/words/filter.ts";
import { jobTitle, waitWords } from "../../src/words/job.ts";
import { safeLink } from "../../src/words/link.ts";
import { cpuGauge, memoryGauge } from "../../src/words/machine.ts";
import { machineWaterfall, waterfall } from "../../src/words/phases.ts";
import { scaleOf } from "../../src/words/scale.ts";
import { ago, brief, bytes, duration } from "../../src/words/time.ts";

const T = Date.parse("2026-01-01T12:00:00Z");
const at = (ms) => new Date(T + ms).toISOString();
const record = (more) => ({
  id: "j", spec: { program: { script: { text: "make" } }, labels: [] }, state: "succeeded", attempt: 1, phases: {}, remote: null,
  queued_at: at(0), assigned_at: null, started_at: null, finished_at: null, ...more,
});
const spans = ({ spans: all }) => all.map((span) => [span.phase, span.start - T, span.end - T, span.open]);
const BOOT = { image: 1_000, net: 2_000, spawn: 3_000, kernel: 4_000, agent: 5_000 };

test("a cold job's machine boots while the job waits", () => {
  const job = record({ phases: { ...BOOT, queued: 100_000 }, assigned_at: at(100), started_at: at(130), finished_at: at(530) });
  const all = waterfall(job, undefined, T + 9999);
  assert.deepEqual(spans(all), [
    ["queued", 0, 100, false], ["image", 85, 86, false], ["net", 86, 88, false], ["spawn", 88, 91, false], ["kernel", 91, 95, false],
    ["agent", 95, 100, false], ["runner", 100, 130, false], ["job", 130, 530, false],
  ]);
  assert.deepEqual([all.from - T, all.to - T, all.before], [0, 530, []]);
});

test("what a warm machine did before the job came costs the job nothing", () => {
  const machine = { id: "m", state: "busy", phases: BOOT, created_at: at(-5000), state_since: at(2) };
  const job = record({ state: "running", assigned_at: at(2), started_at: at(10) });
  const all = waterfall(job, machine, T + 50);
  assert.deepEqual(spans(all), [["queued", 0, 2, false], ["runner", 2, 10, false], ["job", 10, 50, true]]);
  assert.deepEqual(all.before.map((span) => span.phase), ["image", "net", "spawn", "kernel", "agent"]);
});

test("a job that waits shows its machine's boot as it goes", () => {
  const machine = { id: "m", state: "booting", phases: { image: 1000, net: 1000, spawn: 1000 }, created_at: at(40), state_since: at(43) };
  const all = waterfall(record({ state: "queued", attempt: 0 }), machine, T + 60);
  assert.deepEqual(spans(all).map(([phase, , , open]) => [phase, open]), [["queued", true], ["image", false], ["net", false], ["spawn", false], ["kernel", true]]);
});

test("a forge's job waits from when the forge had it until its runner picks it up", () => {
  const remote = { forge: "github", scope: "a", queued_at: at(-1000), picked_up_at: at(500) };
  const job = record({ remote, state: "running", queued_at: at(-60_000), assigned_at: at(-50_000), started_at: at(-49_000) });
  assert.deepEqual(spans(waterfall(job, undefined, T + 2000)), [["queued", -1000, 500, false], ["job", 500, 2000, true]]);
});

test("times that are none, and clocks that go back, break nothing", () => {
  for (const broken of [
    record({ queued_at: "nonsense", started_at: "", assigned_at: "x", finished_at: "?" }),
    record({ assigned_at: at(-5000), started_at: at(-9000), finished_at: at(-20_000) }),
    record({ state: "queued", queued_at: at(3_600_000) }),
  ]) {
    const all = waterfall(broken, undefined, T);
    for (const span of all.spans) assert.ok(span.end >= span.start && Number.isFinite(span.end), JSON.stringify(span));
    const scale = scaleOf(all);
    assert.ok(Number.isFinite(scale.at(T)));
  }
  machineWaterfall({ state: "busy", phases: { kernel: 5 }, created_at: "", state_since: "" }, T);
});

test("a short way to long work is drawn longer than to scale", () => {
  const job = record({ assigned_at: at(1000), started_at: at(2000), finished_at: at(3_600_000) });
  const scale = scaleOf(waterfall(job, undefined, T));
  assert.ok(scale.at(T + 2000) > 0.5 && scale.breakAt !== undefined);
  assert.deepEqual([scale.at(T), scale.at(T + 3_600_000)], [0, 1]);
  assert.equal(scaleOf(waterfall(record({ assigned_at: at(500), started_at: at(900), finished_at: at(1000) }), undefined, T)).breakAt, undefined);
});

test("text of others is bounded, in one line, and moves nothing", () => {
  assert.equal(clipped("x".repeat(65_536)).length, 161);
  assert.equal(clipped("a\nb\t c"), "a b c");
  assert.equal(clipped("\u202Egnp.exe\u0007"), "\uFFFDgnp.exe\u2407");
  assert.ok(clipped(`${"a".repeat(159)}🔥 and more`).isWellFormed());
  assert.equal(jobTitle(record({ spec: { name: null, program: { command: { argv: [] } } } })), "j");
});

test("links lead to pages, never to scripts", () => {
  assert.equal(safeLink("https://github.com/a/b"), "https://github.com/a/b");
  for (const bad of ["javascript:alert(1)", "data:text/html,x", "vbscript:x", "/relative", "", null, " \njavascript:alert(1)"]) {
    assert.equal(safeLink(bad), undefined, String(bad));
  }
});

test("each reason for waiting has its words", () => {
  const words = (why) => waitWords(why);
  assert.match(words({ kind: "no_pool", nearest: "p", lacks: ["gpu"] }), /lacks “gpu”/);
  assert.match(words({ kind: "drained", since: at(0), why: "new disk" }), /drained: new disk/);
  assert.match(words({ kind: "host_full", pool: "p", held: 2, held_mib: 512 }), /2 held machines take 512 MiB/);
  assert.match(words({ kind: "pool_at_maximum", pool: "p", max: 3 }), /All 3 machines/);
  assert.equal(words({ kind: "of a later version" }), "It waits");
});

test("jobs are found by all words of a search", () => {
  const job = record({ remote: { repository: "acme/widgets", workflow: "CI", name: "lint" }, pool: "linux" });
  assert.ok(matches(job, "acme LINT") && matches(job, "") && !matches(job, "acme deploy"));
});

test("times and sizes are for people", () => {
  assert.deepEqual([0, 0.2, 12, 3210, 59_000, 245_000, 7_800_000, 300_000_000].map(duration), ["0 ms", "<1 ms", "12 ms", "3.2 s", "59 s", "4 min 05 s", "2 h 10 min", "3 d 11 h"]);
  assert.equal(ago(at(5000), T), "just now");
  assert.equal(ago("nonsense", T), "–");
  assert.deepEqual([0, 1023, 1536, 5 << 20].map(bytes), ["0 B", "1023 B", "1.5 KiB", "5.0 MiB"]);
});

test("what is taken is told as a part of what there is", () => {
  const say = (share) => shareGauge(share, String);
  assert.deepEqual(say({ used: 3, of: 8 }), { text: "3 of 8", part: 0.375, scarce: false });
  assert.deepEqual(say({ used: 9, of: 8 }), { text: "9 of 8", part: 1, scarce: true }, "the configuration has changed");
  assert.deepEqual(say({ used: 0, of: 0 }), { text: "0 of 0", part: 1, scarce: true });
  assert.deepEqual(say({ used: 3 }), { text: "3 taken", part: undefined, scarce: false }, "nothing limits it");
});

test("what a machine uses is told beside what it has, once it is known", () => {
  const machine = { shape: { vcpus: 2, memory_mib: 512 } };
  const used = (usage) => [cpuGauge(machine, usage), memoryGauge(machine, usage)].map((gauge) => [gauge.text, gauge.part]);
  assert.deepEqual(used({ millicores: 500, memory: 128 << 20 }), [["0.50 of 2", 0.25], ["128 MiB of 512 MiB", 0.25]]);
  assert.deepEqual(used({ memory: 600 << 20 }), [["2", undefined], ["600 MiB of 512 MiB", 1]]);
  assert.deepEqual(used(undefined), [["2", undefined], ["512 MiB", undefined]]);
});

test("what a forge lets be asked is as it last said, until its window ends", () => {
  const limit = (more) => limitGauge({ credential: "token", resource: "core", limit: 5000, remaining: 4000, ...more }, T, brief);
  assert.deepEqual(limit({ reset_at: at(600_000) }), { text: "4000 of 5000 requests left, anew in 10 min", part: 0.19999999999999996, scarce: false });
  assert.deepEqual(limit({ remaining: 100, reset_at: at(600_000) }).scarce, true);
  assert.deepEqual(limit({ remaining: 0, reset_at: at(-1) }), { text: "5000 requests, anew", part: 0, scarce: false });
  assert.equal(limit({}).text, "4000 of 5000 requests left");
  assert.deepEqual(limit({ blocked_until: at(61_000) }), { text: "asks nothing for 1 min, as the forge wants it", part: 1, scarce: true });
});

test("a shell's messages are as the server reads them", () => {
  assert.deepEqual([...resize({ rows: 50, cols: 258 })], [3, 0, 50, 1, 2]);
  assert.deepEqual(input(new TextEncoder().encode("ls\r")).map((one) => [...one]), [[0, 108, 115, 13]]);
  assert.deepEqual(input(new Uint8Array(MOST + 1)).map((one) => one.length), [MOST + 1, 2]);
  const exit = (text) => parse(Uint8Array.of(4, ...new TextEncoder().encode(text)).buffer);
  assert.deepEqual(exit('{"code":0}'), { kind: "exit", words: "The shell has ended.", lost: false });
  assert.deepEqual(exit('{"failed":"the server is stopping"}'), { kind: "exit", words: "the server is stopping", lost: true });
  assert.equal(exit("{").kind, "exit");
  assert.equal(parse(new ArrayBuffer(0)).kind, "other");
});
