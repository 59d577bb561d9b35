//! "Did you mean …?"

/// Names longer than this are not compared: nobody mistypes a name that long, and the comparison is quadratic.
const MAX_LENGTH: usize = 64;

/// Advice for a name that does not exist: the nearest one that does, or else all of them.
pub(crate) fn for_name(wrong: &str, known: &[&str], all: &str) -> String {
    match nearest(wrong, known) {
        Some(name) => format!("did you mean '{name}'?"),
        None if known.is_empty() => "there are no keys here".to_owned(),
        None => {
            let mut names = known.to_vec();
            names.sort_unstable();
            format!("{all} {}", names.join(", "))
        }
    }
}

/// The known name that is most like `wrong`, if one is like it at all.
pub fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    if wrong.len() > MAX_LENGTH {
        return None;
    }
    let wrong = normal(wrong);
    let limit = (wrong.chars().count() / 3).clamp(1, 4);
    known
        .iter()
        .map(|name| (distance(&wrong, &normal(name)), *name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
        .or_else(|| contained(&wrong, known))
}

/// `cpus` for `vcpu_count` is too far by letters; a name that holds the other one whole is a good guess too.
fn contained<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    let stem = wrong.trim_end_matches('s');
    let mut fitting = known.iter().filter(|name| stem.len() >= 3 && normal(name).contains(stem));
    let first = fitting.next()?;
    fitting.next().is_none().then_some(*first)
}

/// Case and the choice of separator do not count: `minRunners`, `min-runners` and `min_runners` are alike.
fn normal(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

/// Edit distance where swapping two neighbours is one edit (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j + 1] + 1).min(row[j] + 1).min(last[j] + usize::from(x != y));
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["min_runners", "max_runners", "name", "firecracker", "vcpu_count"];
        for (wrong, right) in [
            ("min_runner", "min_runners"),
            ("minRunners", "min_runners"),
            ("max-runners", "max_runners"),
            ("nmae", "name"),
            ("vcpus", "vcpu_count"),
            ("fireckracker", "firecracker"),
        ] {
            assert_eq!(nearest(wrong, &known), Some(right), "{wrong}");
        }
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest("", &known), None);
        assert_eq!(nearest(&"x".repeat(100_000), &known), None);
    }

    #[test]
    fn counts_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "acb"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
