import type { ConfigEntry } from "../../generated/api.ts";
import { call } from "../api/call.ts";
import { useMay } from "../api/session.ts";
import { useRenewals } from "../live/live.ts";
import { Chips, Search } from "../ui/filters.tsx";
import { Load, useLoad } from "../ui/load.tsx";
import { useSteps } from "../ui/more.tsx";
import { Ticked } from "../ui/text.tsx";
import { clipped } from "../words/clip.ts";

const entries = async () => (await call("GET /api/v1/config")).entries;

export function Config({ query }: { query: URLSearchParams }) {
  const may = useMay("admin");
  return (
    <>
      <h1>Configuration</h1>
      {may ? <Entries query={query} /> : <p class="empty">What the server is configured with is for administrators to see.</p>}
    </>
  );
}

function Entries({ query }: { query: URLSearchParams }) {
  const loaded = useLoad(entries, [useRenewals()]);
  return <Load of={loaded}>{(all) => <List all={all} query={query} />}</Load>;
}

function List({ all, query }: { all: readonly ConfigEntry[]; query: URLSearchParams }) {
  const text = query.get("q") ?? "";
  const state = query.get("set") ?? "";
  const found = all.filter((one) => `${one.path} ${words(one.value)} ${one.doc}`.toLowerCase().includes(text.toLowerCase()));
  const chosen = found.filter((one) => state === "" || one.default === (state === "default"));
  const { shown, more } = useSteps(chosen);
  const count = (isDefault: boolean) => found.filter((one) => one.default === isDefault).length;
  return (
    <>
      <p class="lead">What is in effect now, defaults and all. Secrets are not here.</p>
      <div class="filters">
        <Search value={text} label="Search keys" />
        <Chips
          name="set" value={state}
          options={[
            { value: "", label: "All", count: found.length },
            { value: "given", label: "Set here", count: count(false) },
            { value: "default", label: "Default", count: count(true) },
          ]}
        />
      </div>
      {shown.length === 0 && <p class="empty">No key is like that.</p>}
      <dl class="config">
        {shown.map((one) => (
          <div key={one.path} class={one.default ? "default" : "given"}>
            <dt><code>{one.path}</code></dt>
            <dd><code class="value">{words(one.value)}</code>{one.default && <small> default</small>}{one.doc && <p><Ticked text={one.doc} /></p>}</dd>
          </div>
        ))}
      </dl>
      {more}
    </>
  );
}

function words(value: string): string {
  return value === "" ? "not set" : clipped(value, 500);
}
