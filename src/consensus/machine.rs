//! Committed entries become state: decode, apply (pure), store effects and place together.
//!
//! Promises: effects and the applied mark change in one step under the group's lock, so that a read
//! reflects exactly one index; a reply leaves only after its effects are visible, and an index is
//! applied only when the catalog as of then is published. Checkpoints are
//! the Raft snapshots; the newest durable one is always at hand.
//! Relies on: `model::apply` and `placement::Catalog` being deterministic; `storage::state`.

use std::io;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use tokio::sync::watch;

use super::codec::{self, AppliedMark};
use super::leases::LeaseTable;
use super::types::{
    Answer, Entry, EntryPayload, LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig,
};
use crate::model::{
    self, Action, Book, Command, GroupId, Once, Outcome, Reply, Request, View, ViewError,
};
use crate::placement::{Catalog, CatalogCommand};
use crate::runtime::Tasks;
use crate::runtime::limits::APPLY_BATCH_ENTRIES;
use crate::runtime::planted::{self, Bug};
use crate::storage::checkpoint::Checkpoint;
use crate::storage::state::{Applying, State};
use crate::storage::{Applied, Effect, StorageError};

/// Where a node keeps its copy of the catalog.
pub type CatalogSender = Arc<watch::Sender<Option<Arc<Catalog>>>>;

/// The state machine of one group.
#[derive(Debug)]
pub struct Machine {
    group: GroupId,
    state: State,
    tasks: Tasks,
    log_id: Option<LogId>,
    membership: StoredMembership,
    /// Only in the system group: the catalog as applied, and where it is published.
    catalog: Option<(CatalogSender, Option<Arc<Catalog>>)>,
    leases: Arc<LeaseTable>,
}

impl Machine {
    /// The machine of `group`, at the place its state was left. `catalog` is given for the system
    /// group alone; `leases` is kept as the rows say.
    ///
    /// # Errors
    ///
    /// When the stored mark or catalog cannot be read.
    pub fn open(
        group: GroupId,
        state: State,
        tasks: Tasks,
        catalog: Option<CatalogSender>,
        leases: Arc<LeaseTable>,
    ) -> Result<Self, io::Error> {
        let mut machine = Self {
            group,
            state,
            tasks,
            log_id: None,
            membership: StoredMembership::default(),
            catalog: catalog.map(|sender| (sender, None)),
            leases,
        };
        machine.load()?;
        Ok(machine)
    }

    fn load(&mut self) -> Result<(), io::Error> {
        let (log_id, membership) = match self.state.applied(self.group.0) {
            Some(applied) => {
                let mark = decode_mark(&applied.mark)?;
                (mark.log_id, mark.membership)
            }
            None => (None, StoredMembership::default()),
        };
        self.log_id = log_id;
        self.membership = membership;
        if let Some((sender, current)) = &mut self.catalog {
            let stored = self.state.get(self.group.0, model::CATALOG_KEY)?.value;
            let catalog = stored.map(|bytes| Catalog::decode(&bytes)).transpose();
            *current = catalog.map_err(invalid)?.map(Arc::new);
            if current.is_some() {
                sender.send_replace(current.clone());
            }
        }
        let rows = StoredRows { state: &self.state, group: self.group };
        self.leases.load(model::leases(&rows).map_err(invalid)?);
        Ok(())
    }

