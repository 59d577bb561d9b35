// How costs of the page are measured: for the bench, and for tests in which only the worst is a failure.
import { readFileSync } from "node:fs";

/** What a browser has for a frame. One that took half as long again was late, and one was dropped. */
const FRAME = 1000 / 60;

export function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
}

/** From the click to a list of all machines that fills the window, in milliseconds. */
export async function machinesShown(page, count) {
  await page.evaluate(() => { location.hash = "#/"; });
  await page.getByRole("region", { name: "Host" }).waitFor();
  return page.evaluate(async (wanted) => {
    // What came before it is over.
    await new Promise((resolve) => requestIdleCallback(resolve));
    const begun = performance.now();
    location.hash = "#/machines";
    for (;;) {
      if (performance.now() - begun > 30_000) throw new Error(`there is no list of ${wanted} machines: ${document.querySelector("main caption")?.textContent}`);
      await new Promise((resolve) => requestAnimationFrame(resolve));
      const table = document.querySelector("main table.machines");
      const isFull = table && (table.getBoundingClientRect().bottom > innerHeight || table.querySelectorAll("tbody tr").length === wanted);
      if (isFull && table.caption.textContent === `${wanted} machines`) break;
    }
    // It has been drawn once the next frame begins.
    await new Promise((resolve) => requestAnimationFrame(resolve));
    return performance.now() - begun;
  }, count);
}

/** The length of each frame while `during` lasts, and the part of a processor that the page's own thread took. */
export async function frames(page, during) {
  const cdp = await page.context().newCDPSession(page);
  // Time on a processor, not what others took of it.
  await cdp.send("Performance.enable", { timeDomain: "threadTicks" });
  const busy = async () => (await cdp.send("Performance.getMetrics")).metrics.find(({ name }) => name === "TaskDuration").value * 1000;
  await page.evaluate(() => {
    const watch = { frames: [], last: performance.now(), over: false };
    globalThis.watch_ = watch;
    const tick = (now) => {
      watch.frames.push(now - watch.last);
      watch.last = now;
      if (!watch.over) requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  });
  const [begun, before] = [performance.now(), await busy()];
  await during();
  const [ended, after] = [performance.now(), await busy()];
  const lengths = await page.evaluate(() => {
    globalThis.watch_.over = true;
    // The first began before it was watched.
    return globalThis.watch_.frames.slice(1);
  });
  await cdp.detach();
  const sorted = lengths.toSorted((a, b) => a - b);
  return {
    count: lengths.length, median: median(lengths), p99: sorted[Math.floor(sorted.length * 0.99)],
    dropped: lengths.reduce((sum, length) => sum + Math.max(0, Math.round(length / FRAME) - 1), 0) / lengths.length,
    busy: (after - before) / (ended - begun),
  };
}

/** From the beginning of the load until the overview has its pools, and until the page's own thread had no long task any more. */
export async function interactive(page, address) {
  await page.goto(address);
  await page.locator("main .card.pool").first().waitFor();
  return page.evaluate(async () => {
    const shown = performance.now();
    let last = shown;
    new PerformanceObserver((list) => {
      for (const one of list.getEntries()) last = Math.max(last, one.startTime + one.duration);
    }).observe({ type: "longtask", buffered: true });
    // Quiet for a second.
    while (performance.now() - last < 1000) await new Promise((resolve) => setTimeout(resolve, 100));
    const paint = performance.getEntriesByName("first-contentful-paint")[0]?.startTime;
    return { paint, shown, interactive: last };
  });
}

/** What the page's scripts have, those of its workers, and the bytes that they keep beside, once nothing unneeded is left. */
export async function heap(page) {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("HeapProfiler.collectGarbage");
  const own = await cdp.send("Runtime.getHeapUsage");
  const workers = await ofWorkers(cdp);
  await cdp.detach();
  const all = [own, ...workers];
  const sum = (name) => all.reduce((total, one) => total + (one[name] ?? 0), 0);
  return { own: own.usedSize, scripts: sum("usedSize"), beside: sum("backingStorageSize") };
}

/** Asks each worker of the page. */
async function ofWorkers(cdp) {
  const answers = [];
  cdp.on("Target.attachedToTarget", ({ sessionId }) => {
    answers.push(new Promise((resolve) => {
      cdp.on("Target.receivedMessageFromTarget", (told) => {
        const message = JSON.parse(told.message);
        if (told.sessionId === sessionId && message.id === 2) resolve(message.result);
      });
    }));
    for (const [id, method] of [[1, "HeapProfiler.collectGarbage"], [2, "Runtime.getHeapUsage"]]) {
      void cdp.send("Target.sendMessageToTarget", { sessionId, message: JSON.stringify({ id, method }) });
    }
  });
  await cdp.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  return Promise.all(answers);
}

/** Memory of the page's process alone, in bytes. */
export async function memoryOf(browser) {
  const cdp = await browser.newBrowserCDPSession();
  const { processInfo } = await cdp.send("SystemInfo.getProcessInfo");
  await cdp.detach();
  const own = ({ id }) => {
    try {
      const text = readFileSync(`/proc/${id}/smaps_rollup`, "utf8");
      return [...text.matchAll(/^Private_(?:Clean|Dirty): +(\d+) kB/gm)].reduce((sum, [, kib]) => sum + Number(kib) * 1024, 0);
    } catch {
      return 0;
    }
  };
  return Math.max(...processInfo.filter(({ type }) => type === "renderer").map(own));
}
