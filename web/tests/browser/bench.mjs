// What the page costs the one who looks, for `make bench`: two hundred machines, many changes, a log of a million lines, a slow computer.
import { ask, base, measured, open } from "./lib.mjs";
import { frames, heap, interactive, machinesShown, median, memoryOf } from "./costs.mjs";
import { opened, right, written } from "./long.mjs";

const MACHINES = 200;
const LINES = 1_000_000;
/** How much slower than this computer's processor. */
const SLOW = 4;
const TIMES = Number(process.env.PAGE_TIMES ?? 7);
const WATCHED = Number(process.env.PAGE_WATCHED ?? 10) * 1000;

async function slowed(page, rate) {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Emulation.setCPUThrottlingRate", { rate });
}

export default async function () {
  for (const rate of [1, SLOW]) {
    const seen = [];
    for (let n = 0; n < TIMES; n += 1) {
      // Each in a browser that has nothing of it.
      const page = await open({ goto: false });
      await slowed(page, rate);
      seen.push(await interactive(page, `${base}#/`));
      await page.context().close();
    }
    for (const name of ["paint", "interactive"]) measured(`${name}_at_${rate}`, median(seen.map((one) => one[name])));
  }

  for (const rate of [1, SLOW]) {
    const page = await open();
    await page.getByText("live", { exact: true }).waitFor();
    await slowed(page, rate);
    const times = [];
    for (let n = 0; n < TIMES; n += 1) times.push(await machinesShown(page, MACHINES));
    measured(`machines_first_at_${rate}`, times[0]);
    measured(`machines_at_${rate}`, median(times));
    await page.context().close();
  }

  const page = await open();
  await page.getByText("live", { exact: true }).waitFor();
  await ask("noise");
  for (const view of ["overview", "jobs", "machines"]) {
    await page.goto(`${base}#/${view === "overview" ? "" : view}`);
    // What it takes to come there is not meant.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await ask("begin");
    const seen = await frames(page, () => new Promise((resolve) => setTimeout(resolve, WATCHED)));
    await ask(`watched ${view}`);
    measured(`${view}_dropped`, seen.dropped * 100);
    measured(`${view}_p99`, seen.p99);
    measured(`${view}_busy`, seen.busy * 100);
  }
  await ask("quiet");
  await page.context().close();

  const id = await written(LINES, ["--label", "warm"]);
  const reader = await open();
  await reader.getByText("live", { exact: true }).waitFor();
  const before = await memoryOf(reader.context().browser());
  const { first, whole } = await opened(reader, id, LINES);
  const after = await memoryOf(reader.context().browser());
  const { own, scripts, beside } = await heap(reader);
  measured("log_first", first);
  measured("log_whole", whole);
  measured("log_heap_page", own / 1e6);
  measured("log_heap", scripts / 1e6);
  measured("log_heap_beside", beside / 1e6);
  measured("log_memory", (after - before) / 1e6);
  measured("log_search", await right(reader, id, LINES));
}
