//! The volumes in their directory: open, take, keep, remove.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fireactions_image::scratch;
use jiff::Timestamp;

use crate::card::{Card, FORMAT, Name, Writer};
use crate::index::{Entry, Index, Volume};
use crate::limits::CARD;
use crate::words::Words;
use crate::{Limits, VolumeError, age};

const CARD_FILE: &str = "volume.json";
/// What is being written has such a name.
const UNFINISHED: &str = ".new-";

/// The volumes of a host. Clones share them.
#[derive(Debug, Clone)]
pub struct Volumes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    limits: Limits,
    words: Words,
    index: Mutex<Index>,
}

/// What a machine was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The number of the content.
    content: String,
}

impl Volumes {
    /// Opens the volumes in `root`, a directory of their own, and removes what an earlier server left half-done. It blocks. One server
    /// at a time may have them.
    ///
    /// # Errors
    /// The directory cannot be made or read.
    pub fn open(root: &Path, limits: Limits) -> Result<Self, VolumeError> {
        let make = DirBuilder::new().recursive(true).mode(0o700).create(root);
        make.map_err(VolumeError::io("make the directory", root))?;
        let mut index = Index::default();
        for entry in std::fs::read_dir(root).map_err(VolumeError::io("read", root))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            let is_ours = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            match find(&path, &name) {
                Ok(found) => {
                    tidy(&path, &found.card);
                    index.0.insert(name, found);
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "what is no whole volume is removed");
                    if let Err(error) = std::fs::remove_dir_all(&path) {
                        tracing::warn!(path = %path.display(), %error, "what is no whole volume cannot be removed");
                    }
                }
            }
        }
        let index = Mutex::new(index);
        Ok(Self(Arc::new(Inner { root: root.to_owned(), limits, words: Words::default(), index })))
    }

    /// Which machines' jobs may write.
    pub fn words(&self) -> &Words {
        &self.0.words
    }

    /// All volumes, those used last first.
    pub fn list(&self) -> Vec<Volume> {
        self.index().list()
    }

    /// Makes `dest` a copy of the volume for the VMM process of `owner` (uid, gid), mode 0600. Nothing is made, and nothing given,
    /// where there is none of this size. It blocks, for no time where the file system shares blocks.
    ///
    /// # Errors
    /// A full disk.
    pub fn take(
        &self,
        name: &Name,
        mib: u32,
        dest: &Path,
        owner: (u32, u32),
    ) -> Result<Option<Taken>, VolumeError> {
        let directory = name.directory();
        let (file, content) = {
            let mut index = self.index();
            let Some(entry) = index.0.get_mut(&directory).filter(|entry| entry.card.mib == mib) else {
                return Ok(None);
            };
            let path = self.0.root.join(&directory).join(Card::file(&entry.card.content));
            let file = match File::open(&path) {
                // Somebody has tidied up by hand.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.remove(&mut index, &directory);
                    return Ok(None);
                }
                opened => opened.map_err(VolumeError::io("open", &path))?,
            };
            entry.used = age::now();
            (file, entry.card.content.clone())
        };
        age::touch(&file);
        // Whatever becomes of its name meanwhile: the file is open.
        scratch::clone_of(&file, dest, owner)?;
        Ok(Some(Taken { content }))
    }

    /// Makes the machine's disk `written` the volume. Its VMM must be dead. The disk is gone from `written`, whatever comes of it. It
    /// blocks, for as long as the disk takes to write back what is not on it yet.
    ///
    /// # Errors
    /// It is not a plain file of this size any more, the disk is full, or the limits leave no room. The volume is as it was.
    pub fn keep(&self, name: &Name, mib: u32, written: &Path, writer: Writer) -> Result<(), VolumeError> {
        let directory = name.directory();
        let path = self.0.root.join(&directory);
        let file = open_disk(written, mib)?;
        let bytes = file.metadata().map_err(VolumeError::io("read", written))?.blocks().saturating_mul(512);
        let content = format!("{:016x}", rand::random::<u64>());
        let at = path.join(Card::file(&content));
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        // Until the content is in its directory, nobody may take that for an empty one.
        let mut index = self.index();
        self.make_room(&mut index, &directory, bytes)?;
        let make = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        make.map_err(VolumeError::io("make the directory", &path))?;
        let file = match std::fs::rename(written, &at) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                scratch::clone_of(&file, &at, own)?;
                let _ = std::fs::remove_file(written);
                File::open(&at).map_err(VolumeError::io("open", &at))?
            }
            moved => moved.map(|()| file).map_err(VolumeError::io("move", written))?,
        };
        drop(index);
        fail::fail_point!("volumes::moved");
        let card =
            Card { format: FORMAT, name: name.clone(), content, mib, writer, kept_at: Timestamp::now() };
        let finished = seal(&file, own).map_err(VolumeError::io("finish", &at));
        // From here on the one who comes later is the later writer.
        let mut index = self.index();
        let named = finished.and_then(|()| write_card(&path, &card));
        if let Err(error) = named {
            let _ = std::fs::remove_file(&at);
            return Err(error);
        }
        fail::fail_point!("volumes::named");
        let used = age::now();
        if let Some(old) = index.0.insert(directory, Entry { card, bytes, used }) {
            remove_file(&path.join(Card::file(&old.card.content)));
        }
        Ok(())
    }

    /// Throws the volume away, if its content is still the one that was taken. It blocks.
    pub fn discard(&self, name: &Name, taken: &Taken) {
        let mut index = self.index();
        let directory = name.directory();
        if index.0.get(&directory).is_some_and(|entry| entry.card.content == taken.content) {
            self.remove(&mut index, &directory);
        }
    }

    /// Throws away what was written when the owner's name was another's: for an owner of the number `number`. Gives whether there was
    /// such a thing. It blocks.
    pub fn disown(&self, owner: &str, number: u64) -> bool {
        let mut index = self.index();
        let others = index
            .0
            .iter()
            .filter(|(_, entry)| entry.card.name.owner == owner && entry.card.writer.owner != number);
        let others: Vec<String> = others.map(|(directory, _)| directory.clone()).collect();
        for directory in &others {
            self.remove(&mut index, directory);
        }
        !others.is_empty()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0.root
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a volume; how many bytes it took.
    pub(crate) fn remove(&self, index: &mut Index, directory: &str) -> Option<u64> {
        let entry = index.0.remove(directory)?;
        let path = self.0.root.join(directory);
        // First what makes it a volume.
        remove_file(&path.join(CARD_FILE));
        remove_file(&path.join(Card::file(&entry.card.content)));
        // Another content may just be coming.
        let _ = std::fs::remove_dir(&path);
        Some(entry.bytes)
    }
}

