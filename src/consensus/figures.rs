//! What the replicas here know of their groups' rows: leases, namespaces' figures, what is left of
//! what is to go.
//!
//! For the drivers beside a leader and for status. Promises: each answer is of one applied index;
//! none waits for other nodes. Relies on `model` for what rows mean.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use super::error::ReadError;
use super::groups::Groups;
use super::leases::LeaseTable;
use super::machine::StoredRows;
use crate::model::rows::{FIGURES, kind_rows, split_figures_key};
use crate::model::{Figures, GroupId, LeaseId, NamespaceId, namespace_has_rows, once};
use crate::runtime::limits::FIGURES_SHOWN_MAX;

impl Groups {
    /// The leases of a group with a replica here, as applied here.
    pub fn leases(&self, group: GroupId) -> Option<Arc<LeaseTable>> {
        self.lease_table(group)
    }

    /// About how long a lease still lives, if its home is a group that is led here.
    pub fn lease_remaining(&self, group: GroupId, lease: LeaseId) -> Option<Duration> {
        let lease = self.lease_table(group)?.get(lease).filter(|lease| !lease.borrowed)?;
        let group = self.group(group).filter(|group| group.is_leader())?;
        let remaining = group.deadlines().lock().remaining(&lease);
        Some(remaining)
    }

    /// How many results of requests that may be retried are remembered here, in all groups.
    pub fn once_records(&self) -> u64 {
        let of = |group: GroupId| once::records(&self.rows(group)).unwrap_or_default();
        self.all().iter().map(|group| of(group.id())).sum()
    }

    /// The figures of every namespace that has rows in a group.
    ///
    /// # Errors
    ///
    /// When there is no replica here or the rows cannot be read.
    pub fn figures(&self, group: GroupId) -> Result<BTreeMap<NamespaceId, Figures>, ReadError> {
        self.present(group)?;
        let (from, to) = kind_rows(FIGURES);
        let (from, to) = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
        let (rows, _) =
            self.state().scan(group.0, from, to, FIGURES_SHOWN_MAX).map_err(|e| stopped(&e))?;
        let mut figures = BTreeMap::new();
        for (key, row) in rows {
            if let Some(namespace) = split_figures_key(&key) {
                figures.insert(namespace, Figures::decode(&row).map_err(|e| stopped(&e))?);
            }
        }
        Ok(figures)
    }

    /// The log index of a group's oldest remembered result.
    ///
    /// # Errors
    ///
    /// When there is no replica here or the rows cannot be read.
    pub fn once_oldest(&self, group: GroupId) -> Result<Option<u64>, ReadError> {
        self.present(group)?;
        once::oldest(&self.rows(group)).map_err(|error| stopped(&error))
    }

    /// Whether a group has rows of a namespace.
    ///
    /// # Errors
    ///
    /// When there is no replica here or the rows cannot be read.
    pub fn has_rows(&self, group: GroupId, namespace: NamespaceId) -> Result<bool, ReadError> {
        self.present(group)?;
        namespace_has_rows(&self.rows(group), namespace).map_err(|error| stopped(&error))
    }

    fn present(&self, group: GroupId) -> Result<(), ReadError> {
        self.group(group).map(drop).ok_or(ReadError::NotHere)
    }

    fn rows(&self, group: GroupId) -> StoredRows<'_> {
        StoredRows { state: self.state(), group }
    }
}

fn stopped(error: &dyn std::error::Error) -> ReadError {
    ReadError::Stopped { reason: error.to_string() }
}
