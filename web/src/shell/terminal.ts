// xterm.js, as it is used here. What a guest writes may draw on its screen and nothing else: no title of the page, no
// clipboard, no links.
import { FitAddon } from "@xterm/addon-fit";
import { type ITheme, Terminal as Xterm } from "@xterm/xterm";
import type { WindowSize } from "../../generated/api.ts";
import { bytes } from "../words/time.ts";
import { Flow } from "./flow.ts";

export interface Terminal {
  size: () => WindowSize;
  write: (data: Uint8Array) => void;
  /** A line of the page's own. */
  say: (text: string) => void;
  onInput: (then: (text: string) => void) => void;
  onResize: (then: (size: WindowSize) => void) => void;
  focus: () => void;
  dispose: () => void;
}

export function makeTerminal(box: HTMLElement): Terminal {
  const style = getComputedStyle(document.documentElement);
  const color = (name: string) => style.getPropertyValue(name).trim();
  const names = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
  const theme: Record<string, string> = {
    background: color("--log-ground"), foreground: color("--log-ink"), cursor: "#ff9257", selectionBackground: "#7f7f7f66",
  };
  names.forEach((name, at) => {
    theme[name] = color(`--ansi-${at}`);
    theme[`bright${name[0]?.toUpperCase()}${name.slice(1)}`] = color(`--ansi-${at + 8}`);
  });
  const xterm = new Xterm({
    theme: theme as ITheme,
    fontFamily: 'ui-monospace, "SF Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace',
    fontSize: 13,
    scrollback: 10_000,
    cursorBlink: false,
    minimumContrastRatio: 4.5,
    screenReaderMode: true,
    linkHandler: { activate: () => undefined },
  });
  const fit = new FitAddon();
  xterm.loadAddon(fit);
  // Links that a guest writes (OSC 8), and what it would put into the clipboard (OSC 52), are swallowed.
  for (const code of [8, 52]) xterm.parser.registerOscHandler(code, () => true);
  xterm.open(box);
  fit.fit();
  xterm.attachCustomKeyEventHandler((event) => {
    // In the mode for screen readers xterm leaves them to the browser, too, and F5 would load the page again.
    if (event.type === "keydown" && /^F([1-9]|1[0-2])$/.test(event.key) && !event.ctrlKey && !event.altKey && !event.metaKey) event.preventDefault();
    if (event.type !== "keydown" || !event.ctrlKey || !event.shiftKey) return true;
    if (event.code === "KeyC" && xterm.hasSelection()) {
      event.preventDefault();
      void navigator.clipboard?.writeText(xterm.getSelection());
      return false;
    }
    // The browser pastes, and xterm takes it.
    return event.code !== "KeyV";
  });
  const watch = new ResizeObserver(() => fit.fit());
  watch.observe(box);
  const say = (text: string) => xterm.write(`\r\n\u001B[2m── ${text.replaceAll(/[^ -~\u00A0-\uFFFF]/g, " ")}\u001B[0m\r\n`);
  const flow = new Flow(
    (data, drawn) => xterm.write(data, drawn),
    // It may have been cut in the middle of a sequence, which this ends (CAN).
    (skipped) => {
      xterm.write("\u0018");
      say(`${bytes(skipped)} of output came faster than it can be drawn, and are left out`);
    },
  );
  return {
    size: () => ({ rows: xterm.rows, cols: xterm.cols }),
    write: (data) => flow.write(data),
    say,
    onInput: (then) => void xterm.onData(then),
    onResize: (then) => void xterm.onResize(({ rows, cols }) => then({ rows, cols })),
    focus: () => xterm.focus(),
    dispose: () => {
      watch.disconnect();
      xterm.dispose();
    },
  };
}
