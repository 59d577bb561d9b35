//! Random layers, flattened by the crate and by a model that a reader can check by eye.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, helpers included")]

use std::collections::BTreeMap;

use crate::common::{Item, Lab, TestImage, dir, file, hardlink, read_back};
use proptest::prelude::*;
use tar::EntryType;

#[derive(Debug, Clone)]
enum Op {
    File(String),
    Dir(String, u32),
    /// To the n-th file there is.
    Link(String, usize),
    Whiteout(String),
    Opaque(String),
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[abc]", 1..4).prop_map(|names| names.join("/"))
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => path().prop_map(Op::File),
        2 => (path(), 0_u32..0o1000).prop_map(|(path, mode)| Op::Dir(path, mode)),
        2 => (path(), 0_usize..8).prop_map(|(path, n)| Op::Link(path, n)),
        2 => path().prop_map(Op::Whiteout),
        1 => path().prop_map(Op::Opaque),
    ]
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Dir(u32),
    File(String),
}

type Model = BTreeMap<String, Node>;

fn below(model: &mut Model, path: &str) {
    let prefix = format!("{path}/");
    model.retain(|name, _| !name.starts_with(&prefix));
}

/// Puts a node there, replacing what is in the way above and below.
fn put(model: &mut Model, path: &str, node: Node) {
    for (end, _) in path.match_indices('/') {
        if !matches!(model.get(&path[..end]), Some(Node::Dir(_))) {
            model.insert(path[..end].to_string(), Node::Dir(0o755));
        }
    }
    if !matches!(node, Node::Dir(_)) {
        below(model, path);
    }
    model.insert(path.to_string(), node);
}

/// Whether every parent is a directory, so that the path can mean something in the lower layers.
fn reachable(model: &Model, path: &str) -> bool {
    path.match_indices('/').all(|(end, _)| matches!(model.get(&path[..end]), Some(Node::Dir(_))))
}

fn apply(model: &mut Model, ops: &[Op], layer: usize) -> Vec<Item> {
    let mut items = Vec::new();
    for op in ops {
        match op {
            Op::Whiteout(path) if reachable(model, path) => {
                below(model, path);
                model.remove(path);
            }
            Op::Opaque(path) if reachable(model, path) => below(model, path),
            _ => {}
        }
    }
    for (i, op) in ops.iter().enumerate() {
        match op {
            Op::File(path) => {
                let content = format!("layer {layer} entry {i}");
                items.push(file(path, &content));
                put(model, path, Node::File(content));
            }
            Op::Dir(path, mode) => {
                items.push(Item { mode: *mode, ..dir(path) });
                put(model, path, Node::Dir(*mode));
            }
            Op::Link(path, n) => {
                let files: Vec<_> = model.iter().filter(|(_, node)| matches!(node, Node::File(_))).collect();
                let Some((target, node)) = files.get(*n).map(|(t, n)| ((*t).clone(), (*n).clone())) else {
                    continue;
                };
                items.push(hardlink(path, target));
                put(model, path, node);
            }
            Op::Whiteout(path) => {
                let (parent, name) = path
                    .rsplit_once('/')
                    .map_or((String::new(), path.as_str()), |(p, n)| (format!("{p}/"), n));
                items.push(file(format!("{parent}.wh.{name}"), ""));
            }
            Op::Opaque(path) => items.push(file(format!("{path}/.wh..wh..opq"), "")),
        }
    }
    items
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn flattening_agrees_with_the_model(layers in prop::collection::vec(prop::collection::vec(op(), 0..10), 1..5)) {
        let mut model = Model::new();
        let items: Vec<Vec<Item>> = layers.iter().enumerate().map(|(i, ops)| apply(&mut model, ops, i)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let lab = Lab::new();
        let root = runtime.block_on(lab.convert(&TestImage::new(&items))).unwrap();
        let back = read_back(&root.path);
        let found: Model = back
            .iter()
            .filter(|(path, _)| !path.is_empty() && path.as_slice() != b".")
            .map(|(path, found)| {
                let node = match found.kind {
                    EntryType::Directory => Node::Dir(found.mode),
                    EntryType::Link => Node::File(String::from_utf8(back[&found.link].data.clone()).unwrap()),
                    _ => Node::File(String::from_utf8(found.data.clone()).unwrap()),
                };
                (String::from_utf8(path.clone()).unwrap(), node)
            })
            .collect();
        prop_assert_eq!(found, model);
    }
}
