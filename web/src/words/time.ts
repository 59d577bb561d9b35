// Times and sizes for people.

/** "3.2 s", "4 min 05 s", "2 h 10 min", "3 d 4 h"; milliseconds for what is short. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return "–";
  const long = Math.abs(ms);
  if (long < 1) return ms === 0 ? "0 ms" : "<1 ms";
  if (long < 1000) return `${Math.round(ms)} ms`;
  if (long < 60_000) return `${(ms / 1000).toFixed(long < 10_000 ? 1 : 0)} s`;
  const seconds = Math.floor(long / 1000);
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  if (minutes < 60) return `${minutes} min ${two(seconds % 60)} s`;
  if (hours < 48) return `${hours} h ${two(minutes % 60)} min`;
  return `${days} d ${hours % 24} h`;
}

/** How long ago. */
export function ago(time: string | null | undefined, now: number): string {
  const at = moment(time);
  if (at === undefined) return "–";
  const past = now - at;
  // Clocks disagree by a little: nothing has happened in the future.
  return past < 1500 ? "just now" : `${brief(past)} ago`;
}

/** One unit: "3 s", "4 min", "2 h", "3 d". */
export function brief(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** Milliseconds since 1970; nothing for what is no time. */
export function moment(time: string | null | undefined): number | undefined {
  const at = time ? Date.parse(time) : Number.NaN;
  return Number.isNaN(at) ? undefined : at;
}

// Made once: making one takes a hundred times as long as using it.
let ofDay: Intl.DateTimeFormat | undefined;
let inFull: Intl.DateTimeFormat | undefined;

/** Time of the day, here. */
export function clock(time: string | number): string {
  const at = new Date(time);
  ofDay ??= new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  return Number.isNaN(at.getTime()) ? "–" : ofDay.format(at);
}

/** Day and time, here. */
export function full(time: string | null | undefined): string {
  const at = moment(time);
  inFull ??= new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "medium" });
  return at === undefined ? "–" : inFull.format(at);
}

export function bytes(count: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = count;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit] ?? ""}`;
}

export const mib = (count: number): string => bytes(count * 1024 * 1024);

function two(number: number): string {
  return String(number).padStart(2, "0");
}
