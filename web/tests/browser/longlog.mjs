// A long log, from end to end.
import { measured, open } from "./lib.mjs";
import { opened, right, written } from "./long.mjs";

const LINES = 100_000;

export default async function () {
  const id = await written(LINES);
  const page = await open();
  await page.getByText("live", { exact: true }).waitFor();
  const { first, whole } = await opened(page, id, LINES);
  measured("first_lines_ms", first.toFixed(0));
  measured("all_lines_ms", whole.toFixed(0));
  await right(page, id, LINES);
}
