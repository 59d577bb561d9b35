// A search through a whole log, in steps: lines are told in between, and a search that nobody waits for any more ends.
import type { LogBuffer } from "./buffer.ts";

export interface Hits {
  numbers: number[];
  /** Where to go on, once there is more. The last line may not have been complete, and is looked at again. */
  next: number;
}

/** Nothing when it is not `wanted` any more. `turn` lets others do something. */
export async function searchAll(
  buffer: LogBuffer,
  { text, most, from }: { text: string; most: number; from: number },
  wanted: () => boolean,
  turn: () => Promise<void>,
): Promise<Hits | undefined> {
  const numbers: number[] = [];
  for (let at = from; ; ) {
    const { found, next } = buffer.search(text, most - numbers.length, at);
    numbers.push(...found);
    at = next;
    if (at >= buffer.lines || numbers.length >= most) return { numbers, next: Math.max(from, Math.min(at, buffer.lines - 1)) };
    await turn();
    if (!wanted()) return undefined;
  }
}
