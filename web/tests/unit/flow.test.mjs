import assert from "node:assert/strict";
import { test } from "node:test";
import { Flow, MOST } from "../../src/shell/flow.ts";

test("what comes faster than it is drawn is left out beyond a bound, and said", () => {
  const waiting = [];
  const seen = [];
  const flow = new Flow((data, drawn) => waiting.push([data.length, drawn]), (bytes) => seen.push(`left out ${bytes}`));
  const draw = () => {
    const [length, drawn] = waiting.shift();
    seen.push(length);
    drawn();
  };
  const half = new Uint8Array(MOST / 2);
  flow.write(half);
  draw();
  for (let n = 0; n < 40; n += 1) flow.write(half);
  assert.equal(waiting.length, 2, "the bound holds");
  draw();
  // Not in pieces: only when all before it is drawn.
  flow.write(half);
  assert.equal(waiting.length, 1);
  draw();
  assert.deepEqual(seen, [MOST / 2, MOST / 2, MOST / 2, `left out ${39 * (MOST / 2)}`]);
  flow.write(Uint8Array.of(1));
  draw();
  assert.deepEqual(seen.slice(-1), [1]);
});
