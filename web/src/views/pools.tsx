import { useJobs, useLive, usePools } from "../live/live.ts";
import { PoolCard } from "../ui/pool_card.tsx";
import { oldestWaits } from "../words/counts.ts";

export function Pools() {
  const loaded = useLive() !== undefined;
  const waits = oldestWaits(useJobs().values());
  const all = [...usePools().values()].sort((a, b) => a.spec.name.localeCompare(b.spec.name));
  return (
    <>
      <h1>Pools</h1>
      {!loaded && <p class="loading" role="status">Waiting for the server…</p>}
      {loaded && all.length === 0 && <p class="empty">No pool is configured.</p>}
      <h2 class="unseen">All pools</h2>
      <ul class="cards wide">
        {all.map((pool) => <PoolCard key={pool.spec.name} pool={pool} oldest={waits.get(pool.spec.name)} />)}
      </ul>
    </>
  );
}
