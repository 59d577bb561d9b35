//! Firecracker's metrics: a line of JSON with some 300 numbers, of which the telling ones are kept.
//!
//! Counters in a line are what has been counted since the line before (`src/vmm/src/logger/metrics.rs`), so a reader
//! adds lines up; durations and the like are the latest value. Names came and went over the versions: what is unknown
//! is ignored and what is missing is 0.

use std::collections::HashMap;

use serde::Deserialize;

/// What is kept of one line, or of several that were added up. A Firecracker in a guest's hands can write any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    /// API requests that Firecracker could not read; those it refused for another reason are not counted.
    pub api_failures: u64,
    /// System calls that seccomp stopped. More than none: a bug, or a guest that broke into Firecracker.
    pub seccomp_faults: u64,
    /// Panics of Firecracker.
    pub panics: u64,
    /// Failures of the virtual processors.
    pub vcpu_failures: u64,
    /// Failures of the network cards, both ways.
    pub net_failures: u64,
    /// Bytes that the guest received.
    pub net_rx_bytes: u64,
    /// Bytes that the guest sent.
    pub net_tx_bytes: u64,
    /// Frames that the guest sent with another card's address.
    pub net_spoofed_macs: u64,
    /// Times that a network limit held the guest back.
    pub net_throttled: u64,
    /// Failures of the drives.
    pub block_failures: u64,
    /// Bytes that the guest read.
    pub block_read_bytes: u64,
    /// Bytes that the guest wrote.
    pub block_write_bytes: u64,
    /// Times that a drive's limit held the guest back.
    pub block_throttled: u64,
    /// Failures of the vsock.
    pub vsock_failures: u64,
    /// Bytes from the guest through the vsock.
    pub vsock_tx_bytes: u64,
    /// Bytes to the guest through the vsock.
    pub vsock_rx_bytes: u64,
    /// Failures of the balloon.
    pub balloon_failures: u64,
    /// Bytes that the guest gave back by free page reporting.
    pub balloon_reported_bytes: u64,
    /// Requests to the metadata service without a token or with a wrong one.
    pub mmds_bad_tokens: u64,
    /// Log messages that were lost.
    pub log_lost: u64,
    /// Bytes of the serial console that its limit dropped.
    pub serial_dropped_bytes: u64,
    /// How long the last pause took, in microseconds.
    pub pause_us: u64,
    /// How long the last resume took, in microseconds.
    pub resume_us: u64,
    /// How long the last full snapshot took, in microseconds.
    pub snapshot_us: u64,
    /// How long the last load of a snapshot took, in microseconds.
    pub load_us: u64,
    /// How long the process took to be ready for requests, in microseconds.
    pub startup_us: u64,
}

