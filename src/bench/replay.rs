//! A recorded trace, made ready to be driven through each mode.
//!
//! Why it exists: what another mode would cost and lose is a question about one's own traffic. A trace
//! has no values, so what is driven are its keys, moments, sizes, sites and conditions, with values of
//! our own that say which write they are of; so everything can be read back and judged.
//!
//! | the trace's changes are | driven as | through |
//! |---|---|---|
//! | all `add` | additions | linearizable, lww, counter |
//! | all `set_add`, `set_remove` | items put in and taken out | linearizable, lww, mv, set |
//! | all merge patches or `fields` | a field of each site | linearizable, lww, map |
//! | anything else | writes; those on a condition or context and patches look first | linearizable, lww, mv |
//!
//! Promises: the same trace gives the same operations; what cannot be driven (lists, batches,
//! transactions, watches, locks) is counted by name and told. A removal is driven as a write: what
//! becomes of it when others write at the same time is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::BufRead;
use std::str::FromStr;
use std::time::Duration;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::perform::Task;
use super::trace::{AWAY, TraceError, read};
use super::workload::{Op, PROFILE_FIELDS, Workload};
use crate::runtime::limits::{BENCH_KEYS_MAX, BENCH_TRACE_STEPS_MAX, BENCH_VALUE_BYTES_MAX};
use crate::wire::{TraceHead, TraceRecord};

/// What makes a site of the replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sites {
    /// The node that was asked, if some key was asked for at several; else the client.
    #[default]
    Auto,
    /// The node that was asked.
    Node,
    /// The client's connection.
    Client,
}

impl FromStr for Sites {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Auto),
            "node" => Ok(Self::Node),
            "client" => Ok(Self::Client),
            _ => Err(format!("\"{name}\" is none of auto, node, client")),
        }
    }
}

/// One operation of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When it is meant to begin, from the beginning of the trace.
    pub at: Duration,
    /// At which site, from 1.
    pub site: u64,
    /// What is done.
    pub task: Task,
}

/// A trace, ready to be driven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// What the trace says of itself.
    pub head: TraceHead,
    /// What its changes are like.
    pub workload: Workload,
    /// Its operations, in order.
    pub steps: Vec<Step>,
    /// How many keys.
    pub keys: u64,
    /// Requests that are not driven, by name.
    pub left_out: BTreeMap<String, u64>,
    /// Requests that the recording missed.
    pub missed: u64,
    /// Whether the recording came to its end.
    pub is_whole: bool,
    /// Whether a node went away while it was recorded.
    pub went_away: bool,
    /// Whether nodes were not taken for sites, since each key was asked for at one of them alone.
    pub by_leaders: bool,
}

/// A request, with what is kept of it while the trace is read.
struct Rough {
    at_us: u64,
    node: u64,
    /// Its number, by when it came first.
    client: u64,
    key: u64,
    bytes: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    /// A write that had looked first.
    Rewrite,
    Add,
    PutIn,
    TakeOut,
    Field,
}

impl Kind {
    /// `None` of what is not driven.
    fn of(record: &TraceRecord) -> Option<Self> {
        let looked =
            record.if_match.is_some() || record.if_none_match.is_some() || record.context.is_some();
        Some(match (record.op.as_str(), record.kind.as_deref()) {
            ("get" | "head", _) => Self::Read,
            ("patch", Some("add")) => Self::Add,
            ("patch", Some("set-add")) => Self::PutIn,
            ("patch", Some("set-remove")) => Self::TakeOut,
            ("patch", Some("merge" | "fields")) => Self::Field,
            ("patch", _) => Self::Rewrite,
            ("put" | "delete", _) if looked => Self::Rewrite,
            ("put" | "delete", _) => Self::Write,
            _ => return None,
        })
    }

    /// The workload that has changes of this kind only.
    const fn alone(self) -> Option<Workload> {
        match self {
            Self::Read => None,
            Self::Write | Self::Rewrite => Some(Workload::YcsbF),
            Self::Add => Some(Workload::Counter),
            Self::PutIn | Self::TakeOut => Some(Workload::Cart),
            Self::Field => Some(Workload::Profile),
        }
    }

    const fn op(self, workload: Workload, key: u64, site: u64) -> Op {
        match (self, workload) {
            (Self::Read, _) => Op::Read(key),
            (Self::Add, Workload::Counter) => Op::Add(key),
            (Self::PutIn, Workload::Cart) => Op::PutIn(key),
            (Self::TakeOut, Workload::Cart) => Op::TakeOut(key),
            (Self::Field, Workload::Profile) => Op::SetField(key, site % PROFILE_FIELDS),
            (Self::Write, _) => Op::Write(key),
            _ => Op::Rewrite(key),
        }
    }
}

