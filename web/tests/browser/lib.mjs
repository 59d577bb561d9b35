// What the tests in a browser share.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { chromium } from "playwright-core";

const run = promisify(execFile);
const given = (name) => process.env[name] ?? assert.fail(`${name} is not given`);

/** Where the page is. */
export const base = given("PAGE_URL");
const cliCommand = JSON.parse(process.env.PAGE_CLI ?? "[]");
const pictures = process.env.PAGE_PICTURES;

/** Until something must be so. Emulated guests take their time, and a busy host too. */
export const PATIENCE = 60_000;
export const BOOT = 240_000;

let browser;

/** A page in a browser of its own. All that goes wrong in it, and is not `expected`, fails the test at its end. */
export async function open({ path = "#/", width = 1280, height = 800, scheme = "light", expected = [], goto = true } = {}) {
  browser ??= await chromium.launch({
    executablePath: process.env.PAGE_CHROMIUM ?? "/usr/bin/chromium",
    // The tests run as root, in a network of their own.
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
  });
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const troubles = [];
  const note = (text) => expected.some((one) => one.test(text)) || troubles.push(text);
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && note(`${message.type()}: ${message.text()} ${message.location().url}`));
  page.on("pageerror", (error) => note(error.stack ?? String(error)));
  page.on("dialog", (dialog) => { note(`a dialog: ${dialog.message()}`); void dialog.dismiss(); });
  all.push({ context, troubles });
  if (goto) await page.goto(base + path);
  return page;
}

const all = [];

/** What each page shows, and what went wrong in it: for a test that failed. */
export async function evidence() {
  for (const { context, troubles } of all) {
    for (const page of context.pages()) {
      process.stderr.write(`at ${page.url()}\n${troubles.join("\n")}\n`);
      await keep(page, `failed-${process.pid}-${pictured++}`).catch(() => undefined);
    }
  }
}

let pictured = 0;

/** Closes everything; fails if anything went wrong meanwhile. */
export async function end() {
  const troubles = all.flatMap((one) => one.troubles);
  await browser?.close();
  assert.deepEqual(troubles, [], "the browser complained");
}

/** The command line of the server that is tested. */
export async function cli(...args) {
  const [program, ...first] = cliCommand;
  return (await run(program, [...first, ...args], { timeout: PATIENCE })).stdout;
}

export async function submit(options, ...script) {
  return (await cli("run", "--detach", ...options, "--", "sh", "-c", ...script)).trim();
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Has the test's other half, which has the server, do something; waits until it is done. */
export async function ask(what) {
  process.stdout.write(`ask ${what}\n`);
  const { value } = await lines.next();
  assert.equal(value, "done");
}

/** Says what was measured. */
export function measured(name, value) {
  process.stdout.write(`measured ${name} ${value}\n`);
}

/** Waits until it is so, asked in the page or here. */
export async function until(what, condition, patience = PATIENCE) {
  const deadline = Date.now() + patience;
  for (;;) {
    const found = await condition();
    if (found) return found;
    assert.ok(Date.now() < deadline, `waited for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export async function logIn(page, token) {
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByText("live", { exact: true }).waitFor();
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** No violation of the rules for who cannot see, or cannot use a mouse. */
export async function accessible(page, name) {
  // Not as a script element, which the page's policy forbids.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const told = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 5).map((node) => `${node.html.slice(0, 200)} ${node.failureSummary}`).join(" | ")}`);
  assert.deepEqual(told, [], `${name} is not accessible`);
}

/** What a view looks like, for whoever asks: drawing it takes as long as looking through it. */
export async function picture(page, name) {
  if (process.env.FIREACTIONS_PICTURES || process.env.FIREACTIONS_LONG) await keep(page, name);
}

async function keep(page, name) {
  if (!pictures) return;
  mkdirSync(pictures, { recursive: true });
  await page.screenshot({ path: join(pictures, `${name}.png`) });
}

/** That nothing reaches beyond the window's side: on a phone, nothing has to be shifted. */
export async function fits(page, name) {
  const [wide, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= window, `${name} is ${wide} wide in a window of ${window}`);
  const over = await page.evaluate(() => {
    const isCut = (cell) => cell.scrollWidth > cell.clientWidth && getComputedStyle(cell).display !== "none";
    return [...document.querySelectorAll("table.list :is(th, td)")].filter(isCut).map((cell) => cell.textContent);
  });
  assert.deepEqual(over, [], `${name}: what is wider than its column`);
}
