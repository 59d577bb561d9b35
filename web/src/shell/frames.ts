// The messages of `exec`: a byte that says what it is, then data.
import type { WindowSize } from "../../generated/api.ts";

export const SUBPROTOCOL = "fireactions.exec.v1";
/** The most data of one message. */
export const MOST = 64 * 1024;

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const RESIZE = 3;
const EXIT = 4;

export type Output = { kind: "data"; data: Uint8Array } | { kind: "exit"; words: string; lost: boolean } | { kind: "other" };

/** What was typed, in as many messages as it takes. */
export function input(text: Uint8Array): Uint8Array<ArrayBuffer>[] {
  const all: Uint8Array<ArrayBuffer>[] = [];
  for (let from = 0; from < text.length; from += MOST) all.push(frame(STDIN, text.subarray(from, from + MOST)));
  return all;
}

export function resize({ rows, cols }: WindowSize): Uint8Array<ArrayBuffer> {
  return frame(RESIZE, Uint8Array.of(rows >> 8, rows & 255, cols >> 8, cols & 255));
}

function frame(channel: number, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const message = new Uint8Array(1 + data.length);
  message[0] = channel;
  message.set(data, 1);
  return message;
}

export function parse(message: ArrayBuffer): Output {
  const all = new Uint8Array(message);
  const data = all.subarray(1);
  switch (all[0]) {
    case STDOUT:
    case STDERR: return { kind: "data", data };
    case EXIT: return exit(new TextDecoder().decode(data));
    default: return { kind: "other" };
  }
}

function exit(text: string): Output {
  try {
    const how = JSON.parse(text) as { code?: number; signal?: number; failed?: string };
    if (typeof how.code === "number") return { kind: "exit", words: how.code === 0 ? "The shell has ended." : `The shell has ended with ${how.code}.`, lost: false };
    if (typeof how.signal === "number") return { kind: "exit", words: `Signal ${how.signal} ended the shell.`, lost: false };
    if (typeof how.failed === "string") return { kind: "exit", words: how.failed, lost: true };
  } catch {
    // Said below.
  }
  return { kind: "exit", words: "The shell has ended.", lost: false };
}
