//! Which bug must be found by what.
//!
//! Why it exists: a bug that only shows where a follower lags, or only where the power goes, needs a test
//! that makes followers lag and takes the power. The table says which, and its Markdown form in
//! `docs/testing.md` says how long it took.
//!
//! Promises: every bug that the server can be built with stands here, but for the two of quiet groups
//! (`quiet-…`), which break no promise to a client and which the server's own tests find. Names of bugs
//! are the server's, names of workloads and faults are this crate's.

/// A trial: one test that must find something, or must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The bug, by the server's name for it; empty for none.
    pub bug: &'static str,
    /// What it does wrong, for people.
    pub what: &'static str,
    /// What the clients do.
    pub workload: &'static str,
    /// What is broken meanwhile.
    pub nemesis: &'static str,
    /// More flags of `serve`.
    pub flags: &'static [&'static str],
    /// Operations per second.
    pub rate: u32,
    /// Seconds of one try.
    pub seconds: u64,
    /// Seconds of a period of the nemesis.
    pub interval: u64,
}

impl Row {
    const fn new(bug: &'static str, what: &'static str) -> Self {
        Self {
            bug,
            what,
            workload: "register",
            nemesis: "none",
            flags: FEW_GROUPS,
            rate: 300,
            seconds: 12,
            interval: 4,
        }
    }

    const fn by(self, workload: &'static str, nemesis: &'static str) -> Self {
        Self { workload, nemesis, ..self }
    }

    const fn rate(self, rate: u32) -> Self {
        Self { rate, ..self }
    }

    const fn flags(self, flags: &'static [&'static str]) -> Self {
        Self { flags, ..self }
    }

    const fn seconds(self, seconds: u64) -> Self {
        Self { seconds, ..self }
    }

    const fn interval(self, interval: u64) -> Self {
        Self { interval, ..self }
    }

    /// With periods that are longer than an election takes.
    const fn slowly(self) -> Self {
        Self { seconds: 30, interval: 10, ..self }
    }

    /// The same without its bug.
    pub const fn control(self) -> Self {
        Self { bug: "", what: "no bug", ..self }
    }
}

/// Few groups, so that each has much to do.
const FEW_GROUPS: &[&str] = &["--groups", "4"];

/// One group, so that requests meet in batches.
const ONE_GROUP: &[&str] = &["--groups", "1"];

