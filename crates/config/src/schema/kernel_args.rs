//! Arguments of guest kernels, and which of them are the VMM's own business.

/// Words with which files of other programs give a guest what the server gives each guest itself, as its VMM needs it.
/// Taken from such a file, they would keep a guest of another VMM from booting or from ending.
const OF_THE_VMM: &[&str] = &[
    "console",
    "noapic",
    "nolapic",
    "reboot",
    "panic",
    "pci",
    "nomodule",
    "nomodules",
    "ro",
    "rw",
    "virtio_mmio.device",
];

/// Whether a word is about what the VMM and the server decide.
fn is_of_the_vmm(word: &str) -> bool {
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    OF_THE_VMM.contains(&name) || name.starts_with("i8042.")
}

/// What is appended to a guest's command line.
pub(crate) fn appended(args: &str) -> String {
    // As it was written, where it has nothing to be taken out.
    if left_out(args).next().is_none() {
        return args.trim().to_owned();
    }
    let kept = args.split_whitespace().filter(|word| !is_of_the_vmm(word));
    kept.collect::<Vec<_>>().join(" ")
}

/// What is not, because the server gives guests its own.
pub(crate) fn left_out(args: &str) -> impl Iterator<Item = &str> {
    args.split_whitespace().filter(|word| is_of_the_vmm(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_vmms_own_words_are_left_out() {
        let published = "console=ttyS0 noapic reboot=k panic=1 pci=off nomodules rw";
        assert_eq!(appended(published), "");
        assert_eq!(left_out(published).collect::<Vec<_>>().join(" "), published);
        let mixed = "rw  systemd.unified_cgroup_hierarchy=1 i8042.noaux quiet panic_on_oops=1";
        assert_eq!(appended(mixed), "systemd.unified_cgroup_hierarchy=1 quiet panic_on_oops=1");
        assert_eq!(left_out(mixed).collect::<Vec<_>>(), ["rw", "i8042.noaux"]);
        assert_eq!(appended(" a=\"b  c\" "), "a=\"b  c\"");
    }
}
