// The server is replaced, and stopped and started, under the open page.
import assert from "node:assert/strict";
import { ask, base, cli, open, submit, until } from "./lib.mjs";

export default async function () {
  const page = await open({ path: "#/jobs", expected: [/Failed to load resource|net::ERR_/] });
  const running = await submit(["--name", "outlives servers"], "echo begun; wait; echo ended");
  const row = page.getByRole("row", { name: /outlives servers/ });
  await row.getByText("running").waitFor();
  await row.getByRole("link").first().click();
  const log = page.getByRole("region", { name: /^Log/ });
  await log.getByText("begun").waitFor();

  await ask("replace");
  await page.getByText("live", { exact: true }).waitFor();
  await cli("exec", running, "--", "tell");
  await log.getByText("ended", { exact: true }).waitFor();
  await page.locator("header .state").getByText("succeeded").waitFor();
  // Each once, over two servers.
  assert.equal(await log.locator(".row").count(), 2);
  // Of a log, only its end is told to who listens: what counts on would talk over everything.
  assert.equal(await page.locator(".log [role=status]").textContent(), "The log has ended.");
  await asksTheNext(page);

  await page.goto(page.url().replace(/#.*/, "#/machines"));
  await page.getByRole("row", { name: /ready/ }).first().waitFor();
  const before = await page.locator("tbody code").first().textContent();
  await ask("stop");
  await page.getByText(/Not connected since/).waitFor();
  await page.getByText("what is shown is as it was then").waitFor();
  assert.equal(await page.getByText("live", { exact: true }).count(), 0, "it does not call itself live");
  await countsInSilence(page);
  await ask("start");
  await page.getByText("live", { exact: true }).waitFor();
  // What went while nobody told is gone.
  await page.getByText(before).waitFor({ state: "detached" });
}

/** What a view asked the server for, it asks the next one for, which may have another configuration. */
async function asksTheNext(page) {
  await page.goto(`${base}#/config`);
  await page.getByText("bind_address", { exact: true }).waitFor();
  const asked = page.waitForResponse((answer) => answer.url().endsWith("/api/v1/config"));
  await ask("replace");
  assert.equal((await asked).status(), 200);
}

/** The seconds that pass are seen, and not told to who listens. */
async function countsInSilence(page) {
  const banners = page.locator(".banners");
  const told = () => banners.evaluate((region) => {
    const copy = region.cloneNode(true);
    for (const one of copy.querySelectorAll("[aria-hidden=true]")) one.remove();
    return `${region.role} ${copy.textContent}`;
  });
  await banners.getByText(/cannot be reached/).waitFor();
  const first = await told();
  assert.match(first, /^status Not connected since .*cannot be reached/);
  for (const _ of [1, 2]) {
    const seen = await banners.textContent();
    await until("a second to be counted", async () => (await banners.textContent()) !== seen);
    assert.equal(await told(), first);
  }
}
