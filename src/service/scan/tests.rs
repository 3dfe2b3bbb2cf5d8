//! Tests of scans: several groups merged, against one ordered map.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use proptest::prelude::*;

use super::range::{after, end_of};
use super::*;
use crate::model::NamespaceId;
use crate::service::feed::{Answer, PageAnswer, PageItem};

const SPACE: NamespaceId = NamespaceId(3);

/// Groups in memory that never change, and cut their pages where they like.
#[derive(Debug)]
struct Groups {
    rows: BTreeMap<GroupId, BTreeSet<Bytes>>,
    page_max: usize,
}

#[async_trait]
impl Reach for Groups {
    async fn ask(&self, group: GroupId, ask: Ask, _: Moment) -> Result<Answer, FeedError> {
        let Ask::Page(ask) = ask else { unreachable!("a merge asks for pages") };
        assert!(ask.at.is_none_or(|at| at == group.0 * 10), "the view is kept");
        let rows = self.rows[&group].iter().filter(|key| **key >= ask.from && **key < ask.to);
        let mut rows: Vec<Bytes> = rows.cloned().collect();
        if ask.reverse {
            rows.reverse();
        }
        let mut items: Vec<PageItem> = Vec::new();
        for key in rows {
            let folded = ask.fold.as_ref().and_then(|fold| {
                let at = key[fold.skip..].iter().position(|byte| *byte == fold.delimiter[0])?;
                Some(key.slice(..fold.skip + at + 1))
            });
            let item = match folded {
                Some(prefix) => PageItem { key: prefix, row: None },
                None => PageItem { key, row: Some(Bytes::new()) },
            };
            if items.last() != Some(&item) {
                items.push(item);
            }
        }
        let more = items.len() > ask.limit.min(self.page_max);
        items.truncate(ask.limit.min(self.page_max));
        let edge = |item: &PageItem| match (ask.reverse, &item.row) {
            (true, _) => item.key.clone(),
            (false, Some(_)) => after(&item.key),
            (false, None) => end_of(&item.key).unwrap(),
        };
        let next = items.last().filter(|_| more).map(edge);
        Ok(Answer::Page(PageAnswer { at: group.0 * 10, epoch: 1, items, count: 0, next }))
    }
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'/')], 1..6)
}

fn merger(groups: Groups, plan: Plan, view: bool) -> Merger {
    let at = |group: &GroupId| (*group, if view { group.0 * 10 } else { 1 });
    let vector: Vector = groups.rows.keys().map(at).collect();
    let start = if view { Start::View(vector) } else { Start::Now(vector) };
    Merger::new(Arc::new(groups), plan, start)
}

proptest! {
    #[test]
    fn groups_merged_in_any_portions_are_the_rows_of_one_ordered_map(
        keys in proptest::collection::btree_map(key(), 1u64..5, 0..60),
        reverse: bool, folds: bool, page_max in 1usize..5, limit in 1usize..7,
        hint in 0usize..40,
    ) {
        let mut rows: BTreeMap<GroupId, BTreeSet<Bytes>> =
            (1..5).map(|group| (GroupId(group), BTreeSet::new())).collect();
        for (key, group) in &keys {
            let row = crate::model::data_key(SPACE, key);
            rows.get_mut(&GroupId(*group)).unwrap().insert(row);
        }
        let (from, to) = KeyRange::default().row_bounds(SPACE);
        let skip = from.len();
        let fold = folds.then(|| Fold { skip, delimiter: Bytes::from_static(b"/") });
        let plan = Plan { from, to, reverse, show: Show::Keys, fold, views: true, hint };
        let mut wanted: Vec<Vec<u8>> = Vec::new();
        for key in keys.keys() {
            let at = key.iter().position(|byte| *byte == b'/').filter(|_| folds);
            let shown = at.map_or(key.clone(), |at| key[..=at].to_vec());
            if wanted.last() != Some(&shown) {
                wanted.push(shown);
            }
        }
        if reverse {
            wanted.reverse();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(async {
            let mut merger = merger(Groups { rows: rows.clone(), page_max }, plan.clone(), false);
            let (mut found, mut plan) = (Vec::new(), plan);
            loop {
                let taken = merger.take(limit, usize::MAX, Moment(0)).await.unwrap();
                let more = merger.has_more(Moment(0)).await.unwrap();
                assert!(taken.len() <= limit && (more || taken.len() <= limit));
                let edge = taken.last().and_then(|last| edge_of(last, reverse));
                found.extend(taken.iter().map(|m| m.item.key[skip..].to_vec()));
                if !more {
                    return found;
                }
                // Every page begins anew from the last one's edge, as a cursor does.
                let edge = edge.unwrap();
                if reverse { plan.to = edge } else { plan.from = edge }
                merger = self::merger(Groups { rows: rows.clone(), page_max }, plan.clone(), true);
            }
        });
        prop_assert_eq!(found, wanted);
    }
}
