// What somebody may do here, each with its question before it.
import type { ImageView, JobRecord, MachineView, PoolView } from "../../generated/api.ts";
import { ask } from "../ui/confirm.tsx";
import { clipped } from "../words/clip.ts";
import { jobTitle } from "../words/job.ts";
import { bytes } from "../words/time.ts";
import { call } from "./call.ts";

export function askCancel(job: JobRecord): void {
  ask({
    title: "Cancel this job?",
    body: <p><b>{jobTitle(job)}</b> ({job.id}) is ended. What it has done is not undone, and it is not tried again.</p>,
    action: "Cancel the job",
    danger: true,
    run: async () => {
      await call("POST /api/v1/jobs/{id}/cancel", { id: job.id });
      return "The job is being cancelled";
    },
  });
}

export function askDestroy(machine: MachineView): void {
  const held = machine.state === "held";
  ask({
    title: held ? "Let go of this machine?" : "Destroy this machine?",
    body: (
      <p>
        Machine <b>{machine.id}</b> of pool {machine.pool} is ended and everything of it removed.
      </p>
    ),
    action: held ? "Let go" : "Destroy",
    danger: true,
    run: async () => {
      await call("DELETE /api/v1/machines/{id}", { id: machine.id });
      return `Machine ${machine.id} is being removed`;
    },
  });
}

const HOLDS: readonly [number, string][] = [[1800, "30 minutes"], [3600, "an hour"], [4 * 3600, "4 hours"], [24 * 3600, "a day"], [7 * 24 * 3600, "a week"]];

export function askHold(machine: MachineView): void {
  let secs = 3600;
  ask({
    title: "Hold this machine?",
    body: (
      <>
        <p>
          When its job has ended, however it ends, machine <b>{machine.id}</b> stays as it is, to be looked into: it takes its part of the host
          and serves no other job. Then it goes.
        </p>
        <label>
          From the end of its job on, for
          <select onInput={(event) => { secs = Number(event.currentTarget.value); }}>
            {HOLDS.map(([value, text]) => <option key={value} value={value} selected={value === secs}>{text}</option>)}
          </select>
        </label>
      </>
    ),
    action: "Hold",
    run: async () => {
      await call("PUT /api/v1/machines/{id}/hold", { id: machine.id }, { secs });
      return `Machine ${machine.id} stays when its job has ended`;
    },
  });
}

export function askUnhold(machine: MachineView): void {
  ask({
    title: "Not hold this machine?",
    body: <p>Machine <b>{machine.id}</b> goes with its job, as others do.</p>,
    action: "Do not hold",
    run: async () => {
      await call("DELETE /api/v1/machines/{id}/hold", { id: machine.id });
      return `Machine ${machine.id} goes with its job`;
    },
  });
}

export function askPause(pool: PoolView): void {
  const name = pool.spec.name;
  ask({
    title: `Pause pool ${name}?`,
    body: <p>It makes no machines and lets idle ones go. Jobs that run end in peace; others wait.</p>,
    action: "Pause",
    run: async () => {
      await call("POST /api/v1/pools/{name}/pause", { name });
      return `Pool ${name} is paused`;
    },
  });
}

export function askResume(pool: PoolView): void {
  const name = pool.spec.name;
  ask({
    title: `Resume pool ${name}?`,
    body: <p>It makes machines and takes jobs again.</p>,
    action: "Resume",
    run: async () => {
      await call("POST /api/v1/pools/{name}/resume", { name });
      return `Pool ${name} takes jobs again`;
    },
  });
}

export function askScale(pool: PoolView): void {
  const name = pool.spec.name;
  const bounds = { min: pool.min_runners, max: pool.max_runners };
  const field = (key: "min" | "max", label: string) => (
    <label>
      {label}
      <input
        type="number" min={0} max={10_000} step={1} required value={bounds[key]}
        onInput={(event) => { bounds[key] = event.currentTarget.valueAsNumber; }}
      />
    </label>
  );
  ask({
    title: `Scale pool ${name}`,
    body: (
      <>
        <p>Holds until it is changed again, across restarts. The configuration says {pool.spec.min_runners} to {pool.spec.max_runners}.</p>
        <div class="fields">{field("min", "Kept ready")}{field("max", "At most")}</div>
      </>
    ),
    action: "Scale",
    run: async () => {
      await call("PUT /api/v1/pools/{name}/scale", { name }, bounds);
      return `Pool ${name} has ${bounds.min} to ${bounds.max} machines`;
    },
  });
}

export function askUnscale(pool: PoolView): void {
  const name = pool.spec.name;
  ask({
    title: `Scale pool ${name} as configured?`,
    body: <p>It has {pool.spec.min_runners} to {pool.spec.max_runners} machines again.</p>,
    action: "As configured",
    run: async () => {
      await call("DELETE /api/v1/pools/{name}/scale", { name });
      return `Pool ${name} is scaled as configured`;
    },
  });
}

export function askDrain(): void {
  let reason = "";
  ask({
    title: "Drain this host?",
    body: (
      <>
        <p>It makes no machines and removes idle ones. Jobs that run end in peace; others wait until it takes work again.</p>
        <label>
          Reason, shown wherever jobs wait
          <input type="text" maxLength={500} onInput={(event) => { reason = event.currentTarget.value; }} />
        </label>
      </>
    ),
    action: "Drain",
    danger: true,
    run: async () => {
      await call("PUT /api/v1/host", {}, { drained: true, ...(reason === "" ? {} : { reason }) });
      return "The host is drained";
    },
  });
}

export function askUndrain(): void {
  ask({
    title: "Take work again?",
    body: <p>Pools make machines, and jobs that wait begin.</p>,
    action: "Take work",
    run: async () => {
      await call("PUT /api/v1/host", {}, { drained: false });
      return "The host takes work again";
    },
  });
}

export function askRemoveImage(image: ImageView, done: () => void): void {
  ask({
    title: "Remove this image?",
    body: <p><b>{clipped(image.names[0] ?? image.digest)}</b> ({bytes(image.size)}) is fetched again when a machine needs it.</p>,
    action: "Remove",
    danger: true,
    run: async () => {
      await call("DELETE /api/v1/images", { image: image.digest });
      done();
      return "The image is removed";
    },
  });
}

export function askCollect(done: () => void): void {
  ask({
    title: "Remove unused images?",
    body: <p>Those that are unused longest go, until the store has its configured size. Images in use stay.</p>,
    action: "Remove unused",
    run: async () => {
      const report = await call("POST /api/v1/images/gc", {}, {});
      done();
      return `${report.removed.length} images removed, ${bytes(report.freed)} freed`;
    },
  });
}
