//! What all watches of a node share: one follower for each group, who is to be woken, and the time.
//!
//! ```text
//!   applied index, or a mirror ---> follow ---> Index ---> bells
//!   every second ---> Tick: the shared vector, encoded once for each namespace
//! ```
//!
//! Promises: when the position of a group is published, every watch that an entry up to there may
//! concern has been rung; no buffer but the mirrors, which are bounded; no work for a group that
//! nobody watches. Relies on the wing's histories for the changes themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::model::{GroupId, NamespaceId};
use crate::placement::Catalog;
use crate::runtime::limits::{WATCH_BOOKMARK_EVERY, WATCH_TICK_PHASES, WATCHES_MAX};
use crate::runtime::{Env, Moment};
use crate::service::cursor::Vector;
use crate::service::feed::place::Place;
use crate::service::feed::{ChangesAnswer, Reach};
use crate::service::wing::Wing;
use crate::storage::state::{Changes, Gone};

use super::follow::follow;
use super::index::Index;
use super::mirror::Mirror;
use super::position::Position;

/// The watches of a node.
#[derive(Debug)]
pub(in crate::service) struct Hub {
    pub(super) env: Env,
    pub(super) wing: Arc<dyn Wing>,
    pub(super) reach: Arc<dyn Reach>,
    pub(super) index: RwLock<Index>,
    feeds: Mutex<BTreeMap<GroupId, Arc<Feed>>>,
    /// Watches that there are.
    pub(super) count: AtomicUsize,
    next_id: AtomicU64,
    pub(super) closing: CancellationToken,
    ticks: Vec<watch::Sender<Option<Arc<Tick>>>>,
    ticking: AtomicBool,
}

/// One group, followed.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) group: GroupId,
    /// Watches have been rung for all entries up to here; `None` until that is known.
    pub(super) position: watch::Sender<Option<u64>>,
    pub(super) mirror: Mutex<Mirror>,
    /// Watches that need it.
    pub(super) users: AtomicUsize,
}

/// What idle watches are told together.
#[derive(Debug)]
pub(super) struct Tick {
    pub(super) vector: Arc<Vector>,
    pub(super) catalog: Option<Arc<Catalog>>,
    texts: Mutex<BTreeMap<NamespaceId, Arc<str>>>,
}

impl Tick {
    /// The cursor of an idle watch of this namespace.
    pub(super) fn text(&self, place: &Place) -> Arc<str> {
        let mut texts = self.texts.lock();
        let text = texts.entry(place.namespace).or_insert_with(|| {
            let position = Position::at((*self.vector).clone());
            position.cursor(place).encode().into()
        });
        Arc::clone(text)
    }
}

impl Feed {
    /// All entries up to here have been looked at.
    pub(super) fn publish(&self, index: u64) {
        self.position.send_if_modified(|position| {
            let further = position.is_none_or(|known| known < index);
            if further {
                *position = Some(index);
            }
            further
        });
    }

    /// Keeps what another node's replica has said.
    pub(super) fn take(&self, found: &ChangesAnswer, position: u64) {
        let mut mirror = self.mirror.lock();
        if mirror.is_behind(position) {
            // It was followed here until now.
            mirror.restart(position);
        }
        mirror.extend(found.changes.clone(), found.upto);
    }

    pub(super) fn reached(&self) -> Option<u64> {
        *self.position.borrow()
    }
}

impl Hub {
    /// Nothing runs before the first watch.
    pub(in crate::service) fn new(
        env: Env,
        wing: Arc<dyn Wing>,
        reach: Arc<dyn Reach>,
    ) -> Arc<Self> {
        Arc::new(Self {
            env,
            wing,
            reach,
            index: RwLock::default(),
            feeds: Mutex::default(),
            count: AtomicUsize::new(0),
            next_id: AtomicU64::new(0),
            closing: CancellationToken::new(),
            ticks: (0..WATCH_TICK_PHASES).map(|_| watch::channel(None).0).collect(),
            ticking: AtomicBool::new(false),
        })
    }

    /// Ends all watches, each with its cursor, and refuses new ones.
    pub(in crate::service) fn close(&self) {
        self.closing.cancel();
    }

