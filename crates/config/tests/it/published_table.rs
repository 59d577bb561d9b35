//! The table of published configurations in docs/switching.md: it says of each file what `validate` and `migrate` say today.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use fireactions_config::{Host, parse, translate};
use fireactions_testkit::published;

use crate::published::{Told, VERDICTS};

const HEAD: &str = "| file | `validate`: errors | `migrate` | its guests |\n|---|---|---|---|\n";

/// What `migrate` makes of a file, and what of its pools makes their guests what they are.
fn migrated(name: &str, bytes: &[u8]) -> (String, String) {
    let Ok(migrated) = translate(Path::new(name), bytes) else { return ("refused".into(), "none".into()) };
    let loaded = parse(Path::new(name), migrated.text.as_bytes(), &Host::unknown())
        .unwrap_or_else(|errors| panic!("{name}: {errors}\n{}", migrated.text));
    let verdict = match migrated.unfinished {
        0 => "valid".to_owned(),
        places => format!("valid, with {places} × `# TODO`"),
    };
    let mut guests = Vec::new();
    for pool in &loaded.config.pools {
        let own = &pool.firecracker;
        let mut words =
            format!("{} vCPU, {} MiB", own.machine_config.vcpu_count, own.machine_config.mem_size_mib);
        if !own.metadata.is_empty() {
            words.push_str(", metadata");
        }
        if own.user_data.is_some() {
            words.push_str(", user data");
        }
        if !guests.contains(&words) {
            guests.push(words);
        }
    }
    (verdict, guests.join("; "))
}

#[test]
fn the_table_of_published_configurations_says_what_is_so() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/switching.md");
    let page = std::fs::read_to_string(page).unwrap();
    let at = page.find(HEAD).expect("docs/switching.md has no such table");
    let table: String = page[at..].split_inclusive('\n').take_while(|line| line.starts_with('|')).collect();
    // What of a row holds without the files.
    let begin = |name: &str, told: &[Told]| {
        let told: Vec<&str> = told.iter().map(|(.., what)| *what).collect();
        format!("| {name} | {} | ", told.join(", "))
    };
    let rows: Vec<&str> = table.lines().skip(2).collect();
    assert_eq!(rows.len(), VERDICTS.len(), "{table}");
    for (row, (file, name, told)) in rows.iter().zip(VERDICTS) {
        assert!(row.starts_with(&begin(name, told)), "{file}: {row}");
    }

    let Some(files) = published::files("the_table_of_published_configurations_says_what_is_so") else {
        return;
    };
    let files: BTreeMap<String, Vec<u8>> = files.into_iter().collect();
    let mut expected = HEAD.to_owned();
    for (file, name, told) in VERDICTS {
        let (verdict, guests) = migrated(name, &files[&format!("{file}.yaml")]);
        let _ = writeln!(expected, "{}{verdict} | {guests} |", begin(name, told));
    }
    assert_eq!(table, expected, "docs/switching.md is to have:\n{expected}");
}