impl Replay {
    /// Reads a trace for so many sites; times are divided by `speed`.
    ///
    /// # Errors
    ///
    /// When it is no trace, has nothing that could be driven, or more than is taken in at once.
    pub fn load(
        from: &mut impl BufRead,
        (by, sites): (Sites, u64),
        speed: f64,
    ) -> Result<Self, TraceError> {
        let mut rough = Rougher::default();
        let (head, missed, end) = read(from, |record| rough.take(&record))?;
        // Clients that go to leaders ask for a key where its leader is: that says nothing of sites.
        let by_leaders = by == Sites::Auto && rough.nodes.len() > 1 && !rough.roams;
        let by_node = match by {
            Sites::Auto => rough.roams,
            Sites::Node => true,
            Sites::Client => false,
        };
        let Rougher { mut all, nodes, keys, left_out, .. } = rough;
        let changes: Vec<_> = all.iter().filter_map(|one| one.kind.alone()).collect();
        let first = changes.first().copied().unwrap_or(Workload::YcsbF);
        let is_one = changes.iter().all(|one| *one == first);
        let workload = if is_one { first } else { Workload::YcsbF };
        all.sort_by_key(|one| one.at_us);
        let begin = all.first().map_or(0, |one| one.at_us);
        let step = |one: &Rough| {
            let who = if by_node { place(&nodes, one.node) } else { one.client };
            let site = 1 + who % sites.max(1);
            let micros = Duration::from_micros(one.at_us - begin);
            let at = Duration::try_from_secs_f64(micros.as_secs_f64() / speed);
            let op = one.kind.op(workload, one.key, site - 1);
            let task = Task { op, pick: xxh3_64(&one.at_us.to_le_bytes()), bytes: one.bytes };
            Step { at: at.unwrap_or(Duration::MAX), site, task }
        };
        let steps: Vec<Step> = all.iter().map(step).collect();
        if steps.is_empty() {
            let left: Vec<_> = left_out.keys().map(String::as_str).collect();
            let left = if left.is_empty() { "nothing".to_owned() } else { left.join(", ") };
            let text = format!("the trace has no reads and writes of keys: {left}");
            return Err(TraceError::Empty(text));
        }
        let keys = u64::try_from(keys.len()).unwrap_or(u64::MAX);
        let is_whole = end.is_some();
        let went_away = end.is_some_and(|end| end.end == AWAY);
        Ok(Self { head, workload, steps, keys, left_out, missed, is_whole, went_away, by_leaders })
    }

    /// How long it takes.
    pub fn lasts(&self) -> Duration {
        let last = self.steps.last().map_or(Duration::ZERO, |step| step.at);
        last.saturating_add(Duration::from_millis(1))
    }

    /// Names what is driven: two that differ in any operation have different marks.
    pub fn mark(&self) -> String {
        let mut hash = Xxh3::new();
        for Step { at, site, task: Task { op, pick, bytes } } in &self.steps {
            hash.update(&at.as_nanos().to_le_bytes());
            hash.update(op.kind().as_bytes());
            for number in [*site, op.key(), *pick, u64::try_from(*bytes).unwrap_or(u64::MAX)] {
                hash.update(&number.to_le_bytes());
            }
        }
        format!("{:016x}", hash.digest())
    }

    /// Operations a second.
    #[allow(clippy::cast_precision_loss, reason = "there are far fewer than a float counts")]
    pub fn rate(&self) -> f64 {
        self.steps.len() as f64 / self.lasts().as_secs_f64()
    }

    /// Share of reads.
    #[allow(clippy::cast_precision_loss, reason = "there are far fewer than a float counts")]
    pub fn reads(&self) -> f64 {
        let reads = self.steps.iter().filter(|step| matches!(step.task.op, Op::Read(_))).count();
        reads as f64 / self.steps.len().max(1) as f64
    }

    /// The moments of its operations, each with its site.
    pub fn plan(&self) -> Vec<(Duration, u64)> {
        self.steps.iter().map(|step| (step.at, step.site)).collect()
    }
}

/// Where a node stands among those of the trace.
fn place(nodes: &BTreeSet<u64>, node: u64) -> u64 {
    u64::try_from(nodes.range(..node).count()).unwrap_or(0)
}