impl Metrics {
    /// Reads a line; nothing when it is no metrics.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let line: Line = serde_json::from_slice(line).ok()?;
        let sum = |numbers: &[u64]| numbers.iter().fold(0u64, |sum, number| sum.saturating_add(*number));
        let failures = |group: &Group| {
            let failed = group.iter().filter(|(name, _)| name.ends_with("_fails"));
            failed.fold(0u64, |sum, (_, value)| sum.saturating_add(number(value)))
        };
        let (net, block, vsock) = (&line.net, &line.block, &line.vsock);
        Some(Self {
            api_failures: sum(&[failures(&line.put_api_requests), failures(&line.patch_api_requests)]),
            seccomp_faults: get(&line.seccomp, "num_faults"),
            panics: get(&line.vmm, "panic_count"),
            vcpu_failures: get(&line.vcpu, "failures"),
            net_failures: failures(net),
            net_rx_bytes: get(net, "rx_bytes_count"),
            net_tx_bytes: get(net, "tx_bytes_count"),
            net_spoofed_macs: get(net, "tx_spoofed_mac_count"),
            net_throttled: sum(&[
                get(net, "rx_rate_limiter_throttled"),
                get(net, "tx_rate_limiter_throttled"),
            ]),
            block_failures: sum(&[failures(block), get(block, "invalid_reqs_count")]),
            block_read_bytes: get(block, "read_bytes"),
            block_write_bytes: get(block, "write_bytes"),
            block_throttled: get(block, "rate_limiter_throttled_events"),
            vsock_failures: failures(vsock),
            vsock_tx_bytes: get(vsock, "tx_bytes_count"),
            vsock_rx_bytes: get(vsock, "rx_bytes_count"),
            balloon_failures: failures(&line.balloon),
            balloon_reported_bytes: get(&line.balloon, "free_page_report_freed"),
            mmds_bad_tokens: sum(&[get(&line.mmds, "rx_invalid_token"), get(&line.mmds, "rx_no_token")]),
            log_lost: get(&line.logger, "missed_log_count"),
            serial_dropped_bytes: get(&line.uart, "rate_limiter_dropped_bytes"),
            pause_us: get(&line.latencies_us, "pause_vm"),
            resume_us: get(&line.latencies_us, "resume_vm"),
            snapshot_us: get(&line.latencies_us, "full_create_snapshot"),
            load_us: get(&line.latencies_us, "load_snapshot"),
            startup_us: get(&line.api_server, "process_startup_time_us"),
        })
    }

    /// Adds a later line: counters are summed up, durations are replaced when the later line has one. Firecracker
    /// repeats the seccomp faults and panics in every line, so the larger number counts.
    pub fn add(&mut self, later: &Self) {
        let counters = [
            (&mut self.api_failures, later.api_failures),
            (&mut self.vcpu_failures, later.vcpu_failures),
            (&mut self.net_failures, later.net_failures),
            (&mut self.net_rx_bytes, later.net_rx_bytes),
            (&mut self.net_tx_bytes, later.net_tx_bytes),
            (&mut self.net_spoofed_macs, later.net_spoofed_macs),
            (&mut self.net_throttled, later.net_throttled),
            (&mut self.block_failures, later.block_failures),
            (&mut self.block_read_bytes, later.block_read_bytes),
            (&mut self.block_write_bytes, later.block_write_bytes),
            (&mut self.block_throttled, later.block_throttled),
            (&mut self.vsock_failures, later.vsock_failures),
            (&mut self.vsock_tx_bytes, later.vsock_tx_bytes),
            (&mut self.vsock_rx_bytes, later.vsock_rx_bytes),
            (&mut self.balloon_failures, later.balloon_failures),
            (&mut self.balloon_reported_bytes, later.balloon_reported_bytes),
            (&mut self.mmds_bad_tokens, later.mmds_bad_tokens),
            (&mut self.log_lost, later.log_lost),
            (&mut self.serial_dropped_bytes, later.serial_dropped_bytes),
        ];
        for (total, more) in counters {
            *total = total.saturating_add(more);
        }
        self.seccomp_faults = self.seccomp_faults.max(later.seccomp_faults);
        self.panics = self.panics.max(later.panics);
        let latest = [
            (&mut self.pause_us, later.pause_us),
            (&mut self.resume_us, later.resume_us),
            (&mut self.snapshot_us, later.snapshot_us),
            (&mut self.load_us, later.load_us),
            (&mut self.startup_us, later.startup_us),
        ];
        for (value, later) in latest {
            if later != 0 {
                *value = later;
            }
        }
    }
}

/// Numbers by name, and sometimes something else, such as a latency's minimum and maximum.
type Group = HashMap<String, serde_json::Value>;

