//! What a host must have to be deployed to. The rules are those of `scripts/check-prerequisites.sh`, read from its text, so that
//! the script by itself and this program never judge differently.

use crate::doctor::{Finding, Group, Report, Severity};
use crate::facts::Facts;
use crate::ssh::{SCRIPT, SshError};

/// The rules of the script for one of its sections.
fn rules(section: &str) -> impl Iterator<Item = Rule> {
    let text = SCRIPT.split("<<'RULES'\n").nth(1).and_then(|rest| rest.split("\nRULES\n").next());
    text.unwrap_or_default().lines().filter_map(Rule::parse).filter(move |rule| rule.section == section)
}

#[derive(Debug, Clone, Copy)]
struct Rule {
    section: &'static str,
    check: &'static str,
    fact: &'static str,
    fine: &'static str,
    usable: &'static str,
    found: &'static str,
    fix: &'static str,
}

impl Rule {
    fn parse(line: &'static str) -> Option<Self> {
        let mut parts = line.splitn(7, '|');
        let mut part = || parts.next();
        Some(Self {
            section: part()?,
            check: part()?,
            fact: part()?,
            fine: part()?,
            usable: part()?,
            found: part()?,
            fix: part()?,
        })
    }

    fn judge(&self, facts: &Facts) -> Finding {
        let value = facts.get(self.fact);
        let severity = if passes(self.fine, value) {
            Severity::Ok
        } else if passes(self.usable, value) {
            Severity::Warning
        } else {
            Severity::Error
        };
        let found = self.found.replacen('%', if value.is_empty() { "not found" } else { value }, 1);
        let advice = (severity != Severity::Ok).then(|| self.fix.to_owned());
        Finding { group: Group::Remote, check: self.check, severity, found, advice }
    }
}

fn passes(test: &str, value: &str) -> bool {
    let mut words = test.split_whitespace();
    match words.next() {
        Some("any") => true,
        Some("set") => !value.is_empty(),
        Some("min") => {
            let limit = words.next().and_then(|word| word.parse::<u64>().ok());
            matches!((value.parse::<u64>(), limit), (Ok(value), Some(limit)) if value >= limit)
        }
        Some("in") => words.any(|word| word == value),
        _ => false,
    }
}

/// What is to be said of a host that answered.
pub fn judge(facts: &Facts) -> Report {
    let mut findings = Vec::new();
    for rule in rules("remote") {
        let finding = rule.judge(facts);
        // Nothing else is known of a host that does not answer.
        let silent = rule.check == "ssh" && finding.severity == Severity::Error;
        findings.push(finding);
        if silent {
            break;
        }
    }
    Report { findings }
}

/// What is to be said of a host that did not.
pub fn unreachable(error: &SshError) -> Report {
    let mut report = judge(&Facts::of([("ssh", &error.to_string())]));
    for finding in &mut report.findings {
        finding.advice = Some(error.advice().to_owned());
    }
    report
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::io::Write as _;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    use super::*;

    fn script() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/check-prerequisites.sh")
    }

    /// Exit code and table of the script for these facts.
    fn script_says(facts: &str) -> (i32, String) {
        let mut child = Command::new("sh")
            .arg(script())
            .args(["--judge", "remote"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(facts.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    fn table(report: &Report) -> String {
        let mut text = format!("{:15} {:8} FOUND\n", "CHECK", "RESULT");
        let mut count = [0, 0];
        for finding in &report.findings {
            let result = finding.severity.as_str();
            let _ = writeln!(text, "{:15} {result:8} {}", finding.check, finding.found);
            if let Some(advice) = &finding.advice {
                let _ = writeln!(text, "{:15} {:8} -> {advice}", "", "");
            }
            match finding.severity {
                Severity::Error => count[0] += 1,
                Severity::Warning => count[1] += 1,
                Severity::Ok => {}
            }
        }
        text + &format!("{} errors, {} warnings\n", count[0], count[1])
    }

    const GOOD: &str = "ssh=yes\nroot=yes\narch=x86_64\nmem_mib=7940\ndisk_gib=80\nvirt=vmx\nkvm=yes\nkexec=yes\nos=Ubuntu 24.04\nend=1\n";

    #[test]
    fn the_script_alone_judges_as_we_do() {
        assert!(rules("remote").count() >= 9 && rules("local").count() >= 14);
        let with = |from: &str, to: &str| GOOD.replace(from, to);
        let mut cases = vec![GOOD.to_owned(), "end=1\n".to_owned(), with("ssh=yes", "ssh=refused")];
        for mem in ["900", "899", "1800", "1799", "", "x", "18446744073709551615", "-1", "2048.5"] {
            cases.push(with("mem_mib=7940", &format!("mem_mib={mem}")));
        }
        for (from, to) in [
            ("disk_gib=80", "disk_gib=19"),
            ("disk_gib=80", "disk_gib=9"),
            ("arch=x86_64", "arch=riscv64"),
            ("arch=x86_64", "arch=x86"),
            ("root=yes", "root=sudo"),
            ("root=yes", "root=no"),
            ("kvm=yes", "kvm=no"),
            ("virt=vmx", "virt="),
            ("kexec=yes", "kexec=turned off"),
            ("os=Ubuntu 24.04", "os="),
            ("os=Ubuntu 24.04", "os=a=b & \\1 %s 100 %"),
        ] {
            cases.push(with(from, to));
        }
        for case in cases {
            let ours = judge(&Facts::parse(&(case.clone() + "end=1\n")).unwrap());
            let (code, theirs) = script_says(&case);
            assert_eq!(theirs, table(&ours), "{case}");
            assert_eq!(code, i32::from(ours.worst() == Severity::Error), "{case}");
        }
    }

    #[test]
    fn the_worst_counts() {
        let worst = |from: &str, to: &str| judge(&Facts::parse(&GOOD.replace(from, to)).unwrap()).worst();
        assert_eq!(worst("", ""), Severity::Ok);
        assert_eq!(worst("mem_mib=7940", "mem_mib=1000"), Severity::Warning);
        assert_eq!(worst("mem_mib=7940", "mem_mib=500"), Severity::Error);
    }

    #[test]
    fn the_manual_has_every_check() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/doctor.md");
        let page = std::fs::read_to_string(page).unwrap();
        for rule in rules("remote") {
            assert!(
                page.contains(&format!("| remote | `{}` |", rule.check)),
                "docs/doctor.md lacks '{}'",
                rule.check
            );
        }
    }

    #[test]
    fn a_silent_host_is_one_finding() {
        let error = SshError::Unreachable {
            at: "root@h".to_owned(),
            why: "Permission denied (publickey).".to_owned(),
        };
        let report = unreachable(&error);
        assert_eq!((report.findings.len(), report.worst()), (1, Severity::Error));
        assert_eq!(
            report.findings[0].found,
            "SSH: root@h cannot be reached by SSH: Permission denied (publickey)."
        );
        assert!(report.findings[0].advice.as_ref().unwrap().contains("ssh-copy-id"));
    }
}
