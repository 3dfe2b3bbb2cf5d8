//! Bugs that are planted on purpose, for the harness to be tested against.
//!
//! Why it exists: a harness that has never found anything proves nothing. With the feature
//! `planted-bugs` each of these can be switched on by its name in `TETRARCH_PLANTED_BUG`; `tetrarch-jepsen
//! self-test` does so and must find every one. They stand where such a bug would stand, as one
//! condition each.
//!
//! Promises: without the feature nothing is ever active, nothing is read from the environment and no
//! name is in the binary; with it, the version and the first log line say so. Relies on: nothing.

/// The bugs that there are. `docs/testing.md` says what finds each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::missing_docs_in_private_items, reason = "the table of names says what each is")]
pub enum Bug {
    /// A node answers linearizable reads from its own copy.
    StaleRead,
    /// The leader says the read index without asking a quorum.
    ReadIndexWithoutQuorum,
    /// The leader says it for long after a quorum confirmed it, whatever happened since.
    LeaseReadUngated,
    /// A voter confirms any leader without a look at its own promise.
    ConfirmedUnlooked,
    /// A leader that no quorum answers goes on saying it.
    NoStepDown,
    /// A follower reads before it has applied the read index.
    FollowerReadUnapplied,
    /// The log says that a batch is durable without a sync.
    AckBeforeFlush,
    /// An entry counts as stored at a follower once it is sent.
    AckBeforeCommit,
    /// Votes are never written.
    SkipVoteFsync,
    /// The vote is not read at a start.
    ForgetVote,
    /// A start takes the last entries for a torn tail.
    TruncateCommitted,
    /// A checkpoint names an index whose entries are not all in it.
    SnapshotMissesLast,
    /// Entries are applied twice after a start.
    ApplyTwice,
    /// The last entries of a batch are told durable, and written with the next one.
    LoseLastOfGroupCommit,
    /// No group looks whether a request was routed by an old catalog.
    OldEpochRoute,
    /// A new leader knows nothing of the requests done before it.
    OnceLostOnFailover,
    /// Checkpoints leave out remembered results.
    OnceNotInSnapshots,
    /// A condition is compared with a value of just before, too.
    CasOldValue,
    /// Whoever follows a group passes over what changed around a change of its leader.
    WatchDropsAtFailover,
    /// A new leader gives leases no time.
    LeaseEarly,
    /// Fencing tokens count the places of the lock's line.
    FencingTokenReset,
    /// Pages of a scan after the first are as of now.
    ScanMixesViews,
    /// Two requests of a batch get each other's answer.
    SwappedAnswers,
    /// A repeated addition is done again.
    CounterDoubled,
    /// What the client has seen is not looked at.
    SessionIgnored,
    /// Local reads are said to be younger than they are.
    AgeUnderstated,
    /// A namespace that is made again has its old rows.
    DeletedNamespaceKept,
    /// Where a row was removed the checkpoint's is shown.
    RemovedRowReappears,
    /// A removal of an element takes insertions that it had not seen.
    EventualRemoveUnseen,
    /// An actor's running total begins anew with each addition.
    EventualTotalLost,
    /// Writes that nobody had seen are removed without a mark.
    EventualLossUnsaid,
    /// A loss is called final by what this node alone has heard (rule R6).
    EventualFinalEarly,
    /// A state sync brings back what was removed here.
    EventualSyncUnion,
    /// A state sync moves the vector before its rows have come (rule R1).
    EventualVectorEarly,
    /// A replica parks though it has not applied what its leader has.
    QuietLagging,
    /// A node that is lost wakes none of the replicas that are parked on its word.
    QuietForgotten,
}

#[cfg(not(feature = "planted-bugs"))]
mod switches {
    use super::Bug;

    /// Whether a bug is switched on: never.
    #[inline(always)]
    pub const fn active(_: Bug) -> bool {
        false
    }

    /// Whether a value differs from the one that was told before under this number: never.
    #[inline(always)]
    pub const fn changed(_: u64, _: u64) -> bool {
        false
    }

    /// Where a value that is told under this number became what it is: nowhere.
    #[inline(always)]
    pub const fn since(_: u64, _: u64, _: u64) -> u64 {
        0
    }

    /// Whether this is one of the first so many calls under this number: never.
    #[inline(always)]
    pub const fn few(_: u64, _: u64) -> bool {
        false
    }

    /// The release, for `--version`.
    pub const fn version() -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// What the log is to say at a start: nothing.
    ///
    /// # Errors
    ///
    /// Never.
    pub const fn warning() -> Result<Option<String>, String> {
        Ok(None)
    }
}

#[cfg(feature = "planted-bugs")]
mod switches {
    use std::collections::BTreeMap;
    use std::sync::OnceLock;

    use parking_lot::Mutex;

    use super::Bug;

    const SETTING: &str = "TETRARCH_PLANTED_BUG";

