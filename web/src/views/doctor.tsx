import type { DoctorFinding } from "../../generated/api.ts";
import { call } from "../api/call.ts";
import { useRenewals } from "../live/live.ts";
import { Load, useLoad } from "../ui/load.tsx";
import { Ticked } from "../ui/text.tsx";
import { State } from "../ui/state.tsx";

const findings = () => call("GET /api/v1/doctor");

/** What is bad first. */
const ORDER = ["error", "warning", "unknown", "ok"];
const rank = ({ verdict }: DoctorFinding) => (ORDER.indexOf(verdict) + ORDER.length) % ORDER.length;

export function Doctor() {
  const loaded = useLoad(findings, [useRenewals()]);
  return (
    <>
      <h1>Doctor</h1>
      <p class="lead">What this host has and lacks for microVMs, and what to do about it. <button type="button" onClick={loaded.again}>Look again</button></p>
      <Load of={loaded}>
        {(all) => (
          <ul class="findings">
            {[...all].sort((a, b) => rank(a) - rank(b)).map((one) => (
              <li key={`${one.group} ${one.name}`} class={`panel finding ${one.verdict}`}>
                <State state={one.verdict} />
                <div>
                  <h2>{one.name} <small>{one.group}</small></h2>
                  <p>{one.found}</p>
                  {one.fix && <p class="fix"><b>Do:</b> <Ticked text={one.fix} /></p>}
                </div>
              </li>
            ))}
          </ul>
        )}
      </Load>
    </>
  );
}
