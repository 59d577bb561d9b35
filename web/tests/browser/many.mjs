// Hundreds of machines: how long the page takes to show them, and to show what changes.
import assert from "node:assert/strict";
import { ask, measured, open, until } from "./lib.mjs";

export default async function () {
  await ask("fill");
  const page = await open({ path: "#/" });
  await page.getByText("live", { exact: true }).waitFor();
  const [first, every] = await page.evaluate(async () => {
    const begun = performance.now();
    location.hash = "#/machines";
    let first;
    for (;;) {
      await new Promise((resolve) => requestAnimationFrame(resolve));
      const rows = document.querySelectorAll("main tbody tr").length;
      if (rows > 0) first ??= performance.now() - begun;
      if (rows >= 200) return [first, performance.now() - begun];
    }
  });
  measured("first_of_200_machines_shown_ms", first.toFixed(0));
  measured("200_machines_shown_ms", every.toFixed(0));
  assert.equal(await page.locator("main tbody tr").count(), 200);

  // Frames while all of them change.
  await page.evaluate(() => {
    globalThis.frames_ = [];
    let last = performance.now();
    const tick = (now) => {
      globalThis.frames_.push(now - last);
      last = now;
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  });
  await page.goto(page.url().replace(/#.*/, "#/jobs"));
  await ask("churn");
  await until("the jobs to end", async () => (await page.getByRole("button", { name: /^Running 0/ }).count()) === 1);
  const frames = (await page.evaluate(() => globalThis.frames_)).sort((a, b) => a - b);
  measured("churn_frames", frames.length);
  measured("churn_frame_median_ms", frames[Math.floor(frames.length / 2)].toFixed(1));
  measured("churn_frame_p99_ms", frames[Math.floor(frames.length * 0.99)].toFixed(1));
}
