// Makes TypeScript's types of the API's own description, so that the page cannot say anything the server does not.
//   node types.mjs OPENAPI.json OUT.ts
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

const [source, target] = process.argv.slice(2);
const document = JSON.parse(readFileSync(source, "utf8"));
const name = (ref) => ref.split("/").at(-1).replaceAll(/[^A-Za-z0-9_$]/g, "_");
const literal = (value) => JSON.stringify(value);

/** The type of a schema. */
function type(schema) {
  if (schema === undefined || schema === true) return "unknown";
  if (schema.$ref) return name(schema.$ref);
  if (schema.enum) return union(schema.enum.map(literal));
  if ("const" in schema) return literal(schema.const);
  if (schema.oneOf ?? schema.anyOf) return union((schema.oneOf ?? schema.anyOf).map(type));
  if (schema.allOf) return schema.allOf.map((part) => `(${type(part)})`).join(" & ");
  if (Array.isArray(schema.type)) return union(schema.type.map((one) => type({ ...schema, type: one })));
  switch (schema.type) {
    case "string": return "string";
    case "integer":
    case "number": return "number";
    case "boolean": return "boolean";
    case "null": return "null";
    case "array":
      return schema.prefixItems ? `[${schema.prefixItems.map(type).join(", ")}]` : `(${type(schema.items)})[]`;
    case "object": return object(schema);
    default: return "unknown";
  }
}

function union(parts) {
  return [...new Set(parts)].join(" | ") || "never";
}

function object(schema) {
  const required = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties ?? {}).map(([key, value]) => {
    const optional = required.has(key) ? "" : "?";
    return `${comment(value.description, "  ")}  ${literal(key)}${optional}: ${type(value)};`;
  });
  const rest = schema.additionalProperties;
  if (fields.length === 0) return `Record<string, ${rest ? type(rest) : "unknown"}>`;
  return `{\n${fields.join("\n")}\n}`;
}

function comment(text, indent = "") {
  if (!text) return "";
  return `${indent}/** ${text.replaceAll("*/", "* /").replaceAll("\n", `\n${indent} * `)} */\n`;
}

const json = (content) => content?.["application/json"]?.schema;

/** What is asked and answered at each route, by "METHOD /path". */
function operations() {
  const all = [];
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const good = Object.entries(operation.responses ?? {}).find(([status]) => status.startsWith("2"))?.[1];
      const answer = json(good?.content);
      const body = json(operation.requestBody?.content);
      all.push(
        `${comment(operation.description ?? operation.summary, "  ")}` +
          `  ${literal(`${method.toUpperCase()} ${path}`)}: ` +
          `{ body: ${body ? type(body) : "undefined"}; answer: ${answer ? type(answer) : "undefined"} };`,
      );
    }
  }
  return all;
}

const schemas = Object.entries(document.components?.schemas ?? {}).map(
  ([key, schema]) => `${comment(schema.description)}export type ${name(key)} = ${type(schema)};`,
);
mkdirSync(dirname(target), { recursive: true });
writeFileSync(
  target,
  `// Generated from the API's description.\n\n${schemas.join("\n\n")}\n\n` +
    `/** What each route takes and gives. */\nexport interface Operations {\n${operations().join("\n")}\n}\n`,
);
