import { useEffect, useRef, useState } from "preact/hooks";
import { wordsOf } from "../api/fault.ts";
import type { LoginWays } from "../../generated/api.ts";
import { logIn, loginWays, providerUrl, type Who, who } from "../api/session.ts";
import { useStore } from "../live/store.ts";
import { keepPlace } from "../router.ts";
import { Flame } from "../ui/icons.tsx";

const reason = (now: Who) => (now.kind === "nobody" ? now.why : "");

export function Login() {
  const why = useStore(who, reason);
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState<{ message: string; hint?: string }>();
  const [ways, setWays] = useState<LoginWays>({ token: true });
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    document.title = "Log in · fireactions";
    field.current?.focus();
    void loginWays().then(setWays);
  }, []);
  const submit = async (event: Event) => {
    event.preventDefault();
    const token = field.current?.value.trim() ?? "";
    if (token === "" || busy) return;
    setBusy(true);
    setFault(undefined);
    try {
      await logIn(token);
    } catch (error) {
      setFault(wordsOf(error));
      setBusy(false);
      field.current?.select();
    }
  };
  return (
    <main id="content" class="login">
      <form class="panel" onSubmit={submit}>
        <h1><Flame />fireactions</h1>
        <p>
          This server wants to know who looks.
          {ways.token && <> Enter a token: one of those in the files that its configuration names (<code>api_tokens</code>).</>}
        </p>
        {why && <p class="note wait">{why}</p>}
        {ways.oidc != null && <a class="button primary" href={providerUrl()} onClick={keepPlace}>Log in with {ways.oidc}</a>}
        {ways.token && (
          <>
            <label for="token">Token</label>
            <input id="token" ref={field} type="password" autocomplete="current-password" required />
            {fault && <p class="fault" role="alert">{fault.message}{fault.hint && <small>{fault.hint}</small>}</p>}
            <button type="submit" class="primary" disabled={busy}>{busy ? "…" : "Log in"}</button>
            <p class="hint">The token is sent once and not kept in the browser; a session that ends by itself takes its place.</p>
          </>
        )}
      </form>
    </main>
  );
}
