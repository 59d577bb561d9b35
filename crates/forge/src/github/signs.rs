//! What a runner says on its standard output about itself. It is a program of the image: what it says counts for its own
//! job only, and for how things are shown; GitHub's word counts where the two differ.

use super::program::HOOK;

/// Longest line that is looked at; signs are short.
const LONGEST: usize = 1024;

/// Something that the runner said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sign {
    /// It is registered and waits for a job.
    Online,
    /// It has begun a job of this name, where the name was said.
    Began(Option<String>),
    /// Its job has ended so, where it was said: `success`, `failure`, `cancelled`.
    Ended(Option<String>),
}

/// Finds signs in output that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Signs {
    line: Vec<u8>,
    /// The line is too long to be a sign.
    skipping: bool,
}

impl Signs {
    /// Takes the next piece; gives the signs of all lines that it ends.
    pub(super) fn take(&mut self, data: &[u8]) -> Vec<Sign> {
        let mut found = Vec::new();
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            if self.line.len() + text.len() > LONGEST {
                self.skipping = true;
                self.line.clear();
            } else if !self.skipping {
                self.line.extend_from_slice(text);
            }
            if ends {
                if !self.skipping {
                    found.extend(read(&String::from_utf8_lossy(&self.line)));
                }
                self.skipping = false;
                self.line.clear();
            }
        }
        found
    }
}

/// The runner writes `2024-01-02 03:04:05Z: Listening for Jobs`, `…: Running job: NAME`, `…: Job NAME completed with
/// result: Succeeded` (actions/runner, `src/Runner.Listener`).
fn read(line: &str) -> Option<Sign> {
    let line = line.trim_end();
    if let Some(hook) = line.strip_prefix(HOOK) {
        return match hook.split(' ').next() {
            Some("started") => Some(Sign::Began(None)),
            Some("completed") => Some(Sign::Ended(None)),
            _ => None,
        };
    }
    let (time, said) = line.split_once("Z: ")?;
    if time.len() > 30 || !time.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if said == "Listening for Jobs" {
        return Some(Sign::Online);
    }
    if let Some(name) = said.strip_prefix("Running job: ") {
        return Some(Sign::Began(Some(name.to_owned())));
    }
    let (_, result) = said.strip_prefix("Job ")?.rsplit_once(" completed with result: ")?;
    let conclusion = match result {
        "Succeeded" | "SucceededWithIssues" => "success",
        "Failed" => "failure",
        "Canceled" => "cancelled",
        "Skipped" => "skipped",
        "Abandoned" => "abandoned",
        _ => return Some(Sign::Ended(None)),
    };
    Some(Sign::Ended(Some(conclusion.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "√ Connected to GitHub\n\n2026-01-02 03:04:05Z: Listening for Jobs\n\
        2026-01-02 03:04:06Z: Running job: build (1, x: y)\nfireactions hook: started run=7\nwork\n\
        fireactions hook: completed run=7\n2026-01-02 03:04:09Z: Job build (1, x: y) completed with result: Failed\n";

    fn expected() -> Vec<Sign> {
        vec![
            Sign::Online,
            Sign::Began(Some("build (1, x: y)".to_owned())),
            Sign::Began(None),
            Sign::Ended(None),
            Sign::Ended(Some("failure".to_owned())),
        ]
    }

    #[test]
    fn signs_are_found_whatever_the_pieces() {
        for size in [1, 3, 7, 64, LOG.len()] {
            let mut signs = Signs::default();
            let found: Vec<Sign> = LOG.as_bytes().chunks(size).flat_map(|piece| signs.take(piece)).collect();
            assert_eq!(found, expected(), "in pieces of {size}");
        }
    }

    #[test]
    fn a_job_that_prints_without_end_costs_a_line() {
        let mut signs = Signs::default();
        for _ in 0..10_000 {
            assert_eq!(signs.take(&[b'x'; 1000]), []);
        }
        assert!(signs.line.capacity() <= 2 * LONGEST);
        assert_eq!(signs.take(LOG.as_bytes()).len(), 5, "the long line ends with the first of these");
    }

    #[test]
    fn what_only_looks_like_a_sign_is_none() {
        for line in [
            "Running job: x",
            "it said: 2026-01-02 03:04:06Z: Running job: x",
            "fireactions hook: other",
            ": Z: ",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
