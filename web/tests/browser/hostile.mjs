// Names and times that no server of ours would tell, told all the same: the page shows them, and nothing of them is carried out.
import assert from "node:assert/strict";
import { accessible, base, fits, open, picture } from "./lib.mjs";

const EVIL = [
  "<img src=x onerror=\"document.title='pwned'\">", "<script>document.title='pwned'</script>", "\u202Egnp.exe\u0000\u001b]0;pwned\u0007", "x".repeat(65_536),
  "javascript:document.title='pwned'", "a\nb\tc\u2028d", "\uD800 half a character", "ﷺ".repeat(5000),
];

function job(name, at, more = {}) {
  return {
    id: `j${at}`, spec: { name, image: name, program: { script: { text: name } }, env: [], labels: [name] }, state: "failed", attempt: 1, pool: name, machine: name,
    cancel_requested: false, outcome: { outcome: "unstartable", reason: name }, reason: name, usage: { user_us: 0, system_us: 0, max_rss_kib: 0, oom_kills: 0 },
    phases: {}, notes: [name], queued_at: "2026-01-01T00:00:00Z", assigned_at: null, started_at: null, finished_at: null,
    remote: { forge: "f", scope: name, repository: name, workflow: name, name, actor: name, git_ref: name, url: name, labels: [name], deregistered: false },
    autopsy: { state: "busy", step: "run", oom_kills: 0, console_tail: name }, ...more,
  };
}

export default async function () {
  const jobs = EVIL.map((name, at) => job(name, at));
  jobs.push(job("times", "times", { queued_at: "nonsense", started_at: "2099-01-01T00:00:00Z", finished_at: "1970-01-01T00:00:00Z", phases: { queued: 1e18, job: -5, unknown: 7 } }));
  jobs.push(job("later version", "later", { state: "contemplating", outcome: { outcome: "unheard of" }, waiting: { kind: "unheard of" } }));
  const machine = { id: "m1", pool: EVIL[0], shape: { image: EVIL[3], vcpus: 1, memory_mib: 1, disk_mib: 1 }, state: "levitating", step: "x", job: "j0", phases: {}, failure: { kind: "x", message: EVIL[1] }, created_at: "", state_since: "never" };
  const snapshot = { revision: 1, at: "2031-01-01T00:00:00Z", version: { version: EVIL[0], vmm: EVIL[1], vmm_version: "", accel: EVIL[3], pid: 1 }, host: { machines: { levitating: 1 }, drained: { since: "x", why: EVIL[0] }, budget: { vcpus: { used: 9e15, of: 0 }, memory_mib: { used: -5 }, slots: { used: 1, of: 1 } } }, limits: [{ forge: EVIL[0], limits: [{ credential: EVIL[3], resource: EVIL[2], limit: 0, remaining: 9, reset_at: "x", blocked_until: "2099-01-01T00:00:00Z" }, { credential: EVIL[1], resource: EVIL[0], limit: 5000, remaining: -1 }] }], pools: [], jobs, machines: [machine] };

  const page = await open({ goto: false, expected: [/Failed to load resource/] });
  const ping = { revision: 1, at: "2031-01-01T00:00:00Z" };
  const body = `event: snapshot\ndata: ${JSON.stringify(snapshot)}\n\nevent: ping\ndata: ${JSON.stringify(ping)}\n\n`;
  await page.route("**/api/v1/live", (route) => route.fulfill({ contentType: "text/event-stream", body }));
  const usage = [{ machine: "m1", memory: -1, millicores: 9e15 }];
  await page.route("**/api/v1/usage*", (route) => route.fulfill({ contentType: "application/json", body: JSON.stringify(usage) }));
  for (const [path, name] of [["#/", "overview"], ["#/jobs", "jobs"], ...jobs.map((one) => [`#/jobs/${one.id}`, one.id]), ["#/machines", "machines"], ["#/machines/m1", "machine"]]) {
    await page.goto(base + path);
    await page.locator("main h1").first().waitFor({ state: "attached" });
    await page.locator("main .loading").waitFor({ state: "detached" });
    assert.doesNotMatch(await page.title(), /pwned/);
    assert.equal(await page.locator("main img, main script").count(), 0);
    assert.equal(await page.locator("a[href^='javascript:' i]").count(), 0);
    const told = (await page.locator("main").innerText()).length;
    assert.ok(told < 100_000, `${name} is clipped: ${told}`);
    await fits(page, name);
    if (["overview", "jobs", "machines"].includes(name)) {
      await accessible(page, `hostile ${name}`);
      await picture(page, `hostile-${name}`);
    }
  }
  // Clocks that disagree are said to.
  await page.getByText(/clock and the server’s are .* apart/).waitFor();
}
