//! Whether container engines work in guests with this kernel.

use std::collections::BTreeMap;

use super::Finding;
use super::checks::CONTAINERS;
use super::kconfig::{Known, State};

const LIST: &str = include_str!("containers.list");

/// A line of the list.
struct Wanted {
    option: &'static str,
    /// The module that it makes, where it can be one.
    module: Option<&'static str>,
    by_all: bool,
    why: &'static str,
}

fn wanted() -> impl Iterator<Item = Wanted> {
    let lines = LIST.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (option, rest) = line.split_once(' ')?;
        let (module, rest) = rest.trim_start().split_once(' ')?;
        let (by, why) = rest.trim_start().split_once(' ')?;
        let module = (module != "-").then_some(module);
        Some(Wanted { option, module, by_all: by == "all", why: why.trim_start() })
    })
}

/// Judges a kernel whose machines need no container engine, as far as is known: nothing here is an error.
pub(super) fn judge(image: &str, known: &Known) -> Finding {
    let advice = "only jobs with containers need it: set kernel.modules to the kernel's own module directory, use Debian's kernel \
                  (`scripts/fetch-kernel DIR`), or build one that has all of it (`scripts/build-kernel DIR`)";
    if known.from.is_empty() {
        return Finding::warning(
            &CONTAINERS,
            format!("{image}: neither a configuration nor modules to read"),
            advice,
        );
    }
    let from = known.from.join(", ");
    let (mut there, mut unknown) = (0, 0);
    // What is missing, by what it is for.
    let mut missing: [BTreeMap<&str, Vec<String>>; 2] = Default::default();
    for Wanted { option, module, by_all, why } in wanted() {
        let lacks = match known.state(option, module) {
            State::BuiltIn | State::Module => {
                there += 1;
                continue;
            }
            State::Unknown => {
                unknown += 1;
                continue;
            }
            State::ModuleMissing => format!("CONFIG_{option} as a module that is not in kernel.modules"),
            State::Absent => format!("CONFIG_{option}"),
        };
        missing[usize::from(!by_all)].entry(why).or_default().push(lacks);
    }
    let [all, some] = missing.map(|missing| {
        let named = missing.iter().map(|(why, options)| format!("{} ({why})", options.join(", ")));
        named.collect::<Vec<_>>().join(", ")
    });
    if !all.is_empty() {
        let found = format!("{image}: container engines miss {all} (according to {from})");
        return Finding::warning(&CONTAINERS, found, advice);
    }
    let rest = if unknown == 0 { String::new() } else { format!("; {unknown} more cannot be seen there") };
    let but = if some.is_empty() { String::new() } else { format!("; some jobs would miss {some}") };
    Finding::ok(
        &CONTAINERS,
        format!("{image}: {there} of what container engines ask for (according to {from}{rest}){but}"),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::super::Severity::{Ok as Fine, Warning};
    use super::*;

    fn with(config: &str) -> Finding {
        judge("vmlinux", &Known::of(Path::new("/x/vmlinux"), None, Some(config), None))
    }

    fn complete() -> String {
        wanted().map(|wanted| format!("CONFIG_{}=y\n", wanted.option)).collect::<Vec<_>>().concat()
    }

    #[test]
    fn every_line_of_the_list_is_understood_and_once_there() {
        let lines = LIST.lines().filter(|line| !line.starts_with('#')).count();
        let options: BTreeSet<_> = wanted().map(|wanted| wanted.option).collect();
        assert_eq!((options.len(), wanted().count()), (lines, lines));
        assert!(LIST.lines().filter(|line| !line.starts_with('#')).all(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            matches!(words.as_slice(), [_, _, "all" | "some", _, ..])
        }));
    }

    #[test]
    fn what_engines_miss_is_named_with_its_reason() {
        let finding = with(&complete());
        assert!(finding.severity == Fine && !finding.found.contains("miss"), "{finding:?}");
        let finding = with(&complete().replace("CONFIG_IP_NF_RAW=y\n", ""));
        assert!(
            finding.severity == Warning && finding.found.contains("CONFIG_IP_NF_RAW (direct routing"),
            "{finding:?}"
        );
        assert!(
            finding.advice.as_deref().is_some_and(|advice| advice.contains("build-kernel")),
            "{finding:?}"
        );
        let finding = with(&complete().replace("CONFIG_VXLAN=y\n", ""));
        let said = "some jobs would miss CONFIG_VXLAN (overlay networks)";
        assert!(finding.severity == Fine && finding.found.contains(said), "{finding:?}");
        let finding = with(&complete().replace("CONFIG_VETH=y", "CONFIG_VETH=m"));
        assert!(
            finding.found.contains("CONFIG_VETH as a module that is not in kernel.modules"),
            "{finding:?}"
        );
    }

    #[test]
    fn the_custom_kernel_has_all_of_it_built_in() {
        let fragment = include_str!("../../../../pkgs/firecracker-kernel-custom.config");
        let lacks: Vec<_> = wanted()
            .filter(|wanted| !fragment.contains(&format!("\nCONFIG_{}=y\n", wanted.option)))
            .map(|w| w.option)
            .collect();
        assert_eq!(lacks, Vec::<&str>::new());
    }
}
