//! A page of one group's rows, with rows that share a beginning folded into one item.
//!
//! Why it exists: a folded prefix can hold millions of rows; shipping or even reading them all to
//! show one item would make listings useless. After a fold the reading goes on behind the prefix.
//! Promises: the items are those of folding all rows of the range one by one, and `next` leads to
//! what follows them. Everything in one answer is of one index. Relies on `read` for rows in order.

use bytes::Bytes;

use crate::consensus::ReadError;
use crate::storage::state::{Gone, Page, PageRows};

use super::ask::{Fold, PageAnswer, PageAsk, PageItem, Show};
use crate::service::scan::range::{after, end_of};

/// Rows read at a time right after a fold: most of them are thrown away if it is a large one.
const ROWS_AFTER_FOLD: usize = 16;

/// What a page costs beside the bytes of its rows.
const ITEM_OVERHEAD: usize = 32;

impl Fold {
    /// What the row key folds into, if it does.
    fn of(&self, key: &Bytes) -> Option<Bytes> {
        let looked_at = key.get(self.skip..)?;
        let at = looked_at.windows(self.delimiter.len()).position(|part| part == self.delimiter)?;
        Some(key.slice(..self.skip + at + self.delimiter.len()))
    }
}

/// Where reading goes on after an item; `None` at the end of all keys.
pub(in crate::service) fn edge_after(item: &PageItem, reverse: bool) -> Option<Bytes> {
    match (&item.row, reverse) {
        (_, true) => Some(item.key.clone()),
        (Some(_), false) => Some(after(&item.key)),
        (None, false) => end_of(&item.key),
    }
}

/// Answers a question for a page.
pub(super) fn page(
    ask: &PageAsk,
    mut read: impl FnMut(Page) -> Result<Result<PageRows, Gone>, ReadError>,
) -> Result<Result<PageAnswer, Gone>, ReadError> {
    let mut filling = Filling::of(ask);
    loop {
        let rows = match read(filling.page())? {
            Ok(rows) => rows,
            // Trimmed between two reads of a page of now: give out what there is, or start over.
            Err(_) if ask.at.is_none() && !filling.answer.items.is_empty() => {
                return Ok(Ok(filling.stopped()));
            }
            Err(_) if ask.at.is_none() && filling.at.is_some() => {
                filling = Filling::of(ask);
                continue;
            }
            Err(gone) => return Ok(Err(gone)),
        };
        filling.at = Some(rows.at);
        filling.answer.at = rows.at;
        let ended = !rows.more;
        if !filling.take(rows.rows) {
            return Ok(Ok(filling.stopped()));
        }
        if ended || filling.is_past_the_end() {
            return Ok(Ok(filling.answer));
        }
    }
}

struct Filling<'a> {
    ask: &'a PageAsk,
    answer: PageAnswer,
    at: Option<u64>,
    bytes: usize,
    /// Where the next read begins, or in reverse ends; `None` at the end of all keys.
    edge: Option<Bytes>,
    step: usize,
}

impl<'a> Filling<'a> {
    fn of(ask: &'a PageAsk) -> Self {
        let edge = if ask.reverse { &ask.to } else { &ask.from };
        Self {
            ask,
            answer: PageAnswer::default(),
            at: ask.at,
            bytes: 0,
            edge: Some(edge.clone()),
            step: ROWS_AFTER_FOLD,
        }
    }

    fn page(&self) -> Page {
        let edge = self.edge.clone().unwrap_or_default();
        let (from, to) = match self.ask.reverse {
            true => (self.ask.from.clone(), edge),
            false => (edge, self.ask.to.clone()),
        };
        // One more than fits says whether there is more.
        let left = self.ask.limit.saturating_sub(self.answer.items.len()).saturating_add(1);
        Page {
            from,
            to: Some(to),
            reverse: self.ask.reverse,
            at: self.at,
            limit: if self.ask.fold.is_some() { left.min(self.step) } else { left },
            bytes_max: self.ask.bytes_max.saturating_sub(self.bytes).max(1),
            keys_only: self.ask.show == Show::Keys,
        }
    }

    /// False once the page is full.
    fn take(&mut self, rows: Vec<(Bytes, Bytes)>) -> bool {
        let mut folded_any = false;
        for (key, row) in rows {
            let folded = self.ask.fold.as_ref().and_then(|fold| fold.of(&key));
            let item = match folded {
                Some(prefix) => {
                    folded_any = true;
                    if self.answer.items.last().is_some_and(|last| last.key == prefix) {
                        continue;
                    }
                    PageItem { key: prefix, row: None }
                }
                None => PageItem { key, row: Some(row) },
            };
            let full = self.answer.items.len() >= self.ask.limit
                || (self.bytes >= self.ask.bytes_max && !self.answer.items.is_empty());
            if full {
                return false;
            }
            self.bytes += item.key.len() + item.row.as_ref().map_or(0, Bytes::len) + ITEM_OVERHEAD;
            self.edge = edge_after(&item, self.ask.reverse);
            self.answer.items.push(item);
        }
        self.step = if folded_any { ROWS_AFTER_FOLD } else { self.step.saturating_mul(4) };
        true
    }

    fn is_past_the_end(&self) -> bool {
        match (&self.edge, self.ask.reverse) {
            (None, _) => true,
            (Some(edge), true) => *edge <= self.ask.from,
            (Some(edge), false) => *edge >= self.ask.to,
        }
    }

