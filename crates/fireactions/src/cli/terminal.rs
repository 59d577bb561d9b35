//! The user's terminal: its size, and raw mode, which is always taken back.

use std::io::{self, IsTerminal};

use fireactions_api::WindowSize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::edge::advise;

/// The terminal's size.
pub(crate) fn size() -> anyhow::Result<WindowSize> {
    if !io::stdin().is_terminal() {
        return Err(advise(
            "standard input is not a terminal",
            "use `fireactions exec VM -- CMD` without --tty",
        ));
    }
    let size = tcgetwinsize(io::stdin()).map_err(io::Error::from)?;
    // A serial console says 0 × 0.
    let or = |value: u16, usual| if value == 0 { usual } else { value };
    Ok(WindowSize { rows: or(size.ws_row, 24), cols: or(size.ws_col, 80) })
}

/// Raw mode until dropped: every key goes to the guest, Ctrl-C included.
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// Begins raw mode.
    pub(crate) fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Flush, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone; then there is nothing to take back.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}

/// Sees Ctrl-] pressed three times within a second: the way out of a session that answers no more.
#[derive(Debug, Default)]
pub(crate) struct Escape {
    presses: Vec<std::time::Instant>,
}

impl Escape {
    const KEY: u8 = 0x1d;

    /// Looks at what was typed; true when it is time to leave.
    pub(crate) fn typed(&mut self, bytes: &[u8], now: std::time::Instant) -> bool {
        for byte in bytes {
            if *byte == Self::KEY {
                self.presses.push(now);
            } else {
                self.presses.clear();
            }
        }
        self.presses.retain(|then| now.duration_since(*then).as_secs() < 1);
        self.presses.len() >= 3
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn three_quick_presses_leave() {
        let start = Instant::now();
        let mut escape = Escape::default();
        assert!(!escape.typed(&[0x1d, 0x1d], start));
        assert!(escape.typed(&[0x1d], start + Duration::from_millis(900)));

        let mut slow = Escape::default();
        assert!(!slow.typed(&[0x1d, 0x1d], start));
        assert!(!slow.typed(&[0x1d], start + Duration::from_millis(1100)));
        assert!(!Escape::default().typed(&[0x1d, 0x1d, b'x', 0x1d], start));
    }
}
