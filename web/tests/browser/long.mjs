// A log of very many lines: it is there at once, only what is in sight is in the page, and each line is found by its number.
import assert from "node:assert/strict";
import { base, cli, submit, until } from "./lib.mjs";

/** A job that has written so many lines; its id. */
export async function written(count, options = []) {
  const id = await submit(["--name", `writes ${count} lines`, ...options], `print-lines ${count}`);
  const state = await until("the log to be written", async () => {
    const job = JSON.parse(await cli("jobs", "show", id, "--json"));
    return job.finished_at && job.state;
  });
  assert.equal(state, "succeeded");
  return id;
}

const line = (number) => new RegExp(`^line +${number} \\.+$`);

/** Looks at it from another view of the same page; how long it took until its first lines were there, and until it was complete. */
export async function opened(page, id, count) {
  await page.goto(`${base}#/jobs`);
  await page.getByLabel("Search jobs").waitFor();
  const times = await page.evaluate(async ([job, wanted]) => {
    const begun = performance.now();
    location.hash = `#/jobs/${job}`;
    let first;
    for (;;) {
      if (performance.now() - begun > 60_000) throw new Error(`the log is not there: ${document.querySelector(".log")?.textContent}`);
      await new Promise((resolve) => requestAnimationFrame(resolve));
      if (document.querySelector(".log .row code")?.textContent.startsWith("line ")) first ??= performance.now() - begun;
      const said = document.querySelector(".log .size")?.textContent ?? "";
      if (first !== undefined && said.startsWith(wanted) && !said.endsWith("…")) return { first, whole: performance.now() - begun };
    }
  }, [id, `${count.toLocaleString("en")} lines`]);
  // The end is in sight, as it is followed.
  await page.locator(".log .row code").getByText(line(count)).waitFor();
  return times;
}

/** Its lines are where they should be. Gives how long a search through nearly all of it takes. */
export async function right(page, id, count) {
  const rows = page.locator(".log .row");
  const isWindowed = async () => assert.ok((await rows.count()) < 200, `${await rows.count()} rows are in the page`);
  await isWindowed();
  const texts = async () => (await rows.locator("code").allInnerTexts()).filter((text) => text !== "");
  const box = page.locator(".log .window");
  for (const part of [0, 1 / 3, 0.9]) {
    await box.evaluate((element, share) => { element.scrollTop = element.scrollHeight * share; }, part);
    const first = await until("the rows to be there", async () => {
      const numbers = await rows.locator(".at").allInnerTexts();
      const at = Number(numbers[0]?.replaceAll(",", "")) - 1;
      return Math.abs(at - count * part) < Math.max(200, count / 1000) && at + 1;
    });
    await isWindowed();
    const told = await texts();
    for (const [index, text] of told.entries()) assert.match(text, line(first + index));
  }

  // A line has an address.
  const linked = Math.floor(count * 0.75);
  await page.goto(`${base}#/jobs/${id}?line=${linked}`);
  const pointed = page.locator(".log .pointed");
  await pointed.getByText(line(linked)).waitFor();
  const [row, window] = [await pointed.boundingBox(), await box.boundingBox()];
  assert.ok(row.y >= window.y && row.y + row.height <= window.y + window.height, "it is in sight");
  await isWindowed();

  // All are looked through.
  const wanted = Math.floor(count * 0.98) - 1;
  const search = page.getByLabel("Search the log");
  const begun = performance.now();
  await search.fill(`LINE ${String(wanted).padStart(9)} `);
  await page.getByText("1 of 1", { exact: true }).waitFor();
  const took = performance.now() - begun;
  await pointed.getByText(line(wanted)).waitFor();
  assert.equal(await page.locator(".log mark").count(), 1);
  // As many as there are.
  const end = String(count - 1).slice(-4);
  const hits = Array.from({ length: count }, (_, at) => String(at + 1)).filter((number) => number.endsWith(end)).length;
  await search.fill(`${end} .`);
  await page.getByText(`1 of ${hits.toLocaleString("en")}`, { exact: true }).waitFor();
  return took;
}
