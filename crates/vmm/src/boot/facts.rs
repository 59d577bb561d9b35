//! What can be read from a kernel image without starting it.

use std::fmt;

use flate2::read::GzDecoder;
use std::io::Read;

use super::kernel;

/// The form of a kernel image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelForm {
    /// An ELF file.
    Vmlinux,
    /// A bzImage whose `vmlinux` has the PVH entry: machines are given that.
    BzImage,
    /// A bzImage that machines are given as it is.
    PlainBzImage,
}

impl fmt::Display for KernelForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vmlinux => "vmlinux",
            Self::BzImage | Self::PlainBzImage => "bzImage",
        })
    }
}

/// What can be read from a kernel image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelFacts {
    /// What it is.
    pub form: KernelForm,
    /// The release as `uname -r` says it, e.g. `6.1.0-40-cloud-amd64`.
    pub release: Option<String>,
    /// The configuration that it was built with, if it carries it (`CONFIG_IKCONFIG`).
    pub config: Option<String>,
}

/// Largest configuration that is taken, in bytes; real ones have some 300 KiB.
const CONFIG_MAX: u64 = 8 << 20;

/// Reads a kernel image; `None` if it is not one. Unpacks it, which takes a second or so.
pub fn kernel_facts(image: &[u8]) -> Option<KernelFacts> {
    let vmlinux;
    let (form, inside) = match kernel::inspect(image) {
        kernel::Kernel::Unknown => return None,
        kernel::Kernel::AsIs if image.starts_with(b"\x7fELF") => (KernelForm::Vmlinux, image),
        kernel::Kernel::AsIs => {
            vmlinux = kernel::unpack(image).unwrap_or_default();
            (KernelForm::PlainBzImage, vmlinux.as_slice())
        }
        kernel::Kernel::Unpacked(unpacked) => {
            vmlinux = unpacked;
            (KernelForm::BzImage, vmlinux.as_slice())
        }
    };
    Some(KernelFacts { form, release: release(inside), config: embedded_config(inside) })
}

/// From the kernel's banner (`linux_banner` in init/version.c).
fn release(vmlinux: &[u8]) -> Option<String> {
    const BANNER: &[u8] = b"Linux version ";
    memchr::memmem::find_iter(vmlinux, BANNER).find_map(|at| {
        let rest = vmlinux.get(at + BANNER.len()..)?;
        let name = rest.get(..rest.iter().take(65).position(|byte| *byte == b' ')?)?;
        let plausible = name.first().is_some_and(u8::is_ascii_digit) && name.iter().all(u8::is_ascii_graphic);
        plausible.then(|| String::from_utf8_lossy(name).into_owned())
    })
}

/// The gzip file between `IKCFG_ST` and `IKCFG_ED` (kernel/configs.c).
fn embedded_config(vmlinux: &[u8]) -> Option<String> {
    const BEGIN: &[u8] = b"IKCFG_ST";
    memchr::memmem::find_iter(vmlinux, BEGIN).find_map(|at| {
        let packed = vmlinux.get(at + BEGIN.len()..)?;
        let mut text = String::new();
        GzDecoder::new(packed).take(CONFIG_MAX).read_to_string(&mut text).ok()?;
        Some(text)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_configuration_inside_is_found_and_read() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"CONFIG_EXT4_FS=y\n").unwrap();
        let image = [
            b"\x7fELF Linux version %s (%s) and Linux version 6.12.1-a (x@y) and the words IKCFG_ST by chance ",
            b"IKCFG_ST".as_slice(),
            &packed.finish().unwrap(),
            b"IKCFG_ED",
        ]
        .concat();
        let facts = kernel_facts(&image).unwrap();
        assert_eq!(facts.form, KernelForm::Vmlinux);
        assert_eq!(facts.config.as_deref(), Some("CONFIG_EXT4_FS=y\n"));
        assert_eq!(facts.release.as_deref(), Some("6.12.1-a"));
    }

    #[test]
    fn a_distributions_kernel_says_its_release() {
        let kernel = fireactions_testkit::guest::kernel();
        let facts = kernel_facts(&std::fs::read(&kernel.image).unwrap()).unwrap();
        assert_eq!(kernel.modules.file_name().unwrap().to_str(), facts.release.as_deref());
    }

    #[test]
    fn garbage_is_no_kernel() {
        assert_eq!(kernel_facts(b"IKCFG_ST"), None);
        let broken = kernel_facts(b"\x7fELF IKCFG_ST\x1f\x8b Linux version ").unwrap();
        assert_eq!((broken.config, broken.release), (None, None));
    }
}
