//! Custom CPU templates, which hide features of the host's processor from the guest.

use serde::{Deserialize, Serialize};

use super::request::{Method, Request};

/// `PUT /cpu-config`. Before the start only. The format is Firecracker's, described in its
/// `docs/cpu_templates/cpu-templates.md`; of it, what is for x86-64.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuConfig {
    /// Numbers of KVM capabilities that the host must have; with `!` in front, one that is not asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kvm_capabilities: Vec<String>,
    /// Changes to what CPUID says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cpuid_modifiers: Vec<CpuidLeaf>,
    /// Changes to model specific registers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub msr_modifiers: Vec<MsrModifier>,
}

/// Changes to one leaf of CPUID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuidLeaf {
    /// Leaf, as `0x…`, `0b…` or decimal.
    pub leaf: String,
    /// Subleaf, likewise.
    pub subleaf: String,
    /// KVM's flags of the leaf.
    pub flags: i32,
    /// What to change in it.
    pub modifiers: Vec<CpuidRegister>,
}

/// A register of CPUID's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Register {
    /// EAX.
    Eax,
    /// EBX.
    Ebx,
    /// ECX.
    Ecx,
    /// EDX.
    Edx,
}

/// Changes to one register of CPUID's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuidRegister {
    /// Which.
    pub register: Register,
    /// `0b` and up to 32 digits: `0` clears a bit, `1` sets it, `x` leaves it as it is.
    pub bitmap: String,
}

/// Changes to one model specific register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MsrModifier {
    /// Its 32-bit address, as `0x…`, `0b…` or decimal.
    pub addr: String,
    /// `0b` and up to 64 digits, as in [`CpuidRegister::bitmap`].
    pub bitmap: String,
}

impl Request for CpuConfig {
    type Answer = ();
    const METHOD: Method = Method::Put;

    fn path(&self) -> String {
        "/cpu-config".into()
    }
}
