// Hundreds of machines: they are shown at once, all of them are there for who goes through them, and what changes is shown meanwhile.
import assert from "node:assert/strict";
import { ask, measured, open, until } from "./lib.mjs";
import { frames, machinesShown, median } from "./costs.mjs";

const MACHINES = 200;

export default async function () {
  await ask("fill");
  const page = await open({ path: "#/" });
  await page.getByText("live", { exact: true }).waitFor();
  const first = await machinesShown(page, MACHINES);
  const times = [];
  for (let n = 0; n < 4; n += 1) times.push(await machinesShown(page, MACHINES));
  measured("200_machines_shown_at_first_ms", first.toFixed(0));
  measured("200_machines_shown_ms", median(times).toFixed(0));
  await allOfThem(page);

  // Frames while all of them change.
  await page.goto(page.url().replace(/#.*/, "#/jobs"));
  const seen = await frames(page, async () => {
    await ask("churn");
    await until("the jobs to end", async () => (await page.getByRole("button", { name: /^Running 0/ }).count()) === 1);
  });
  measured("churn_frames", seen.count);
  measured("churn_frame_median_ms", seen.median.toFixed(1));
  measured("churn_frame_p99_ms", seen.p99.toFixed(1));
}

/** Those beyond the window come as one goes on. */
async function allOfThem(page) {
  const rows = page.locator("main tbody tr");
  assert.ok((await rows.count()) < MACHINES / 2, `${await rows.count()} rows are made for a window of 800 pixels`);
  await until("the last machine", async () => {
    await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
    return (await rows.count()) === MACHINES;
  });
  const ids = await rows.locator("code").allTextContents();
  assert.equal(new Set(ids).size, MACHINES);
  // With the keyboard, too.
  await page.reload();
  await rows.first().waitFor();
  assert.ok((await rows.count()) < MACHINES / 2);
  const at = async () => ids.indexOf(await page.evaluate(() => document.activeElement?.textContent));
  await until("the seventieth row", async () => {
    for (let row = await at(); row < 69; ) {
      await page.keyboard.press("j");
      const next = await at();
      if (next === row) return false;
      row = next;
    }
    return true;
  });
  assert.equal(await at(), 69);
}
