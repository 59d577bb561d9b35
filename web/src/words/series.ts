// The history as lines of a chart.
import type { History } from "../../generated/api.ts";

export interface Series {
  /** Seconds since 1970. */
  at: number[];
  /** Nothing where the server did not run. */
  busy: (number | null)[];
  ready: (number | null)[];
  queued: (number | null)[];
}

/** Of all pools, or of one. */
export function seriesOf(all: History, pool: string | undefined): Series {
  const series: Series = { at: [], busy: [], ready: [], queued: [] };
  for (const point of all.points) {
    const at = Date.parse(point.at) / 1000;
    const before = series.at.at(-1);
    // Without a point that is none, a line would lead over what nobody saw.
    if (before !== undefined && at - before > 2 * all.step_seconds) {
      series.at.push(before + all.step_seconds);
      for (const line of [series.busy, series.ready, series.queued]) line.push(null);
    }
    const counts = Object.entries(point.pools).filter(([name]) => pool === undefined || name === pool);
    const sum = (key: "queued" | "busy" | "idle") => counts.reduce((total, [, count]) => total + count[key], 0);
    series.at.push(at);
    series.busy.push(sum("busy"));
    series.ready.push(sum("idle"));
    series.queued.push(sum("queued"));
  }
  return series;
}

export function summary(all: History, pool: string | undefined): string {
  const { busy, queued } = seriesOf(all, pool);
  if (busy.length === 0) return "No history yet";
  const most = (line: (number | null)[]) => line.reduce<number>((top, one) => Math.max(top, one ?? 0), 0);
  return `At most ${most(busy)} machines were busy and ${most(queued)} jobs queued; now ${busy.at(-1)} and ${queued.at(-1)}`;
}