    /// A place among the watches; `None` when there are too many.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Admitted> {
        let more = |count| (count < WATCHES_MAX).then_some(count + 1);
        self.count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        self.start_ticking();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Some(Admitted { hub: Arc::clone(self), id, feeds: Vec::new() })
    }

    /// The ticks of the part of the watches that this one belongs to.
    pub(super) fn ticks(&self, id: u64) -> watch::Receiver<Option<Arc<Tick>>> {
        let phase = usize::try_from(id % self.ticks.len() as u64).unwrap_or(0);
        let sender = self.ticks.get(phase).expect("a remainder is below the number of phases");
        sender.subscribe()
    }

    /// Reads what changed from what is here.
    pub(super) fn read(
        &self,
        group: GroupId,
        after: u64,
        (from, to): (&[u8], &[u8]),
        bytes_max: usize,
    ) -> Result<Changes, Gone> {
        if self.wing.hosts(group)
            && let Ok(found) = self.wing.changes(group, after, (from, Some(to)), bytes_max)
        {
            return found;
        }
        let feed = self.feeds.lock().get(&group).cloned();
        let unknown = Err(Gone { floor: u64::MAX });
        feed.map_or(unknown, |feed| feed.mirror.lock().read(after, (from, to), bytes_max))
    }

    fn start_ticking(self: &Arc<Self>) {
        if self.ticking.swap(true, Ordering::SeqCst) {
            return;
        }
        let hub = Arc::clone(self);
        self.env.tasks.spawn("watch ticks", async move {
            let phases = u32::try_from(hub.ticks.len()).unwrap_or(1);
            loop {
                for sender in &hub.ticks {
                    tokio::time::sleep(WATCH_BOOKMARK_EVERY / phases).await;
                    if sender.receiver_count() > 0 {
                        sender.send_replace(Some(hub.tick()));
                    }
                }
            }
        });
    }

    /// Where things stand. The positions are read first: whatever they cover has been rung for.
    pub(super) fn tick(&self) -> Arc<Tick> {
        let feeds = self.feeds.lock();
        let vector = feeds.iter().filter_map(|(group, feed)| Some((*group, feed.reached()?)));
        let vector = Arc::new(vector.collect());
        drop(feeds);
        let catalog = self.wing.catalog().borrow().clone();
        Arc::new(Tick { vector, catalog, texts: Mutex::default() })
    }

    /// Forgets a group that nobody watches any more; whether it did.
    pub(super) fn forget(&self, feed: &Arc<Feed>) -> bool {
        let mut feeds = self.feeds.lock();
        if feed.users.load(Ordering::SeqCst) > 0 {
            return false;
        }
        feeds.remove(&feed.group);
        true
    }
}

/// A watch among the others, until it is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) hub: Arc<Hub>,
    pub(super) id: u64,
    pub(super) feeds: Vec<Arc<Feed>>,
}

impl Admitted {
    /// Follows these groups. `Err` names one whose position was not found in time.
    pub(super) async fn follow(
        &mut self,
        groups: &[GroupId],
        deadline: Moment,
    ) -> Result<Vector, GroupId> {
        for group in groups {
            let feed = self.feed(*group);
            feed.users.fetch_add(1, Ordering::SeqCst);
            self.feeds.push(feed);
        }
        let mut vector = Vector::new();
        for feed in &self.feeds {
            let mut position = feed.position.subscribe();
            let left = deadline.since(self.hub.env.clock.now());
            let known = tokio::time::timeout(left, position.wait_for(Option::is_some)).await;
            let known = known.ok().and_then(|known| known.ok().and_then(|known| *known));
            vector.insert(feed.group, known.ok_or(feed.group)?);
        }
        Ok(vector)
    }

    fn feed(&self, group: GroupId) -> Arc<Feed> {
        let mut feeds = self.hub.feeds.lock();
        let feed = feeds.entry(group).or_insert_with(|| {
            let feed = Arc::new(Feed {
                group,
                position: watch::channel(None).0,
                mirror: Mutex::default(),
                users: AtomicUsize::new(0),
            });
            let following = follow(Arc::clone(&self.hub), Arc::clone(&feed));
            self.hub.env.tasks.spawn("watch feed", following);
            feed
        });
        Arc::clone(feed)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        for feed in &self.feeds {
            feed.users.fetch_sub(1, Ordering::SeqCst);
        }
        self.hub.count.fetch_sub(1, Ordering::SeqCst);
    }
}