    fn stopped(mut self) -> PageAnswer {
        self.answer.next = if self.is_past_the_end() { None } else { self.edge.take() };
        self.answer
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

    /// Reads as a state does; `shy` says more often that there is more than there is.
    fn read(rows: &Rows, page: &Page, shy: bool) -> PageRows {
        let to = page.to.clone().unwrap();
        let range = rows.iter().filter(|(k, _)| k[..] >= page.from[..] && k[..] < to[..]);
        let mut all: Vec<_> = range.collect();
        if page.reverse {
            all.reverse();
        }
        let more = all.len() > page.limit || shy && all.len() == page.limit;
        let owned = |(k, v): (&Vec<u8>, &Vec<u8>)| (k.clone().into(), v.clone().into());
        let rows = all.into_iter().take(page.limit).map(owned).collect();
        PageRows { rows, at: page.at.unwrap_or(9), more }
    }

    /// The items of the whole range, one row after the other.
    fn naive(rows: &Rows, ask: &PageAsk) -> Vec<PageItem> {
        let mut items: Vec<PageItem> = Vec::new();
        let range: Vec<_> =
            rows.iter().filter(|(k, _)| k[..] >= ask.from[..] && k[..] < ask.to[..]).collect();
        for (key, value) in range {
            let key = Bytes::from(key.clone());
            let item = match ask.fold.as_ref().and_then(|fold| fold.of(&key)) {
                Some(prefix) => PageItem { key: prefix, row: None },
                None => PageItem { key, row: Some(value.clone().into()) },
            };
            if items.last() != Some(&item) {
                items.push(item);
            }
        }
        if ask.reverse {
            items.reverse();
        }
        items
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'/'), Just(255)], 1..6)
    }

    proptest! {
        #[test]
        fn pages_one_after_the_other_are_what_folding_row_by_row_gives(
            keys in proptest::collection::btree_set(key(), 0..60),
            delimiter in proptest::option::of(proptest::sample::select(vec![&b"/"[..], b"a/", b"\xff"])),
            skip in 0usize..3, reverse: bool, limit in 1usize..6, bytes_max in 1usize..300,
            shy: bool,
        ) {
            let rows: Rows = keys.into_iter().map(|k| (k, vec![1; 7])).collect();
            let fold = delimiter.map(|d| Fold { skip, delimiter: Bytes::from_static(d) });
            let mut ask = PageAsk {
                from: Bytes::from_static(b"/"), to: Bytes::from_static(b"\xff\xff"), reverse,
                at: None, at_least: 0, limit, bytes_max, show: Show::Rows, fold,
            };
            let wanted = naive(&rows, &ask);
            let mut found = Vec::new();
            loop {
                let answer = page(&ask, |page| Ok(Ok(read(&rows, &page, shy)))).unwrap().unwrap();
                prop_assert!(answer.items.len() <= limit);
                prop_assert!(!answer.items.is_empty() || answer.next.is_none());
                found.extend(answer.items);
                let Some(next) = answer.next else { break };
                if reverse { ask.to = next } else { ask.from = next }
            }
            // The keys of the range may be cut by it, so a prefix may stand for its part in it.
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn a_large_folded_prefix_is_passed_over_not_read() {
        let mut rows: Rows = (0..10_000u32).map(|n| (format!("a/{n}").into(), vec![])).collect();
        rows.insert(b"b".to_vec(), vec![]);
        let read_rows = Cell::new(0);
        let ask = PageAsk {
            from: Bytes::new(),
            to: Bytes::from_static(b"z"),
            reverse: false,
            at: None,
            at_least: 0,
            limit: 100,
            bytes_max: 1 << 20,
            show: Show::Keys,
            fold: Some(Fold { skip: 0, delimiter: Bytes::from_static(b"/") }),
        };
        let answer = page(&ask, |page| {
            let found = read(&rows, &page, false);
            read_rows.set(read_rows.get() + found.rows.len());
            Ok(Ok(found))
        });
        let items = answer.unwrap().unwrap().items;
        assert_eq!(items.iter().map(|item| &item.key[..]).collect::<Vec<_>>(), [&b"a/"[..], b"b"]);
        assert!(read_rows.get() <= 2 * ROWS_AFTER_FOLD, "{} rows were read", read_rows.get());
    }

    #[test]
    fn a_page_of_now_starts_over_when_the_history_is_trimmed_under_it() {
        let ask = PageAsk {
            from: Bytes::new(),
            to: Bytes::from_static(b"z"),
            reverse: false,
            at: None,
            at_least: 0,
            limit: 100,
            bytes_max: 1 << 20,
            show: Show::Keys,
            fold: None,
        };
        let gone = page(&PageAsk { at: Some(3), ..ask.clone() }, |_| Ok(Err(Gone { floor: 4 })));
        assert_eq!(gone.unwrap(), Err(Gone { floor: 4 }), "a view is not replaced by another");
        let mut reads = 0;
        let answer = page(&ask, |page| {
            reads += 1;
            Ok(match (reads, page.at) {
                (1, None) => Ok(PageRows { rows: vec![], at: 5, more: true }),
                (2, Some(5)) => Err(Gone { floor: 8 }),
                (_, None) => Ok(PageRows { rows: vec![], at: 9, more: false }),
                other => unreachable!("{other:?}"),
            })
        });
        assert_eq!(answer.unwrap().unwrap().at, 9);
    }
}
