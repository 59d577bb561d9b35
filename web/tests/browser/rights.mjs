// Who may not do something is not offered it, and refused when they ask all the same.
import assert from "node:assert/strict";
import { request } from "node:http";
import { base, cli, logIn, open, submit } from "./lib.mjs";

const { viewer, admin } = JSON.parse(process.env.PAGE_TOKENS ?? "{}");

export default async function () {
  // Streams end with the login that they were opened by, in the middle.
  const page = await open({ expected: [/401|403|ERR_INCOMPLETE_CHUNKED_ENCODING/] });
  await page.getByLabel("Token").fill("wrongwrongwrongwrong");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("alert").waitFor();
  await logIn(page, viewer);
  const id = await submit(["--name", "not yours"], "echo begun; hang");
  await page.goto(`${base}#/jobs/${id}`);
  await page.getByRole("region", { name: /^Log/ }).getByText("begun").waitFor();
  assert.equal(await page.getByRole("button", { name: /Cancel|Drain|Pause|Destroy/ }).count(), 0);
  const [cookie] = await page.context().cookies();
  assert.ok(cookie.httpOnly && cookie.sameSite === "Strict" && !cookie.value.includes(viewer), JSON.stringify(cookie));
  assert.equal(await page.evaluate(() => document.cookie), "", "no script sees it");
  assert.equal(await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }).includes("token")), false);
  const status = await page.evaluate(async (job) => (await fetch(`api/v1/jobs/${job}/cancel`, { method: "POST" })).status, id);
  assert.equal(status, 403, "a viewer cannot write");
  const its = JSON.parse(await cli("jobs", "show", id, "--json")).machine;
  await page.goto(`${base}#/machines/${its}`);
  await page.locator("dl.facts").getByText(/ of 256 MiB$/).waitFor();
  assert.equal(await page.getByRole("button", { name: /Hold|Destroy/ }).count(), 0);
  const held = await page.evaluate(async (machine) => (await fetch(`api/v1/machines/${machine}/hold`, { method: "DELETE" })).status, its);
  assert.equal(held, 403);
  await page.goto(`${base}#/jobs/${id}`);

  await page.getByRole("button", { name: "Log out" }).click();
  await logIn(page, admin);
  await page.getByRole("button", { name: "Cancel…" }).waitFor();
  // With the same cookie, but from another page.
  const [session] = await page.context().cookies();
  const ask = (method, path, headers) => new Promise((resolve, reject) => {
    const asked = request(new URL(path, base), { method, headers: { cookie: `${session.name}=${session.value}`, ...headers } }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    });
    asked.on("upgrade", (answer, socket) => { socket.destroy(); resolve(answer.statusCode); });
    asked.on("error", reject);
    asked.end();
  });
  const cancel = `api/v1/jobs/${id}/cancel`;
  for (const origin of ["https://evil.example", "null", base.replace(/:\d+\/$/, ":1")]) assert.equal(await ask("POST", cancel, { origin }), 403, origin);
  assert.equal(await ask("POST", cancel, {}), 403, "without an origin");
  const machine = JSON.parse(await cli("jobs", "show", id, "--json")).machine;
  const upgrade = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==", "sec-websocket-protocol": "fireactions.exec.v1" };
  assert.equal(await ask("GET", `api/v1/machines/${machine}/exec`, { ...upgrade, origin: "https://evil.example" }), 403, "a shell");
  assert.equal(JSON.parse(await cli("jobs", "show", id, "--json")).cancel_requested, false);
  assert.equal(await ask("POST", cancel, { origin: new URL(base).origin }), 200);
  await page.locator("header .state").getByText("cancelled").waitFor();
  // A token in an address lets nobody in.
  const bare = await fetch(new URL(`api/v1/jobs?token=${admin}`, base));
  assert.ok([400, 401].includes(bare.status), String(bare.status));
}
