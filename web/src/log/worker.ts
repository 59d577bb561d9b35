// Reads a log and keeps it, away from the page's own thread: the page asks for the lines that it shows.
import type { LogChunk } from "../../generated/api.ts";
import { ApiFault, faultIn, faultOf, oneLine, wordsOf } from "../api/fault.ts";
import { LogBuffer } from "./buffer.ts";
import { events } from "./events.ts";
import type { Report, Request } from "./protocol.ts";

const buffer = new LogBuffer();
/** The page is told this often at most. */
const TELL = 50;
/** The status of what broke on the way. */
const BROKEN = 500;
const PAUSES = [500, 1000, 2000, 5000, 10_000];

function say(report: Report): void {
  postMessage(report);
}

let telling = false;
let groupsTold = -1;

function tell(): void {
  if (telling) return;
  telling = true;
  setTimeout(tellNow, TELL);
}

function tellNow(): void {
  telling = false;
  const { lines, size, dropped, groups } = buffer;
  groupsTold = groups.length;
  say({
    kind: "grown", lines, size, dropped,
    groups: groupsTold === 0 ? [] : [...groups],
    first: buffer.line(0).at,
    last: buffer.line(lines - 1).at,
  });
}

async function open(address: string, raw: boolean): Promise<void> {
  for (let failures = 0; ; failures += 1) {
    const before = buffer.size + buffer.dropped;
    try {
      if (raw) await readRaw(address);
      else if (!(await readEvents(address))) throw new Error("the connection ended before the log did");
      tellNow();
      return say({ kind: "ended" });
    } catch (error) {
      tell();
      if (error instanceof ApiFault && error.status < 500) return say({ kind: "ended", why: oneLine(error) });
      // Busy, being replaced, or out of reach: worth another attempt.
      const why = oneLine(wordsOf(error));
      // What is raw has no positions to continue at.
      if (raw && buffer.size > 0) return say({ kind: "ended", why });
      if (buffer.size + buffer.dropped > before) failures = 0;
      say({ kind: "broken", why });
      await new Promise((resolve) => setTimeout(resolve, PAUSES[Math.min(failures, PAUSES.length - 1)]));
    }
  }
}

async function body(address: string): Promise<ReadableStream<Uint8Array>> {
  const answer = await fetch(address, { credentials: "same-origin", cache: "no-store", redirect: "error" });
  if (answer.ok && answer.body) return answer.body;
  throw await faultOf(answer);
}

let position = 0;

/** Whether the log's end was told. */
async function readEvents(address: string): Promise<boolean> {
  const from = new URL(address);
  from.searchParams.set("from", String(position));
  for await (const event of events(await body(from.href))) {
    if (event.name === "output") {
      const chunk = JSON.parse(event.data) as LogChunk;
      buffer.append(fromBase64(chunk.data), chunk.stream === "stderr", Date.parse(chunk.at) || 0);
      position = chunk.next;
      tell();
    } else if (event.name === "end") {
      return true;
    } else if (event.name === "error") {
      throw faultIn(event.data, BROKEN) ?? new Error("the log cannot be read");
    }
  }
  return false;
}

async function readRaw(address: string): Promise<void> {
  const reader = (await body(address)).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    buffer.append(value);
    tell();
  }
}

function fromBase64(text: string): Uint8Array {
  if ("fromBase64" in Uint8Array) {
    return (Uint8Array as unknown as { fromBase64(text: string): Uint8Array }).fromBase64(text);
  }
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

self.onmessage = ({ data }: MessageEvent<Request>) => {
  switch (data.kind) {
    case "open": void open(data.url, data.raw); break;
    case "lines": say({ kind: "lines", ticket: data.ticket, lines: data.numbers.map((n) => buffer.line(n)) }); break;
    case "search": say({ kind: "found", ticket: data.ticket, numbers: buffer.search(data.text, data.most) }); break;
  }
};
