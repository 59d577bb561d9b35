//! The host's TSC frequency, for guests that cannot measure it.
//!
//! QEMU's microvm machine has neither HPET nor PM timer. Under TCG a guest on a busy host fails to calibrate its
//! TSC against the PIT and waits for ever; `tsc_early_khz=` on its command line spares it the measurement. Under
//! TCG the guest's TSC is the host's, so the value must be the host kernel's: a wrong one makes the clock drift.

/// The frequency in kHz, when the host's kernel trusts its TSC.
pub(crate) fn host_khz() -> Option<u32> {
    parse(&std::fs::read_to_string("/proc/cpuinfo").ok()?)
}

/// BogoMIPS is the kernel's own TSC calibration divided by 500 kHz, with two decimals: steps of 5 kHz, two parts
/// in a million. (`cpu MHz` is the current clock of the core, which is another thing.) That holds when the TSC
/// runs at a constant rate; else the kernel counts loops.
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
    // The middle of the 5 kHz that were cut off.
    let khz = hundredths.checked_mul(5)?.checked_add(2)?;
    (100_000..=10_000_000).contains(&khz).then_some(khz)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bogomips_of_a_constant_tsc() {
        let text =
            "processor\t: 0\ncpu MHz\t\t: 1400.000\nflags\t\t: fpu tsc constant_tsc\nbogomips\t: 5192.26\n";
        assert_eq!(parse(text), Some(2_596_132)); // its kernel said: tsc: Detected 2596.134 MHz processor
        assert_eq!(parse(&text.replace("constant_tsc", "")), None);
        assert_eq!(parse(&text.replace("5192.26", "0.26")), None);
        assert_eq!(parse(&text.replace("5192.26", "99999999999.1")), None);
        assert_eq!(parse(""), None);
    }
}
