//! How much each namespace holds in the whole cluster, as this node knows it.
//!
//! Why it exists: a quota is of the whole namespace, but its rows lie in many groups; who admits a
//! write must know the sum without asking anyone. Each replica's own figures are at hand for nothing,
//! so a node that hosts every group never asks. One that does not asks the others about once a
//! second, and only for the namespaces with a quota; for others when somebody wants to see them.
//!
//! Promises: a sum is given only when every group was heard, so that a quota is never refused by
//! halves; it is about a second old. A namespace that grows faster than that can exceed its quota by
//! what arrives in a second. Relies on [`FigureSource`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::consensus::Groups;
use crate::consensus::tend::figures::{self, GroupFigures};
use crate::model::{GroupId, NamespaceId, NodeId};
use crate::placement::Catalog;
use crate::runtime::limits::USAGE_TICK;

/// Where the figures come from.
#[async_trait]
pub trait FigureSource: Send + Sync + Debug + 'static {
    /// Of the replicas here; of all namespaces when none is named.
    fn here(&self, wanted: &[NamespaceId]) -> Vec<GroupFigures>;
    /// Of the groups that a node leads.
    async fn ask(&self, node: NodeId, wanted: &[NamespaceId]) -> Option<Vec<GroupFigures>>;
    /// Whom to ask.
    fn others(&self) -> Vec<NodeId>;
    /// The catalog as this node knows it.
    fn catalog(&self) -> watch::Receiver<Option<Arc<Catalog>>>;
}

#[async_trait]
impl FigureSource for Groups {
    fn here(&self, wanted: &[NamespaceId]) -> Vec<GroupFigures> {
        figures::here(self, wanted)
    }

    async fn ask(&self, node: NodeId, wanted: &[NamespaceId]) -> Option<Vec<GroupFigures>> {
        figures::ask(self, node, wanted).await
    }

    fn others(&self) -> Vec<NodeId> {
        self.door().others()
    }

    fn catalog(&self) -> watch::Receiver<Option<Arc<Catalog>>> {
        Self::catalog(self)
    }
}

/// What a namespace holds: bytes, keys.
pub type Held = (u64, u64);

/// The usage of all namespaces. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Usage {
    source: Arc<dyn FigureSource>,
    sums: Arc<RwLock<BTreeMap<NamespaceId, Held>>>,
}

impl Usage {
    /// Nothing is known yet.
    pub fn new(source: Arc<dyn FigureSource>) -> Self {
        Self { source, sums: Arc::default() }
    }

    /// Bytes and keys of a namespace, about a second old; `None` while not every group was heard,
    /// or when nobody has asked for this one.
    pub fn of(&self, namespace: NamespaceId) -> Option<Held> {
        self.sums.read().get(&namespace).copied()
    }

    /// Looks now, for somebody who wants to see it. Takes as long as the slowest node may.
    pub async fn refresh(&self, wanted: &[NamespaceId]) {
        let Some(catalog) = self.source.catalog().borrow().clone() else { return };
        let mut heard = Heard::default();
        heard.take(self.source.here(wanted));
        if !heard.misses(&catalog).is_empty() {
            let nodes = self.source.others();
            let asks = nodes.iter().map(|node| self.source.ask(*node, wanted));
            for figures in join_all(asks).await.into_iter().flatten() {
                heard.take(figures);
            }
        }
        let is_complete = heard.misses(&catalog).is_empty();
        let sums = heard.sums();
        let mut known = self.sums.write();
        let live: BTreeSet<NamespaceId> =
            catalog.namespaces.values().map(|entry| entry.id).collect();
        known.retain(|namespace, _| live.contains(namespace));
        for namespace in live {
            if wanted.is_empty() || wanted.contains(&namespace) {
                if is_complete {
                    known.insert(namespace, sums.get(&namespace).copied().unwrap_or_default());
                } else {
                    // Half a sum would let too much in, and an old one may be refused by for ever.
                    known.remove(&namespace);
                }
            }
        }
    }

    /// Keeps the sums fresh that quotas are judged by, for ever.
    pub async fn run(self) {
        let mut tick = tokio::time::interval(USAGE_TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let bounded = self.bounded();
            if !bounded.is_empty() {
                self.refresh(&bounded).await;
            }
        }
    }

    /// The namespaces with a quota.
    fn bounded(&self) -> Vec<NamespaceId> {
        let catalog = self.source.catalog().borrow().clone();
        let entries = catalog.iter().flat_map(|catalog| catalog.namespaces.values());
        entries.filter(|entry| entry.quota.is_some()).map(|entry| entry.id).collect()
    }
}

