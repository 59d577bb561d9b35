// A log in a window: only the lines in sight are in the page.
import { useEffect, useRef, useState } from "preact/hooks";
import { Icon } from "../ui/icons.tsx";
import { bytes } from "../words/time.ts";
import type { Line } from "./buffer.ts";
import { follows } from "./follow.ts";
import { LogClient, NOTHING, type LogStatus } from "./client.ts";
import { LogLine } from "./line.tsx";
import { Rows } from "./rows.ts";
import { Finder } from "./finder.tsx";

/** Height of a row, as the style has it. */
const ROW = 20;
/** Rows beyond the window's edges. */
const MARGIN = 20;
/** The tallest that browsers make an element well. */
const TALLEST = 8_000_000;

export interface LogSource {
  source: URL;
  /** The answer is the log's bytes, without positions. */
  raw?: boolean;
  download: URL;
  name: string;
  /** Which line is pointed at. */
  line?: number | undefined;
  linkTo?: (line: number) => string;
  empty: string;
}

export function LogView({ source, raw = false, download, name, line, linkTo, empty }: LogSource) {
  const [status, setStatus] = useState<LogStatus>(NOTHING);
  const [folded, setFolded] = useState<ReadonlySet<number>>(new Set());
  const [times, setTimes] = useState(false);
  const [hit, setHit] = useState<{ line: number; text: string }>();
  const [client, setClient] = useState<LogClient>();
  const [tail, setTail] = useState(line === undefined);
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  /** Where the window was when it was scrolled last. */
  const seen = useRef(0);
  const [height, setHeight] = useState(480);

  useEffect(() => {
    const made = new LogClient(source, raw, setStatus);
    setClient(made);
    return () => made.close();
  }, [source.href, raw]);

  const rows = new Rows(status.lines, status.groups, folded);
  const tall = Math.min(rows.count * ROW, TALLEST);
  const visible = Math.max(1, Math.ceil(height / ROW));
  const scale = tall > height ? (rows.count * ROW - height) / (tall - height) : 1;
  const first = Math.max(0, Math.min(Math.floor((top * scale) / ROW), rows.count - visible));
  const from = Math.max(0, first - MARGIN);
  const numbers = Array.from({ length: Math.min(rows.count, first + visible + MARGIN) - from }, (_, at) => rows.line(from + at));
  const lines = useLines(client, numbers, status);
  const lastGroup = status.groups.at(-1)?.line ?? -1;

  const showRow = (row: number) => {
    if (box.current) box.current.scrollTop = (Math.max(0, row - Math.floor(visible / 3)) * ROW) / scale;
  };
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const watch = new ResizeObserver(() => setHeight(element.clientHeight));
    watch.observe(element);
    return () => watch.disconnect();
  }, []);
  // The end stays in sight while it is, and the line that is pointed at is shown once it is there.
  useEffect(() => {
    if (tail && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [tail, rows.count, height]);
  const there = line !== undefined && line < status.lines;
  useEffect(() => {
    if (there) showRow(rows.row(line));
  }, [there, line]);

  const onScroll = () => {
    const element = box.current;
    if (!element) return;
    setTop(element.scrollTop);
    const before = seen.current;
    seen.current = element.scrollTop;
    setTail((did) => follows(did, before, element));
  };
  const fold = (number: number) => {
    const next = new Set(folded);
    if (!next.delete(number)) next.add(number);
    setFolded(next);
  };
  const find = (number: number, text: string) => {
    // A hit in a folded group opens it.
    const shut = status.groups.filter((group) => folded.has(group.line) && number > group.line && number < (group.end ?? Infinity));
    const open = new Set([...folded].filter((one) => !shut.some((group) => group.line === one)));
    if (shut.length > 0) setFolded(open);
    setTail(false);
    setHit({ line: number, text });
    showRow(new Rows(status.lines, status.groups, open).row(number));
  };

  // Where the lines belong that are there: those before are shown at their own place until the next are told.
  const at = lines[0] === undefined ? from : rows.row(lines[0].number);
  const offset = at * ROW - top * scale + top;
  return (
    <div class={`log${times ? " times" : ""}`}>
      <div class="bar">
        <Finder client={client} lines={status.lines} onHit={find} onClear={() => setHit(undefined)} />
        <span class="grow" />
        <span class="size">{words(status)}</span>
        <span class="unseen" role="status">{told(status)}</span>
        {status.groups.length > 0 && (
          <button type="button" onClick={() => setFolded(folded.size > 0 ? new Set() : new Set(status.groups.map((group) => group.line)))}>
            {folded.size > 0 ? "Open groups" : "Fold groups"}
          </button>
        )}
        {status.last > 0 && <button type="button" aria-pressed={times} onClick={() => setTimes(!times)}>Times</button>}
        <button type="button" aria-pressed={tail} onClick={() => setTail(!tail)}>Follow</button>
        <a class="button" download={name} href={download.href}><Icon name="down" />Download</a>
      </div>
      <div ref={box} class="window" style={{ height: `${Math.max(8, rows.count + 1) * ROW}px` }} tabIndex={0} role="region" aria-label={`Log, ${status.lines} lines`} onScroll={onScroll}>
        {status.lines === 0 && <p class="empty">{status.state === "ended" ? (status.why ?? empty) : status.state === "broken" ? status.why : "Waiting for output…"}</p>}
        <div class="tall" style={{ height: `${tall}px` }}>
          <div class="rows" style={{ transform: `translateY(${offset}px)` }}>
            {lines.map((one) => (
              <LogLine
                key={one.number} line={one} first={status.first} pointed={one.number === line || one.number === hit?.line}
                find={hit?.text ?? ""} times={times} folds={one.number <= lastGroup} folded={folded.has(one.number)}
                onFold={fold} href={linkTo?.(one.number)}
              />
            ))}
          </div>
        </div>
      </div>
    </div>
  );
}

/** What is said to who listens: not each line that comes, as who looks sees it, but when no more do. */
function told({ state, why }: LogStatus): string {
  if (state === "broken") return `The log breaks off; connecting again: ${why ?? ""}`;
  if (state === "ended") return why ? `The log has ended: ${why}` : "The log has ended.";
  return "";
}

function words({ lines, size, dropped, groupsBeyond, state, why }: LogStatus): string {
  const beyond = groupsBeyond > 0 ? `; ${groupsBeyond.toLocaleString()} more groups do not fold` : "";
  const count = `${lines.toLocaleString()} ${lines === 1 ? "line" : "lines"}, ${bytes(size)}${beyond}`;
  if (dropped > 0) return `${count}; ${bytes(dropped)} more only in the download`;
  if (state === "broken") return `${count}; connecting again: ${why ?? ""}`;
  if (state === "ended" && why) return `${count}; ended: ${why}`;
  return state === "reading" ? `${count} …` : count;
}

/** The lines with these numbers, as soon as the worker has told them; those before stay until then. */
function useLines(client: LogClient | undefined, numbers: readonly number[], status: LogStatus): readonly Line[] {
  const [lines, setLines] = useState<readonly Line[]>([]);
  const key = `${numbers[0]} ${numbers.length} ${numbers.at(-1)}`;
  const now = useRef<LogClient | undefined>(undefined);
  useEffect(() => {
    now.current = client;
    return () => {
      now.current = undefined;
    };
  }, [client]);
  useEffect(() => {
    if (!client || numbers.length === 0) return;
    // Answers come in the order of the questions. All are shown: where a log grows faster than it is told, the newest is always late.
    void client.lines([...numbers]).then((told) => now.current === client && setLines(told));
  }, [client, key, status.size]);
  return numbers.length === 0 ? [] : lines;
}