    const NAMES: [(&str, Bug); 36] = [
        ("stale-read", Bug::StaleRead),
        ("read-index-without-quorum", Bug::ReadIndexWithoutQuorum),
        ("lease-read-ungated", Bug::LeaseReadUngated),
        ("confirmed-unlooked", Bug::ConfirmedUnlooked),
        ("no-step-down", Bug::NoStepDown),
        ("follower-read-unapplied", Bug::FollowerReadUnapplied),
        ("ack-before-flush", Bug::AckBeforeFlush),
        ("ack-before-commit", Bug::AckBeforeCommit),
        ("skip-vote-fsync", Bug::SkipVoteFsync),
        ("forget-vote", Bug::ForgetVote),
        ("truncate-committed", Bug::TruncateCommitted),
        ("snapshot-misses-last", Bug::SnapshotMissesLast),
        ("apply-twice", Bug::ApplyTwice),
        ("lose-last-of-group-commit", Bug::LoseLastOfGroupCommit),
        ("old-epoch-route", Bug::OldEpochRoute),
        ("once-lost-on-failover", Bug::OnceLostOnFailover),
        ("once-not-in-snapshots", Bug::OnceNotInSnapshots),
        ("cas-old-value", Bug::CasOldValue),
        ("watch-drops-at-failover", Bug::WatchDropsAtFailover),
        ("lease-early", Bug::LeaseEarly),
        ("fencing-token-reset", Bug::FencingTokenReset),
        ("scan-mixes-views", Bug::ScanMixesViews),
        ("swapped-answers", Bug::SwappedAnswers),
        ("counter-doubled", Bug::CounterDoubled),
        ("session-ignored", Bug::SessionIgnored),
        ("age-understated", Bug::AgeUnderstated),
        ("deleted-namespace-kept", Bug::DeletedNamespaceKept),
        ("removed-row-reappears", Bug::RemovedRowReappears),
        ("eventual-remove-unseen", Bug::EventualRemoveUnseen),
        ("eventual-total-lost", Bug::EventualTotalLost),
        ("eventual-loss-unsaid", Bug::EventualLossUnsaid),
        ("eventual-final-early", Bug::EventualFinalEarly),
        ("eventual-sync-union", Bug::EventualSyncUnion),
        ("eventual-vector-early", Bug::EventualVectorEarly),
        ("quiet-lagging", Bug::QuietLagging),
        ("quiet-forgotten", Bug::QuietForgotten),
    ];

    type Chosen = Result<Vec<(&'static str, Bug)>, String>;

    fn chosen() -> &'static Chosen {
        static CHOSEN: OnceLock<Chosen> = OnceLock::new();
        CHOSEN.get_or_init(|| parse(&std::env::var(SETTING).unwrap_or_default()))
    }

    fn parse(text: &str) -> Chosen {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let find = |name: &str| {
            let found = NAMES.iter().find(|(known, _)| *known == name).copied();
            let known = NAMES.map(|(known, _)| known).join(", ");
            found.ok_or_else(|| format!("{SETTING}: there is no bug {name}; there are {known}"))
        };
        names.map(find).collect()
    }

    /// Whether a bug is switched on.
    pub fn active(bug: Bug) -> bool {
        chosen().as_ref().is_ok_and(|chosen| chosen.iter().any(|(_, on)| *on == bug))
    }

    /// Whether a value differs from the one that was told before under this number.
    pub fn changed(number: u64, value: u64) -> bool {
        static LAST: Mutex<BTreeMap<u64, u64>> = Mutex::new(BTreeMap::new());
        LAST.lock().insert(number, value).is_some_and(|last| last != value)
    }

    /// The place that was told when a value under this number became what it is.
    pub fn since(number: u64, value: u64, place: u64) -> u64 {
        static LAST: Mutex<BTreeMap<u64, (u64, u64)>> = Mutex::new(BTreeMap::new());
        let mut last = LAST.lock();
        let known = last.entry(number).or_insert((value, place));
        if known.0 != value {
            *known = (value, place);
        }
        known.1
    }

    /// Whether this is one of the first so many calls under this number.
    pub fn few(number: u64, most: u64) -> bool {
        static CALLS: Mutex<BTreeMap<u64, u64>> = Mutex::new(BTreeMap::new());
        let mut calls = CALLS.lock();
        let count = calls.entry(number).or_default();
        *count += 1;
        *count <= most
    }

    /// The release, for `--version`.
    pub const fn version() -> &'static str {
        concat!(
            env!("CARGO_PKG_VERSION"),
            " WITH PLANTED BUGS (feature planted-bugs): for the harness's self-test, never for data"
        )
    }

    /// What the log is to say at a start.
    ///
    /// # Errors
    ///
    /// When the setting names a bug that does not exist.
    pub fn warning() -> Result<Option<String>, String> {
        let names: Vec<&str> = chosen().clone()?.into_iter().map(|(name, _)| name).collect();
        let on = if names.is_empty() { "none is on".to_owned() } else { names.join(", ") };
        Ok(Some(format!("THIS BINARY HAS PLANTED BUGS and must not hold data; switched on: {on}")))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn names_are_read_and_an_unknown_one_is_refused_with_the_known_ones() {
            let two = parse("stale-read, lease-early").unwrap();
            assert_eq!(
                two.iter().map(|(_, bug)| *bug).collect::<Vec<_>>(),
                [Bug::StaleRead, Bug::LeaseEarly]
            );
            assert_eq!(parse("").unwrap(), []);
            assert!(parse("nonsense").unwrap_err().contains("swapped-answers"));
        }

        #[test]
        fn only_a_different_value_is_a_change() {
            let number = 777;
            assert!(!changed(number, 1));
            assert!(!changed(number, 1));
            assert!(changed(number, 2));
            assert_eq!(
                [since(number, 5, 10), since(number, 5, 11), since(number, 6, 12)],
                [10, 10, 12]
            );
            assert_eq!([few(number, 1), few(number, 1)], [true, false]);
        }
    }
}

pub use switches::{active, changed, few, since, version, warning};
