//! What a runner says on its standard output about itself. It is a program of the image: what it says counts for its own
//! job only, and for how things are shown; the forge's word counts where the two differ.

/// Longest line that is looked at; signs are short.
const LONGEST: usize = 1024;

/// Something that the runner said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It is registered and waits for a job.
    Online,
    /// It has begun a job.
    Began(Begun),
    /// Its job has ended so, where it was said: `success`, `failure`, `cancelled`.
    Ended(Option<String>),
}

/// What a runner says of the job that it has begun.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Begun {
    /// The job's name.
    pub(crate) name: Option<String>,
    /// The number under which the forge gave it out.
    pub(crate) task: Option<u64>,
    /// Its repository, `owner/name`.
    pub(crate) repository: Option<String>,
}

/// Finds signs in output that comes in pieces.
#[derive(Debug, Default)]
pub(crate) struct Signs {
    line: Vec<u8>,
    /// Where the output goes on: what is before was looked at.
    next: u64,
    /// The line is too long to be a sign.
    skipping: bool,
    /// A job was begun, by its runner's own word.
    has_begun: bool,
}

impl Signs {
    /// Whether the runner said that it began a job. What it said under an earlier server is not known.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Takes the next piece, which begins at `offset` of the output; gives the signs that `read` finds in the lines that it
    /// ends. A piece that comes again tells nothing: its log may have failed to be written.
    pub(crate) fn take(
        &mut self,
        offset: u64,
        data: &[u8],
        read: impl Fn(&str) -> Option<Sign>,
    ) -> Vec<Sign> {
        let mut found = Vec::new();
        let known = usize::try_from(self.next.saturating_sub(offset)).unwrap_or(usize::MAX);
        let data = data.get(known..).unwrap_or_default();
        self.next = self.next.max(offset) + data.len() as u64;
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
                    found.extend(read(String::from_utf8_lossy(&self.line).trim_end()));
                }
                self.skipping = false;
                self.line.clear();
            }
        }
        self.has_begun |= found.iter().any(|sign| matches!(sign, Sign::Began(_)));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "hello\nBegan one\nwork\r\nBegan two\r\n";

    fn read(line: &str) -> Option<Sign> {
        line.strip_prefix("Began ").map(began)
    }

    fn began(name: &str) -> Sign {
        Sign::Began(Begun { name: Some(name.to_owned()), ..Begun::default() })
    }

    #[test]
    fn signs_are_found_whatever_the_pieces() {
        for size in [1, 3, 7, 64] {
            let (mut signs, mut offset) = (Signs::default(), 7);
            let mut found = Vec::new();
            for piece in LOG.as_bytes().chunks(size) {
                found.extend(signs.take(offset, piece, read));
                assert_eq!(signs.take(offset, piece, read), [], "it comes again");
                offset += piece.len() as u64;
            }
            assert_eq!(found, [began("one"), began("two")], "in pieces of {size}");
        }
    }

    #[test]
    fn a_job_that_prints_without_end_costs_a_line() {
        let mut signs = Signs::default();
        for n in 0..10_000 {
            assert_eq!(signs.take(n * 1000, &[b'x'; 1000], read), []);
        }
        assert!(signs.line.capacity() <= 2 * LONGEST);
        let found = signs.take(10_000_000, LOG.as_bytes(), read);
        assert_eq!(found.len(), 2, "the long line ends with the first of these");
    }
}
