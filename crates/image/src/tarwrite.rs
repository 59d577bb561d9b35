//! Writes the merged tree as one tar archive, the input of `tar2sqfs`.
//!
//! First everything that has no content, directories before what is in them; then file content in the order in which
//! the layers hold it, so that each layer is read once from front to back; then the further names of hard-linked
//! files.

use std::io::{self, Read, Write};
use std::sync::Arc;

use tar::{EntryType, Header};

use crate::ImageError;
use crate::blob::Blob;
use crate::cancel::Cancel;
use crate::confined::Programs;
use crate::layer::copy_contents;
use crate::sparse::Sparse;
use crate::tarread::{PATH_MAX, unwrap_io};
use crate::tree::{Inode, InodeId, Kind, NodeId, ROOT, Tree};

const BLOCK: usize = 512;

/// A file whose content is still to be copied, by its first name.
struct Content {
    path: Arc<[u8]>,
    inode: InodeId,
}

/// What goes where.
#[derive(Default)]
struct Plan {
    /// By layer: offset, stored bytes, file.
    contents: Vec<Vec<(u64, u64, Content)>>,
    /// Further name, inode.
    links: Vec<(Arc<[u8]>, InodeId)>,
}

/// Bytes of content that the tree's files have.
pub(crate) fn content_bytes(tree: &Tree) -> u64 {
    // Shared inodes count once; names are what keeps an inode alive.
    let mut seen = vec![false; tree.inode_count()];
    let mut stack = vec![ROOT];
    let mut total = 0;
    while let Some(node) = stack.pop() {
        let id = tree.inode_of(node);
        if let Kind::File { size, .. } = tree.inode(id).kind
            && !std::mem::replace(&mut seen[id as usize], true)
        {
            total += size;
        }
        stack.extend(tree.children(node).map(|(_, child)| child));
    }
    total
}

/// Writes the whole archive. `written` hears the bytes of content written so far.
pub(crate) fn write(
    programs: &Programs,
    tree: &Tree,
    layers: &[Blob],
    out: &mut dyn Write,
    cancel: &Cancel,
    mut written: impl FnMut(u64),
) -> Result<(), ImageError> {
    let mut first_names: Vec<Option<Arc<[u8]>>> = vec![None; tree.inode_count()];
    let mut plan = Plan { contents: layers.iter().map(|_| Vec::new()).collect(), links: Vec::new() };
    write_names(tree, out, cancel, &mut plan, &mut first_names)?;
    let mut done = 0;
    for (blob, mut wanted) in layers.iter().zip(plan.contents) {
        if wanted.is_empty() {
            continue;
        }
        wanted.sort_unstable_by_key(|(offset, ..)| *offset);
        copy_contents(programs, blob, &wanted, cancel, |content, reader| {
            let inode = tree.inode(content.inode);
            let Kind::File { size, ref sparse, .. } = inode.kind else { return Ok(()) };
            header(out, &content.path, inode, b"").map_err(sink_failed)?;
            match sparse {
                None => copy(reader, out)?,
                Some(sparse) => expand(sparse, size, reader, out, cancel)?,
            }
            pad(out, size).map_err(sink_failed)?;
            done += size;
            written(done);
            Ok(())
        })?;
    }
    for (path, inode) in plan.links {
        cancel.check()?;
        let target = first_names[inode as usize].clone().unwrap_or_default();
        link_header(out, &path, tree.inode(inode), &target).map_err(sink_failed)?;
    }
    out.write_all(&[0; 2 * BLOCK]).and_then(|()| out.flush()).map_err(sink_failed)
}

fn write_names(
    tree: &Tree,
    out: &mut dyn Write,
    cancel: &Cancel,
    plan: &mut Plan,
    first_names: &mut [Option<Arc<[u8]>>],
) -> Result<(), ImageError> {
    let mut stack: Vec<(NodeId, Arc<[u8]>)> = vec![(ROOT, Arc::from(&b"."[..]))];
    while let Some((node, path)) = stack.pop() {
        cancel.check()?;
        let id = tree.inode_of(node);
        let inode = tree.inode(id);
        if path.len() >= PATH_MAX {
            return Err(ImageError::malformed("a path is longer than 4096 bytes"));
        }
        if inode.kind != Kind::Directory {
            if first_names[id as usize].is_some() {
                plan.links.push((path, id));
                continue;
            }
            first_names[id as usize] = Some(path.clone());
        }
        match &inode.kind {
            Kind::File { layer, offset, size, sparse } if *size > 0 => {
                let stored = sparse.as_ref().map_or(*size, |sparse| sparse.stored);
                let content = Content { path: path.clone(), inode: id };
                let layer = plan.contents.get_mut(*layer as usize);
                let layer = layer.ok_or_else(|| ImageError::Internal("a file of no layer".into()))?;
                layer.push((*offset, stored, content));
            }
            Kind::Symlink(target) => header(out, &path, inode, target).map_err(sink_failed)?,
            _ => header(out, &path, inode, b"").map_err(sink_failed)?,
        }
        for (name, child) in tree.children(node).rev() {
            let mut child_path = if node == ROOT { Vec::new() } else { [&path[..], b"/"].concat() };
            child_path.extend_from_slice(name);
            tree.budget().path(child_path.len())?;
            stack.push((child, child_path.into()));
        }
    }
    Ok(())
}

