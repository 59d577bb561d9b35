// Long lists are shown in steps: a thousand rows that nobody looks at would make each change slow. What fits into the window comes
// first, and more once its end comes near.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

/** Rows that come at once when the list's end is near. */
const STEP = 60;
/** The least height of a row. */
const ROW = 48;
/** What is made beyond the window, as a part of it. */
const BEYOND = 0.5;

/** The rows to show, and what stands after them. */
export function useSteps<T>(all: readonly T[]): { shown: readonly T[]; more: ComponentChildren } {
  const [most, setMost] = useState(() => Math.ceil((innerHeight * (1 + BEYOND)) / ROW));
  const end = useRef<HTMLParagraphElement>(null);
  const left = all.length - most;
  useEffect(() => {
    if (!end.current) return;
    const watch = new IntersectionObserver((seen) => {
      if (seen.some((one) => one.isIntersecting)) setMost(most + STEP);
    }, { rootMargin: `${BEYOND * 100}% 0px` });
    watch.observe(end.current);
    return () => watch.disconnect();
  }, [most, left > 0]);
  return {
    shown: left > 0 ? all.slice(0, most) : all,
    more: left > 0 && (
      <p class="more" ref={end}>
        <button type="button" onClick={() => setMost(most + STEP)}>Show {Math.min(STEP, left)} of {left} more</button>
      </p>
    ),
  };
}
