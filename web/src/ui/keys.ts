// The keyboard: "/" searches, "j" and "k" go through rows, "g" and a letter go to a view, "?" tells.
import { useEffect } from "preact/hooks";
import { go } from "../router.ts";

export const PLACES: Record<string, string> = {
  o: "/", j: "/jobs", m: "/machines", p: "/pools", i: "/images", d: "/doctor", c: "/config",
};

const PATIENCE = 1500;

export function useKeys(help: () => void): void {
  useEffect(() => {
    let leader = Number.NEGATIVE_INFINITY;
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (event.key === "Escape" && isField(event.target)) {
        (event.target as HTMLElement).blur();
        return;
      }
      if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
      const led = performance.now() - leader < PATIENCE;
      leader = Number.NEGATIVE_INFINITY;
      if (led) {
        const place = PLACES[event.key];
        if (place !== undefined) {
          event.preventDefault();
          go(place);
        }
        return;
      }
      switch (event.key) {
        case "g": leader = performance.now(); break;
        case "?": help(); break;
        case "/": focusSearch(event); break;
        case "j": moveRow(1, event); break;
        case "k": moveRow(-1, event); break;
      }
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [help]);
}

function isField(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("input, textarea, select");
}

function isTyping(target: EventTarget | null): boolean {
  return isField(target) || (target instanceof HTMLElement && target.closest(".terminal") !== null);
}

function focusSearch(event: KeyboardEvent): void {
  const field = document.querySelector<HTMLInputElement>("main input[type=search]");
  if (!field) return;
  event.preventDefault();
  field.focus();
  field.select();
}

/** Rows are known by their main link. */
function moveRow(by: number, event: KeyboardEvent): void {
  const rows = [...document.querySelectorAll<HTMLElement>("main [data-row]")];
  if (rows.length === 0) return;
  event.preventDefault();
  const now = rows.indexOf(document.activeElement as HTMLElement);
  const next = now < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, now + by));
  rows[next]?.focus();
  rows[next]?.scrollIntoView({ block: "nearest" });
}
