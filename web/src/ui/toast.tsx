// A word about what was done, for some seconds.
import { Store, useStore } from "../live/store.ts";

interface Toast {
  id: number;
  text: string;
  bad: boolean;
}

const toasts = new Store<readonly Toast[]>([]);
const whole = (all: readonly Toast[]) => all;
let count = 0;

export function toast(text: string, bad = false): void {
  count += 1;
  const id = count;
  toasts.update((all) => [...all.slice(-3), { id, text, bad }]);
  setTimeout(() => toasts.update((all) => all.filter((one) => one.id !== id)), bad ? 12_000 : 5000);
}

export function Toasts() {
  const all = useStore(toasts, whole);
  return (
    <div class="toasts" role="status" aria-live="polite">
      {all.map((one) => <p key={one.id} class={one.bad ? "toast bad" : "toast"}>{one.text}</p>)}
    </div>
  );
}
