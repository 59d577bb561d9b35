// A terminal in a machine. The terminal's code comes once it is needed.
import { useEffect, useRef, useState } from "preact/hooks";
import { Icon } from "../ui/icons.tsx";
import { PART_FAILED } from "../ui/parts.ts";
import { clipped } from "../words/clip.ts";
import { ShellConnection, type ShellState } from "./connection.ts";
import type { Terminal } from "./terminal.ts";

export function Shell({ id }: { id: string }) {
  const box = useRef<HTMLDivElement>(null);
  const [state, setState] = useState<ShellState>({ kind: "connecting" });
  const [round, setRound] = useState(0);
  useEffect(() => {
    let terminal: Terminal | undefined;
    let connection: ShellConnection | undefined;
    let wanted = true;
    setState({ kind: "connecting" });
    void import("./terminal.ts").then(({ makeTerminal }) => {
      if (!wanted || !box.current) return;
      const made = makeTerminal(box.current);
      terminal = made;
      connection = new ShellConnection(id, {
        size: made.size,
        write: made.write,
        state: (now) => {
          setState(now);
          if (now.kind === "broken" || now.kind === "ended") made.say(clipped(now.why, 300));
        },
      });
      made.onInput((text) => connection?.send(text));
      made.onResize((size) => connection?.resize(size));
      made.focus();
    }).catch((error: unknown) => {
      console.error(error);
      if (wanted) setState({ kind: "ended", why: PART_FAILED });
    });
    return () => {
      wanted = false;
      connection?.close();
      terminal?.dispose();
    };
  }, [id, round]);
  const words = { connecting: "connecting…", open: "connected", ended: "ended", broken: "connecting again…" }[state.kind];
  return (
    <section class="shell" aria-label={`Shell in ${id}`}>
      <div class="bar">
        <span class={`connection ${state.kind === "open" ? "live" : state.kind === "connecting" ? "connecting" : "lost"}`} role="status">{words}</span>
        {"why" in state && <span class="why">{clipped(state.why, 300)}</span>}
        <span class="grow" />
        <span class="hint">Ctrl+Shift+C copies, Ctrl+Shift+V pastes</span>
        {state.kind === "ended" && <button type="button" onClick={() => setRound(round + 1)}><Icon name="shell" />Another shell</button>}
      </div>
      <div ref={box} class="terminal" />
    </section>
  );
}
