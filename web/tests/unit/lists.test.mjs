import assert from "node:assert/strict";
import { test } from "node:test";
import { pure } from "../../src/ui/pure.tsx";
import { counted, inOrder } from "../../src/words/filter.ts";
import { byPool } from "../../src/words/machine.ts";

test("a row is drawn again only when something of it is another", () => {
  const Row = pure(() => null);
  const machine = { id: "m1", shape: {} };
  const before = { machine, cpu: { text: "0.10 of 1", part: 0.1 }, since: "3 s" };
  const row = new Row(before, undefined);
  row.props = before;
  const again = (changed) => row.shouldComponentUpdate({ ...before, ...changed }, {}, undefined);
  assert.equal(again({}), false);
  assert.equal(again({ cpu: { text: "0.10 of 1", part: 0.1 } }), false, "the same words, made anew");
  assert.equal(again({ cpu: { text: "0.11 of 1", part: 0.1 } }), true);
  assert.equal(again({ cpu: { text: "0.10 of 1", part: undefined } }), true);
  assert.equal(again({ cpu: { text: "0.10 of 1" } }), true, "a field is gone");
  assert.equal(again({ since: "4 s" }), true);
  assert.equal(again({ machine: { ...machine, shape: {} } }), true, "the server has told of it anew");
  assert.equal(again({ machine: undefined }), true);
});

test("lists are in an order that does not change by itself", () => {
  const machine = (id, pool, at) => ({ id, pool, created_at: at });
  const all = [machine("c", "b", "2"), machine("b", "a", "3"), machine("a", "a", "1"), machine("d", "a", "1")];
  assert.deepEqual(all.toSorted(byPool).map(({ id }) => id), ["a", "d", "b", "c"]);
  assert.deepEqual(all.toReversed().sort(byPool).map(({ id }) => id), ["a", "d", "b", "c"]);
  assert.deepEqual([inOrder("a", "b"), inOrder("b", "a"), inOrder("a", "a")], [-1, 1, 0]);
});

test("groups are counted", () => {
  assert.deepEqual([...counted(["ab", "c", "de"], (word) => word.length)], [[2, 2], [1, 1]]);
  assert.equal(counted([], String).get("none"), undefined);
});
