import { logOut, type Who, who } from "../api/session.ts";
import { useJobs, useMachines, usePools } from "../live/live.ts";
import { isFinal } from "../live/state.ts";
import { useStore } from "../live/store.ts";
import type { Place } from "../router.ts";
import { ConnectionMark } from "./connection.tsx";
import { Flame, Icon, type IconName } from "./icons.tsx";
import { toggleTheme } from "./theme.ts";
import { toast } from "./toast.tsx";
import { wordsOf } from "../api/fault.ts";
import { clipped } from "../words/clip.ts";
import { isIdleRunner } from "../words/job.ts";

const VIEWS: [string, string, IconName][] = [
  ["", "Overview", "overview"],
  ["jobs", "Jobs", "jobs"],
  ["machines", "Machines", "machines"],
  ["pools", "Pools", "pools"],
  ["images", "Images", "images"],
  ["doctor", "Doctor", "doctor"],
  ["config", "Config", "config"],
];

export function Nav({ place, onHelp }: { place: Place; onHelp: () => void }) {
  const counts = useCounts();
  const here = place.path[0] ?? "";
  return (
    <header class="side">
      <a class="brand" href="#/"><Flame /><span>fireactions</span></a>
      <nav aria-label="Views">
        <ul>
          {VIEWS.map(([path, name, icon]) => (
            <li key={path}>
              <a href={`#/${path}`} aria-current={here === path ? "page" : undefined}>
                <Icon name={icon} />
                <span>{name}</span>
                {counts[path] ? <b class="count">{counts[path]}</b> : null}
              </a>
            </li>
          ))}
        </ul>
      </nav>
      <div class="foot">
        <ConnectionMark />
        <User />
        <div class="tools">
          <button type="button" class="plain" onClick={toggleTheme} aria-label="Light or dark" title="Light or dark">
            <Icon name="moon" />
          </button>
          <button type="button" class="plain" onClick={onHelp} aria-label="Keyboard help" title="Keyboard (?)">
            <Icon name="help" />
          </button>
        </div>
      </div>
    </header>
  );
}

/** What stands beside a view's name: how many of them are at work. */
function useCounts(): Record<string, number> {
  const jobs = useJobs();
  let active = 0;
  for (const job of jobs.values()) if (!isFinal(job.state) && !isIdleRunner(job)) active += 1;
  return { jobs: active, machines: useMachines().size, pools: usePools().size };
}

const whole = (now: Who) => now;

function User() {
  const now = useStore(who, whole);
  if (now.kind !== "somebody") return null;
  const { name, role, via } = now.session;
  const leave = () => void logOut().catch((error: unknown) => toast(wordsOf(error).message, true));
  return (
    <div class="user">
      <span title={`by ${via}`}><b>{clipped(name, 60)}</b> {role}</span>
      {via === "cookie" && (
        <button type="button" class="plain" onClick={leave} aria-label="Log out" title="Log out"><Icon name="out" /></button>
      )}
    </div>
  );
}
