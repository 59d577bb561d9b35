// A job that waits says why, and a pool that is paused, scaled or drained here is so at the server.
import assert from "node:assert/strict";
import { base, cli, open, submit, until } from "./lib.mjs";

const pool = async () => JSON.parse(await cli("pools", "show", "default", "--json"));

export default async function () {
  // It is refused once, and says so.
  const page = await open({ expected: [/400 .*scale/] });
  await submit(["--name", "needs a gpu", "--label", "gpu"], "true");
  const waiting = page.getByRole("region", { name: /^Waiting/ });
  await waiting.getByText("needs a gpu").waitFor();
  await waiting.getByText(/No pool has all its labels: the nearest, default, lacks “gpu”/).waitFor();

  await page.getByRole("link", { name: "default", exact: true }).first().click();
  await page.getByRole("button", { name: "Pause…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Pause" }).click();
  await page.getByText("Pool default is paused").first().waitFor();
  assert.equal((await pool()).paused, true);
  await submit(["--name", "comes too late", "--label", "default"], "true");
  await page.getByText("comes too late").waitFor();
  await page.getByText("Pool default is paused", { exact: true }).first().waitFor();

  await page.getByRole("button", { name: "Resume…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Resume" }).click();
  await until("the job to end", async () => (await page.getByText("comes too late").count()) === 0);
  assert.equal((await pool()).paused, false);

  await page.getByRole("button", { name: "Scale…" }).click();
  await page.getByRole("spinbutton", { name: "At most" }).fill("1");
  await page.getByRole("spinbutton", { name: "Kept ready" }).fill("2");
  await page.getByRole("dialog").getByRole("button", { name: "Scale" }).click();
  // The server's own words, in the dialog, which stays.
  await page.getByRole("dialog").getByRole("alert").waitFor();
  await page.getByRole("spinbutton", { name: "Kept ready" }).fill("1");
  await page.getByRole("dialog").getByRole("button", { name: "Scale" }).click();
  await until("the pool to be scaled", async () => (await pool()).max_runners === 1);

  await page.goto(page.url().replace(/#.*/, "#/"));
  await page.getByRole("button", { name: "Drain…" }).click();
  await page.getByRole("dialog").getByRole("textbox").fill("new <disk>");
  await page.getByRole("dialog").getByRole("button", { name: "Drain" }).click();
  await page.getByText("new <disk>").first().waitFor();
  await page.getByRole("button", { name: "Take work again" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Take work" }).click();
  await page.getByRole("button", { name: "Drain…" }).waitFor();
  await whoIsAskedAgain();
  await historyIsOfWhoLooks();
}

/** Who looks is asked again where the first answer was lost: until then nobody may do anything here. */
async function whoIsAskedAgain() {
  const page = await open({ goto: false, expected: [/ERR_FAILED/] });
  let asked = 0;
  await page.route("**/api/v1/session", (route) => (asked++ === 0 ? route.abort() : route.continue()));
  await page.goto(base);
  await page.getByText("live", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Drain…" }).waitFor();
}

/** The chart is asked for while somebody sees it, and one answer that is lost does not take it away. */
async function historyIsOfWhoLooks() {
  const page = await open({ goto: false, expected: [/ERR_FAILED/] });
  let asked = 0;
  let fails = false;
  await page.route("**/api/v1/history", (route) => {
    asked += 1;
    return fails ? route.abort() : route.continue();
  });
  const more = async (what, than) => until(what, () => asked > than);
  const turn = (hidden) => page.evaluate((to) => {
    Object.defineProperty(document, "hidden", { value: to, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  await page.clock.install();
  await page.goto(base);
  const chart = page.getByRole("region", { name: "The last hours" });
  await chart.waitFor();
  await page.getByText("live", { exact: true }).waitFor();
  await more("the history", 0);
  await turn(true);
  await page.clock.runFor(11_000);
  await page.getByText("live", { exact: true }).waitFor({ state: "detached" });
  let before = asked;
  await page.clock.runFor(300_000);
  assert.equal(asked, before, "nobody sees it");
  await turn(false);
  await more("the history once it is seen", before);
  await page.getByText("live", { exact: true }).waitFor();

  fails = true;
  const failed = page.waitForEvent("requestfailed", (request) => request.url().endsWith("/history"));
  await page.clock.runFor(61_000);
  await failed;
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
  assert.equal(await chart.count(), 1, "what was known stays");
}
