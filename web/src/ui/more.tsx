// Long lists are shown in steps: a thousand rows that nobody looks at would make each change slow. Those that fit a window come
// first, so that something is there at once.
import { useEffect, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";

const AT_ONCE = 40;

export function useSteps<T>(all: readonly T[], step = 250): { shown: readonly T[]; more: ComponentChildren } {
  const [most, setMost] = useState(AT_ONCE);
  useEffect(() => {
    if (most !== AT_ONCE) return;
    const timer = setTimeout(() => setMost(step), 0);
    return () => clearTimeout(timer);
  }, [most, step]);
  const left = all.length - most;
  return {
    shown: left > 0 ? all.slice(0, most) : all,
    more: left > 0 && most >= step && (
      <p class="more">
        <button type="button" onClick={() => setMost(most + step)}>Show {Math.min(step, left)} of {left} more</button>
      </p>
    ),
  };
}