    fn apply_batch(&mut self, entries: &[Entry]) -> Result<Vec<Bytes>, io::Error> {
        let Some(last) = entries.last() else { return Ok(Vec::new()) };
        let (group, mut log_id, mut membership) =
            (self.group, self.log_id, self.membership.clone());
        let mut catalog = self.catalog.as_ref().and_then(|(_, current)| current.clone());
        let is_system = self.catalog.is_some();
        let (replies, leases) = self.state.apply(group.0, |applying| {
            let mut replies = Vec::with_capacity(entries.len());
            let mut book = Book::default();
            let mut leases = Vec::new();
            for entry in entries {
                // A gap would skip a command on this replica alone, and it would differ for ever.
                let expected = log_id.map_or(0, |id: LogId| id.index + 1);
                assert_eq!(
                    entry.log_id.index, expected,
                    "group {group}: applying out of order, the log has a gap or a repeat"
                );
                log_id = Some(entry.log_id);
                let reply = match &entry.payload {
                    EntryPayload::Blank => Reply::Nothing,
                    EntryPayload::Membership(new) => {
                        membership = StoredMembership::new(log_id, new.clone());
                        Reply::Nothing
                    }
                    EntryPayload::Normal(payload) => {
                        let system = is_system.then_some(&mut catalog);
                        let (index, term) = (entry.log_id.index, entry.log_id.leader_id.term);
                        let at = At { group, index, reign: planted::since(group.0, term, index) };
                        if planted::active(Bug::ApplyTwice)
                            && !is_system
                            && planted::few(group.0, 256)
                        {
                            leases.extend(at.run(&mut book, applying, &payload.0, None)?.leases);
                        }
                        let done = at.run(&mut book, applying, &payload.0, system)?;
                        leases.extend(done.leases);
                        done.reply
                    }
                };
                replies.push(reply.encode());
            }
            applying.put_effects(last.log_id.index, book.flush());
            let mark = AppliedMark { log_id, membership: membership.clone() };
            applying.set_applied(Applied { index: last.log_id.index, mark: codec::encode(&mark) });
            // Before the mark can be seen: whoever waits for an index then finds its catalog.
            if let Some((sender, current)) = &mut self.catalog {
                let epoch = |catalog: &Option<Arc<Catalog>>| catalog.as_ref().map(|c| c.epoch);
                let changed = epoch(&catalog) != epoch(current);
                current.clone_from(&catalog);
                if changed {
                    sender.send_replace(catalog);
                }
            }
            Ok((replies, leases))
        })?;
        self.leases.apply(&leases);
        self.log_id = log_id;
        self.membership = membership;
        Ok(replies)
    }
}

/// Where a command stands.
struct At {
    group: GroupId,
    index: u64,
    /// Where its leader's entries began, for a planted bug.
    reign: u64,
}

impl At {
    /// Applies a command and makes its changes.
    fn run(
        &self,
        book: &mut Book,
        applying: &mut Applying<'_>,
        bytes: &Bytes,
        system: Option<&mut Option<Arc<Catalog>>>,
    ) -> Result<Outcome, StorageError> {
        let mut command = Command::decode(bytes).map_err(|error| self.stop(&error))?;
        if planted::active(Bug::OnceLostOnFailover) {
            self.forget_once(&Rows(applying), &mut command);
        }
        let mut outcome = match (&command, system) {
            (Command::Catalog(bytes), Some(catalog)) => self.change(catalog, bytes)?,
            (
                Command::Request(Request { once, action: Action::Catalog(bytes), .. }),
                Some(catalog),
            ) => self.change_once(book, applying, (once.as_ref(), bytes), catalog)?,
            _ => model::apply(book, &Rows(applying), self.index, &command)
                .map_err(|error| self.stop(&error))?,
        };
        applying.put_effects(self.index, std::mem::take(&mut outcome.effects));
        Ok(outcome)
    }

    /// Changes the catalog, unless the request was done before.
    fn change_once(
        &self,
        book: &mut Book,
        applying: &Applying<'_>,
        (once, bytes): (Option<&Once>, &Bytes),
        catalog: &mut Option<Arc<Catalog>>,
    ) -> Result<Outcome, StorageError> {
        let Some(once) = once else { return self.change(catalog, bytes) };
        let rows = Rows(applying);
        if let Some(reply) = model::once::recall(&rows, once).map_err(|e| self.stop(&e))? {
            return Ok(Outcome { reply, effects: Vec::new(), leases: Vec::new() });
        }
        let Outcome { reply, effects, .. } = self.change(catalog, bytes)?;
        let mut outcome = model::once::remember(book, &rows, self.index, once, reply)
            .map_err(|error| self.stop(&error))?;
        outcome.effects.extend(effects);
        Ok(outcome)
    }

    fn change(
        &self,
        catalog: &mut Option<Arc<Catalog>>,
        bytes: &Bytes,
    ) -> Result<Outcome, StorageError> {
        let command = CatalogCommand::decode(bytes).map_err(|error| self.stop(&error))?;
        let mut next = catalog.as_deref().cloned().unwrap_or_default();
        let reply = Reply::Catalog(next.apply(&command).encode());
        let mut effects = Vec::new();
        if catalog.as_ref().map(|c| c.epoch) != Some(next.epoch) {
            let key = Bytes::from_static(model::CATALOG_KEY);
            effects.push(Effect::plain(key, Some(next.encode())));
            *catalog = Some(Arc::new(next));
        }
        Ok(Outcome { reply, effects, leases: Vec::new() })
    }

