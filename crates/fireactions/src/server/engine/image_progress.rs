//! How far the images are that are being fetched, as last told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use fireactions_model::Event;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

/// More images than any host fetches at once; what comes beyond is not followed.
const MOST: usize = 256;

/// One image on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImageProgress {
    /// 0 to 100, where the size is known.
    pub(super) percent: Option<u8>,
    /// "pulling", "converting", …
    pub(super) status: String,
}

/// All images on their way, by name.
#[derive(Debug, Clone, Default)]
pub(in crate::server) struct Images {
    known: Arc<Mutex<BTreeMap<String, ImageProgress>>>,
}

impl Images {
    /// Listens until `stopping`.
    pub(in crate::server) async fn follow(
        self,
        mut events: broadcast::Receiver<Event>,
        stopping: CancellationToken,
    ) {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = stopping.cancelled() => return,
            };
            match event {
                Ok(Event::Image { image, done, total, status }) => self.hear(image, done, total, status),
                // What was missed is made good by the next step of the same image.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn hear(&self, image: String, done: u64, total: Option<u64>, status: String) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if status == "ready" {
            known.remove(&image);
        } else if known.len() < MOST || known.contains_key(&image) {
            let percent = total.filter(|total| *total > 0).map(|total| {
                let share = u128::from(done.min(total)) * 100 / u128::from(total);
                u8::try_from(share).unwrap_or(100)
            });
            known.insert(image, ImageProgress { percent, status });
        }
    }

    /// How far an image is, if it is on its way.
    pub(super) fn of(&self, image: &str) -> Option<ImageProgress> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(image).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts_and_what_is_ready_is_forgotten() {
        let images = Images::default();
        let percent = |done, total| {
            images.hear("a".to_owned(), done, total, "pulling".to_owned());
            images.of("a").unwrap().percent
        };
        assert_eq!(percent(1, None), None);
        assert_eq!(percent(0, Some(0)), None);
        assert_eq!(percent(1, Some(3)), Some(33));
        assert_eq!(percent(u64::MAX, Some(u64::MAX - 1)), Some(100));
        images.hear("a".to_owned(), 0, None, "ready".to_owned());
        assert_eq!(images.of("a"), None);
        for n in 0..2 * MOST {
            images.hear(format!("i{n}"), 0, None, "resolving".to_owned());
        }
        assert_eq!(images.known.lock().unwrap().len(), MOST);
    }
}
