// The frame around each view.
import type { ComponentChildren } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { who } from "./api/session.ts";
import { useStore } from "./live/store.ts";
import { type Place, usePlace } from "./router.ts";
import { ConfirmDialog } from "./ui/confirm.tsx";
import { Guard } from "./ui/guard.tsx";
import { ConnectionBanner } from "./ui/connection.tsx";
import { Help } from "./ui/help.tsx";
import { useKeys } from "./ui/keys.ts";
import { Nav } from "./ui/nav.tsx";
import { Toasts } from "./ui/toast.tsx";
import { Config } from "./views/config.tsx";
import { Doctor } from "./views/doctor.tsx";
import { Images } from "./views/images.tsx";
import { Job } from "./views/job.tsx";
import { Jobs } from "./views/jobs.tsx";
import { Login } from "./views/login.tsx";
import { Machine } from "./views/machine.tsx";
import { Machines } from "./views/machines.tsx";
import { Overview } from "./views/overview.tsx";
import { Pool } from "./views/pool.tsx";
import { Pools } from "./views/pools.tsx";

const kind = (now: { kind: string }) => now.kind;

export function App() {
  const place = usePlace();
  const [help, setHelp] = useState(false);
  const nobody = useStore(who, kind) === "nobody";
  const showHelp = useCallback(() => setHelp(true), []);
  useKeys(showHelp);
  if (nobody) return <Login />;
  const [title, view] = viewOf(place);
  return (
    <>
      <a class="skip" href="#content" onClick={skip}>To the content</a>
      <Nav place={place} onHelp={showHelp} />
      <ConnectionBanner />
      <View title={title} key={place.path.join("/")}>{view}</View>
      {help && <Help onClose={() => setHelp(false)} />}
      <ConfirmDialog />
      <Toasts />
    </>
  );
}

/** Not by the address: its "#" says which view it is. */
function skip(event: Event): void {
  event.preventDefault();
  document.querySelector<HTMLElement>("main")?.focus();
}

function viewOf({ path: [first, second, third], query }: Place): [string, ComponentChildren] {
  switch (first) {
    case undefined: return ["Overview", <Overview />];
    case "jobs": return second ? [`Job ${second}`, <Job id={second} query={query} />] : ["Jobs", <Jobs query={query} />];
    case "machines":
      return second
        ? [`Machine ${second}`, <Machine id={second} part={third} />]
        : ["Machines", <Machines query={query} />];
    case "pools": return second ? [`Pool ${second}`, <Pool name={second} />] : ["Pools", <Pools />];
    case "images": return ["Images", <Images />];
    case "doctor": return ["Doctor", <Doctor />];
    case "config": return ["Configuration", <Config query={query} />];
    default: return ["Nothing here", <><h1>Nothing here</h1><p class="empty">There is no such view. <a href="#/">Overview</a></p></>];
  }
}

/** A view begins at its top, and is told to who listens. */
function View({ title, children }: { title: string; children: ComponentChildren }) {
  const main = useRef<HTMLElement>(null);
  useEffect(() => {
    document.title = `${title} · fireactions`;
    scrollTo(0, 0);
    if (document.activeElement === document.body || !document.activeElement?.isConnected) main.current?.focus({ preventScroll: true });
  }, [title]);
  return <main ref={main} id="content" tabIndex={-1} aria-label={title}><Guard>{children}</Guard></main>;
}
