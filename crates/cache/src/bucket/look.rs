//! Seeing what other hosts have saved and removed. Entries do not change: one that is known is not asked for again.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore as _, ObjectStoreExt as _};
use serde::{Deserialize, Serialize};

use super::Bucket;
use super::names::Kind;
use super::seen::{Known, Mark};
use crate::entry_file::Label;
use crate::index::EntryId;
use crate::{CacheError, Repository};

/// Until a listing is whole.
const LISTED: Duration = Duration::from_secs(60);
/// Longest card that is read, in bytes.
const LONGEST: u64 = 64 << 10;
/// Cards that are asked for at a time.
const AT_A_TIME: usize = 16;

/// What is at the name of an entry: what it is, and which content is its.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Card {
    pub(crate) id: EntryId,
    #[serde(flatten)]
    pub(crate) label: Label,
}

impl Card {
    /// From an object's content; nothing if it is no card.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

/// What is other than it was known to be.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) gone: Vec<EntryId>,
    pub(crate) new: Vec<Card>,
}

impl Bucket {
    /// Looks at the entries of a repository, or at all. Whoever asks while somebody looks already gets the next look, with all
    /// others who do. `apply` is over when this returns.
    pub(crate) async fn look(
        &self,
        repository: Option<&Repository>,
        apply: impl FnOnce(Changes),
    ) -> Result<(), CacheError> {
        let within = self.0.names.all(Kind::Entry, repository);
        let look = async {
            let before: Vec<_> = {
                let seen = self.seen();
                seen.below(&within).map(|(name, known)| (name.clone(), known.id)).collect()
            };
            let listed = self.list(&within).await?;
            let unknown: Vec<_> = {
                let seen = self.seen();
                let is_known =
                    |name, mark: &Mark| seen.at(name).is_some_and(|known| known.mark.etag == mark.etag);
                listed
                    .iter()
                    .filter(|(name, meta)| !is_known(name, &Mark::from(*meta)))
                    .map(|(_, meta)| meta.clone())
                    .collect()
            };
            let cards = futures_util::stream::iter(unknown).map(async |meta: ObjectMeta| {
                let card = match self.card(&meta).await {
                    Err(CacheError::NotFound(_)) => return Ok(None),
                    card => card?,
                };
                Ok::<_, CacheError>(Some((meta, card)))
            });
            let cards: Vec<_> = cards.buffer_unordered(AT_A_TIME).try_collect().await?;
            let mut changes = Changes::default();
            // From here on nothing is waited for: what is changed here is told, whoever goes away.
            for (name, id) in before.into_iter().filter(|(name, _)| !listed.contains_key(name)) {
                self.seen().forget(&name, id);
                changes.gone.extend(id);
            }
            for (meta, card) in cards.into_iter().flatten() {
                self.note(&meta, card, &mut changes);
            }
            apply(changes);
            Ok(())
        };
        self.0.once.look(within.to_string(), look).await
    }

    /// What a card says is known from now on.
    fn note(&self, meta: &ObjectMeta, card: Option<Card>, changes: &mut Changes) {
        let mut seen = self.seen();
        let id = card.as_ref().map(|card| card.id);
        if id.is_some_and(|id| seen.going.contains(&id)) {
            return;
        }
        let before = seen.at(&meta.location).and_then(|known| known.id);
        seen.put(meta.location.clone(), Known { id, mark: meta.into() });
        if before != id {
            if let Some(before) = before {
                seen.touched.remove(&before);
            }
            changes.gone.extend(before);
            changes.new.extend(card);
        }
    }

    /// All objects below a path.
    pub(super) async fn list(&self, within: &Path) -> Result<HashMap<Path, ObjectMeta>, CacheError> {
        let list = self.0.s3.list(Some(within)).map_ok(|meta| (meta.location.clone(), meta)).try_collect();
        self.ask("list what it has", LISTED, list).await
    }

    /// The card at a name, if it is one of the place that the name stands for.
    async fn card(&self, meta: &ObjectMeta) -> Result<Option<Card>, CacheError> {
        if meta.size > LONGEST {
            return Ok(None);
        }
        let card = self.card_at(&meta.location).await?;
        let card = card.filter(|card| {
            self.0.names.entry(&card.label.place) == meta.location && card.label.place.scope.owner().is_none()
        });
        if card.is_none() {
            tracing::warn!(object = %meta.location, "this object of the bucket is no entry of the cache, and is not used");
        }
        Ok(card)
    }

    pub(super) async fn card_at(&self, name: &Path) -> Result<Option<Card>, CacheError> {
        let read = async {
            let got = self.0.s3.get(name).await?;
            if got.meta.size > LONGEST { Ok(None) } else { got.bytes().await.map(Some) }
        };
        let text = self.quick("read an entry", read).await?;
        Ok(text.and_then(|text| Card::parse(&text)))
    }
}
