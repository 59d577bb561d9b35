//! Whether the kernel has a timer at all.
//!
//! An emulated guest has one, the processor's local timer, whose rate the kernel measures as it boots: it counts what the
//! timer does in 100 ms of the TSC. Both run by the host's clock. Where a busy host lets the virtual processor wait
//! for all of that time just after it has begun, the timer seems to stand still, and the kernel goes on without it:
//! "APIC frequency too slow, disabling apic timer". From then on nothing that sleeps ever wakes up.

/// What is wrong with the guest's timer. To be asked before anything sleeps.
pub(crate) fn missing() -> Option<String> {
    let interrupts = std::fs::read_to_string("/proc/interrupts").ok()?;
    never_ticked(&interrupts).then(|| {
        "the kernel has no timer: the host was too busy while the timer's rate was measured, and nothing \
         in this guest would ever wake up"
            .to_owned()
    })
}

/// Whether there is a local timer that has never interrupted, and no other timer beside it. By now it has some hundred
/// times.
fn never_ticked(interrupts: &str) -> bool {
    let local = interrupts.lines().find_map(|line| line.trim_start().strip_prefix("LOC:"));
    let ticks = |rest: &str| rest.split_whitespace().map_while(|word| word.parse::<u64>().ok()).sum::<u64>();
    let another = |line: &str| {
        line.split_whitespace().next_back().is_some_and(|name| name == "timer" || name.starts_with("hpet"))
    };
    local.is_some_and(|rest| ticks(rest) == 0) && !interrupts.lines().any(another)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_never_ticked_is_told_from_one_that_did() {
        let table = |ticks: &str, more: &str| {
            format!(
                "           CPU0       CPU1\n 49:         64   IO-APIC   4-edge      ttyS0\n{more}\
                 NMI:          0          0   Non-maskable interrupts\n\
                 LOC:          {ticks}   Local timer interrupts\nERR:          0\n"
            )
        };
        assert!(never_ticked(&table("0          0", "")));
        assert!(!never_ticked(&table("353          0", "")));
        assert!(!never_ticked(&table("0          7", "")));
        let other = "  0:         44          0   IO-APIC   2-edge      timer\n";
        assert!(!never_ticked(&table("0          0", other)), "it has another one");
        assert!(!never_ticked(" 49:         64   GICv3  27 Level     arch_timer\n"), "no such processor");
    }
}
