// Words of others.
import { clipped } from "../words/clip.ts";
import { ago, brief, duration, full, moment } from "../words/time.ts";
import { now, useNow } from "../live/clock.ts";

/** Text of any length and content in one line; all of it (within reason) when pointed at. */
export function Clip({ text, most = 160 }: { text: string; most?: number }) {
  const short = clipped(text, most);
  return <span class="clip" title={short === text ? undefined : clipped(text, 2000)}>{short}</span>;
}

export function Ago({ at }: { at: string | null | undefined }) {
  const time = useNow();
  return <time dateTime={at ?? undefined} title={full(at)}>{ago(at, time)}</time>;
}

/** How long since; it counts on. */
export function Since({ at, short = false }: { at: string | null | undefined; short?: boolean }) {
  useNow();
  const begun = moment(at);
  return <span class="number">{begun === undefined ? "–" : (short ? brief : duration)(Math.max(0, now() - begun))}</span>;
}

/** A text with names in backticks, as documentation has them. */
export function Ticked({ text }: { text: string }) {
  return <>{text.split("`").map((part, at) => (at % 2 === 1 ? <code key={at}>{part}</code> : part))}</>;
}
