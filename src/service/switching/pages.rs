//! All keys of a namespace of either side, in order, a page at a time.
//!
//! Promises: of a namespace that nobody writes to every key, once. Where rows still change it shows at
//! least what stood all the time. Relies on the shard here, or on the groups wherever they are.

use bytes::{BufMut, Bytes, BytesMut};

use crate::convergence::{PageAsk, Shard};
use crate::model::Row;
use crate::model::eventual::Shown;
use crate::placement::{Catalog, Mode, NamespaceEntry};
use crate::runtime::limits::{SWITCH_PAGE_BYTES, SWITCH_PAGE_KEYS, SWITCH_STEP_MAX};
use crate::service::feed::Show;
use crate::service::feed::place::Place;
use crate::service::scan::merge::Merger;
use crate::service::scan::{Item, Scan, ScanRequest, item, scan_error};
use crate::service::{Context, ReadMode, Service};

use super::Trouble;

/// What stands at a key.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// Of an eventual namespace.
    Shown(Shown),
    /// Of a linearizable one.
    Row(Row),
}

/// The keys that are still to come.
pub(super) enum Pages {
    /// Of a shard, from this key on; nothing when there are none.
    Shard { shard: Shard, from: Option<Bytes> },
    /// Of the groups.
    Groups(Box<Merger>),
}

impl Pages {
    /// All keys of a namespace.
    pub(super) async fn of(
        service: &Service,
        catalog: &Catalog,
        (name, entry): (&str, &NamespaceEntry),
    ) -> Result<Self, Trouble> {
        let hall = &service.hall;
        if entry.mode == Mode::Eventual {
            let shard = hall.eventual.shard(entry.id);
            let shard = shard.ok_or_else(|| Trouble::wait("it is not open on this node yet"))?;
            return Ok(Self::Shard { shard, from: Some(Bytes::new()) });
        }
        // Each page as it is: nothing changes, and a view could be trimmed before its end.
        let place = Place { recorded: false, ..Place::of_entry(catalog, name, entry) };
        let request =
            ScanRequest { show: Show::Rows, read: ReadMode::Linearizable, ..Default::default() };
        let context = Context::new(hall.env.clock.now() + SWITCH_STEP_MAX, "switch");
        let scan = Scan { flow: &service.flow, place: &place, request: &request };
        Ok(Self::Groups(Box::new(scan.begun(SWITCH_PAGE_KEYS, &context).await?)))
    }

    /// The next keys; none at the end.
    pub(super) async fn next(&mut self, service: &Service) -> Result<Vec<(Bytes, Found)>, Trouble> {
        match self {
            Self::Shard { shard, from } => {
                // Pages of only deleted keys are passed over.
                while let Some(begin) = from.take() {
                    let ask = PageAsk {
                        from: begin,
                        to: None,
                        reverse: false,
                        limit: SWITCH_PAGE_KEYS,
                        bytes_max: SWITCH_PAGE_BYTES,
                    };
                    let page = shard.page(ask).await;
                    let page = page.map_err(|error| Trouble::Wait(error.to_string()))?;
                    *from = page.next.map(|last| after(&last));
                    if !page.keys.is_empty() {
                        let keys = page.keys.into_iter();
                        return Ok(keys.map(|(key, shown)| (key, Found::Shown(shown))).collect());
                    }
                }
                Ok(Vec::new())
            }
            Self::Groups(merger) => {
                let deadline = service.hall.env.clock.now() + SWITCH_STEP_MAX;
                let taken = merger.take(SWITCH_PAGE_KEYS, SWITCH_PAGE_BYTES, deadline).await;
                let mut found = Vec::new();
                for merged in taken.map_err(scan_error)? {
                    if let Item::Key { key, row: Some(row), .. } = item(merged)? {
                        found.push((key, Found::Row(row)));
                    }
                }
                Ok(found)
            }
        }
    }
}

/// The first key above this one.
fn after(key: &Bytes) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}
