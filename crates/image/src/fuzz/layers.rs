//! Any bytes as an image's layers: what is flattened has every name inside the image's root and stays within the
//! bounds, and what is written of it means the same again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::archive::{Script, repair};
use super::{limits, presentable};
use crate::ImageError;
use crate::blob::Blob;
use crate::budget::Budget;
use crate::cancel::Cancel;
use crate::confined::Programs;
use crate::layer::{list, open};
use crate::manifest::to_digest;
use crate::tarread::PATH_MAX;
use crate::tarwrite::{content_bytes, write};
use crate::tree::{Inode, InodeId, Kind, NodeId, ROOT, Tree};

/// The first byte says what the rest is: the bytes of one layer, an archive whose checksums are set right, or
/// instructions for the archives of some layers.
pub fn layers(data: &[u8]) -> Result<(), ImageError> {
    let Some((mode, rest)) = data.split_first() else { return Ok(()) };
    let packed = match mode % 3 {
        0 => vec![rest.to_vec()],
        1 => vec![repair(rest.to_vec())],
        _ => {
            let mut script = Script(rest);
            let count = script.byte() % 4;
            (0..=count).map(|_| script.layer()).collect()
        }
    };
    let result = flatten(&packed);
    if let Err(error) = &result {
        presentable(error);
    }
    let (tree, blobs) = result?;
    let names = names(&tree);
    let mut written = Sink(Vec::new());
    let result = write(&programs(), &tree, &blobs, &mut written, &Cancel::default(), |_| {});
    if let Err(error) = &result {
        presentable(error);
    }
    result?;
    // Flattening what was flattened changes nothing.
    let (again, _) = flatten(&[written.0]).expect("what is written can be read");
    assert_eq!(self::names(&again), names);
    Ok(())
}

fn flatten(packed: &[Vec<u8>]) -> Result<(Tree, Vec<Blob>), ImageError> {
    let budget = Budget::new(limits());
    let mut tree = Tree::new(budget.clone());
    let mut blobs = Vec::new();
    for bytes in packed {
        let blob = in_memory(bytes);
        let diff_id = hash(&blob)?;
        // Without the thread that reads ahead: it costs more than all the rest.
        let stream = open(&programs(), &blob, Some(budget.clone()), &Cancel::default())?;
        tree.apply(list(stream, &diff_id, &budget)?)?;
        assert!(tree.inode_count() as u64 <= limits().entries + 1);
        blobs.push(blob);
    }
    assert!(content_bytes(&tree) <= limits().uncompressed_bytes);
    Ok((tree, blobs))
}

/// What would be another process has no place here.
fn programs() -> Programs {
    Programs { tar2sqfs: "/nonexistent".into(), zstd: "/nonexistent".into(), user: 0 }
}

fn in_memory(bytes: &[u8]) -> Blob {
    let memory = rustix::fs::memfd_create("layer", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut file = File::from(memory);
    file.write_all(bytes).unwrap();
    Blob::new(Arc::new(file), 0, bytes.len() as u64)
}

/// What the config would say.
fn hash(blob: &Blob) -> Result<fireactions_model::Digest, ImageError> {
    let mut hasher = Sha256::new();
    let mut stream = open(&programs(), blob, Some(Budget::new(limits())), &Cancel::default())?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stream.read(&mut buffer).map_err(|error| crate::tarread::unwrap_io(error, "cannot read"))? {
            0 => return Ok(to_digest(hasher)),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// Refuses to become larger than the bounds allow.
struct Sink(Vec<u8>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        // Content, and for each entry headers, padding, path, link and attributes.
        let most = limits().uncompressed_bytes + 3 * limits().metadata_bytes + limits().entries * 4096;
        assert!(self.0.len() as u64 <= most, "{} bytes written", self.0.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Each path with what it is, and the first path of the same inode.
fn names(tree: &Tree) -> BTreeMap<Vec<u8>, (String, Vec<u8>)> {
    let mut names = BTreeMap::new();
    let mut first: BTreeMap<InodeId, Vec<u8>> = BTreeMap::new();
    let mut seen: BTreeSet<NodeId> = BTreeSet::new();
    let mut stack = vec![(ROOT, Vec::new())];
    while let Some((node, path)) = stack.pop() {
        assert!(seen.insert(node), "a name that is in two directories");
        let id = tree.inode_of(node);
        let directory = tree.inode(id).kind == Kind::Directory;
        assert!(directory || tree.children(node).next().is_none());
        // The same inode is the same file; directories have no second name.
        let group = if directory { path.clone() } else { first.entry(id).or_insert(path.clone()).clone() };
        for (name, child) in tree.children(node).rev() {
            assert!(!name.is_empty() && name.len() <= 255 && !name.contains(&b'/') && !name.contains(&0));
            assert!(&name[..] != b"." && &name[..] != b"..", "a name that leads out");
            assert!(!name.starts_with(b".wh."), "a mark became a file");
            stack.push((child, [&path[..], b"/", name].concat()));
        }
        names.insert(path, (shown(tree.inode(id)), group));
    }
    names
}

/// All but where the content is.
fn shown(inode: &Inode) -> String {
    let kind = match &inode.kind {
        Kind::File { size, .. } => format!("file of {size}"),
        Kind::Symlink(target) => {
            assert!(!target.is_empty() && target.len() <= PATH_MAX);
            format!("{:?}", inode.kind)
        }
        other => format!("{other:?}"),
    };
    let Inode { mode, uid, gid, mtime, xattrs, .. } = inode;
    format!("{kind} {mode:o} {uid} {gid} {mtime} {xattrs:?}")
}
