// One shell in one machine: a WebSocket, and the next one when it breaks.
import type { ExecRequest, WindowSize } from "../../generated/api.ts";
import { encode, socketUrl } from "../api/base.ts";
import { input, parse, resize, SUBPROTOCOL } from "./frames.ts";

export type ShellState =
  | { kind: "connecting" }
  | { kind: "open" }
  | { kind: "ended"; why: string }
  /** Another shell is asked for at this time. */
  | { kind: "broken"; why: string };

export interface Screen {
  size(): WindowSize;
  write(data: Uint8Array): void;
  state(now: ShellState): void;
}

const PAUSES = [1000, 1000, 2000, 4000, 8000, 15_000];
/** What is typed while the network does not take it. */
const MOST_WAITING = 1 << 20;

export class ShellConnection {
  #screen: Screen;
  #id: string;
  #socket: WebSocket | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #closed = false;

  constructor(id: string, screen: Screen) {
    this.#id = id;
    this.#screen = screen;
    this.#connect();
  }

  send(text: string): void {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN || socket.bufferedAmount > MOST_WAITING) return;
    for (const message of input(new TextEncoder().encode(text))) socket.send(message);
  }

  resize(size: WindowSize): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(resize(size));
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
  }

  #connect(): void {
    this.#screen.state({ kind: "connecting" });
    const socket = new WebSocket(socketUrl(`api/v1/machines/${encode(this.#id)}/exec`), SUBPROTOCOL);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    let last: ShellState | undefined;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      const request: ExecRequest = { argv: [], tty: this.#screen.size(), env: [["TERM", "xterm-256color"]] };
      socket.send(JSON.stringify(request));
      this.#screen.state({ kind: "open" });
    };
    socket.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => {
      if (typeof data === "string") return;
      const output = parse(data);
      if (output.kind === "data") {
        this.#failures = 0;
        this.#screen.write(output.data);
      } else if (output.kind === "exit") {
        last = { kind: output.lost ? "broken" : "ended", why: output.words };
      }
    };
    socket.onclose = () => {
      if (this.#closed || socket !== this.#socket) return;
      const refused = "the server did not give a shell: the machine may be gone, or you may not enter it";
      const state = last ?? { kind: "broken", why: opened ? "the connection broke" : refused };
      this.#screen.state(state);
      if (state.kind === "ended") return;
      const pause = PAUSES[this.#failures];
      this.#failures += 1;
      if (pause === undefined) this.#screen.state({ kind: "ended", why: "why" in state ? state.why : refused });
      else this.#timer = setTimeout(() => this.#connect(), pause);
    };
  }
}
