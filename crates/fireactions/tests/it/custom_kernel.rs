//! The kernel that `scripts/build-kernel` builds.

use std::path::Path;
use std::process::Command;

use fireactions_testkit::kept;

/// Fetches and unpacks the source where it has not been, which is 140 MB and takes minutes: only in `make test-all`.
#[test]
fn the_configuration_of_both_processors_is_what_the_source_has_from_source() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/build-kernel");
    let dir = kept::dir().join("custom-kernel");
    for arch in ["aarch64", "x86_64"] {
        let made = Command::new(&script).args(["--arch", arch, "--configure"]).arg(&dir).output().unwrap();
        assert!(made.status.success(), "{arch}: {}", String::from_utf8_lossy(&made.stderr));
        let config = std::fs::read_to_string(dir.join("config")).unwrap();
        let of_processor = if arch == "aarch64" { "CONFIG_ARM64=y" } else { "CONFIG_X86_64=y" };
        assert!(config.contains(of_processor) && config.contains("\nCONFIG_IP_NF_RAW=y\n"), "{arch}");
    }
}
