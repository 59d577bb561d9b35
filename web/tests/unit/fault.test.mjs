import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiFault, faultIn, faultOf, oneLine, wordsOf } from "../../src/api/fault.ts";

test("the server's reason is told, of an answer and of a stream's last event", async () => {
  const text = JSON.stringify({ error: { code: "not_found", message: "there is no image debain:12", hint: "look at its name" } });
  const fault = faultIn(text, 200);
  assert.ok(fault instanceof ApiFault);
  assert.equal(oneLine(fault), "there is no image debain:12: look at its name");
  assert.deepEqual(wordsOf(await faultOf(new Response(text, { status: 404 }))), { message: "there is no image debain:12", hint: "look at its name" });
  for (const other of ["", "<html>", "null", "7", "{}", '{"error":"x"}', '{"message":"x"}']) assert.equal(faultIn(other, 500), undefined, other);
  assert.equal((await faultOf(new Response("<html>", { status: 502, statusText: "Bad Gateway" }))).message, "the server answered 502 Bad Gateway");
});