fn number(value: &serde_json::Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn get(group: &Group, name: &str) -> u64 {
    group.get(name).map(number).unwrap_or_default()
}

/// The groups that are looked at. The time tells metrics from any other JSON.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "utc_timestamp_ms")]
    _time: i64,
    #[serde(default)]
    api_server: Group,
    #[serde(default)]
    balloon: Group,
    #[serde(default)]
    block: Group,
    #[serde(default)]
    latencies_us: Group,
    #[serde(default)]
    logger: Group,
    #[serde(default)]
    mmds: Group,
    #[serde(default)]
    net: Group,
    #[serde(default)]
    patch_api_requests: Group,
    #[serde(default)]
    put_api_requests: Group,
    #[serde(default)]
    seccomp: Group,
    #[serde(default)]
    uart: Group,
    #[serde(default)]
    vcpu: Group,
    #[serde(default)]
    vmm: Group,
    #[serde(default)]
    vsock: Group,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cut from a line of Firecracker 1.17, with other numbers.
    const LINE: &str = r#"{"utc_timestamp_ms":1795494488733,"api_server":{"process_startup_time_us":812},
        "balloon":{"activate_fails":0,"stats_update_fails":2,"free_page_report_freed":4096},
        "block_root":{"read_bytes":10},"block":{"execute_fails":1,"invalid_reqs_count":2,"read_bytes":10,"write_bytes":20,
        "read_agg":{"min_us":0,"max_us":9,"sum_us":9},"rate_limiter_throttled_events":3},
        "uart":{"rate_limiter_dropped_bytes":5},"latencies_us":{"full_create_snapshot":7000,"pause_vm":30,"resume_vm":0},
        "logger":{"missed_log_count":6},"mmds":{"rx_invalid_token":1,"rx_no_token":1},
        "net":{"tap_read_fails":4,"rx_bytes_count":100,"tx_bytes_count":200,"tx_spoofed_mac_count":1,
        "rx_rate_limiter_throttled":1,"tx_rate_limiter_throttled":1},
        "patch_api_requests":{"drive_count":1,"drive_fails":1},"put_api_requests":{"actions_count":9,"vsock_fails":1},
        "seccomp":{"num_faults":1},"vcpu":{"failures":1},"vmm":{"panic_count":0},"signals":{"sigbus":0},
        "vsock":{"conn_event_fails":1,"rx_bytes_count":11,"tx_bytes_count":12},"newer":{"things":[1,2,3]}}"#;

    #[test]
    fn a_line_is_read() {
        let seen = Metrics::parse(LINE.as_bytes()).unwrap();
        let expected = Metrics {
            api_failures: 2,
            seccomp_faults: 1,
            panics: 0,
            vcpu_failures: 1,
            net_failures: 4,
            net_rx_bytes: 100,
            net_tx_bytes: 200,
            net_spoofed_macs: 1,
            net_throttled: 2,
            block_failures: 3,
            block_read_bytes: 10,
            block_write_bytes: 20,
            block_throttled: 3,
            vsock_failures: 1,
            vsock_tx_bytes: 12,
            vsock_rx_bytes: 11,
            balloon_failures: 2,
            balloon_reported_bytes: 4096,
            mmds_bad_tokens: 2,
            log_lost: 6,
            serial_dropped_bytes: 5,
            pause_us: 30,
            resume_us: 0,
            snapshot_us: 7000,
            load_us: 0,
            startup_us: 812,
        };
        assert_eq!(seen, expected);
    }

    #[test]
    fn lines_add_up() {
        let line = Metrics::parse(LINE.as_bytes()).unwrap();
        let mut sum = line;
        sum.add(&Metrics { snapshot_us: 0, pause_us: 40, net_rx_bytes: u64::MAX, ..line });
        assert_eq!((sum.block_read_bytes, sum.seccomp_faults), (20, 1));
        assert_eq!((sum.pause_us, sum.snapshot_us), (40, 7000));
        assert_eq!(sum.net_rx_bytes, u64::MAX);
    }

    #[test]
    fn what_is_no_metrics_is_nothing_and_odd_numbers_are_zero() {
        for odd in [
            "",
            "{}",
            "[]",
            "null",
            "{\"utc_timestamp_ms\":\"x\"}",
            "{\"utc_timestamp_ms\":1,\"net\":7}",
            "\u{0}",
        ] {
            assert_eq!(Metrics::parse(odd.as_bytes()), None, "{odd:?}");
        }
        assert_eq!(Metrics::parse(b"{\"utc_timestamp_ms\":1}"), Some(Metrics::default()));
        let odd = br#"{"utc_timestamp_ms":1,"net":{"rx_bytes_count":-1,"tx_bytes_count":"x","a_fails":18446744073709551615,"b_fails":9}}"#;
        assert_eq!(Metrics::parse(odd), Some(Metrics { net_failures: u64::MAX, ..Metrics::default() }));
    }
}
