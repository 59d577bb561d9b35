// Reads a log and keeps it, away from the page's own thread: the page asks for the lines that it shows.
import { faultOf } from "../api/fault.ts";
import type { LogBuffer } from "./buffer.ts";
import type { Report, Request } from "./protocol.ts";
import { LogReader } from "./reader.ts";
import { searchAll } from "./search.ts";

/** The page is told this often at most. */
const TELL = 50;

function say(report: Report): void {
  postMessage(report);
}

const sleep = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

const reader = new LogReader({
  async body(address, signal) {
    const answer = await fetch(address, { credentials: "same-origin", cache: "no-store", redirect: "error", signal });
    if (answer.ok && answer.body) return answer.body;
    throw await faultOf(answer);
  },
  grown: tell,
  broken: (why) => say({ kind: "broken", why }),
  sleep,
});

let telling = false;

function tell(): void {
  if (telling) return;
  telling = true;
  setTimeout(tellNow, TELL);
}

/** The groups that the page knows. */
let told: { buffer: LogBuffer; changes: number } | undefined;

function tellNow(): void {
  telling = false;
  const { buffer } = reader;
  const { lines, size, dropped, groupsBeyond, groupChanges: changes } = buffer;
  const known = told?.buffer === buffer && told.changes === changes;
  told = { buffer, changes };
  say({
    kind: "grown", lines, size, dropped, groupsBeyond, first: buffer.line(0).at, last: buffer.line(lines - 1).at,
    ...(known ? {} : { groups: [...buffer.groups] }),
  });
}

async function open(address: string, raw: boolean): Promise<void> {
  const why = await reader.read(address, raw);
  tellNow();
  say(why === undefined ? { kind: "ended" } : { kind: "ended", why });
}

/** The search that is waited for. */
let newest = 0;

async function search(request: Request & { kind: "search" }): Promise<void> {
  const { ticket } = request;
  newest = ticket;
  const hits = await searchAll(reader.buffer, request, () => newest === ticket, () => sleep(0));
  say(hits ? { kind: "found", ticket, ...hits } : { kind: "unwanted", ticket });
}

self.onmessage = ({ data }: MessageEvent<Request>) => {
  switch (data.kind) {
    case "open": void open(data.url, data.raw); break;
    case "rest": reader.rest(); break;
    case "go on": reader.goOn(); break;
    case "lines": say({ kind: "lines", ticket: data.ticket, lines: data.numbers.map((n) => reader.buffer.line(n)) }); break;
    case "search": void search(data); break;
  }
};
