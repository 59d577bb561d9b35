// The server at its Unix socket, behind a proxy that serves it below a path of its own.
import assert from "node:assert/strict";
import { createServer, request } from "node:http";
import { logIn, open, submit } from "./lib.mjs";

const PREFIX = "/ci/host-7";
const { viewer, admin } = JSON.parse(process.env.PAGE_TOKENS);
const [, , socketPath] = JSON.parse(process.env.PAGE_CLI);

/** As nginx does it: the prefix goes, who asks is told. */
function passed(incoming) {
  const headers = { ...incoming.headers, "x-forwarded-for": incoming.socket.remoteAddress, "x-forwarded-proto": "http" };
  return request({ socketPath, path: incoming.url.slice(PREFIX.length), method: incoming.method, headers });
}

function proxy() {
  const seen = [];
  const server = createServer((incoming, outgoing) => {
    seen.push(incoming.url);
    if (!incoming.url.startsWith(`${PREFIX}/`)) return outgoing.writeHead(404).end();
    const asked = passed(incoming);
    asked.on("response", (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
      outgoing.on("close", () => answer.destroy());
    });
    asked.on("error", () => outgoing.destroy());
    incoming.pipe(asked);
  });
  server.on("upgrade", (incoming, socket) => {
    seen.push(incoming.url);
    const asked = passed(incoming);
    asked.on("upgrade", (answer, other) => {
      const headers = Object.entries(answer.headers).map(([name, value]) => `${name}: ${value}`);
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${headers.join("\r\n")}\r\n\r\n`);
      other.pipe(socket).pipe(other);
      for (const end of [other, socket]) end.on("error", () => { other.destroy(); socket.destroy(); });
    });
    asked.on("response", () => socket.destroy());
    asked.on("error", () => socket.destroy());
    asked.end();
  });
  return new Promise((resolve) => { server.listen(8090, "127.0.0.1", () => resolve(seen)); });
}

export default async function () {
  const seen = await proxy();
  const at = `http://127.0.0.1:8090${PREFIX}/`;
  const page = await open({ goto: false, expected: [/401/] });
  await page.goto(at);
  await logIn(page, viewer);
  await submit(["--name", "seen from afar"], "echo begun; hang");
  await page.goto(`${at}#/jobs`);
  await page.getByRole("link", { name: "seen from afar", exact: true }).click();
  await page.getByRole("region", { name: /^Log/ }).getByText("begun").waitFor();
  await page.getByRole("button", { name: "Log out" }).click();
  await logIn(page, admin);
  await page.locator("dl.facts a[href^='#/machines/']").click();
  await page.getByRole("link", { name: "Shell" }).click();
  await page.locator(".shell [role=status]").getByText("ended").waitFor();
  assert.ok(seen.some((url) => url.endsWith("/exec")), "the shell goes through the proxy, too");
  assert.deepEqual(seen.filter((url) => !url.startsWith(`${PREFIX}/`)), [], "nothing is asked beside the prefix");
}
