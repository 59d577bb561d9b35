/** The address of something of this server. Relative to the page, so that a path prefix of a proxy stays in it. */
export function url(path: string, query: Record<string, string | number | boolean | undefined> = {}): URL {
  const full = new URL(path.replace(/^\//, ""), pageBase());
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) full.searchParams.set(name, String(value));
  }
  return full;
}

function pageBase(): string {
  return document.baseURI.replace(/[?#].*$/, "");
}

/** The same for a WebSocket. */
export function socketUrl(path: string): URL {
  const full = url(path);
  full.protocol = full.protocol === "https:" ? "wss:" : "ws:";
  return full;
}

/** A part of an address. Half a character cannot be in one. */
export function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}
