//! The guest kernel's command line, rewritten for QEMU's microvm.

/// Name of the virtio-serial port that stands for the vsock port.
pub(crate) const PORT: &str = "org.fireactions.agent.0";

/// What a Firecracker driver asks of the kernel, in words that mean the same under QEMU: a restart is a triple fault,
/// the host is behind a serial port, and the TSC's rate, which cannot be measured there, is given and to be trusted. `root` is what
/// Firecracker itself adds for a root device.
pub(crate) fn rewrite(line: &str, root: Option<&str>, tsc_khz: Option<u32>) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        words.push(match word {
            "reboot=k" => "reboot=t".to_owned(),
            _ if word.starts_with("fireactions.vsock=") => format!("fireactions.port={PORT}"),
            _ => word.to_owned(),
        });
    }
    let mut add = |name: &str, value: Option<String>| {
        if !line.split_whitespace().any(|word| word.split('=').next() == Some(name)) {
            words.extend(value);
        }
    };
    add("tsc_early_khz", tsc_khz.map(|khz| format!("tsc_early_khz={khz} tsc=reliable")));
    add("mitigations", Some("mitigations=off".to_owned()));
    add("cryptomgr.notests", Some("cryptomgr.notests".to_owned()));
    words.extend(root.map(str::to_owned));
    words.join(" ")
}

/// The host's TSC frequency in kHz, when its kernel trusts it: BogoMIPS is the kernel's own calibration divided by
/// 500 kHz, with two decimals. Without it a guest on a busy host may wait for ever (see the QEMU driver).
pub(crate) fn host_tsc_khz() -> Option<u32> {
    parse(&std::fs::read_to_string("/proc/cpuinfo").ok()?)
}

fn parse(cpuinfo: &str) -> Option<u32> {
    let value = |wanted: &str| {
        cpuinfo.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == wanted).then(|| value.trim())
        })
    };
    value("flags")?.split_whitespace().find(|flag| *flag == "constant_tsc")?;
    let (whole, decimals) = value("bogomips")?.split_once('.')?;
    let hundredths = whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(decimals.parse().ok()?)?;
    hundredths.checked_mul(5)?.checked_add(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_firecracker_becomes_one_for_qemu() {
        assert_eq!(
            rewrite("quiet reboot=k panic=-1 fireactions.vsock=1024", Some("root=/dev/vda ro"), Some(5)),
            "quiet reboot=t panic=-1 fireactions.port=org.fireactions.agent.0 tsc_early_khz=5 tsc=reliable mitigations=off \
             cryptomgr.notests root=/dev/vda ro"
        );
        assert_eq!(
            rewrite("tsc_early_khz=7 mitigations=auto", None, Some(5)),
            "tsc_early_khz=7 mitigations=auto cryptomgr.notests"
        );
    }

    #[test]
    fn bogomips_of_a_constant_tsc() {
        let text = "flags\t\t: fpu tsc constant_tsc\nbogomips\t: 5192.26\n";
        assert_eq!(parse(text), Some(2_596_132));
        assert_eq!(parse(&text.replace("constant_tsc", "")), None);
    }
}
