// A job that waits says why, and a pool that is paused, scaled or drained here is so at the server.
import assert from "node:assert/strict";
import { cli, open, submit, until } from "./lib.mjs";

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
}
