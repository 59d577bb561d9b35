// The last hours as a picture. The chart's code comes once it is needed.
import { useEffect, useRef, useState } from "preact/hooks";
import { call } from "../api/call.ts";
import { connection, useRenewals } from "../live/live.ts";
import { useStore } from "../live/store.ts";
import type { Connection } from "../live/stream.ts";
import { seriesOf, summary } from "../words/series.ts";
import { useLoad } from "./load.tsx";
import { PART_FAILED } from "./parts.ts";
import { isDark } from "./theme.ts";

const FRESH = 60_000;

const isLive = (now: Connection) => now.kind === "live";

const history = () => call("GET /api/v1/history");

/** Of all pools, or of one. */
export function HistoryChart({ pool }: { pool?: string }) {
  // A tab that is seen again gets a snapshot, and with it what came meanwhile.
  const loaded = useLoad(history, [useRenewals()]);
  const live = useStore(connection, isLive);
  const box = useRef<HTMLDivElement>(null);
  const [broken, setBroken] = useState(false);
  useEffect(() => {
    // A hidden tab rests: whoever asks keeps a login alive that nobody uses.
    if (!live) return;
    const timer = setInterval(() => document.hidden || loaded.again(), FRESH);
    return () => clearInterval(timer);
  }, [live]);
  useEffect(() => {
    if (!loaded.value || !box.current) return;
    const series = seriesOf(loaded.value, pool);
    const target = box.current;
    let end: (() => void) | undefined;
    let wanted = true;
    void import("./chart.ts").then(({ draw }) => {
      if (wanted) end = draw(target, series, isDark());
    }).catch((error: unknown) => {
      console.error(error);
      if (wanted) setBroken(true);
    });
    return () => {
      wanted = false;
      end?.();
    };
  }, [loaded.value, pool]);
  // Without a history there is no picture, and nothing is broken by that. One that is a minute old is one.
  if (loaded.fault && !loaded.value) return null;
  const points = loaded.value?.points.length ?? 0;
  return (
    <section class="panel chart" aria-label="The last hours">
      <h2>Last hours</h2>
      {broken && <p class="empty" role="alert">No picture: {PART_FAILED}.</p>}
      {!broken && (!loaded.value || points >= 2) && (
        <div ref={box} class="plot" role="img" aria-label={loaded.value ? summary(loaded.value, pool) : "The last hours"} />
      )}
      {loaded.value && points < 2 && <p class="empty">The history begins now: a point a minute, six hours of them.</p>}
    </section>
  );
}