/// Every bug, with the test that must find it.
pub const ROWS: &[Row] = &[
    Row::new("stale-read", "linearizable reads are answered from the node's own copy"),
    Row::new("follower-read-unapplied", "a follower reads before it has applied the read index")
        .by("register", "pause:one")
        .seconds(20),
    Row::new("cas-old-value", "a condition is compared with a value of just before, too"),
    Row::new("swapped-answers", "requests of a batch get each other's answers")
        .rate(3000)
        .flags(ONE_GROUP),
    Row::new("removed-row-reappears", "where a row was removed the checkpoint's is shown"),
    // A leader that is cut off steps down before the others have a new one, which hides this bug; one
    // that was stopped answers what has waited at the moment that it goes on.
    Row::new("read-index-without-quorum", "the leader says the read index without a quorum")
        .by("register", "pause:leaders")
        .slowly(),
    Row::new("lease-read-ungated", "the leader trusts a confirmation of seconds ago")
        .by("register", "partition:leaders")
        .slowly(),
    // Periods longer than an election, and about as long as a connection that stalls is kept: what a
    // leader that was cut off has asked meanwhile is then answered before it hears of the new one.
    // Nothing was found by pauses: the new leader's word is there already when the process goes on.
    Row::new("confirmed-unlooked", "a voter confirms any leader without a look at its own promise")
        .by("register", "partition:leaders")
        .rate(600)
        .seconds(30)
        .interval(3),
    Row::new("no-step-down", "a leader that cannot hear a quorum goes on serving reads")
        .by("register", "partition:leaders,partition:one-way")
        .slowly(),
    Row::new("ack-before-commit", "an entry counts as stored at a follower once it is sent")
        .by("register", "partition:leaders")
        .slowly(),
    Row::new("ack-before-flush", "the log says that a batch is durable without a sync")
        .by("register", "power:all,kill:one")
        .seconds(25),
    Row::new("lose-last-of-group-commit", "the last entries of a batch wait for the next batch")
        .by("register", "kill:all,kill:one")
        .flags(ONE_GROUP)
        .rate(40)
        .seconds(40),
    Row::new("truncate-committed", "a start takes the last entries for a torn tail")
        .by("register", "kill:all,kill:one")
        .seconds(20),
    Row::new("skip-vote-fsync", "votes never reach the disk")
        .by("terms", "kill:all,kill:one")
        .seconds(20),
    Row::new("forget-vote", "the vote is not read at a start")
        .by("terms", "kill:all,kill:one")
        .seconds(20),
    Row::new("snapshot-misses-last", "a checkpoint names entries that are not in it")
        .by("register", "kill:all,kill:one")
        .seconds(25),
    Row::new("apply-twice", "entries are applied twice after a start")
        .by("append", "kill:one")
        .seconds(15),
    Row::new("once-lost-on-failover", "a new leader knows no earlier idempotency keys")
        .by("idempotency", "kill:leaders")
        .seconds(20),
    Row::new("once-not-in-snapshots", "checkpoints leave out remembered results")
        .by("idempotency", "none"),
    Row::new("counter-doubled", "a repeated addition is done again")
        .by("counter", "kill:leaders")
        .seconds(20),
    Row::new("watch-drops-at-failover", "watches pass over changes around a change of the leader")
        .by("watch", "kill:leaders")
        .seconds(20),
    Row::new("lease-early", "a new leader gives leases no time")
        .by("lease", "kill:leaders")
        .seconds(25),
    Row::new("fencing-token-reset", "fencing tokens count the places of the line")
        .by("lock", "none"),
    Row::new("scan-mixes-views", "pages of a scan after the first are as of now")
        .by("scan", "none"),
    Row::new("session-ignored", "what the client has seen is not looked at")
        .by("sessions", "packet:delay")
        .seconds(20),
    Row::new("age-understated", "local reads are said to be younger than they are")
        .by("stale", "partition:one")
        .seconds(20),
    Row::new("old-epoch-route", "no group looks whether a request was routed by an old catalog")
        .by("namespace", "pause,partition:one")
        .seconds(25),
    Row::new("deleted-namespace-kept", "a namespace that is made again has its old rows")
        .by("namespace", "none"),
    Row::new("eventual-remove-unseen", "removing an element takes insertions it had not seen")
        .by("crdt", "partition")
        .seconds(15),
    Row::new("eventual-total-lost", "an actor's part of a counter begins anew with each addition")
        .by("crdt", "none"),
    Row::new("eventual-loss-unsaid", "writes that nobody had seen are removed without a mark")
        .by("loss", "none"),
    Row::new("eventual-final-early", "a loss is final by what one node alone has heard")
        .by("loss", "partition")
        .seconds(15),
    Row::new("eventual-sync-union", "a state sync brings back what was removed at its reader")
        .by("resurrection", "partition,kill:one")
        .seconds(25),
    Row::new("eventual-vector-early", "a state sync moves the vector before its rows have come")
        .by("resurrection", "kill:one")
        .slowly(),
];

/// A documented weak read that must fail the test for strong ones: else the harness is blind.
pub const WEAK_READS: Row = Row {
    bug: "",
    what: "?read=stale judged as linearizable",
    workload: "register-stale",
    nemesis: "partition:one",
    flags: FEW_GROUPS,
    rate: 300,
    seconds: 20,
    interval: 4,
};

/// Each different test of the rows, without its bug: it must find nothing.
pub fn controls(rows: &[Row]) -> Vec<Row> {
    let mut controls: Vec<Row> = Vec::new();
    for row in rows {
        let control = row.control();
        let is_same =
            |known: &Row| (known.workload, known.nemesis) == (control.workload, control.nemesis);
        if !controls.iter().any(is_same) {
            controls.push(control);
        }
    }
    controls
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_bug_has_one_row_and_each_different_test_one_control() {
        let bugs: BTreeSet<&str> = ROWS.iter().map(|row| row.bug).collect();
        assert_eq!(bugs.len(), ROWS.len());
        assert!(ROWS.len() >= 20 && !bugs.contains(""));
        let controls = controls(ROWS);
        assert!(controls.len() < ROWS.len());
        assert!(controls.iter().all(|row| row.bug.is_empty()));
        for row in ROWS {
            let same =
                |known: &&Row| (known.workload, known.nemesis) == (row.workload, row.nemesis);
            assert_eq!(controls.iter().filter(same).count(), 1);
        }
    }
}
