// The server's time. Its clock and this computer's may disagree, and durations are by the server's.
import { useEffect, useState } from "preact/hooks";

let ahead = 0;

/** The server said that it is this time there. */
export function serverSaid(at: string): void {
  const there = Date.parse(at);
  if (!Number.isNaN(there)) ahead = there - Date.now();
}

/** It is about this time there: to the second, as the head of an answer has it. What is known better stays. */
export function serverIsNear(date: string | null): void {
  const there = Date.parse(date ?? "");
  if (Math.abs(there - now()) > 2000) ahead = there - Date.now();
}

/** Milliseconds since 1970 at the server. */
export function now(): number {
  return Date.now() + ahead;
}

/** How much the server's clock is ahead of this computer's, in milliseconds. */
export function skew(): number {
  return ahead;
}

const tickers = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

/** The server's time, once a second. */
export function useNow(): number {
  const [time, setTime] = useState(now);
  useEffect(() => {
    const tick = () => setTime(now());
    tickers.add(tick);
    timer ??= setInterval(() => {
      if (!document.hidden) for (const one of tickers) one();
    }, 1000);
    return () => {
      tickers.delete(tick);
      if (tickers.size === 0) {
        clearInterval(timer);
        timer = undefined;
      }
    };
  }, []);
  return time;
}
