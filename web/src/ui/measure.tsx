// How much of something is taken.
import type { Gauge } from "../words/counts.ts";
import { Clip } from "./text.tsx";

/** An entry of a list of facts: the words, and a bar that says the same. */
export function Measure({ name, about, gauge }: { name: string; about?: string; gauge: Gauge }) {
  return (
    <div class={gauge.scarce ? "measure scarce" : "measure"}>
      <dt><Clip text={name} most={40} /></dt>
      <dd>
        {gauge.text}{about && <small> <Clip text={about} most={80} /></small>}
        <Bar gauge={gauge} />
      </dd>
    </div>
  );
}

/** The bar alone, beside words. */
export function Bar({ gauge: { part } }: { gauge: Gauge }) {
  if (part === undefined) return null;
  return <span class="gauge" aria-hidden="true"><i style={{ width: `${part * 100}%` }} /></span>;
}
