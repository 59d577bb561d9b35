/** Text of others, made fit to be shown in a line: bounded, and without what moves or reverses other text. */
export function clipped(text: string, most = 160): string {
  // More than is shown is not even looked at: a name may be 64 kB.
  const begin = text.length > most ? `${text.slice(0, wholeAt(text, most))}…` : text;
  return begin.replaceAll(UNSEEN, "\u{FFFD}").replaceAll(/\s+/g, " ").trim();
}

// Controls, marks of direction, and what has no width.
const UNSEEN = /[\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F\u061C\u200B\u200E\u200F\u202A-\u202E\u2060-\u2069\uFEFF]/g;

/** Where to cut without halving a character. */
function wholeAt(text: string, most: number): number {
  const code = text.charCodeAt(most - 1);
  return code >= 0xd800 && code < 0xdc00 ? most - 1 : most;
}
