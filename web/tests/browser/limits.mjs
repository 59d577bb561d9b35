// What a forge still lets be asked, as it says so itself, comes to the overview and is kept up to date.
import assert from "node:assert/strict";
import { ask, base, open, until } from "./lib.mjs";

export default async function () {
  const page = await open();
  const measures = page.locator("dl.facts .measure").filter({ hasText: /^github/ });
  const all = () => measures.locator("dd").allInnerTexts();
  const inFull = /^(\d+) of 1000 requests left, anew in \d+ min\s+core, by /;
  // GitHub counts the App's own questions apart from those of its installation.
  await until("both limits", async () => (await all()).filter((text) => inFull.test(text)).length === 2);
  for (const text of await all()) assert.ok(Number(inFull.exec(text)?.[1]) > 900, text);
  assert.equal(await page.getByText("requests left").count(), 2, "the built-in queue has none");
  const [{ forge, limits }, ...others] = (await snapshot(page)).limits;
  assert.deepEqual([forge, limits.map(({ limit, resource }) => [limit, resource]), others], ["github", [[1000, "core"], [1000, "core"]], []]);
  assert.equal(new Set(limits.map(({ credential }) => credential)).size, 2);

  await ask("exhaust");
  const refused = /^asks nothing for \d+ min, as the forge wants it/;
  await until("the forge's no", async () => (await all()).some((text) => refused.test(text)));
  assert.ok((await page.locator("dl.facts .measure.scarce").filter({ hasText: /^github/ }).count()) >= 1);
  // So it is to whoever comes now.
  const another = await open();
  await another.getByText(/^asks nothing for \d+ min, as the forge wants it/).first().waitFor();
}

/** What the live view begins with. */
async function snapshot(page) {
  return page.evaluate((address) => new Promise((resolve, reject) => {
    const source = new EventSource(address);
    source.addEventListener("snapshot", ({ data }) => { source.close(); resolve(JSON.parse(data)); });
    source.addEventListener("error", reject);
  }), `${base}api/v1/live`);
}
