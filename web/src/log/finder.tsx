import { useEffect, useState } from "preact/hooks";
import type { LogClient } from "./client.ts";

/** Hits that are looked for at most. */
const MOST = 10_000;
const PAUSE = 150;

/** The search of a log: how often a text is there, and the way through it. */
export function Finder({ client, lines, onHit, onClear }: {
  client: LogClient | undefined;
  lines: number;
  onHit: (line: number, text: string) => void;
  onClear: () => void;
}) {
  const [text, setText] = useState("");
  const [found, setFound] = useState<readonly number[]>([]);
  const [at, setAt] = useState(-1);
  useEffect(() => {
    setAt(-1);
    if (text === "") {
      setFound([]);
      onClear();
      return;
    }
    let wanted = true;
    const timer = setTimeout(() => {
      void client?.search(text, MOST).then((hits) => {
        if (!wanted) return;
        setFound(hits);
        const first = hits[0];
        if (first !== undefined) {
          setAt(0);
          onHit(first, text);
        }
      });
    }, PAUSE);
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [text, client]);
  const move = async (by: number) => {
    // More may have come since.
    const hits = (await client?.search(text, MOST)) ?? found;
    setFound(hits);
    if (hits.length === 0) return;
    const next = (at + by + hits.length) % hits.length;
    setAt(next);
    onHit(hits[next] ?? 0, text);
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || text === "") return;
    event.preventDefault();
    void move(event.shiftKey ? -1 : 1);
  };
  const many = found.length === MOST ? `${MOST.toLocaleString()}+` : found.length.toLocaleString();
  return (
    <div class="finder">
      <input
        type="search" placeholder="Search the log  /" aria-label="Search the log" value={text} disabled={lines === 0}
        onInput={(event) => setText(event.currentTarget.value)} onKeyDown={onKey}
      />
      {text !== "" && <span role="status">{found.length === 0 ? "nothing" : `${at + 1} of ${many}`}</span>}
      {found.length > 1 && (
        <>
          <button type="button" class="plain" aria-label="Previous hit" onClick={() => void move(-1)}>↑</button>
          <button type="button" class="plain" aria-label="Next hit" onClick={() => void move(1)}>↓</button>
        </>
      )}
    </div>
  );
}
