import { useEffect, useRef, useState } from "preact/hooks";
import type { LogClient } from "./client.ts";
import { Finding } from "./finding.ts";

const PAUSE = 150;

/** The search of a log: how often a text is there, and the way through it. */
export function Finder({ client, lines, onHit, onClear }: {
  client: LogClient | undefined;
  lines: number;
  onHit: (line: number, text: string) => void;
  onClear: () => void;
}) {
  const [text, setText] = useState("");
  const [, draw] = useState(0);
  const finding = useRef<Finding | undefined>(undefined);
  const show = (hit: number | undefined) => {
    if (hit !== undefined) onHit(hit, text);
  };
  useEffect(() => {
    finding.current = undefined;
    if (text === "" || !client) {
      onClear();
      return;
    }
    const made = new Finding((most, from) => client.search(text, most, from), () => draw((count) => count + 1));
    finding.current = made;
    draw((count) => count + 1);
    const timer = setTimeout(() => void made.begin().then((hit) => finding.current === made && show(hit)), PAUSE);
    return () => clearTimeout(timer);
  }, [text, client]);
  const move = (by: 1 | -1) => {
    const asked = finding.current;
    void asked?.move(by).then((hit) => finding.current === asked && show(hit));
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || text === "") return;
    event.preventDefault();
    move(event.shiftKey ? -1 : 1);
  };
  return (
    <div class="finder">
      <input
        type="search" placeholder="Search the log  /" aria-label="Search the log" value={text} disabled={lines === 0}
        onInput={(event) => setText(event.currentTarget.value)} onKeyDown={onKey}
      />
      {text !== "" && <span role="status">{finding.current?.words ?? "searching…"}</span>}
      {finding.current?.hasWay && (
        <>
          <button type="button" class="plain" aria-label="Previous hit" onClick={() => move(-1)}>↑</button>
          <button type="button" class="plain" aria-label="Next hit" onClick={() => move(1)}>↓</button>
        </>
      )}
    </div>
  );
}
