// Nothing is written without a question that says what will happen.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { oneLine, wordsOf } from "../api/fault.ts";
import { Store, useStore } from "../live/store.ts";
import { toast } from "./toast.tsx";

interface Question {
  title: string;
  /** What will happen, and to what. */
  body: ComponentChildren;
  /** The word on the button. */
  action: string;
  danger?: boolean;
  /** Does it; gives what to say afterwards. */
  run: () => Promise<string | undefined>;
}

const question = new Store<Question | undefined>(undefined);
const whole = (one: Question | undefined) => one;

export function ask(next: Question): void {
  question.set(next);
}

export function ConfirmDialog() {
  const asked = useStore(question, whole);
  const dialog = useRef<HTMLDialogElement>(null);
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState<{ message: string; hint?: string }>();
  useEffect(() => {
    if (!asked) return;
    setFault(undefined);
    setBusy(false);
    const before = document.activeElement;
    dialog.current?.showModal();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, [asked]);
  if (!asked) return null;
  // The answer to a question that was left meanwhile is not the next one's.
  const isOpen = () => question.get() === asked;
  const close = () => {
    if (isOpen()) question.set(undefined);
  };
  const run = async (event: Event) => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    try {
      const said = await asked.run();
      if (said) toast(said);
      close();
    } catch (error) {
      const words = wordsOf(error);
      if (!isOpen()) return toast(`${asked.title} It failed: ${oneLine(words)}`, true);
      setFault(words);
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} class="confirm" aria-labelledby="confirm-title" onClose={close}>
      <form method="dialog" onSubmit={run}>
        <h2 id="confirm-title">{asked.title}</h2>
        <div class="body">{asked.body}</div>
        {fault && <p class="fault" role="alert">{fault.message}{fault.hint && <small>{fault.hint}</small>}</p>}
        <div class="actions">
          <button type="button" onClick={close}>Keep as it is</button>
          <button type="submit" class={asked.danger ? "danger" : "primary"} disabled={busy}>
            {busy ? "…" : asked.action}
          </button>
        </div>
      </form>
    </dialog>
  );
}
