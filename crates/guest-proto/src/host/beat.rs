//! One beat for all links of a server: what a thousand of them do at times of their own wakes the server a thousand times; what
//! they do together wakes it once.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

/// Beats in the time that is to pass.
const BEATS: u32 = 16;

/// The last beat before `time` has passed: at most a sixteenth of it sooner.
pub(super) fn before(time: Duration) -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    let (now, start) = (Instant::now(), *START.get_or_init(Instant::now));
    let beat = (time / BEATS).as_nanos().max(1);
    let over = (now + time).saturating_duration_since(start).as_nanos() % beat;
    now + time.saturating_sub(Duration::from_nanos(u64::try_from(over).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_begins_within_a_beat_ends_with_the_others() {
        let time = Duration::from_secs(16);
        let mut ends = Vec::new();
        for _ in 0..160 {
            let (now, end) = (Instant::now(), before(time));
            assert!((now + time * 15 / 16..=now + time).contains(&end), "never later, and hardly sooner");
            ends.push(end);
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        ends.dedup();
        assert!((16..=17).contains(&ends.len()), "{}", ends.len());
        assert!(before(Duration::ZERO) <= Instant::now());
    }
}
