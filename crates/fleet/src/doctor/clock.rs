//! Is the clock kept?

use std::io;
use std::path::Path;

use fireactions_probe::clock::{self, Clock};

use super::Finding;
use super::checks::CLOCK;

pub(super) fn all() -> Vec<Finding> {
    // systemd-timesyncd makes this file when it has set the clock; where it is alone, that says it, too.
    let timesyncd = Path::new("/run/systemd/timesync/synchronized").exists();
    vec![judge(&clock::read(), timesyncd)]
}

const ADVICE: &str = "`systemctl enable --now systemd-timesyncd` (or chrony); in a container or virtual \
     machine, fix the clock of its host";

fn judge(asked: &io::Result<Clock>, timesyncd: bool) -> Finding {
    match asked {
        Ok(Clock { synchronized: true, max_error_us }) => Finding::ok(
            &CLOCK,
            format!(
                "synchronized, according to the kernel (adjtimex); off by {} ms at most",
                max_error_us / 1000
            ),
        ),
        Ok(_) if timesyncd => Finding::ok(
            &CLOCK,
            "synchronized, according to \
             /run/systemd/timesync/synchronized",
        ),
        Ok(_) => Finding::warning(
            &CLOCK,
            "the kernel says that it is not synchronized (adjtimex: STA_UNSYNC); guests get their time \
             from it, and TLS fails if it is wrong",
            ADVICE,
        ),
        Err(error) => {
            Finding::warning(&CLOCK, format!("the kernel does not answer (adjtimex: {error})"), ADVICE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{Ok as Fine, Warning};
    use super::*;

    #[test]
    fn either_witness_is_enough() {
        let clock = |synchronized| Ok(Clock { synchronized, max_error_us: 1500 });
        assert_eq!(
            judge(&clock(true), false).found,
            "synchronized, according to the kernel (adjtimex); \
             off by 1 ms at most"
        );
        assert_eq!(judge(&clock(false), true).severity, Fine);
        assert_eq!(judge(&clock(false), false).severity, Warning);
        assert_eq!(judge(&Err(io::ErrorKind::PermissionDenied.into()), true).severity, Warning);
    }
}
