//! Guests whose kernel found no timer as it booted, because the host was busy in the wrong moment (docs/testing.md, "Guests that
//! hang at boot"). A server makes another machine then. A test that has no server around its guest does the same here; whatever
//! else ends a guest is a failure.

use std::ffi::OsStr;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::lines;

/// What such a guest's agent says last.
const WORD: &str = "cannot boot: the kernel has no timer";

/// So many in one test are no chance any more.
const MOST: u32 = 3;

static SEEN: AtomicU32 = AtomicU32::new(0);

/// Whether that is how a guest ended, from its console or the reason of its VMM's end: then the test takes another guest in its
/// place. Each is said, and gets a line in the file that `FIREACTIONS_NO_TIMER` names, to be counted when all tests have ended.
///
/// # Panics
///
/// When that happened three times in this test; when the file cannot be written.
pub fn gave_up(said: &str) -> bool {
    judge(said, &SEEN, lines::given("FIREACTIONS_NO_TIMER").as_deref())
}

fn judge(said: &str, seen: &AtomicU32, file: Option<&OsStr>) -> bool {
    if !said.contains(WORD) {
        return false;
    }
    let seen = seen.fetch_add(1, Ordering::Relaxed) + 1;
    lines::say(&format!("REPLACED: guest {seen} of {} had no timer", test()));
    if let Some(file) = file {
        lines::add(file, &[&test()]);
    }
    assert!(seen < MOST, "{MOST} guests of one test had no timer; the last one said:\n{said}");
    true
}

/// This test, as it was asked for.
fn test() -> String {
    std::env::args().skip_while(|word| word != "--exact").nth(1).unwrap_or_else(|| "a test".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_word_alone_is_forgiven_and_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let (file, seen) = (dir.path().join("no-timer"), AtomicU32::new(0));
        let judge = |said: &str| judge(said, &seen, Some(file.as_os_str()));
        assert!(
            !judge("") && !judge("[    0.5] Kernel panic - not syncing: Attempted to kill the idle task!")
        );
        assert!(!judge("fireactions-agent: cannot boot: disk /dev/vda did not appear"));
        assert!(!file.exists());
        let said = "exit code 0 (guest-reset); the guest's agent cannot boot: the kernel has no timer: the host was too busy";
        assert!(judge(said) && judge(said));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| judge(said))).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 3);
    }
}
