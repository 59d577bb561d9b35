//! Guests whose kernel found no timer as it booted, because the host was busy in the wrong moment (docs/testing.md, "Guests that
//! hang at boot"). A server makes another machine then. A test that has no server around its guest does the same here; whatever
//! else ends a guest is a failure.

use std::ffi::OsStr;

use crate::lines;

/// What such a guest's agent says last.
const WORD: &str = "cannot boot: the kernel has no timer";

/// So many one after the other are no chance any more.
const MOST: u32 = 3;

/// How many have taken the place of one guest.
#[derive(Debug, Default)]
pub struct Replaced(u32);

impl Replaced {
    /// Whether a guest ended for that reason, from its console or the reason of its VMM's end: then the test takes another one in
    /// its place. Each is said, and gets a line in the file that `FIREACTIONS_NO_TIMER` names, to be counted when all tests have
    /// ended.
    ///
    /// # Panics
    ///
    /// When that happened three times in a row; when the file cannot be written.
    pub fn gave_up(&mut self, said: &str) -> bool {
        self.judge(said, lines::given("FIREACTIONS_NO_TIMER").as_deref())
    }

    fn judge(&mut self, said: &str, file: Option<&OsStr>) -> bool {
        if !said.contains(WORD) {
            return false;
        }
        self.0 += 1;
        lines::say(&format!("REPLACED: a guest of {} had no timer ({} in a row)", test(), self.0));
        if let Some(file) = file {
            lines::add(file, &[&test()]);
        }
        assert!(self.0 < MOST, "{MOST} guests in a row had no timer; the last one said:\n{said}");
        true
    }
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
        let (file, mut replaced) = (dir.path().join("no-timer"), Replaced::default());
        let mut judge = |said: &str| replaced.judge(said, Some(file.as_os_str()));
        assert!(!judge(""));
        assert!(!judge("[    0.5] Kernel panic - not syncing: Attempted to kill the idle task!"));
        assert!(!judge("fireactions-agent: cannot boot: disk /dev/vda did not appear"));
        assert!(!file.exists());
        let said = "exit code 0 (guest-reset); the guest's agent cannot boot: the kernel has no timer: the host was too busy";
        assert!(judge(said) && judge(said));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| judge(said))).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 3);
    }
}
