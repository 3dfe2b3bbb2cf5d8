//! How much each namespace holds in the whole cluster, as this node knows it.
//!
//! Why it exists: a quota is of the whole namespace, but its rows lie in many groups; who admits a
//! write must know the sum without asking anyone. Each replica's own figures are at hand for nothing,
//! so a node that hosts every group never asks. One that does not asks the others about once a
//! second, and only for the namespaces with a quota or that somebody looked at in the last minute.
//!
//! Promises: a sum is given only when every group was heard, so that a quota is never refused by
//! halves; it is about a second old. A namespace that grows faster than that can exceed its quota by
//! what arrives in a second. Whoever looks at a namespace that is not summed up yet can wait for its
//! first sum, which is then made at once. Relies on [`FigureSource`].

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::consensus::Groups;
use crate::consensus::tend::figures::{self, GroupFigures};
use crate::model::{GroupId, NamespaceId, NodeId};
use crate::placement::Catalog;
use crate::runtime::limits::{USAGE_ASKED_TICKS, USAGE_REST, USAGE_TICK};

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

/// How much the namespaces hold, as far as this node knows. Clones share.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    known: Arc<watch::Sender<BTreeMap<NamespaceId, Held>>>,
    /// Namespaces that somebody wanted to know of, and for how many ticks they are still looked at.
    asked: Arc<Mutex<BTreeMap<NamespaceId, u32>>>,
    /// Somebody waits for a first sum.
    wanting: Arc<Notify>,
}

impl Usage {
    /// Bytes and keys of a namespace, about a second old; `None` while not every group was heard. A
    /// namespace that nobody asked about for a while is known a second after it is asked for.
    pub fn of(&self, namespace: NamespaceId) -> Option<Held> {
        self.asked.lock().insert(namespace, USAGE_ASKED_TICKS);
        self.known.borrow().get(&namespace).copied()
    }

    /// Replaces what is known.
    pub fn set(&self, known: BTreeMap<NamespaceId, Held>) {
        self.known.send_replace(known);
    }

    /// Waits until these namespaces were summed up, at most for `patience`; then [`Self::of`] knows
    /// them, unless some group could not be heard. Cancel-safe.
    pub async fn known(&self, namespaces: &[NamespaceId], patience: Duration) {
        let mut sums = self.known.subscribe();
        self.asked.lock().extend(namespaces.iter().map(|id| (*id, USAGE_ASKED_TICKS)));
        let are_known = |sums: &BTreeMap<NamespaceId, Held>| {
            namespaces.iter().all(|namespace| sums.contains_key(namespace))
        };
        if are_known(&sums.borrow_and_update()) {
            return;
        }
        self.wanting.notify_one();
        // What is still unknown then is shown as unknown.
        drop(tokio::time::timeout(patience, sums.wait_for(are_known)).await);
    }

    /// A tick has passed: what nobody has asked for lately is forgotten.
    fn age(&self) {
        self.asked.lock().retain(|_, left| {
            *left = left.saturating_sub(1);
            *left > 0
        });
    }

    /// The namespaces to look at: those with a quota, and those that were asked for lately.
    fn wanted(&self, catalog: &Catalog) -> Vec<NamespaceId> {
        let asked = self.asked.lock();
        let entries = catalog.namespaces.values();
        let wanted = entries.filter(|entry| entry.quota.is_some() || asked.contains_key(&entry.id));
        wanted.map(|entry| entry.id).collect()
    }
}

