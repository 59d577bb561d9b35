// People log in by a provider, with its button: as what their groups may be, until they log out.
import assert from "node:assert/strict";
import { base, cli, open, submit } from "./lib.mjs";

/** The page by another name than the provider's, so that the two are foreign to each other in the browser, as in life. */
const HERE = base.replace("127.0.0.1", "localhost");

/** Before a login there is none; streams end with the login that they were opened by; the provider has no icon. */
const expected = [/401|403|ERR_INCOMPLETE_CHUNKED_ENCODING|favicon/];

export default async function () {
  const id = await submit(["--name", "looked at"], "echo begun; hang");
  const page = await open({ goto: false, expected });
  await page.goto(`${HERE}#/jobs/${id}`);
  await logInAs(page, "bert");
  await page.getByText("oidc:bert viewer").waitFor();
  assert.equal(page.url().replace(/#.*/, ""), HERE, "nothing of the login is left in the address");
  assert.equal(page.url(), `${HERE}#/jobs/${id}`, "and the view is the one that was asked for");
  const session = await cookie(page);
  assert.ok(session.httpOnly && session.sameSite === "Strict", JSON.stringify(session));
  await page.getByRole("region", { name: /^Log/ }).getByText("begun").waitFor();
  assert.equal(await page.getByRole("button", { name: /Cancel|Drain|Pause|Destroy/ }).count(), 0);
  const cancelled = await page.evaluate(async (job) => {
    const answer = await fetch(`api/v1/jobs/${job}/cancel`, { method: "POST" });
    return [answer.status, await answer.text()];
  }, id);
  assert.equal(cancelled[0], 403, "a viewer cannot write");
  assert.match(cancelled[1], /'oidc:bert' has the role viewer/);
  assert.equal(JSON.parse(await cli("jobs", "show", id, "--json")).cancel_requested, false);

  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("link", { name: "Log in with Acme" }).waitFor();
  assert.equal(await cookie(page), undefined);
  assert.equal(await page.evaluate(async () => (await fetch("api/v1/session")).status), 401);
  // What the cookie was is worth nothing any more.
  await page.context().addCookies([session]);
  assert.equal(await page.evaluate(async () => (await fetch("api/v1/session")).status), 401);
  // The provider still knows who it is, and asks nobody.
  await page.getByRole("link", { name: "Log in with Acme" }).click();
  await page.getByText("oidc:bert viewer").waitFor();

  const another = await open({ goto: false, expected });
  await another.goto(HERE);
  await logInAs(another, "anna");
  await another.getByText("oidc:anna admin").waitFor();
  await another.goto(`${HERE}#/jobs/${id}`);
  await another.getByRole("button", { name: "Cancel…" }).click();
  await another.getByRole("dialog").getByRole("button", { name: /^Cancel the job/ }).click();
  await another.locator("header .state").getByText("cancelled").waitFor();
  // Who looks on sees it, too.
  await page.goto(`${HERE}#/jobs/${id}`);
  await page.locator("header .state").getByText("cancelled").waitFor();

  const stranger = await open({ goto: false, expected });
  await stranger.goto(HERE);
  await logInAs(stranger, "carl", false);
  await stranger.getByText("none of your groups may use").waitFor();
  assert.equal(await cookie(stranger), undefined);
}

/** By the page's button, and the provider's own page. */
async function logInAs(page, name, isLetIn = true) {
  const button = page.getByRole("link", { name: "Log in with Acme" });
  await button.waitFor();
  assert.equal(await page.getByLabel("Token").count(), 0, "there are no tokens here");
  await button.click();
  await page.getByRole("link", { name, exact: true }).click();
  if (isLetIn) await page.getByText("live", { exact: true }).waitFor();
}

async function cookie(page) {
  return (await page.context().cookies()).find((one) => one.name.startsWith("fireactions_session_"));
}
