//! Lines of Firecracker's log.
//!
//! A line is `2026-01-31T12:00:00.123456789 [id:thread:LEVEL:file:line] message`; level and origin are there when the
//! logger was told so. The guest can provoke messages, and a Firecracker in its hands can write anything.

use super::text;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For developers.
    Trace,
    /// For developers.
    Debug,
    /// What happened.
    Info,
    /// What looks wrong.
    Warn,
    /// What failed.
    Error,
}

impl Level {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "TRACE" => Self::Trace,
            "DEBUG" => Self::Debug,
            "INFO" => Self::Info,
            "WARN" => Self::Warn,
            "ERROR" => Self::Error,
            _ => return None,
        })
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How bad it is, if the line says so.
    pub level: Option<Level>,
    /// Which thread wrote it: `main`, `fc_api` or `fc_vcpu 0`. Empty when the line has no head.
    pub thread: String,
    /// The message, or the whole line when it has no head. One printable line of at most 2000 characters.
    pub message: String,
}

impl LogLine {
    /// Reads a line. The time is left out: the reader has its own clock.
    pub fn parse(line: &str) -> Self {
        Self::with_head(line).unwrap_or_else(|| Self {
            level: None,
            thread: String::new(),
            message: text::line(line),
        })
    }

    fn with_head(line: &str) -> Option<Self> {
        let (time, rest) = line.split_once(" [")?;
        if !time.starts_with(|c: char| c.is_ascii_digit()) || time.contains(char::is_whitespace) {
            return None;
        }
        let (head, message) =
            rest.split_once("] ").or_else(|| Some((rest.trim_end().strip_suffix(']')?, "")))?;
        let mut parts = head.split(':');
        let _id = parts.next()?;
        let thread = text::line(parts.next()?);
        let level = parts.next().and_then(Level::parse);
        Some(Self { level, thread, message: text::line(message) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_logger_are_read() {
        let line = LogLine::parse(
            "2026-11-24T04:07:29.590433416 [vm1:fc_api:ERROR:src/vmm/lib.rs:12] no [such] file",
        );
        assert_eq!(line.level, Some(Level::Error));
        assert_eq!(line.thread, "fc_api");
        assert_eq!(line.message, "no [such] file");

        let plain =
            LogLine::parse("2026-11-24T04:07:29.590433416 [anonymous-instance:main] exiting. exit_code=0\n");
        assert_eq!((plain.level, plain.thread.as_str()), (None, "main"));
        assert_eq!(plain.message, "exiting. exit_code=0");

        let vcpu = LogLine::parse("2026-11-24T04:07:29.5 [vm1:fc_vcpu 0:WARN] x");
        assert_eq!((vcpu.level, vcpu.thread.as_str()), (Some(Level::Warn), "fc_vcpu 0"));
    }

    #[test]
    fn any_other_line_is_kept_as_it_is_but_printable() {
        for odd in
            ["", "[", "x [y", "2026 [a:b", "thread 'main' panicked at [x:y] z", "2026 [] x", "2026 [a] x"]
        {
            let line = LogLine::parse(odd);
            assert_eq!((line.level, line.message.as_str()), (None, odd), "{odd:?}");
        }
        let hostile = LogLine::parse(&format!("2026 [a:\u{7}b:ERROR] \u{1b}[2J{}", "x".repeat(1 << 16)));
        assert_eq!(hostile.level, Some(Level::Error));
        assert!(hostile.message.len() < 3000 && !hostile.message.contains('\u{1b}'));
        assert!(!hostile.thread.contains('\u{7}'));
    }
}