/// The volume in a directory, if it is whole.
fn find(path: &Path, directory: &str) -> io::Result<Entry> {
    let mut text = Vec::new();
    File::open(path.join(CARD_FILE))?.take(CARD).read_to_end(&mut text)?;
    let card: Card = serde_json::from_slice(&text)?;
    if !card.fits(directory) {
        return Err(io::Error::other("it is of another version, or another volume's"));
    }
    let meta = std::fs::symlink_metadata(path.join(Card::file(&card.content)))?;
    if !meta.is_file() || meta.len() != u64::from(card.mib) << 20 {
        return Err(io::Error::other("its content is not of its size"));
    }
    let used = age::of(meta.modified()?);
    Ok(Entry { card, bytes: meta.blocks().saturating_mul(512), used })
}

/// Removes what is beside a volume.
fn tidy(path: &Path, card: &Card) {
    let own = Card::file(&card.content);
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name != CARD_FILE && name != own.as_str() {
            remove_file(&entry.path());
        }
    }
}

/// The disk of a machine, which whoever ran as its user may have replaced by something else.
fn open_disk(path: &Path, mib: u32) -> Result<File, VolumeError> {
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
    let opened = File::options().read(true).custom_flags(flags.cast_signed()).open(path);
    let file = opened.map_err(VolumeError::io("open", path))?;
    let meta = file.metadata().map_err(VolumeError::io("read", path))?;
    if !meta.is_file() || meta.len() != u64::from(mib) << 20 {
        return Err(VolumeError::NotADisk { path: path.to_owned(), mib });
    }
    Ok(file)
}

/// Nobody writes to it any more, and it is on the disk.
fn seal(file: &File, (uid, gid): (u32, u32)) -> io::Result<()> {
    fchown(file, Some(uid), Some(gid))?;
    file.set_permissions(Permissions::from_mode(0o400))?;
    age::touch(file);
    file.sync_all()?;
    fail::fail_point!("volumes::synced");
    Ok(())
}

/// Replaces the card, which is the moment at which the volume has its new content.
fn write_card(path: &Path, card: &Card) -> Result<(), VolumeError> {
    let write = || -> io::Result<()> {
        let mut temp = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(path)?;
        temp.write_all(&serde_json::to_vec(card)?)?;
        temp.as_file().sync_all()?;
        fail::fail_point!("volumes::written");
        temp.persist(path.join(CARD_FILE)).map_err(|error| error.error)?;
        fail::fail_point!("volumes::renamed");
        File::open(path)?.sync_all()?;
        // The directory itself may be new.
        path.parent().map_or(Ok(()), |root| File::open(root)?.sync_all())
    };
    write().map_err(VolumeError::io("write the description of", path))
}

fn remove_file(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "a file of a volume could not be removed; the next start tries again");
        }
        _ => {}
    }
}
