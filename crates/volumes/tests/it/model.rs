//! Whatever is done with volumes, each machine finds what was kept last under its owner and key, or nothing, and never anything of
//! another one.

use std::collections::HashMap;

use fireactions_volumes::{Name, Volumes};
use proptest::prelude::*;

use crate::common::*;

#[derive(Debug, Clone)]
enum Op {
    Keep(Name, u16),
    Take(Name),
    /// A machine could not mount what it was given last.
    Discard(Name),
    Clean(u64),
    Disown(String, u64),
    /// Another server.
    Restart,
}

fn names() -> impl Strategy<Value = Name> {
    // Such as might be taken for each other, or for paths.
    (prop::sample::select(vec!["a", "a/b", "../a", "A"]), prop::sample::select(vec!["k", "b/k", "..", ""]))
        .prop_map(|(owner, key)| name(owner, key))
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (names(), any::<u16>()).prop_map(|(name, content)| Op::Keep(name, content)),
        4 => names().prop_map(Op::Take),
        1 => names().prop_map(Op::Discard),
        1 => (0..4_u64).prop_map(|blocks| Op::Clean(blocks * 4096)),
        1 => (names(), 7..9_u64).prop_map(|(name, number)| Op::Disown(name.owner, number)),
        1 => Just(Op::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn a_machine_finds_what_was_kept_last_under_its_name_or_nothing(all in prop::collection::vec(ops(), 1..24)) {
        let mut world = World::new(limits());
        let mut kept: HashMap<Name, String> = HashMap::new();
        for op in all {
            match op {
                Op::Keep(name, content) => {
                    let text = format!("{}|{}|{content}", name.owner, name.key);
                    world.volumes.keep(&name, MIB, &world.disk(text.as_bytes()), writer("x")).unwrap();
                    kept.insert(name, text);
                }
                Op::Take(name) => {
                    let found = world.found(&name).map(|bytes| String::from_utf8(bytes).unwrap());
                    prop_assert_eq!(found.as_ref(), kept.get(&name));
                }
                Op::Discard(name) => {
                    let dest = world.dir.path().join("copy");
                    if let Some(taken) = world.volumes.take(&name, MIB, &dest, own()).unwrap() {
                        world.volumes.discard(&name, &taken);
                    }
                    kept.remove(&name);
                }
                Op::Clean(most) => {
                    let cleaned = world.volumes.clean(Some(most), None);
                    prop_assert!(cleaned.left <= most);
                    let left: Vec<Name> = world.volumes.list().into_iter().map(|volume| volume.name).collect();
                    prop_assert_eq!(left.len() as u64 + cleaned.volumes, kept.len() as u64);
                    kept.retain(|name, _| left.contains(name));
                }
                Op::Disown(owner, number) => {
                    let had = number != 7 && kept.keys().any(|name| name.owner == owner);
                    prop_assert_eq!(world.volumes.disown(&owner, number), had);
                    kept.retain(|name, _| number == 7 || name.owner != owner);
                }
                Op::Restart => world.volumes = Volumes::open(&world.root(), limits()).unwrap(),
            }
            prop_assert_eq!(files(&world.root()).len(), kept.len() * 2);
        }
    }
}