/// Looks once at all that is wanted. Takes as long as the slowest node may.
async fn refresh(source: &dyn FigureSource, usage: &Usage) {
    let Some(catalog) = source.catalog().borrow().clone() else { return };
    let wanted = usage.wanted(&catalog);
    if wanted.is_empty() {
        usage.set(BTreeMap::new());
        return;
    }
    let mut heard = Heard::default();
    heard.take(source.here(&wanted));
    if heard.misses_any(&catalog) {
        let nodes = source.others();
        let asks = nodes.iter().map(|node| source.ask(*node, &wanted));
        for figures in join_all(asks).await.into_iter().flatten() {
            heard.take(figures);
        }
    }
    if heard.misses_any(&catalog) {
        // Half a sum would let too much in, and by an old one writes may be refused for ever.
        usage.set(BTreeMap::new());
        return;
    }
    let sums = heard.sums();
    let of = |id: NamespaceId| (id, sums.get(&id).copied().unwrap_or_default());
    usage.set(wanted.into_iter().map(of).collect());
}

/// Keeps the sums fresh, for ever.
pub async fn run(source: Arc<dyn FigureSource>, usage: Usage) {
    let mut tick = tokio::time::interval(USAGE_TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => usage.age(),
            () = usage.wanting.notified() => {}
        }
        refresh(&*source, &usage).await;
        tokio::time::sleep(USAGE_REST).await;
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

    fn misses_any(&self, catalog: &Catalog) -> bool {
        let mut data = catalog.groups.keys().filter(|group| **group != GroupId::SYSTEM);
        data.any(|group| !self.groups.contains_key(group))
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
        let usage = Usage::default();
        assert_eq!(usage.of(DEFAULT), None);
        refresh(&*source, &usage).await;
        assert_eq!(usage.of(DEFAULT), Some((110, 3)));
        assert!(source.asked.lock().is_empty());
    }

    #[tokio::test]
    async fn who_waits_for_a_first_sum_wakes_the_summing_and_gives_up_in_bounded_time() {
        let source = fake(vec![word(1, 9, 100, 2), word(2, 9, 10, 1)]);
        let usage = Usage::default();
        usage.known(&[DEFAULT], Duration::ZERO).await;
        assert_eq!(usage.of(DEFAULT), None, "nobody has summed up");
        let summing = async {
            usage.wanting.notified().await;
            refresh(&*source, &usage).await;
        };
        tokio::join!(summing, usage.known(&[DEFAULT], Duration::MAX));
        assert_eq!(usage.of(DEFAULT), Some((110, 3)));
        usage.known(&[DEFAULT], Duration::MAX).await;
    }

    #[tokio::test]
    async fn half_a_sum_is_none_and_the_newest_word_counts_once() {
        let source = fake(vec![word(1, 9, 100, 2)]);
        let usage = Usage::default();
        usage.of(DEFAULT);
        refresh(&*source, &usage).await;
        assert_eq!(usage.of(DEFAULT), None, "group 2 was not heard");
        *source.there.lock() = Some(vec![word(1, 8, 90, 1), word(2, 5, 1, 1)]);
        refresh(&*source, &usage).await;
        assert_eq!(usage.of(DEFAULT), Some((101, 3)));
        *source.there.lock() = None;
        refresh(&*source, &usage).await;
        assert_eq!(usage.of(DEFAULT), None, "an old sum is not kept for ever");
    }

    #[tokio::test]
    async fn only_what_has_a_quota_or_was_asked_for_lately_is_looked_at() {
        let source = fake(vec![word(1, 9, 100, 2)]);
        let usage = Usage::default();
        refresh(&*source, &usage).await;
        assert!(source.asked.lock().is_empty(), "nobody wants to know");
        usage.of(DEFAULT);
        for _ in 0..USAGE_ASKED_TICKS * 2 {
            usage.age();
            refresh(&*source, &usage).await;
        }
        let asked = u32::try_from(source.asked.lock().len()).unwrap();
        assert!((1..=USAGE_ASKED_TICKS).contains(&asked), "{asked} times, and then no more");
        source.asked.lock().clear();
        source.catalog.send_modify(|catalog| {
            let catalog = Arc::make_mut(catalog.as_mut().unwrap());
            catalog.namespaces.get_mut("default").unwrap().quota = Some(5);
        });
        refresh(&*source, &usage).await;
        assert_eq!(*source.asked.lock(), [NodeId(2)]);
    }
}