    /// Takes the once key of a request that was done under an earlier leader.
    fn forget_once(&self, rows: &Rows<'_, '_>, command: &mut Command) {
        let Command::Request(request) = command else { return };
        let known = request.once.as_ref().and_then(|once| model::once::recall(rows, once).ok());
        if let Some(Some(Reply::Replayed { index, .. })) = known
            && index < self.reign
        {
            request.once = None;
        }
    }

    /// A committed command that cannot be read, or state that cannot be decoded, is a broken
    /// promise: the group stops here rather than differ from its other replicas.
    fn stop(&self, error: &dyn std::error::Error) -> StorageError {
        let Self { group, index, .. } = self;
        StorageError::Index { reason: format!("group {group}, entry {index}: {error}") }
    }
}

/// What `model` may read while it applies.
struct Rows<'a, 'b>(&'a Applying<'b>);

impl View for Rows<'_, '_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        self.0.get(key).map_err(|error| ViewError(error.to_string()))
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
        self.0.scan(from, to, limit).map_err(|error| ViewError(error.to_string()))
    }
}

/// What anyone may read of a group's applied rows.
pub(super) struct StoredRows<'a> {
    pub(super) state: &'a State,
    pub(super) group: GroupId,
}

impl View for StoredRows<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        let read = self.state.get(self.group.0, key);
        read.map(|read| read.value).map_err(|error| ViewError(error.to_string()))
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
        let (from, to) = (Bound::Included(from), Bound::Excluded(to));
        let found = self.state.scan(self.group.0, from, to, limit);
        found.map(|(rows, _)| rows).map_err(|error| ViewError(error.to_string()))
    }
}

fn decode_mark(bytes: &[u8]) -> Result<AppliedMark, io::Error> {
    codec::decode("applied mark", bytes).map_err(invalid)
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// What openraft wants to know of a checkpoint.
///
/// # Errors
///
/// When its mark cannot be read.
pub fn snapshot_of(checkpoint: Checkpoint) -> Result<Snapshot, io::Error> {
    let mark = decode_mark(&checkpoint.applied().mark)?;
    let meta = SnapshotMeta { last_log_id: mark.log_id, last_membership: mark.membership };
    Ok(Snapshot { meta, snapshot: checkpoint })
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Checkpoint;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.log_id, self.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut portions = entries.ready_chunks(APPLY_BATCH_ENTRIES);
        while let Some(portion) = portions.next().await {
            let mut batch = Vec::with_capacity(portion.len());
            let mut responders = Vec::with_capacity(portion.len());
            for item in portion {
                let (entry, responder) = item?;
                batch.push(entry);
                responders.push(responder);
            }
            if self.state.is_overloaded() {
                // Applying would wait in place, and with it everything else on this thread.
                let state = self.state.clone();
                self.tasks.blocking(move || state.wait_for_room()).await?;
            }
            let replies = self.apply_batch(&batch)?;
            for (responder, reply) in responders.into_iter().zip(replies) {
                if let Some(responder) = responder {
                    responder.send(Answer(reply));
                }
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { group: self.group, state: self.state.clone(), tasks: self.tasks.clone() }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Checkpoint,
    ) -> Result<(), io::Error> {
        let (state, group) = (self.state.clone(), self.group);
        self.tasks.blocking(move || state.install(group.0, snapshot)).await?;
        self.load()?;
        assert_eq!(
            self.log_id, meta.last_log_id,
            "group {group}: the installed checkpoint is not the one that was announced"
        );
        tracing::info!(%group, index = self.log_id.map(|id| id.index), "snapshot installed");
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        self.state.current_checkpoint(self.group.0).map(snapshot_of).transpose()
    }
}

/// Writes a checkpoint beside the running group.
#[derive(Debug)]
pub struct Builder {
    group: GroupId,
    state: State,
    tasks: Tasks,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Checkpoint;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let (state, group) = (self.state.clone(), self.group);
        let checkpoint = self.tasks.blocking(move || state.checkpoint(group.0)).await?;
        snapshot_of(checkpoint)
    }
}
