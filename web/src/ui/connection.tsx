// Whether what is shown is so now. Never shown as live when it is not.
import { useNow, skew } from "../live/clock.ts";
import { connection, outdated, stream, useLive } from "../live/live.ts";
import { useStore } from "../live/store.ts";
import type { Connection } from "../live/stream.ts";
import { clipped } from "../words/clip.ts";
import { brief, clock, duration } from "../words/time.ts";

const whole = (now: Connection) => now;
const same = (old: boolean) => old;

export function ConnectionMark() {
  const now = useStore(connection, whole);
  const state = useLive();
  const words = { connecting: "connecting…", live: "live", lost: "not connected" }[now.kind];
  const title = state ? `revision ${state.revision}` : undefined;
  return <span class={`connection ${now.kind}`} title={title}>{words}</span>;
}

/** Clocks that are further apart than this are worth a word. */
const APART = 30_000;

export function ConnectionBanner() {
  const now = useStore(connection, whole);
  const state = useLive();
  const old = useStore(outdated, same);
  useNow();
  const apart = Math.abs(skew());
  return (
    <div class="banners" role="status">
      {now.kind === "lost" && (
        <p class="banner bad">
          <b>Not connected since {clock(now.since)}</b>
          {state && <><Counted>{` (${brief(Date.now() - now.since)})`}</Counted>: what is shown is as it was then</>}
          {`${now.why ? `: ${clipped(now.why, 300)}` : ""}.`}
          <Counted>{` ${now.again > Date.now() ? `Next attempt in ${brief(now.again - Date.now() + 999)}` : "Next attempt now"}.`}</Counted>
          <button type="button" onClick={() => stream.hurry()}>Now</button>
        </p>
      )}
      {old && (
        <p class="banner">
          The server is of another version now than this page.
          <button type="button" onClick={() => location.reload()}>Load the page again</button>
        </p>
      )}
      {apart > APART && (
        <p class="banner">
          This computer’s clock and the server’s are <Counted>{duration(apart)}</Counted> apart; durations are by the server’s.
        </p>
      )}
    </div>
  );
}

/** What changes each second: to be seen, and not told to who listens, over and over. */
function Counted({ children }: { children: string }) {
  return <span aria-hidden="true">{children}</span>;
}
