// Loaded when there is something to draw.
import uPlot from "uplot";
import type { Series } from "../words/series.ts";

/** Draws into a box, as wide as that; gives what takes it away again. */
export function draw(box: HTMLElement, series: Series, dark: boolean): () => void {
  const style = getComputedStyle(document.documentElement);
  const color = (name: string) => style.getPropertyValue(name).trim();
  const grid = { stroke: color("--line"), width: 1 };
  const axis = { stroke: color("--muted"), grid, ticks: grid, font: "11px system-ui, sans-serif" };
  const line = (label: string, stroke: string, fill?: string) => ({
    label, stroke, width: 1.5, points: { show: false }, ...(fill === undefined ? {} : { fill }),
  });
  const shade = dark ? "33" : "22";
  const plot = new uPlot(
    {
      width: box.clientWidth,
      height: 150,
      cursor: { y: false, points: { size: 6 } },
      legend: { live: true },
      // Where nothing is pointed at, the last point's numbers stand in the legend.
      hooks: { setCursor: [(plot) => { if ((plot.cursor.left ?? -1) < 0) plot.setLegend({ idx: series.at.length - 1 }, false); }] },
      scales: { y: { range: (_, __, max) => [0, Math.max(2, Math.ceil(max * 1.1))] } },
      axes: [
        { ...axis, size: 28, values: [[3600, "{HH}:{mm}"], [60, "{HH}:{mm}"], [1, "{HH}:{mm}:{ss}"]].map(([step, format]) => [step, format, null, null, null, null, null, null, 1]) as uPlot.Axis.Values },
        { ...axis, size: 34, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] },
      ],
      series: [
        { label: "at", value: (_, at) => (at == null ? "" : new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })) },
        line("busy", color("--work"), `${color("--work")}${shade}`),
        line("ready", color("--good")),
        line("queued", color("--wait")),
      ],
    },
    [series.at, series.busy, series.ready, series.queued],
    box,
  );
  plot.setLegend({ idx: series.at.length - 1 }, false);
  const watch = new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height: 150 }));
  watch.observe(box);
  return () => {
    watch.disconnect();
    plot.destroy();
  };
}
