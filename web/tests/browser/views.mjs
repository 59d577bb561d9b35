// Each view: no rule of accessibility is broken, nothing sticks out, by day and by night; and their pictures, to be looked at.
import { accessible, base, cli, fits, open, picture, submit } from "./lib.mjs";

const SIZES = { phone: [390, 844], tablet: [900, 1100], desk: [1440, 900] };

/** What is asked for once a view is there. */
const LATER = { overview: /^\d+ of \d+$/, machines: / of 256 MiB$/, machine: / of 256 MiB$/ };

export default async function () {
  const running = await submit(["--name", "build and test"], "echo compiling; hang");
  await submit(["--name", "needs a gpu", "--label", "gpu"], "true");
  const failed = await submit(["--name", "breaks"], "echo oops; exit 1");
  await submit(["--name", "works"], "print-bytes 5000");
  const page = await open();
  await page.goto(`${base}#/jobs/${failed}`);
  await page.locator("header .state").getByText("failed").waitFor();
  await page.goto(`${base}#/jobs/${running}`);
  await page.locator("header .state").getByText("running").waitFor();
  const machine = JSON.parse(await cli("jobs", "show", running, "--json")).machine;
  const views = {
    overview: ["#/", "Pools"], jobs: ["#/jobs", "build and test"], job: [`#/jobs/${running}`, "compiling"], "job-failed": [`#/jobs/${failed}`, "oops"],
    machines: ["#/machines", machine], machine: [`#/machines/${machine}`, "Linux version"], pools: ["#/pools", "default"], pool: ["#/pools/default", "Its machines"],
    images: ["#/images", "on the disk"], doctor: ["#/doctor", "ok"], config: ["#/config", "bind_address"], absent: ["#/nowhere", "no such view"],
  };
  for (const [size, [width, height]] of Object.entries(SIZES)) {
    // By night other colours are where they are by day, and those of a tablet are a desk's.
    for (const scheme of size === "tablet" ? ["light"] : ["light", "dark"]) {
      const page = await open({ width, height, scheme, goto: false });
      for (const [name, [path, text]] of Object.entries(views)) {
        await page.goto(base + path);
        await page.locator("main").getByText(text).filter({ visible: true }).first().waitFor();
        await page.getByText("Loading…").waitFor({ state: "detached" });
        // What changes with time is there, too.
        if (LATER[name]) await page.locator("main").getByText(LATER[name]).first().waitFor();
        await picture(page, `${name}-${size}-${scheme}`);
        await fits(page, `${name} on a ${size}`);
        // What differs between a desk and a tablet is only where things are.
        if (size !== "tablet") await accessible(page, `${name}, ${size}, ${scheme}`);
      }
      await page.goto(`${base}#/jobs/${running}`);
      await page.keyboard.press("?");
      await page.getByRole("dialog", { name: "Keyboard" }).waitFor();
      await accessible(page, "the help");
      await page.getByRole("button", { name: "Close" }).click();
      await page.getByRole("button", { name: "Cancel…" }).click();
      await page.getByRole("dialog").waitFor();
      await accessible(page, "a question");
      await picture(page, `question-${size}-${scheme}`);
      await page.close();
    }
  }
  // Between a phone and a tablet lists have the least room.
  for (const width of [720, 820]) {
    const page = await open({ width, goto: false });
    for (const name of ["jobs", "machines"]) {
      await page.goto(base + views[name][0]);
      await page.locator("main").getByText(views[name][1]).filter({ visible: true }).first().waitFor();
      if (LATER[name]) await page.locator("main").getByText(LATER[name]).first().waitFor();
      await picture(page, `${name}-${width}`);
      await fits(page, `${name} in ${width} pixels`);
    }
    await page.context().close();
  }
  await keyboard(running);
}

async function keyboard(running) {
  const page = await open({ path: "#/" });
  await page.getByText("live", { exact: true }).waitFor();
  await page.keyboard.press("g");
  await page.keyboard.press("j");
  await page.waitForURL(/#\/jobs$/);
  await page.getByLabel("Search jobs").waitFor();
  await page.keyboard.press("/");
  // What is typed just when the field has told the address is not lost.
  await page.evaluate(() => {
    const told = history.replaceState.bind(history);
    history.replaceState = (...what) => {
      told(...what);
      history.replaceState = told;
      const field = document.querySelector("main input[type=search]");
      field.value += "d";
      field.dispatchEvent(new Event("input", { bubbles: true }));
    };
  });
  await page.keyboard.insertText("buil");
  await page.waitForURL(/q=build/);
  await page.getByText("works").waitFor({ state: "detached" });
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.waitForURL(new RegExp(running));
}
