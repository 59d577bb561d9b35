import { useEffect, useRef } from "preact/hooks";

const KEYS: [string, string][] = [
  ["/", "search"],
  ["j  k", "next and previous row"],
  ["Enter", "open the row"],
  ["g o", "overview"],
  ["g j", "jobs"],
  ["g m", "machines"],
  ["g p", "pools"],
  ["g i", "images"],
  ["g d", "doctor"],
  ["g c", "configuration"],
  ["Esc", "leave a field, close a dialog"],
  ["?", "this help"],
];

export function Help({ onClose }: { onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="help" aria-labelledby="help-title" onClose={onClose}>
      <h2 id="help-title">Keyboard</h2>
      <dl>
        {KEYS.map(([keys, what]) => (
          <div key={keys}>
            <dt>{keys.split(/ +/).map((one) => <kbd key={one}>{one}</kbd>)}</dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p class="hint">In a log: Enter in the search goes to the next hit, Shift+Enter back.</p>
      <div class="actions"><button type="button" class="primary" onClick={() => dialog.current?.close()}>Close</button></div>
    </dialog>
  );
}
