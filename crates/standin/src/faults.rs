//! Faults of a machine, asked for by a pool's `kernel_args`.
//!
//! ```text
//! standin.boot=SECONDS   the agent begins to speak after this
//! standin.silent         the agent never speaks
//! standin.deaf           the control socket takes connections and says nothing
//! standin.life=SECONDS   the guest panics at a random moment, after so many seconds on average
//! ```

use std::time::Duration;

/// What goes wrong, and when.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Faults {
    pub(crate) boot: Duration,
    pub(crate) silent: bool,
    pub(crate) deaf: bool,
    pub(crate) life: Option<Duration>,
}

impl Faults {
    /// From a kernel command line; words of others are left alone. The error is for people.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let mut faults = Self::default();
        for word in line.split_whitespace().filter_map(|word| word.strip_prefix("standin.")) {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let time = || {
                let seconds =
                    value.parse().map_err(|_| format!("standin.{word}: '{value}' is no number of seconds"));
                seconds.and_then(|seconds| {
                    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
                })
            };
            match name {
                "boot" => faults.boot = time()?,
                "silent" => faults.silent = true,
                "deaf" => faults.deaf = true,
                "life" => faults.life = Some(time()?),
                _ => return Err(format!("standin.{word} is no fault that the stand-in knows")),
            }
        }
        Ok(faults)
    }

    /// How long this machine lives: exponentially distributed, so that at every moment it is as likely to die as at
    /// any other.
    pub(crate) fn lifetime(&self) -> Option<Duration> {
        let mut bytes = [0; 4];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).ok()?;
        let uniform = (f64::from(u32::from_ne_bytes(bytes)) + 1.0) / 4_294_967_297.0;
        self.life.map(|mean| mean.mul_f64(-uniform.ln()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_found_among_the_kernel_s_arguments() {
        assert_eq!(Faults::parse("console=ttyS0 quiet"), Ok(Faults::default()));
        let faults = Faults::parse("console=ttyS0 standin.boot=0.5 standin.deaf standin.life=20").unwrap();
        assert_eq!(faults.boot, Duration::from_millis(500));
        assert!(faults.deaf && !faults.silent);
        let lives: f64 = (0..2000).map(|_| faults.lifetime().unwrap().as_secs_f64()).sum();
        assert!((30_000.0..50_000.0).contains(&lives), "2000 lives of 20 s took {lives} s");
        assert!(Faults::parse("standin.boot=soon").unwrap_err().contains("soon"));
        assert!(Faults::parse("standin.sleepy").unwrap_err().contains("sleepy"));
    }
}
