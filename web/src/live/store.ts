import { useEffect, useState } from "preact/hooks";

/** A value that components look at. Those that look are told once a frame at most, however often it changes. */
export class Store<T> {
  #value: T;
  #listeners = new Set<() => void>();
  #told = true;

  constructor(value: T) {
    this.#value = value;
  }

  get(): T {
    return this.#value;
  }

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    if (!this.#told) return;
    this.#told = false;
    soon(() => {
      this.#told = true;
      for (const listener of this.#listeners) listener();
    });
  }

  update(change: (value: T) => T): void {
    this.set(change(this.#value));
  }

  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** With the next frame; a tab that is not shown has none, and is told by a timer. */
function soon(then: () => void): void {
  if (typeof document === "undefined" || document.hidden) setTimeout(then, 0);
  else requestAnimationFrame(then);
}

/** A part of a store's value. The component is drawn again when that part is another. */
export function useStore<T, P>(store: Store<T>, part: (value: T) => P): P {
  const now = part(store.get());
  const [, draw] = useState(0);
  useEffect(() => {
    let seen = now;
    const look = () => {
      const next = part(store.get());
      if (!Object.is(next, seen)) {
        seen = next;
        draw((count) => count + 1);
      }
    };
    // It may have changed between drawing and now.
    look();
    return store.listen(look);
  }, [store, part]);
  return now;
}
