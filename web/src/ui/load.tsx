// What is asked for once, with its waiting and its failure.
import type { ComponentChildren } from "preact";
import { useCallback, useEffect, useState } from "preact/hooks";
import { wordsOf } from "../api/fault.ts";

export interface Loaded<T> {
  value: T | undefined;
  fault: { message: string; hint?: string } | undefined;
  again: () => void;
}

/** Asks when it is first shown, and when one of `keys` changes. What was there stays until the new is. */
export function useLoad<T>(ask: () => Promise<T>, keys: readonly unknown[]): Loaded<T> {
  const [state, setState] = useState<Omit<Loaded<T>, "again">>({ value: undefined, fault: undefined });
  const [round, setRound] = useState(0);
  useEffect(() => {
    let wanted = true;
    ask().then(
      (value) => wanted && setState({ value, fault: undefined }),
      (error: unknown) => wanted && setState((old) => ({ ...old, fault: wordsOf(error) })),
    );
    return () => {
      wanted = false;
    };
  }, [...keys, round]);
  const again = useCallback(() => setRound((count) => count + 1), []);
  return { ...state, again };
}

export function FaultBox({ fault, again }: { fault: { message: string; hint?: string }; again?: () => void }) {
  return (
    <div class="fault" role="alert">
      <p>{fault.message}{fault.hint && <small>{fault.hint}</small>}</p>
      {again && <button type="button" onClick={again}>Try again</button>}
    </div>
  );
}

/** Shows what was loaded, or why it is not there. */
export function Load<T>({ of, children }: { of: Loaded<T>; children: (value: T) => ComponentChildren }) {
  if (of.fault) return <FaultBox fault={of.fault} again={of.again} />;
  if (of.value === undefined) return <p class="loading" role="status">Loading…</p>;
  return <>{children(of.value)}</>;
}
