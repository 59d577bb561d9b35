// Does with the real clients what a test tells it, step by step, and says how each step ended:
//   node drive.mjs DIRECTORY-OF-PACKAGES <STEPS.json
// A step is {client: "cache-v1" | "cache-v2" | "artifact", call, args, env}; "azure" calls Azure's client, with bytes as base64.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const packages = join(process.argv[2], 'node_modules')

// As `import` would, if these packages were beside this file.
async function load(name) {
  const home = join(packages, name)
  const { exports, main } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'))
  const entry = exports?.['.']?.import ?? main
  const file = typeof entry === 'string' ? entry : (entry.default ?? main)
  return import(pathToFileURL(join(home, file)))
}

const azure = {
  async upload(url, size, options) {
    const { BlockBlobClient } = await load('@azure/storage-blob')
    await new BlockBlobClient(url).uploadData(Buffer.alloc(size, 'block '), options)
  },
  async download(url, offset, count) {
    const { BlockBlobClient } = await load('@azure/storage-blob')
    const client = new BlockBlobClient(url)
    const { contentLength } = await client.getProperties()
    const bytes = await client.downloadToBuffer(offset, count, { blockSize: 1000, concurrency: 4 })
    return { contentLength, bytes: bytes.toString('base64') }
  },
}

const given = { ...process.env }
for (const { client, call, args, env } of JSON.parse(readFileSync(0, 'utf8'))) {
  process.env = { ...given, ...env }
  let said
  try {
    const loaded = client === 'azure' ? azure : await load(client)
    const does = loaded.default?.[call] ? loaded.default : loaded
    said = { value: (await does[call](...args)) ?? null }
  } catch (error) {
    said = { error: `${error.name}: ${error.message}` }
  }
  console.log(`\n@@${JSON.stringify(said)}`)
}
process.exit(0)
