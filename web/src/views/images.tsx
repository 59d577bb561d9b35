import { useState } from "preact/hooks";
import type { ImageView, PullEvent } from "../../generated/api.ts";
import { call, send } from "../api/call.ts";
import { askCollect, askRemoveImage } from "../api/deeds.tsx";
import { faultIn, wordsOf } from "../api/fault.ts";
import { useMay } from "../api/session.ts";
import { usePools, useRenewals } from "../live/live.ts";
import { events } from "../log/events.ts";
import { Load, useLoad } from "../ui/load.tsx";
import { State } from "../ui/state.tsx";
import { Ago, Clip } from "../ui/text.tsx";
import { bytes } from "../words/time.ts";

export function Images() {
  const loaded = useLoad(() => call("GET /api/v1/images"), [useRenewals()]);
  const may = useMay("admin");
  return (
    <>
      <h1>Images</h1>
      {may && <Pull done={loaded.again} />}
      <Load of={loaded}>
        {(images) => (
          <>
            <div class="filters">
              <p>{images.length} images, {bytes(images.reduce((sum, one) => sum + one.size + (one.templates ?? 0), 0))} on the disk</p>
              <span class="grow" />
              <button type="button" onClick={loaded.again}>Look again</button>
              {may && images.length > 0 && <button type="button" onClick={() => askCollect(loaded.again)}>Remove unused…</button>}
            </div>
            {images.length === 0 ? <p class="empty">The store is empty. Images are fetched when a machine needs them.</p> : <List images={images} may={may} again={loaded.again} />}
          </>
        )}
      </Load>
    </>
  );
}

function List({ images, may, again }: { images: readonly ImageView[]; may: boolean; again: () => void }) {
  const pools = [...usePools().values()];
  return (
    <table class="list images">
      <caption class="unseen">Images in the store</caption>
      <thead>
        <tr>
          <th scope="col">State</th><th scope="col">Image</th><th scope="col">Used by</th><th scope="col" class="number">Size</th>
          <th scope="col" class="number">Templates</th><th scope="col" class="number">Last used</th>{may && <th scope="col"><span class="unseen">Actions</span></th>}
        </tr>
      </thead>
      <tbody>
        {images.map((image) => {
          const by = pools.filter((pool) => image.names.includes(pool.spec.shape.image)).map((pool) => pool.spec.name);
          return (
            <tr key={image.digest}>
              <td>{image.in_use ? <State state="ready" text="in use" /> : <State state="idle" text="unused" />}</td>
              <td class="main">
                <span data-row tabIndex={-1}><Clip text={image.names.join(", ") || "no name any more"} /></span>
                <p><code><Clip text={image.digest} most={26} /></code></p>
              </td>
              <td><Clip text={by.join(", ") || "–"} most={80} /></td>
              <td class="number">{bytes(image.size)}</td>
              <td class="number">{image.templates ? bytes(image.templates) : "–"}</td>
              <td class="number"><Ago at={image.last_used} /></td>
              {may && <td><button type="button" class="quiet" disabled={image.in_use} onClick={() => askRemoveImage(image, again)}>Remove…</button></td>}
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

type Progress = { kind: "none" } | { kind: "going"; event: PullEvent | undefined } | { kind: "failed"; why: ReturnType<typeof wordsOf> } | { kind: "ready"; name: string };

function Pull({ done }: { done: () => void }) {
  const [name, setName] = useState("");
  const [progress, setProgress] = useState<Progress>({ kind: "none" });
  const pull = async (event: Event) => {
    event.preventDefault();
    if (progress.kind === "going") return;
    setProgress({ kind: "going", event: undefined });
    try {
      const answer = await send("POST /api/v1/images/pull", {}, { image: name.trim() }, new AbortController().signal);
      if (!answer.body) throw new Error("the server said nothing");
      let last: PullEvent | undefined;
      for await (const one of events(answer.body)) {
        if (one.name === "error") throw faultIn(one.data, answer.status) ?? new Error("the image could not be fetched");
        last = JSON.parse(one.data) as PullEvent;
        setProgress({ kind: "going", event: last });
      }
      if (last?.status !== "ready") throw new Error("the connection ended before the image was there");
      setProgress({ kind: "ready", name });
      done();
    } catch (error) {
      setProgress({ kind: "failed", why: wordsOf(error) });
    }
  };
  return (
    <form class="panel pull" onSubmit={pull}>
      <label for="pull-name">Fetch an image</label>
      <input id="pull-name" type="text" required maxLength={500} placeholder="debian:12" value={name} onInput={(event) => setName(event.currentTarget.value)} />
      <button type="submit" disabled={progress.kind === "going"}>Fetch</button>
      <PullProgress now={progress} />
    </form>
  );
}

function PullProgress({ now }: { now: Progress }) {
  switch (now.kind) {
    case "none": return null;
    case "failed": return <p class="fault" role="alert">{now.why.message}{now.why.hint && <small>{now.why.hint}</small>}</p>;
    case "ready": return <p role="status">{now.name} is there.</p>;
    case "going": {
      const { status = "resolving", done = 0, total } = now.event ?? {};
      return (
        <p role="status">
          {status}{total ? ` ${bytes(done)} of ${bytes(total)}` : done > 0 ? ` ${bytes(done)}` : ""}
          <progress aria-label="Progress" max={total ?? 1} {...(total ? { value: done } : {})} />
        </p>
      );
    }
  }
}
