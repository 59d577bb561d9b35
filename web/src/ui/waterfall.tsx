// Phases as bars over time, and the same as a table of numbers for who cannot see bars.
import { PHASE_WORDS, type Span, type Waterfall } from "../words/phases.ts";
import { type Scale, scaleOf } from "../words/scale.ts";
import { brief, duration } from "../words/time.ts";

/** In a list: one thin bar. */
export function MiniWaterfall({ of }: { of: Waterfall }) {
  const all = of.to - of.from;
  const text = of.spans.map((span) => `${span.phase} ${duration(span.end - span.start)}`).join(", ");
  const scale: Scale = { at: (time) => (time - of.from) / all, marks: [] };
  return (
    <span class="mini" role="img" aria-label={text || "no phase yet"} title={text}>
      {of.spans.map((span) => <i key={span.phase} class={`phase-${span.phase}`} style={place(span, scale)} />)}
    </span>
  );
}

/** A row for each phase. */
export function WaterfallTable({ of, caption }: { of: Waterfall; caption: string }) {
  const scale = scaleOf(of);
  return (
    <div class="waterfall">
      <table>
        <caption class="unseen">{caption}</caption>
        <thead class="unseen">
          <tr><th scope="col">Phase</th><th scope="col">When</th><th scope="col">Duration</th></tr>
        </thead>
        <tbody>
          {of.spans.map((span) => <Row key={span.phase} span={span} scale={scale} />)}
        </tbody>
        <tfoot aria-hidden="true">
          <tr>
            <td />
            <td class="axis">
              {scale.marks.map((mark) => <span key={mark} style={{ left: percent(scale.at(of.from + mark)) }}>{mark < 60_000 ? duration(mark) : brief(mark)}</span>)}
            </td>
            <td />
          </tr>
        </tfoot>
      </table>
      {scale.breakAt !== undefined && (
        <p class="before">The work itself is drawn shorter than to scale, so that what came before it can be seen.</p>
      )}
      {of.before.length > 0 && (
        <p class="before">
          Before the job came, and so at no cost to it:{" "}
          {of.before.map((span) => `${span.phase} ${duration(span.end - span.start)}`).join(", ")}
        </p>
      )}
    </div>
  );
}

function Row({ span, scale }: { span: Span; scale: Scale }) {
  return (
    <tr class={span.open ? "open" : undefined}>
      <th scope="row" title={PHASE_WORDS[span.phase]}>
        <i class={`key phase-${span.phase}`} aria-hidden="true" />
        {span.phase}
        <small>{PHASE_WORDS[span.phase]}</small>
      </th>
      <td class="track">
        {scale.breakAt !== undefined && <i class="break" style={{ left: percent(scale.breakAt) }} />}
        <i class={`bar phase-${span.phase}`} style={place(span, scale)} />
      </td>
      <td class="number">{duration(span.end - span.start)}{span.open ? " …" : ""}</td>
    </tr>
  );
}

function percent(part: number): string {
  return `${(Math.min(1, Math.max(0, part)) * 100).toFixed(2)}%`;
}

function place(span: Span, scale: Scale): Record<string, string> {
  const left = Math.max(0, scale.at(span.start));
  return { left: percent(left), width: percent(scale.at(span.end) - left) };
}