#[derive(Default)]
struct Rougher {
    all: Vec<Rough>,
    nodes: BTreeSet<u64>,
    clients: BTreeMap<String, u64>,
    /// The number of each key, and the node that was asked for it first.
    keys: BTreeMap<String, (u64, u64)>,
    /// A key was asked for at more than one node.
    roams: bool,
    left_out: BTreeMap<String, u64>,
}

impl Rougher {
    fn take(&mut self, record: &TraceRecord) -> Result<(), TraceError> {
        let name = record.key.clone().or(record.key64.clone()).or(record.key_hash.clone());
        let (Some(kind), Some(name)) = (Kind::of(record), name) else {
            *self.left_out.entry(record.op.clone()).or_default() += 1;
            return Ok(());
        };
        let next = |known: usize| u64::try_from(known).unwrap_or(u64::MAX);
        let node = record.node.unwrap_or(0);
        let key = next(self.keys.len());
        let (key, first) = *self.keys.entry(name).or_insert((key, node));
        self.roams |= first != node;
        if key >= BENCH_KEYS_MAX || self.all.len() >= BENCH_TRACE_STEPS_MAX {
            return Err(TraceError::Empty(format!(
                "the trace has more than {BENCH_TRACE_STEPS_MAX} requests or {BENCH_KEYS_MAX} keys: \
                 record a shorter one"
            )));
        }
        self.nodes.insert(node);
        let client = next(self.clients.len());
        let from = record.client.clone().unwrap_or_default();
        let client = *self.clients.entry(from).or_insert(client);
        let bytes = usize::try_from(record.bytes).unwrap_or(usize::MAX);
        let bytes = bytes.clamp(16, BENCH_VALUE_BYTES_MAX);
        self.all.push(Rough { at_us: record.at_us, node, client, key, bytes, kind });
        Ok(())
    }
}