/// Tells a failure of the archive's receiver from one of its sources; the receiver knows the reason.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn sink_failed(error: io::Error) -> ImageError {
    ImageError::Squashfs(format!("cannot write to tar2sqfs: {error}"))
}

fn copy(from: &mut dyn Read, to: &mut dyn Write) -> Result<(), ImageError> {
    let mut buffer = [0; 16 << 10];
    loop {
        match from.read(&mut buffer).map_err(|e| unwrap_io(e, "cannot read a layer"))? {
            0 => return Ok(()),
            n => to.write_all(&buffer[..n]).map_err(sink_failed)?,
        }
    }
}

/// Writes all of a sparse file; the packer finds the holes again.
fn expand(
    sparse: &Sparse,
    size: u64,
    from: &mut dyn Read,
    to: &mut dyn Write,
    cancel: &Cancel,
) -> Result<(), ImageError> {
    let mut done = 0;
    for piece in &sparse.pieces {
        zeros(piece.at - done, to, cancel)?;
        copy(&mut (&mut *from).take(piece.len), to)?;
        done = piece.at + piece.len;
    }
    zeros(size - done, to, cancel)
}

fn zeros(mut count: u64, to: &mut dyn Write, cancel: &Cancel) -> Result<(), ImageError> {
    const ZEROS: [u8; 16 << 10] = [0; 16 << 10];
    while count > 0 {
        cancel.check()?;
        let part = usize::try_from(count).unwrap_or(usize::MAX).min(ZEROS.len());
        to.write_all(&ZEROS[..part]).map_err(sink_failed)?;
        count -= part as u64;
    }
    Ok(())
}

fn pad(out: &mut dyn Write, size: u64) -> io::Result<()> {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    if over == 0 { Ok(()) } else { out.write_all(&[0; BLOCK][over..]) }
}

fn header(out: &mut dyn Write, path: &[u8], inode: &Inode, link: &[u8]) -> io::Result<()> {
    let (entry_type, size, device) = match &inode.kind {
        Kind::Directory => (EntryType::Directory, 0, None),
        Kind::File { size, .. } => (EntryType::Regular, *size, None),
        Kind::Symlink(_) => (EntryType::Symlink, 0, None),
        Kind::CharDevice { major, minor } => (EntryType::Char, 0, Some((*major, *minor))),
        Kind::BlockDevice { major, minor } => (EntryType::Block, 0, Some((*major, *minor))),
        Kind::Fifo => (EntryType::Fifo, 0, None),
    };
    let mut pax = Vec::new();
    for (name, value) in &inode.xattrs {
        pax_record(&mut pax, &[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    raw_header(out, pax, entry_type, path, link, inode, size, device)
}

fn link_header(out: &mut dyn Write, path: &[u8], inode: &Inode, target: &[u8]) -> io::Result<()> {
    raw_header(out, Vec::new(), EntryType::Link, path, target, inode, 0, None)
}

#[allow(clippy::too_many_arguments, reason = "the fields of one header")]
fn raw_header(
    out: &mut dyn Write,
    mut pax: Vec<u8>,
    entry_type: EntryType,
    path: &[u8],
    link: &[u8],
    inode: &Inode,
    size: u64,
    device: Option<(u32, u32)>,
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(entry_type);
    header.set_mode(inode.mode);
    header.set_uid(u64::from(inode.uid));
    header.set_gid(u64::from(inode.gid));
    header.set_mtime(u64::from(inode.mtime));
    header.set_size(size);
    if let Some((major, minor)) = device {
        header.set_device_major(major)?;
        header.set_device_minor(minor)?;
    }
    let fields = header.as_old_mut();
    if path.len() <= fields.name.len() {
        fields.name[..path.len()].copy_from_slice(path);
    } else {
        pax_record(&mut pax, b"path", path);
    }
    if link.len() <= fields.linkname.len() {
        fields.linkname[..link.len()].copy_from_slice(link);
    } else {
        pax_record(&mut pax, b"linkpath", link);
    }
    if !pax.is_empty() {
        let mut extension = Header::new_gnu();
        extension.set_entry_type(EntryType::XHeader);
        extension.set_mode(0o644);
        extension.set_size(pax.len() as u64);
        extension.set_cksum();
        out.write_all(extension.as_bytes())?;
        out.write_all(&pax)?;
        pad(out, pax.len() as u64)?;
    }
    header.set_cksum();
    out.write_all(header.as_bytes())
}

/// Appends `LENGTH KEY=VALUE\n`, where the length counts itself.
pub(crate) fn pax_record(into: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    into.extend_from_slice(length.to_string().as_bytes());
    into.push(b' ');
    into.extend_from_slice(key);
    into.push(b'=');
    into.extend_from_slice(value);
    into.push(b'\n');
}
