// Makes the bundle: web/dist with index.html and assets, each compressed beside itself.
//   node tools/build.mjs [OUT]
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import * as esbuild from "esbuild";

const web = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const out = resolve(process.argv[2] ?? join(web, "dist"));
/** What may come with the first load, compressed. */
const FIRST_LOAD = 250_000;

const work = join(web, ".making");
rmSync(work, { recursive: true, force: true });
const assets = join(work, "assets");
mkdirSync(assets, { recursive: true });

const common = {
  absWorkingDir: web, bundle: true, minify: true, format: "esm", target: ["es2022"], outdir: assets, legalComments: "none",
  entryNames: "[name]-[hash]", chunkNames: "[name]-[hash]", assetNames: "[name]-[hash]", metafile: true, logLevel: "warning",
  // The packages may be in the cache, wherever that is; the bundle is the same.
  preserveSymlinks: true,
};
const worker = await esbuild.build({ ...common, entryPoints: { log: "src/log/worker.ts" } });
const page = await esbuild.build({
  ...common, entryPoints: { main: "src/main.tsx" }, splitting: true, jsx: "automatic", jsxImportSource: "preact",
  define: { LOG_WORKER: JSON.stringify(`./${made(worker, ".js")}`) },
});

/** The name of what an entry came to. */
function made(result, end) {
  const entry = Object.entries(result.metafile.outputs).find(([name, one]) => name.endsWith(end) && (one.entryPoint || end === ".css" && /\/main-/.test(name)));
  return entry[0].split("/").at(-1);
}

const icon = readFileSync(join(web, "icon.svg"));
const iconName = `icon-${createHash("sha256").update(icon).digest("hex").slice(0, 8)}.svg`;
writeFileSync(join(assets, iconName), icon);
const names = { ICON: iconName, STYLE: made(page, ".css"), SCRIPT: made(page, ".js") };
const index = readFileSync(join(web, "index.html"), "utf8").replaceAll(/@([A-Z]+)@/g, (_, name) => names[name]);
writeFileSync(join(work, "index.html"), index);

const sizes = {};
for (const directory of [work, assets]) {
  for (const entry of readdirSync(directory, { withFileTypes: true }).filter((one) => one.isFile())) {
    const path = join(directory, entry.name);
    const small = gzipSync(readFileSync(path), { level: 9 });
    writeFileSync(`${path}.gz`, small);
    sizes[entry.name] = small.length;
  }
}

// What the entry imports at once; the rest comes when it is needed.
const first = new Set([names.SCRIPT, names.STYLE, names.ICON, "index.html"]);
const follow = (name) => {
  const output = Object.entries(page.metafile.outputs).find(([path]) => path.endsWith(`/${name}`))?.[1];
  for (const one of output?.imports ?? []) {
    const next = one.path.split("/").at(-1);
    if (one.kind === "import-statement" && !first.has(next)) {
      first.add(next);
      follow(next);
    }
  }
};
follow(names.SCRIPT);
const firstLoad = [...first].reduce((sum, name) => sum + (sizes[name] ?? 0), 0);
if (firstLoad > FIRST_LOAD) {
  console.error(`build-page: the first load is ${firstLoad} bytes compressed, more than ${FIRST_LOAD}`);
  process.exit(1);
}

// What is as it was is not touched: cargo would build all anew that has it.
const contents = (root) => files(root).map((path) => [relative(root, path), readFileSync(path).toString("base64")]).sort();
const files = (root) => readdirSync(root, { recursive: true, withFileTypes: true })
  .filter((one) => one.isFile() && !one.name.startsWith(".")).map((one) => join(one.parentPath, one.name));
mkdirSync(out, { recursive: true });
if (JSON.stringify(contents(out)) !== JSON.stringify(contents(work))) {
  rmSync(join(out, "assets"), { recursive: true, force: true });
  for (const name of readdirSync(work)) cpSync(join(work, name), join(out, name), { recursive: true });
}
rmSync(work, { recursive: true });
console.log(`build-page: ${out}: ${Math.round(firstLoad / 1000)} kB at the first load, ${Math.round(Object.values(sizes).reduce((a, b) => a + b, 0) / 1000)} kB in all, compressed`);