/// What of a trace is driven and what is not, in words.
impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.lasts().as_secs_f64();
        write!(
            f,
            "The trace is of the namespace \"{}\" ({}): {} requests to {} keys in {seconds:.1} s, {:.0} % \
             reads, driven as {}.",
            self.head.namespace,
            self.head.mode.as_deref().unwrap_or("of unknown mode"),
            self.steps.len(),
            self.keys,
            self.reads() * 100.0,
            self.workload,
        )?;
        for (op, many) in &self.left_out {
            write!(f, " Not driven: {many} {op}.")?;
        }
        if self.by_leaders {
            f.write_str(
                " Each key was asked for at one node alone, as by clients that go to leaders, so sites are \
                 the clients (--sites node: the nodes).",
            )?;
        }
        if self.missed > 0 {
            write!(f, " {} requests are missing in the recording.", self.missed)?;
        }
        if self.went_away {
            f.write_str(
                " A node went away while it was recorded: what it was asked then is missing.",
            )?;
        }
        if !self.is_whole {
            f.write_str(" The recording was cut off.")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        r#"{"trace":1,"namespace":"n","nodes":[1,2],"mode":"lww","began_ms":5,"hashed":false}"#;

    fn line(op: &str, at_us: u64, key: &str, more: &str) -> String {
        format!(
            r#"{{"op":"{op}","at_us":{at_us},"took_us":1,"key":"{key}","bytes":50,"status":200,"outcome":"applied"{more}}}"#
        )
    }

    fn load(lines: &[String], by: Sites) -> Result<Replay, TraceError> {
        let text = format!("{HEAD}\n{}\n", lines.join("\n"));
        Replay::load(&mut text.as_bytes(), (by, 3), 2.0)
    }

    fn ops(replay: &Replay) -> Vec<(u64, u64, Op)> {
        let micros = |at: Duration| u64::try_from(at.as_micros()).unwrap();
        replay.steps.iter().map(|step| (micros(step.at), step.site, step.task.op)).collect()
    }

    #[test]
    fn requests_are_driven_in_order_at_the_site_of_their_node_with_keys_by_number() {
        let lines = [
            line("put", 3_000, "a", r#","node":2"#),
            line("get", 1_000, "b", r#","node":1"#),
            line("put", 5_000, "b", r#","node":2,"if_match":"\"1-2\"""#),
            line("patch", 7_000, "a", r#","node":2,"kind":"add""#),
            line("delete", 9_000, "a", r#","node":2,"context":"x""#),
            line("batch", 9_500, "", r#","node":2"#),
        ];
        let replay = load(&lines, Sites::Auto).unwrap();
        let expected = [
            (0, 1, Op::Read(1)),
            (1_000, 2, Op::Write(0)),
            (2_000, 2, Op::Rewrite(1)),
            (3_000, 2, Op::Rewrite(0)),
            (4_000, 2, Op::Rewrite(0)),
        ];
        assert_eq!(ops(&replay), expected);
        assert_eq!((replay.keys, replay.workload), (2, Workload::YcsbF));
        assert_eq!(replay.steps[0].task.bytes, 50);
        assert_eq!(replay.left_out, BTreeMap::from([("batch".to_owned(), 1)]));
        let said = replay.to_string();
        assert!(said.contains("1 batch") && said.contains("cut off"), "{said}");
    }

    #[test]
    fn a_trace_of_one_node_is_spread_by_its_clients() {
        let from = |client| format!(r#","node":1,"client":"{client}""#);
        let lines: Vec<_> = (0..5).map(|n| line("get", n, "a", &from(n % 4))).collect();
        let sites = |by| {
            let replay = load(&lines, by).unwrap();
            replay.steps.iter().map(|step| step.site).collect::<Vec<_>>()
        };
        assert_eq!(sites(Sites::Auto), [1, 2, 3, 1, 1]);
        assert_eq!(sites(Sites::Node), [1, 1, 1, 1, 1]);
    }

    #[test]
    fn where_the_leaders_are_says_nothing_of_sites() {
        let lines = [
            line("put", 0, "a", r#","node":1,"client":"x""#),
            line("put", 1, "b", r#","node":2,"client":"x""#),
            line("put", 2, "b", r#","node":2,"client":"y""#),
        ];
        let sites = |lines: &[String], by| {
            let replay = load(lines, by).unwrap();
            let said = replay.to_string().contains("--sites node");
            (replay.steps.iter().map(|step| step.site).collect::<Vec<_>>(), said)
        };
        assert_eq!(sites(&lines, Sites::Auto), (vec![1, 1, 2], true));
        assert_eq!(sites(&lines, Sites::Node), (vec![1, 2, 2], false));
        // A key at two nodes: clients ask the node of their site.
        let roams = [&lines[..], &[line("get", 3, "a", r#","node":2,"client":"x""#)]].concat();
        assert_eq!(sites(&roams, Sites::Auto), (vec![1, 2, 2, 2], false));
    }

    #[test]
    fn a_trace_that_lacks_what_a_lost_node_was_asked_says_so() {
        let end = |how: &str| format!(r#"{{"end":"{how}","records":1,"missed":0}}"#);
        for (how, told) in [("time", false), (AWAY, true)] {
            let replay = load(&[line("put", 1, "a", ""), end(how)], Sites::Auto).unwrap();
            assert_eq!(replay.to_string().contains("went away"), told, "{how}");
            assert!(replay.is_whole);
        }
    }

    #[test]
    fn changes_of_one_kind_are_driven_as_what_they_are() {
        for (kind, workload, op) in [
            ("add", Workload::Counter, Op::Add(0)),
            ("set-add", Workload::Cart, Op::PutIn(0)),
            ("merge", Workload::Profile, Op::SetField(0, 0)),
            ("json-patch", Workload::YcsbF, Op::Rewrite(0)),
        ] {
            let kind = format!(r#","kind":"{kind}""#);
            let lines = [line("get", 0, "a", ""), line("patch", 1, "a", &kind)];
            let replay = load(&lines, Sites::Auto).unwrap();
            assert_eq!((replay.workload, replay.steps[1].task.op), (workload, op), "{kind}");
        }
    }

    #[test]
    fn what_is_driven_otherwise_has_another_mark_and_the_slowest_has_an_end() {
        let lines =
            |at| [line("put", 1, "a", r#","node":1"#), line("put", at, "a", r#","node":2"#)];
        let mark = |at, by| load(&lines(at), by).unwrap().mark();
        assert_eq!(mark(9, Sites::Node), mark(9, Sites::Auto));
        assert_ne!(mark(9, Sites::Node), mark(9, Sites::Client));
        assert_ne!(mark(9, Sites::Node), mark(7, Sites::Node));
        let text = format!("{HEAD}\n{}\n", lines(9).join("\n"));
        let slow = Replay::load(&mut text.as_bytes(), (Sites::Auto, 3), f64::MIN_POSITIVE).unwrap();
        assert_eq!(slow.lasts(), Duration::MAX);
    }

    #[test]
    fn a_trace_without_anything_to_drive_is_refused() {
        let error = load(&[line("txn", 1, "", "")], Sites::Auto).unwrap_err().to_string();
        assert!(error.contains("txn"), "{error}");
    }
}
