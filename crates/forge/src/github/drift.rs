//! Whether GitHub has a pool's runners and its scale set as the configuration wants them.

use fireactions_github::scaleset::{ScaleSet, ScaleSetSpec};

/// What is wrong with a runner that is to have these labels and be in this group; which group it is in, not every GitHub
/// says.
pub(super) fn of_runner(
    labels: &[String],
    group: u64,
    its_labels: &[String],
    its_group: Option<u64>,
) -> Option<String> {
    let found = its_group.filter(|found| *found != group);
    describe("GitHub's runners of this pool", &missing(labels, its_labels), found.map(|found| (found, group)))
}

/// What is wrong with a scale set that was just set up.
pub(super) fn of_set(spec: &ScaleSetSpec, set: &ScaleSet) -> Option<String> {
    let found = (set.group_id != spec.group_id).then_some((set.group_id, spec.group_id));
    describe("GitHub's scale set of this pool", &missing(&spec.labels, &set.labels), found)
}

fn missing<'a>(wanted: &'a [String], found: &[String]) -> Vec<&'a str> {
    let has = |label: &String| found.iter().any(|found| found.eq_ignore_ascii_case(label));
    wanted.iter().filter(|label| !has(label)).map(String::as_str).collect()
}

fn describe(what: &str, missing: &[&str], groups: Option<(u64, u64)>) -> Option<String> {
    let labels = (!missing.is_empty()).then(|| {
        format!("lack the labels {}, so jobs with these labels will not arrive", missing.join(", "))
    });
    let group = groups.map(|(found, wanted)| {
        format!(
            "are in runner group {found}, not {wanted}, so jobs of other repositories may arrive, or none"
        )
    });
    let all: Vec<String> = labels.into_iter().chain(group).collect();
    (!all.is_empty()).then(|| {
        format!(
            "{what} {}: they were changed at GitHub by a person or a policy, or come from another version of the configuration",
            all.join(", and ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_labels_and_another_group_are_named_and_case_is_none() {
        let list = |labels: &[&str]| labels.iter().map(ToString::to_string).collect::<Vec<_>>();
        let wanted = list(&["debian", "gpu"]);
        assert_eq!(of_runner(&wanted, 1, &list(&["self-hosted", "GPU", "Debian"]), Some(1)), None);
        assert_eq!(of_runner(&wanted, 1, &list(&["GPU", "Debian"]), None), None, "it does not say");
        let text = of_runner(&wanted, 1, &list(&["self-hosted", "Debian"]), Some(1)).unwrap();
        assert!(text.contains("runners of this pool lack the labels gpu, so jobs"), "{text}");
        let text = of_runner(&wanted, 7, &list(&["self-hosted"]), Some(1)).unwrap();
        assert!(
            text.contains("lack the labels debian, gpu, so") && text.contains("are in runner group 1, not 7"),
            "{text}"
        );
    }
}
