// Where the page is: the part of the address after "#". It never leaves the browser.
import { encode } from "./api/base.ts";
import { Store, useStore } from "./live/store.ts";

export interface Place {
  /** The parts of the path, decoded: ["jobs", "ID"]. */
  path: readonly string[];
  query: URLSearchParams;
  text: string;
}

function read(): Place {
  const text = location.hash.replace(/^#/, "") || "/";
  const [path = "", query = ""] = text.split("?", 2);
  return { path: path.split("/").filter(Boolean).map(decode), query: new URLSearchParams(query), text };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

const KEPT = "fireactions-place";

/** Keeps where the page is for when it is loaded again without it: a provider sends back to the page, and knows of no view. */
export function keepPlace(): void {
  try {
    sessionStorage.setItem(KEPT, location.hash);
  } catch {
    // Storage may be forbidden; it is the overview then.
  }
}

/** Goes where `keepPlace` was, once, unless the address says where. */
function goBack(): void {
  try {
    const kept = sessionStorage.getItem(KEPT);
    sessionStorage.removeItem(KEPT);
    if (kept?.startsWith("#") && location.hash === "") history.replaceState(null, "", kept);
  } catch {
    // As above.
  }
}

goBack();
const place = new Store<Place>(read());
const whole = (one: Place) => one;

addEventListener("hashchange", () => place.set(read()));

export const usePlace = () => useStore(place, whole);

export function go(to: string): void {
  location.hash = to;
}

/** The address of a view. */
export function to(...path: string[]): string {
  return `#/${path.map(encode).join("/")}`;
}

/** Changes parts of the query, in place: no new entry of the browser's history. An empty value takes a part out. */
export function setQuery(changes: Record<string, string | undefined>): void {
  const { path, query } = read();
  for (const [name, value] of Object.entries(changes)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const rest = query.toString();
  history.replaceState(null, "", `${to(...path)}${rest ? `?${rest}` : ""}`);
  place.set(read());
}
