// A line of a terminal's output, as pieces of text with their looks. Colours and weights are taken; whatever else a sequence
// asks for (titles, links, the clipboard, the cursor) is left out, for a log is not a terminal and its writer not its reader.
import { shown } from "../words/clip.ts";

export interface Look {
  bold?: boolean;
  dim?: boolean;
  italic?: boolean;
  underline?: boolean;
  strike?: boolean;
  inverse?: boolean;
  /** 0–255, or "#rrggbb". */
  color?: number | string;
  background?: number | string;
}

export interface Piece {
  text: string;
  look: Look;
}

const ESC = "\u001B";

/** The pieces of a line. */
export function pieces(line: string): Piece[] {
  const all: Piece[] = [];
  let look: Look = {};
  let at = 0;
  while (at < line.length) {
    const escape = line.indexOf(ESC, at);
    const end = escape < 0 ? line.length : escape;
    if (end > at) all.push({ text: shown(line.slice(at, end)), look });
    if (escape < 0) break;
    const sequence = read(line, escape);
    if (sequence.sgr !== undefined) look = changed(look, sequence.sgr);
    at = sequence.end;
  }
  return all;
}

/** The sequence that begins here: where it ends, and its parameters if it says how text looks. */
function read(line: string, start: number): { end: number; sgr?: string } {
  const kind = line[start + 1];
  if (kind === "[") {
    let end = start + 2;
    while (end < line.length && isBetween(line, end, "0", "?")) end += 1;
    const parameters = line.slice(start + 2, end);
    while (end < line.length && isBetween(line, end, " ", "/")) end += 1;
    const final = line[end];
    if (final === undefined || !isBetween(line, end, "@", "~")) return { end };
    return final === "m" && /^[0-9;:]*$/.test(parameters) ? { end: end + 1, sgr: parameters } : { end: end + 1 };
  }
  if (kind !== undefined && "]PX^_".includes(kind)) {
    // Titles, links, and the like: a string up to its end, or, without one, to the end of the line.
    for (let end = start + 2; end < line.length; end += 1) {
      if (line[end] === "\u0007") return { end: end + 1 };
      if (line[end] === ESC) return { end: line[end + 1] === "\\" ? end + 2 : end };
    }
    return { end: line.length };
  }
  let end = start + 1;
  while (end < line.length && isBetween(line, end, " ", "/")) end += 1;
  return { end: end < line.length && isBetween(line, end, "0", "~") ? end + 1 : end };
}

function isBetween(line: string, at: number, first: string, last: string): boolean {
  const one = line[at];
  return one !== undefined && one >= first && one <= last;
}

/** The look after a sequence. */
function changed(look: Look, parameters: string): Look {
  const next = { ...look };
  const codes = parameters.split(/[;:]/).map((code) => (code === "" ? 0 : Number(code)));
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at] ?? 0;
    if (code === 0) for (const key of Object.keys(next) as (keyof Look)[]) delete next[key];
    else if (code === 1) next.bold = true;
    else if (code === 2) next.dim = true;
    else if (code === 3) next.italic = true;
    else if (code === 4) next.underline = true;
    else if (code === 7) next.inverse = true;
    else if (code === 9) next.strike = true;
    else if (code === 22) { delete next.bold; delete next.dim; }
    else if (code === 23) delete next.italic;
    else if (code === 24) delete next.underline;
    else if (code === 27) delete next.inverse;
    else if (code === 29) delete next.strike;
    else if (code >= 30 && code <= 37) next.color = code - 30;
    else if (code >= 90 && code <= 97) next.color = code - 90 + 8;
    else if (code >= 40 && code <= 47) next.background = code - 40;
    else if (code >= 100 && code <= 107) next.background = code - 100 + 8;
    else if (code === 39) delete next.color;
    else if (code === 49) delete next.background;
    else if (code === 38 || code === 48) {
      const { color, used } = extended(codes.slice(at + 1));
      if (color !== undefined) next[code === 38 ? "color" : "background"] = color;
      at += used;
    }
  }
  return next;
}

function extended([mode, ...rest]: number[]): { color?: number | string; used: number } {
  const byte = (value: number | undefined) => value !== undefined && value >= 0 && value <= 255;
  if (mode === 5) return byte(rest[0]) ? { color: rest[0] ?? 0, used: 2 } : { used: 2 };
  if (mode !== 2) return { used: 1 };
  const rgb = rest.slice(0, 3);
  if (rgb.length < 3 || !rgb.every(byte)) return { used: 1 + rgb.length };
  return { color: `#${rgb.map((part) => part.toString(16).padStart(2, "0")).join("")}`, used: 4 };
}

/** A colour as CSS. The first 16 are the theme's; a text's darkest others are lifted, so that they can be read on a dark ground. */
export function css(color: number | string, isText: boolean): string {
  if (typeof color === "number" && color < 16) return `var(--ansi-${color})`;
  const rgb = typeof color === "number" ? rgbOf(color) : [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16));
  const [red = 0, green = 0, blue = 0] = rgb;
  const light = (0.299 * red + 0.587 * green + 0.114 * blue) / 255;
  const lift = isText && light < DARKEST ? (DARKEST - light) / (1 - light) : 0;
  return `rgb(${rgb.map((part) => Math.round(part + (255 - part) * lift)).join(" ")})`;
}

/** What can just be read on a log's ground. */
const DARKEST = 0.52;

function rgbOf(color: number): number[] {
  if (color >= 232) return Array<number>(3).fill(8 + (color - 232) * 10);
  const cube = color - 16;
  const part = (value: number) => (value === 0 ? 0 : 55 + value * 40);
  return [part(Math.floor(cube / 36)), part(Math.floor(cube / 6) % 6), part(cube % 6)];
}
