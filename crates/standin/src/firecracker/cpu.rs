//! A processor template (`PUT /cpu-config`), as strictly read as Firecracker reads it. No guest here has a processor that it
//! could change, so it is kept and comes to nothing.

use serde::{Deserialize, Deserializer, Serialize};

/// The template, for x86-64.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CpuConfig {
    #[serde(default)]
    kvm_capabilities: Vec<Capability>,
    #[serde(default)]
    cpuid_modifiers: Vec<Cpuid>,
    #[serde(default)]
    msr_modifiers: Vec<Msr>,
}

/// The number of a capability that KVM must have; with `!` in front, one that is not asked for.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String")]
struct Capability(String);

impl TryFrom<String> for Capability {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.trim_start_matches('!').parse::<u32>() {
            Ok(_) => Ok(Self(text)),
            Err(_) => Err(format!(
                "Failed to parse string [{text}] as a kvm capability - can not convert to numeric"
            )),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Cpuid {
    #[serde(rename = "leaf", deserialize_with = "number")]
    function: String,
    #[serde(deserialize_with = "number")]
    subleaf: String,
    flags: u32,
    modifiers: Vec<CpuidRegister>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct CpuidRegister {
    register: Register,
    #[serde(deserialize_with = "bitmap::<32, _>")]
    bitmap: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Register {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Msr {
    #[serde(deserialize_with = "number")]
    addr: String,
    #[serde(deserialize_with = "bitmap::<64, _>")]
    bitmap: String,
}

/// 32 bits as `0x…`, `0b…` or decimal.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let read = match (text.strip_prefix("0x"), text.strip_prefix("0b")) {
        (Some(digits), _) => u32::from_str_radix(digits, 16),
        (_, Some(digits)) => u32::from_str_radix(digits, 2),
        _ => text.parse(),
    };
    let failed =
        || serde::de::Error::custom(format!("Failed to parse string [{text}] as a number for CPU template"));
    read.map_err(|_| failed())?;
    Ok(text)
}

/// `0b` and as many digits at most: 0 clears a bit, 1 sets it, x leaves it.
fn bitmap<'de, const BITS: usize, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.strip_prefix("0b").unwrap_or(&text).replace('_', "");
    let fine = digits.chars().all(|digit| matches!(digit, '0' | '1' | 'x'));
    if fine && (1..=BITS).contains(&digits.len()) {
        return Ok(text);
    }
    Err(serde::de::Error::custom(format!("Failed to parse string [{text}] as a bitmap")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_is_read_strictly() {
        let good = json!({
            "kvm_capabilities": ["171", "!172"],
            "cpuid_modifiers": [{
                "leaf": "0x7", "subleaf": "0b1", "flags": 1,
                "modifiers": [{"register": "ebx", "bitmap": "0bxxxx00001111xxxx"}],
            }],
            "msr_modifiers": [{"addr": "0x10a", "bitmap": "0b1x0"}],
        });
        let text = good.to_string();
        let read = |text: &str| serde_json::from_str::<CpuConfig>(text).map_err(|error| error.to_string());
        let config = read(&text).unwrap();
        assert_eq!(read(&serde_json::to_string(&config).unwrap()), Ok(config));
        for (from, to, words) in [
            ("!172", "!x", "as a kvm capability"),
            ("0x7", "0xg", "as a number"),
            ("\"flags\":1,", "", "missing field `flags`"),
            ("ebx", "rbx", "unknown variant `rbx`"),
            ("0bxxxx00001111xxxx", "0b2", "as a bitmap"),
            ("0bxxxx00001111xxxx", &"x".repeat(33), "as a bitmap"),
            ("0x10a", "0x1_0000_0000", "as a number"),
            ("\"msr_modifiers\"", "\"vcpu_features\"", "unknown field"),
        ] {
            assert!(text.contains(from), "{from} in {text}");
            let error = read(&text.replace(from, to)).unwrap_err();
            assert!(error.contains(words), "{to}: {error}");
        }
    }
}
