import assert from "node:assert/strict";
import { test } from "node:test";
import { seriesOf, summary } from "../../src/words/series.ts";

const count = (busy, queued = 0) => ({ busy, queued, idle: 1, starting: 0 });
const point = (minute, pools) => ({ at: new Date(minute * 60_000).toISOString(), pools });
const history = (...points) => ({ step_seconds: 60, from: "", points });

test("where the server did not run, the lines have a gap", () => {
  const all = history(point(0, { a: count(2) }), point(1, { a: count(2) }), point(181, { a: count(3, 4) }), point(182, { a: count(1) }));
  assert.deepEqual(seriesOf(all, undefined), {
    at: [0, 60, 120, 181 * 60, 182 * 60], busy: [2, 2, null, 3, 1], ready: [1, 1, null, 1, 1], queued: [0, 0, null, 4, 0],
  });
  assert.equal(summary(all, undefined), "At most 3 machines were busy and 4 jobs queued; now 1 and 0");
  // A point may be late, and one may be missing.
  assert.ok(!seriesOf(history(point(0, {}), point(1.5, {}), point(3.4, {})), undefined).busy.includes(null));
});

test("the lines are of all pools, or of one", () => {
  const all = history(point(0, { a: count(2), b: count(5) }), point(1, { b: count(1) }));
  assert.deepEqual(seriesOf(all, undefined).busy, [7, 1]);
  assert.deepEqual(seriesOf(all, "a").busy, [2, 0]);
  assert.equal(summary(history(), "a"), "No history yet");
});
