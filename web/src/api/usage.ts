// What machines use, asked as long as somebody looks at it.
import { useEffect, useState } from "preact/hooks";
import type { MachineUsage } from "../../generated/api.ts";
import { connection } from "../live/live.ts";
import { call } from "./call.ts";

const PAUSE = 2000;
const NONE: ReadonlyMap<string, MachineUsage> = new Map();

/** By the machine's id: of this machine, or of all. Empty while it is not known. */
export function useUsage(machine?: string): ReadonlyMap<string, MachineUsage> {
  const [known, setKnown] = useState(NONE);
  useEffect(() => {
    let wanted = true;
    let timer: ReturnType<typeof setTimeout>;
    const look = async () => {
      // Nobody sees a page that is hidden, and a server that is away is asked by the live view.
      if (!document.hidden && connection.get().kind === "live") {
        // What is not known is not shown; why, the connection says.
        const all = await call("GET /api/v1/usage", machine === undefined ? {} : { machine }).catch(() => []);
        if (!wanted) return;
        setKnown(new Map(all.map((one) => [one.machine, one])));
      }
      timer = setTimeout(look, connection.get().kind === "connecting" ? PAUSE / 10 : PAUSE);
    };
    void look();
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [machine]);
  return known;
}
