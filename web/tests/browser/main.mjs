// One test in a real browser against a running server: node main.mjs CASE
import { end, evidence } from "./lib.mjs";

const [name] = process.argv.slice(2);
try {
  const { default: test } = await import(`./${name}.mjs`);
  await test();
  await end();
  process.stdout.write("passed\n");
  process.exit(0);
} catch (error) {
  process.stderr.write(`${name}: ${error.stack ?? error}\n`);
  await evidence().catch(() => undefined);
  process.exit(1);
}
