import assert from "node:assert/strict";
import { test } from "node:test";
import { logIn, who } from "../../src/api/session.ts";

/** Has the server answer so, one after the other. */
function answers(...all) {
  Object.assign(globalThis, { document: { baseURI: "http://x/", hidden: true } });
  globalThis.fetch = async () => {
    const next = all.shift();
    if (next instanceof Error) throw next;
    return new Response(JSON.stringify(next.body ?? { error: { message: "no" } }), { status: next.status });
  };
}

test("a login that the browser does not keep is told, and one that cannot be asked for, too", async () => {
  answers({ status: 200, body: {} }, { status: 401 });
  await assert.rejects(logIn("right"), /did not keep the login/);
  answers({ status: 200, body: {} }, new TypeError("fetch failed"));
  await assert.rejects(logIn("right"), TypeError);
  answers({ status: 401 });
  await assert.rejects(logIn("wrong"), /^ApiFault: no$/);
  assert.notEqual(who.get().kind, "somebody");
  const session = { name: "kim", role: "admin", via: "cookie" };
  answers({ status: 200, body: {} }, { status: 200, body: session });
  await logIn("right");
  assert.deepEqual(who.get(), { kind: "somebody", session });
});
