// Machines in words.
import type { MachineView } from "../../generated/api.ts";

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
