//! Lists that come in pages.
//!
//! A server gives fewer items on a page than it is asked for when it is set so (`MAX_RESPONSE_ITEMS`), and what is on which
//! page changes while it is read. So pages are counted by what the first one has, what is found is kept by its number, and
//! what may have slipped by is read again: where one item goes and another comes, the count tells nothing, so a list of
//! several pages is read until it has nothing new.

use std::collections::BTreeMap;
use std::future::Future;

/// What is asked for on a page: what the servers give at most unless they are set otherwise.
pub(crate) const LIMIT: usize = 50;
/// How often a list is read as a whole until it has as many items as the server says.
const PASSES: usize = 3;

/// A page.
pub(crate) struct Page<T> {
    /// Its items, each with its number.
    pub items: Vec<(u64, T)>,
    /// How many there are on all pages, where the server says so.
    pub total: Option<usize>,
}

/// Reads a list: `fetch` gets a page by its number, from 1. Gives at most `max` items, those with the lowest numbers; the
/// fetches are bounded as well.
pub(crate) async fn all<T, E, F>(max: usize, fetch: impl Fn(usize) -> F) -> Result<Vec<T>, E>
where
    F: Future<Output = Result<Page<T>, E>>,
{
    let mut found: BTreeMap<u64, T> = BTreeMap::new();
    // As many as it takes with pages of ten, twice.
    let mut budget = max.div_ceil(5).max(20);
    for _ in 0..PASSES {
        let known = found.len();
        let (mut number, mut size, mut before, mut total) = (1, 0, None, None);
        while budget > 0 {
            budget -= 1;
            let page = fetch(number).await?;
            total = page.total;
            let count = page.items.len();
            if number == 1 {
                size = count;
            }
            found.extend(page.items);
            let ended = count == 0 || number == 1 && total.is_some_and(|total| count >= total);
            // So many have gone from the pages that were read, and as many of the next have taken their places there.
            let slipped =
                before.zip(total).map_or(0, |(before, total): (usize, usize)| before.saturating_sub(total));
            before = total;
            if slipped > 0 && size > 0 && number > 1 {
                number = number.saturating_sub(slipped.div_ceil(size)).max(1);
                continue;
            }
            let last = total.is_some_and(|total| number * size >= total);
            if ended || last || found.len() >= max {
                break;
            }
            number += 1;
        }
        let is_all = total.is_none_or(|total| found.len() >= total.min(max));
        // Where items change places, some may have been on no page that was read.
        if is_all && (number == 1 || found.len() == known || found.len() >= max) {
            break;
        }
    }
    Ok(found.into_values().take(max).collect())
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::ready;

    use super::*;

    /// A list that a test changes; it gives `cap` items on a page.
    struct List {
        items: RefCell<Vec<u64>>,
        cap: usize,
        says_total: bool,
        fetches: Cell<usize>,
    }

    impl List {
        fn new(items: impl IntoIterator<Item = u64>, cap: usize) -> Self {
            let items = RefCell::new(items.into_iter().collect());
            Self { items, cap, says_total: true, fetches: Cell::new(0) }
        }

        fn page(&self, number: usize) -> Page<u64> {
            self.fetches.set(self.fetches.get() + 1);
            let items = self.items.borrow();
            let page = items.iter().skip((number - 1) * self.cap).take(self.cap);
            let total = self.says_total.then_some(items.len());
            Page { items: page.map(|item| (*item, *item)).collect(), total }
        }

        async fn read(&self, max: usize, before: impl Fn(usize)) -> Vec<u64> {
            let fetch = |number| {
                before(self.fetches.get());
                ready(Ok::<_, ()>(self.page(number)))
            };
            all(max, fetch).await.unwrap()
        }
    }

    #[tokio::test]
    async fn pages_of_any_size_with_and_without_a_count() {
        for (count, cap, fetches) in
            [(0, 50, 1), (1, 50, 1), (50, 50, 1), (51, 50, 4), (5_000, 50, 200), (7, 1, 14)]
        {
            let list = List::new(1..=count, cap);
            assert_eq!(list.read(10_000, |_| ()).await, (1..=count).collect::<Vec<_>>());
            assert_eq!(list.fetches.get(), fetches, "{count} by {cap}");
        }
        let mut silent = List::new(1..=120, 50);
        silent.says_total = false;
        assert_eq!(silent.read(10_000, |_| ()).await.len(), 120);
    }

    #[tokio::test]
    async fn there_is_an_end_to_every_list() {
        let list = List::new(1..=5_000, 50);
        assert_eq!(list.read(100, |_| ()).await, (1..=100).collect::<Vec<_>>());
        assert_eq!(list.fetches.get(), 2);
        // One that says that there is more than it ever gives.
        let fetches = Cell::new(0);
        let liar = |_| {
            fetches.set(fetches.get() + 1);
            ready(Ok::<_, ()>(Page { items: vec![(1, 1)], total: Some(1_000_000) }))
        };
        assert_eq!(all(1_000, liar).await, Ok(vec![1]));
        assert_eq!(fetches.get(), 200);
    }

    #[tokio::test]
    async fn what_slips_to_a_page_that_was_read_is_found() {
        let list = List::new(1..=200, 50);
        // Before the third page, seventy of the first have ended.
        let end = |fetch| {
            if fetch == 2 {
                list.items.borrow_mut().drain(..70);
            }
        };
        let found = list.read(10_000, end).await;
        assert!((71..=200).all(|item| found.contains(&item)), "{found:?}");
    }

    #[tokio::test]
    async fn what_changes_places_is_found() {
        // Sorted by who was there last: the last comes to the front, and the others move on.
        let list = List::new(1..=100, 50);
        let turn = |fetch| {
            if fetch == 1 {
                list.items.borrow_mut().rotate_right(1);
            }
        };
        assert_eq!(list.read(10_000, turn).await, (1..=100).collect::<Vec<_>>());
        assert_eq!(list.fetches.get(), 6, "read until nothing is new");
    }

    #[tokio::test]
    async fn what_slips_by_where_one_goes_and_another_comes_is_found() {
        let list = List::new(1..=100, 50);
        let change = |fetch| {
            if fetch == 1 {
                let mut items = list.items.borrow_mut();
                items.remove(0);
                items.push(101);
            }
        };
        let found = list.read(10_000, change).await;
        assert!((2..=101).all(|item| found.contains(&item)), "{found:?}");
    }

    #[tokio::test]
    async fn an_error_is_told() {
        let fetch = |number| {
            ready(if number == 1 { Ok(Page { items: vec![(1, 1)], total: Some(9) }) } else { Err("no") })
        };
        assert_eq!(all(10, fetch).await, Err("no"));
    }
}
