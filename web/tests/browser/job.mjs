// A job that is submitted while the page is open appears, runs, its log comes, its phases end right.
import assert from "node:assert/strict";
import { accessible, cli, open, submit, until } from "./lib.mjs";

export default async function () {
  const page = await open({ path: "#/jobs" });
  await page.getByText("No job has come yet.").waitFor();

  const id = await submit(["--name", "first of all"], "echo line one; wait; echo line two; exit 3");
  const row = page.getByRole("row", { name: /first of all/ });
  await row.waitFor();
  await row.getByText("running").waitFor();
  await row.getByRole("link", { name: "first of all" }).click();
  await page.waitForURL(new RegExp(`#/jobs/${id}$`));
  const log = page.getByRole("region", { name: /^Log/ });
  await log.getByText("line one").waitFor();
  assert.equal(await log.getByText("line two").count(), 0, "its log comes as it is written");
  const phases = page.getByRole("table", { name: "The phases of this job" });
  await phases.getByRole("row", { name: /^job/ }).getByText("…").waitFor();

  await cli("exec", id, "--", "tell");
  await log.getByText("line two").waitFor();
  await page.locator("header .state").getByText("failed").waitFor();
  await page.getByText("exit code 3").first().waitFor();
  // As the server has them.
  const job = JSON.parse(await cli("jobs", "show", id, "--json"));
  for (const phase of ["queued", "runner", "job"]) {
    const text = await phases.getByRole("row", { name: new RegExp(`^${phase}`) }).getByRole("cell").last().textContent();
    assert.ok(!text.includes("…") && /^\d|^</.test(text), `${phase}: ${text}`);
  }
  assert.equal(await phases.getByRole("row", { name: /…/ }).count(), 0, "all have ended");
  assert.equal(job.state, "failed");

  // A line has an address of its own.
  await log.getByRole("link", { name: "Line 2", exact: true }).click();
  await page.waitForURL(/\?line=2$/);
  await page.reload();
  await page.locator(".log .pointed").getByText("line two").waitFor();
  await page.getByLabel("Search the log").fill("LINE");
  await page.getByText("1 of 2").waitFor();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download" }).click()]);
  assert.equal(await new Response((await download.createReadStream())).text(), "line one\nline two\n");

  // What is done here is asked for first, and done then.
  const other = await submit([], "echo begun; hang");
  await page.goto(`${page.url().replace(/#.*/, "")}#/jobs/${other}`);
  await log.getByText("begun").waitFor();
  await holdAndLetGo(page, other);
  await page.getByRole("button", { name: "Cancel…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Keep as it is" }).click();
  await until("the dialog to go", async () => (await dialog.count()) === 0);
  assert.equal(JSON.parse(await cli("jobs", "show", other, "--json")).cancel_requested, false);
  await page.getByRole("button", { name: "Cancel…" }).click();
  await dialog.getByRole("button", { name: "Cancel the job" }).click();
  await page.locator("header .state").getByText("cancelled").waitFor();
  assert.equal(JSON.parse(await cli("jobs", "show", other, "--json")).state, "cancelled");
}

/** The machine of a running job is to be held, and is not. */
async function holdAndLetGo(page, job) {
  const machine = JSON.parse(await cli("jobs", "show", job, "--json")).machine;
  const held = async () => JSON.parse(await cli("ps", "--json")).find((one) => one.id === machine).hold_secs;
  await page.goto(page.url().replace(/#.*/, `#/machines/${machine}`));
  // What it uses, of what it has.
  await page.locator("dl.facts").getByText(/^[\d.]+ [KM]iB of 256 MiB$/).waitFor();
  await page.locator("dl.facts").getByText(/^\d+\.\d\d of 1$/).waitFor();
  assert.equal(await page.getByRole("button", { name: "Destroy…" }).count(), 0, "a job is cancelled, not robbed of its machine");
  await page.getByRole("button", { name: "Hold…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("From the end of its job on").selectOption("4 hours");
  await accessible(page, "the question whether to hold a machine");
  await dialog.getByRole("button", { name: "Hold", exact: true }).click();
  await page.getByText("to be held for 4 h").waitFor();
  assert.equal(await held(), 4 * 3600);
  await page.getByRole("button", { name: "Do not hold…" }).click();
  await dialog.getByRole("button", { name: "Do not hold" }).click();
  await page.getByText("to be held for").waitFor({ state: "detached" });
  assert.equal(await held(), undefined);
  await page.goBack();
}
