//! What `scripts/check-prerequisites.sh` says of a host: lines of `key=value`, from a machine that may say anything.

use std::collections::BTreeMap;

/// More of them is no answer of the script's.
const MOST: usize = 64;
/// The script keeps its values shorter.
const LONGEST: usize = 256;

/// Facts of one host, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts(BTreeMap<String, String>);

/// A disk that a system can be installed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Below `/dev`.
    pub name: String,
    /// Its size in GiB.
    pub gib: u64,
}

impl Facts {
    /// Reads the script's answer. What a login script of the host printed around it does not count; `None`: the answer is
    /// not whole.
    pub fn parse(text: &str) -> Option<Self> {
        let mut facts = BTreeMap::new();
        for line in text.lines() {
            let Some((key, value)) = line.split_once('=') else { continue };
            let is_key = !key.is_empty()
                && key.len() <= 32
                && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            if is_key && facts.len() < MOST {
                let value = value.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
                facts.insert(key.to_owned(), value);
            }
        }
        facts.contains_key("end").then_some(Self(facts))
    }

    /// These alone.
    pub fn of<const N: usize>(facts: [(&str, &str); N]) -> Self {
        Self(facts.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    /// With one more, which the host cannot know.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.0.insert(key.to_owned(), value.to_owned());
        self
    }

    /// A fact; empty when it is not known.
    pub fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    /// A fact that is a number.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.get(key).parse().ok()
    }

    /// The disks.
    pub fn disks(&self) -> Vec<Disk> {
        let disks = self.get("disks").split(',').filter_map(|disk| {
            let (name, gib) = disk.split_once(':')?;
            Some(Disk { name: name.to_owned(), gib: gib.parse().ok()? })
        });
        disks.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_or_none() {
        let text = "Welcome!\nEDITOR=vi\narch=x86_64\nos=\u{1b}[1mDebian = 12\ndisks=sda:40,nvme0n1:500,x,y:z\nend=1\n";
        let facts = Facts::parse(text).unwrap();
        assert_eq!(
            ["arch", "os", "EDITOR", "kernel"].map(|key| facts.get(key)),
            ["x86_64", "[1mDebian = 12", "", ""]
        );
        let disk = |name: &str, gib| Disk { name: name.to_owned(), gib };
        assert_eq!(facts.disks(), [disk("sda", 40), disk("nvme0n1", 500)]);
        assert_eq!(Facts::parse("arch=x86_64\n"), None, "cut off");
        assert_eq!(Facts::parse(""), None);
    }

    #[test]
    fn a_host_that_says_too_much_is_not_kept_in_memory() {
        let keys = (0..200).map(|n| "k".repeat(n % 32 + 1) + "=x\n");
        let text: String = keys.chain(["end=".to_owned(), "x".repeat(1 << 20)]).collect();
        let facts = Facts::parse(&text).unwrap();
        assert!(facts.0.len() <= MOST && facts.get("end").len() == LONGEST);
    }
}
