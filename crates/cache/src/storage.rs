//! Where finished entries are: in files of this host, or in a bucket that several hosts share. The index knows what there
//! is, whatever it is in.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::entry_file::Label;
use crate::index::{Entry, EntryId};
use crate::{CacheError, Place};

/// Content as it is sent, in order.
pub(crate) type Pieces = BoxStream<'static, io::Result<Bytes>>;

/// An upload whose content is whole and in order, on its way to become an entry.
#[derive(Debug, Clone)]
pub(crate) struct Finished {
    pub(crate) id: EntryId,
    pub(crate) label: Label,
    /// The file, which begins with the content.
    pub(crate) file: Arc<File>,
    /// Its name.
    pub(crate) path: PathBuf,
}

#[async_trait]
pub(crate) trait Storage: fmt::Debug + Send + Sync {
    /// Makes the content outlive the host's power. It is no entry yet.
    async fn store(&self, finished: &Finished) -> Result<(), CacheError>;

    /// Makes an entry of what was stored: whole, or not at all, whatever happens meanwhile.
    async fn publish(&self, finished: &Finished) -> Result<(), CacheError>;

    /// Notes that an entry is used, at this time of day. False if it is there no more.
    async fn touch(&self, entry: &Entry, now: SystemTime) -> Result<bool, CacheError>;

    /// So many bytes of an entry's content, from the first number on; nothing if it is there no more.
    async fn read(&self, entry: &Entry, part: (u64, u64)) -> Result<Option<Pieces>, CacheError>;

    /// Removes an entry, or what was stored to become one: this one alone, not what else is at its place by now. It need not
    /// be gone when this returns, and is never found again.
    fn remove(&self, place: &Place, id: EntryId);
}
