// Machines in words.
import type { MachineUsage, MachineView } from "../../generated/api.ts";
import { type Gauge, shareGauge } from "./counts.ts";
import { inOrder } from "./filter.ts";
import { bytes } from "./time.ts";

export const MACHINE_GROUPS = ["busy", "ready", "starting", "held", "stopping"] as const;

export function machineGroup(machine: MachineView): (typeof MACHINE_GROUPS)[number] {
  switch (machine.state) {
    case "creating":
    case "booting": return "starting";
    case "starting":
    case "busy": return "busy";
    case "ready": return "ready";
    case "held": return "held";
    default: return "stopping";
  }
}

/** By pool, oldest first. */
export function byPool(a: MachineView, b: MachineView): number {
  return a.pool.localeCompare(b.pool) || inOrder(a.created_at, b.created_at) || inOrder(a.id, b.id);
}

/** Whether there may be a guest that answers. */
export function hasGuest(machine: MachineView): boolean {
  return ["ready", "starting", "busy", "held"].includes(machine.state);
}

export function startWords(machine: MachineView): string {
  if (machine.started === "snapshot") return "clone of a template";
  return machine.started === "boot" ? "boot" : "–";
}

export function machineMatches(machine: MachineView, text: string): boolean {
  const all = [machine.id, machine.pool, machine.job, machine.state, machine.address, machine.shape.image].join(" ").toLowerCase();
  return text.toLowerCase().split(/\s+/).every((word) => all.includes(word));
}

const MIB = 1024 * 1024;

/** Processors that a machine keeps busy, of those it has. */
export function cpuGauge(machine: MachineView, usage: MachineUsage | undefined): Gauge {
  const { vcpus } = machine.shape;
  const cores = usage?.millicores == null ? undefined : usage.millicores / 1000;
  if (cores === undefined) return { text: String(vcpus), part: undefined, scarce: false };
  return { text: `${cores.toFixed(cores < 10 ? 2 : 0)} of ${vcpus}`, part: vcpus > 0 ? hundredths(Math.min(cores / vcpus, 1)) : 1, scarce: false };
}

/** Memory that a machine takes of the host, of what its guest has: with what its VMM needs it may be a little more. */
export function memoryGauge(machine: MachineView, usage: MachineUsage | undefined): Gauge {
  const of = machine.shape.memory_mib * MIB;
  if (!usage) return { text: bytes(of), part: undefined, scarce: false };
  const { text, part } = shareGauge({ used: usage.memory, of }, bytes);
  return { text, part: part === undefined ? undefined : hundredths(part), scarce: false };
}

/** No bar is so long that more could be seen, and what is the same is not drawn again. */
function hundredths(part: number): number {
  return Math.round(part * 100) / 100;
}
