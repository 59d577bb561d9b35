// A shell in a real microVM, and what a hostile job writes.
import assert from "node:assert/strict";
import { accessible, ask, BOOT, open, picture, submit, until } from "./lib.mjs";

const HOSTILE = [
  "printf '\\033]0;pwned\\007\\033]2;pwned\\033\\\\<img src=x onerror=document.title=1> \\033[31mred\\033[0m\\n'",
  "printf '\\377\\376A\\303(\\n'",
  "printf '1%%\\r50%%\\r100%%\\n'",
  "printf '::group::\\033[31mFold\\033[0m me\\342\\200\\256\\ninside\\n::endgroup::\\n'",
  "printf '\\033]8;;javascript:alert(1)\\007link\\033]8;;\\007 \\033[2J\\033[1;1H\\033cend\\n'",
  "head -c 300000 /dev/zero | tr '\\0' x; echo",
].join("; ");

export default async function () {
  const page = await open({ path: "#/machines", expected: [/Failed to load resource|net::ERR_|WebSocket/] });
  const id = await submit(["--name", "<b>evil</b> & co"], `${HOSTILE}; echo begun; while [ ! -e /tmp/told ]; do sleep 0.1; done`);
  await page.getByRole("link", { name: "<b>evil</b> & co" }).waitFor({ timeout: BOOT });
  await page.getByRole("link", { name: "<b>evil</b> & co" }).click();
  const log = page.getByRole("region", { name: /^Log/ });
  await log.getByText("begun").waitFor({ timeout: BOOT });
  await log.getByText("<img src=x onerror=document.title=1> red").waitFor();
  await log.getByText("\uFFFD\uFFFDA\uFFFD(").waitFor();
  await log.getByText("100%", { exact: true }).waitFor();
  await log.getByText("link end").waitFor();
  await log.getByText(/296,000 more/).waitFor();
  await log.getByRole("button", { name: "Fold me\uFFFD" }).click();
  await until("the group to be folded", async () => (await log.getByText("inside").count()) === 0);
  assert.equal(await page.title(), `Job ${id} · fireactions`);
  assert.equal(await page.locator("main img, main b:text('evil')").count(), 0, "markup is text");
  await accessible(page, "a hostile log");
  await picture(page, "log-hostile");

  await page.locator("dl.facts a[href^='#/machines/']").click();
  // A clone's kernel has spoken before the clone was made, so there may be nothing on its console.
  await page.getByText(/^\d+ lines?, /).waitFor();
  await page.getByRole("link", { name: "Shell" }).click();
  await page.getByText("connected", { exact: true }).waitFor();
  const terminal = page.locator(".terminal");
  await terminal.locator("textarea").focus();
  await page.keyboard.type("echo $((6 * 7)) apples; stty size; printf '\\033]0;pwned\\007'\n");
  await terminal.getByText("42 apples").first().waitFor();
  await functionKeys(page);
  // What the guest has of the window is what there is of it, also when that changes.
  const sizes = async () => (await terminal.locator(".xterm-accessibility").innerText()).match(/^\d+ \d+$/gm) ?? [];
  const [first] = await until("the terminal's size", async () => ((await sizes()).length > 0 ? sizes() : undefined));
  await page.setViewportSize({ width: 900, height: 700 });
  await until("a smaller terminal", async () => {
    await page.keyboard.type("stty size\n");
    return (await sizes()).some((size) => Number(size.split(" ")[1]) < Number(first.split(" ")[1]));
  });
  await picture(page, "shell");
  assert.match(await page.title(), /^Machine /);
  // A server that is replaced costs the shell, not the machine: there is another at once.
  await ask("replace");
  await terminal.getByText(/the server is being replaced/).first().waitFor();
  await page.getByText("connected", { exact: true }).waitFor();
  await page.keyboard.type("echo $((7 * 7)) pears\n");
  await terminal.getByText("49 pears").first().waitFor();
  await page.keyboard.type("touch /tmp/told; exit\n");
  await page.getByText("The shell has ended.").first().waitFor();
  await page.getByRole("button", { name: "Another shell" }).waitFor();
}

/** They are the shell's, and the browser does with them nothing of its own: F5 would load the page again. */
async function functionKeys(page) {
  await page.keyboard.type("echo $((6 * 3)) plums; cat\n");
  // From here on the terminal itself shows what is typed.
  await page.locator(".terminal").getByText("18 plums").first().waitFor();
  const prevented = () => page.evaluate(() => globalThis.pressed.map((event) => [event.key, event.defaultPrevented]));
  await page.evaluate(() => {
    globalThis.pressed = [];
    addEventListener("keydown", (event) => /^F\d/.test(event.key) && globalThis.pressed.push(event), true);
  });
  for (const key of ["F5", "F11"]) await page.keyboard.press(key);
  assert.deepEqual(await prevented(), [["F5", true], ["F11", true]]);
  await page.locator(".terminal").getByText("^[[15~^[[23~").first().waitFor();
  await page.keyboard.press("Control+c");
  // Who has no mouse leaves it so.
  const isInside = () => page.evaluate(() => document.activeElement.closest(".terminal") !== null);
  assert.ok(await isInside());
  await page.keyboard.press("Shift+Tab");
  await until("the terminal to be left", async () => !(await isInside()));
  await page.locator(".terminal textarea").focus();
}
