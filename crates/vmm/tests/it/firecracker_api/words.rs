//! What a Firecracker in a guest's hands may write into its log and its metrics: anything.

use fireactions_vmm::firecracker::api::Version;
use fireactions_vmm::firecracker::api::log::LogLine;
use fireactions_vmm::firecracker::api::metrics::Metrics;
use proptest::prelude::*;

/// Longest part of a log line that is kept, in characters, with the mark that it was cut.
const LONGEST: usize = 2001;

fn fit_to_be_shown(line: &LogLine) -> bool {
    let fits = |text: &str| text.chars().count() <= LONGEST && !text.contains(char::is_control);
    fits(&line.message) && fits(&line.thread)
}

/// A number, or something else, or nothing.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<u64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| n.to_string()),
        "[a-z\"{}:,]{0,8}"
    ]
}

proptest! {
    #[test]
    fn any_log_line_can_be_shown(line in any::<String>()) {
        prop_assert!(fit_to_be_shown(&LogLine::parse(&line)));
    }

    #[test]
    fn any_log_line_with_a_head_can_be_shown(
        id in "[a-z0-9-]{1,8}", thread in any::<String>(), rest in any::<String>(), message in ".{0,3000}"
    ) {
        let line = LogLine::parse(&format!("2026-01-31T12:00:00.1 [{id}:{thread}:{rest}] {message}"));
        prop_assert!(fit_to_be_shown(&line));
    }

    #[test]
    fn any_metrics_add_up(name in "net|vsock|seccomp|put_api_requests", field in "[a-z_]{1,12}", value in value()) {
        let line = format!("{{\"utc_timestamp_ms\":1,\"{name}\":{{\"{field}_fails\":{value},\"num_faults\":{value}}}}}");
        if let Some(seen) = Metrics::parse(line.as_bytes()) {
            let mut sum = seen;
            sum.add(&seen);
            prop_assert!(sum.net_failures >= seen.net_failures && sum.seccomp_faults == seen.seccomp_faults);
        }
    }

    #[test]
    fn any_version_is_one_or_is_refused(text in any::<String>(), numbers in any::<[u16; 3]>()) {
        if let Err(error) = text.parse::<Version>() {
            prop_assert!(!error.to_string().contains(char::is_control));
        }
        let [major, minor, patch] = numbers;
        let version = Version::new(major, minor, patch);
        prop_assert_eq!(version.to_string().parse(), Ok(version));
        prop_assert_eq!(format!("v{version}-dev").parse(), Ok(version));
    }
}
