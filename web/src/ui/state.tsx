// A state as a mark, a colour and a word: never by colour alone.
import { Icon, type IconName } from "./icons.tsx";

type Tone = "wait" | "work" | "good" | "bad" | "idle" | "held";

const STATES: Record<string, [Tone, IconName]> = {
  queued: ["wait", "clock"],
  assigned: ["work", "play"],
  starting: ["work", "play"],
  running: ["work", "play"],
  busy: ["work", "play"],
  creating: ["wait", "dots"],
  booting: ["wait", "dots"],
  ready: ["good", "check"],
  succeeded: ["good", "check"],
  ok: ["good", "check"],
  failed: ["bad", "cross"],
  error: ["bad", "cross"],
  lost: ["bad", "warn"],
  timed_out: ["bad", "clock"],
  cancelled: ["idle", "cross"],
  stopping: ["idle", "dots"],
  paused: ["held", "pause"],
  warning: ["wait", "warn"],
  held: ["held", "eye"],
};

export function State({ state, text }: { state: string; text?: string }) {
  const [tone, icon] = STATES[state] ?? ["idle", "dots"];
  return (
    <span class={`state ${tone}`}>
      <Icon name={icon} />
      {text ?? state.replaceAll("_", " ")}
    </span>
  );
}

/** The mark alone, where the words beside it say the same. */
export function StateDot({ state }: { state: string }) {
  const [tone, icon] = STATES[state] ?? ["idle", "dots"];
  return <span class={`state dot ${tone}`}><Icon name={icon} /></span>;
}
