import assert from "node:assert/strict";
import { test } from "node:test";
import { block } from "../../src/words/clip.ts";

test("a block of others' text keeps its lines, is bounded, and moves nothing", () => {
  assert.equal(block("a\tb\n\u061Cc\u001B[2J\u200B\u007F", 50), "a\tb\n\uFFFDc\u241B[2J\uFFFD\u2421");
  assert.equal(block("x".repeat(65_536), 50).length, 51);
  assert.ok(block(`${"a".repeat(49)}🔥 and more`, 50).isWellFormed());
});
