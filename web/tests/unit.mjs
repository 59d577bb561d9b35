// The tests of what needs no browser: each file is bundled, and run by Node's own test runner.
//   node tests/unit.mjs
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = mkdtempSync(join(tmpdir(), "page-unit-"));
try {
  const tests = readdirSync(join(here, "unit")).filter((name) => name.endsWith(".test.mjs"));
  await esbuild.build({
    entryPoints: tests.map((name) => join(here, "unit", name)), outdir: out, outExtension: { ".js": ".mjs" }, bundle: true,
    platform: "node", format: "esm", target: "node20", sourcemap: "inline", jsx: "automatic", jsxImportSource: "preact", logLevel: "warning",
  });
  const ran = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...tests.map((name) => join(out, name))], { stdio: "inherit" });
  process.exitCode = ran.status ?? 1;
} finally {
  rmSync(out, { recursive: true });
}