/// The newest word about each group.
#[derive(Debug, Default)]
struct Heard {
    groups: BTreeMap<GroupId, GroupFigures>,
}

impl Heard {
    fn take(&mut self, figures: Vec<GroupFigures>) {
        for word in figures {
            let known = self.groups.get(&word.group);
            if known.is_none_or(|known| known.applied < word.applied) {
                self.groups.insert(word.group, word);
            }
        }
    }

    fn misses(&self, catalog: &Catalog) -> Vec<GroupId> {
        let data = catalog.groups.keys().filter(|group| **group != GroupId::SYSTEM);
        data.filter(|group| !self.groups.contains_key(group)).copied().collect()
    }

    fn sums(&self) -> BTreeMap<NamespaceId, Held> {
        let mut sums: BTreeMap<NamespaceId, Held> = BTreeMap::new();
        for (namespace, bytes, keys) in self.groups.values().flat_map(|word| &word.namespaces) {
            let sum = sums.entry(*namespace).or_default();
            *sum = (sum.0.saturating_add(*bytes), sum.1.saturating_add(*keys));
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::model::{ClusterId, Incarnation};
    use crate::placement::CatalogCommand;

    #[derive(Debug)]
    struct Fake {
        catalog: watch::Sender<Option<Arc<Catalog>>>,
        here: Vec<GroupFigures>,
        there: Mutex<Option<Vec<GroupFigures>>>,
        asked: Mutex<Vec<NodeId>>,
    }

    #[async_trait]
    impl FigureSource for Fake {
        fn here(&self, _: &[NamespaceId]) -> Vec<GroupFigures> {
            self.here.clone()
        }

        async fn ask(&self, node: NodeId, _: &[NamespaceId]) -> Option<Vec<GroupFigures>> {
            self.asked.lock().push(node);
            self.there.lock().clone()
        }

        fn others(&self) -> Vec<NodeId> {
            vec![NodeId(2)]
        }

        fn catalog(&self) -> watch::Receiver<Option<Arc<Catalog>>> {
            self.catalog.subscribe()
        }
    }

    const DEFAULT: NamespaceId = NamespaceId(1);

    fn word(group: u64, applied: u64, bytes: u64, keys: u64) -> GroupFigures {
        let namespaces = vec![(DEFAULT, bytes, keys)];
        GroupFigures { group: GroupId(group), applied, namespaces }
    }

    fn fake(here: Vec<GroupFigures>) -> Arc<Fake> {
        let mut catalog = Catalog::unfounded();
        catalog.apply(&CatalogCommand::Found {
            cluster: ClusterId(1),
            nodes: vec![(NodeId(1), "h:1".to_owned(), Incarnation(1))],
            groups: 2,
            replicas: 1,
        });
        let catalog = watch::Sender::new(Some(Arc::new(catalog)));
        Arc::new(Fake { catalog, here, there: Mutex::default(), asked: Mutex::default() })
    }

    #[tokio::test]
    async fn a_node_that_hosts_every_group_asks_nobody() {
        let source = fake(vec![word(1, 9, 100, 2), word(2, 9, 10, 1)]);
        let usage = Usage::new(Arc::clone(&source) as Arc<_>);
        assert_eq!(usage.of(DEFAULT), None);
        usage.refresh(&[DEFAULT]).await;
        assert_eq!(usage.of(DEFAULT), Some((110, 3)));
        assert!(source.asked.lock().is_empty());
    }

    #[tokio::test]
    async fn half_a_sum_is_none_and_the_newest_word_counts_once() {
        let source = fake(vec![word(1, 9, 100, 2)]);
        let usage = Usage::new(Arc::clone(&source) as Arc<_>);
        usage.refresh(&[]).await;
        assert_eq!(usage.of(DEFAULT), None, "group 2 was not heard");
        *source.there.lock() = Some(vec![word(1, 8, 90, 1), word(2, 5, 1, 1)]);
        usage.refresh(&[]).await;
        assert_eq!(usage.of(DEFAULT), Some((101, 3)));
        *source.there.lock() = None;
        usage.refresh(&[]).await;
        assert_eq!(usage.of(DEFAULT), None, "an old sum is not kept for ever");
    }

    #[tokio::test]
    async fn only_namespaces_with_a_quota_are_kept_fresh() {
        let source = fake(vec![]);
        let usage = Usage::new(Arc::clone(&source) as Arc<_>);
        assert_eq!(usage.bounded(), []);
        source.catalog.send_modify(|catalog| {
            let catalog = Arc::make_mut(catalog.as_mut().unwrap());
            catalog.namespaces.get_mut("default").unwrap().quota = Some(5);
        });
        assert_eq!(usage.bounded(), [DEFAULT]);
    }
}
