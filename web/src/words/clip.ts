/** Text of others, made fit to be shown in a line: bounded, and without what moves or reverses other text. */
export function clipped(text: string, most = 160): string {
  // More than is shown is not even looked at: a name may be 64 kB.
  const begin = text.length > most ? `${text.slice(0, wholeAt(text, most))}…` : text;
  return shown(begin).replaceAll(/\s+/g, " ").trim();
}

/** The same in its lines, as a block of text has them. */
export function block(text: string, most: number): string {
  return shown(text.length > most ? `${text.slice(0, wholeAt(text, most))}…` : text);
}

/** Text with what would move, hide or reverse other text made visible, for none of it may do anything. */
export function shown(text: string): string {
  return text.replaceAll(UNSEEN, (one) => {
    const code = one.charCodeAt(0);
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : code === 0x7f ? "\u2421" : "\u{FFFD}";
  });
}

// Controls, marks of direction, and what has no width.
const UNSEEN = /[\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F\u061C\u200B\u200E\u200F\u202A-\u202E\u2060-\u2069\uFEFF]/g;

/** Where to cut without halving a character. */
function wholeAt(text: string, most: number): number {
  const code = text.charCodeAt(most - 1);
  return code >= 0xd800 && code < 0xdc00 ? most - 1 : most;
}
