//! Writes the pages of made-up runs, to look at while working on them.
//!
//! `cargo run -p tetrarch-jepsen --example page -- DIR [SECONDS] [OPERATIONS-PER-SECOND]` writes
//! `DIR/register/index.html` (an anomaly under faults), `DIR/valid/…`, `DIR/empty/…`, and
//! `DIR/index.html` with the table of all of them. The same arguments give the same bytes.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use tetrarch_jepsen::history::{Event, History, Kind, Process, Value, Witness};
use tetrarch_jepsen::report::{self, LogFinding, RunSummary, matrix};
use tetrarch_jepsen::verdict::{Anomaly, Validity, Verdict};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

struct Fault {
    name: &'static str,
    from: u64,
    to: u64,
    value: &'static str,
    effect: &'static str,
}

const fn fault(name: &'static str, from: u64, to: u64, value: &'static str) -> Fault {
    Fault { name, from, to, value, effect: "installed" }
}

const FAULTS: [Fault; 7] = [
    fault("partition", 5, 11, "majority {1 2 | 3 4 5}"),
    fault("kill", 15, 20, "node 2, leads 7 groups"),
    Fault { effect: "skipped", ..fault("clock-jump", 24, 29, "node 4") },
    fault("partition", 32, 40, "one-way 3 -> all"),
    fault("pause", 35, 38, "node 5, leads 9 groups"),
    fault("transfer", 45, 45, "group 6 to node 1"),
    fault("slow-fsync", 48, 54, "nodes 1, 4 by 80 ms"),
];

/// Makes a history as a scheduler would: events in the order of their times.
struct Made {
    rng: fastrand::Rng,
    events: Vec<Event>,
}

impl Made {
    fn push(&mut self, time: u64, kind: Kind, process: Process, f: &str, value: Value) {
        self.events.push(Event {
            index: 0,
            time,
            kind,
            process,
            f: f.to_owned(),
            value,
            node: None,
            witness: None,
            error: None,
            extra: BTreeMap::new(),
        });
    }

    fn faults(&mut self, seconds: u64) {
        for fault in FAULTS.iter().filter(|fault| fault.to < seconds) {
            let once = fault.from == fault.to;
            let begin = if once { fault.name.to_owned() } else { format!("start-{}", fault.name) };
            self.push(
                fault.from * SECOND,
                Kind::Info,
                Process::Nemesis,
                &begin,
                fault.value.into(),
            );
            if let Some(event) = self.events.last_mut() {
                event.extra.insert("effect".to_owned(), Value::Keyword(fault.effect.to_owned()));
                if fault.effect == "skipped" {
                    event.extra.insert("why".to_owned(), "the shim is not loaded".into());
                }
            }
            if !once {
                let end = format!("stop-{}", fault.name);
                self.push(fault.to * SECOND, Kind::Info, Process::Nemesis, &end, Value::Nil);
            }
        }
    }

    fn clients(&mut self, seconds: u64, rate: u64) {
        let threads = 20.min(rate).max(1);
        for thread in 0..threads {
            let mut process = thread;
            let mut now = self.rng.u64(0..200 * MS);
            while now < seconds * SECOND {
                let (took, kind) = self.ending(now);
                self.operation(now, took, kind, process, now / SECOND / 4);
                if kind == Kind::Info {
                    process += threads;
                }
                now += took + self.rng.u64(0..(2 * SECOND * threads / rate).max(1));
            }
        }
    }

    fn ending(&mut self, now: u64) -> (u64, Kind) {
        let usual = 900_000.0 * (1.0 + 9.0 * self.rng.f64().powi(6)) / (0.02 + self.rng.f64());
        let usual = std::time::Duration::from_secs_f64(usual / 1e9).as_nanos();
        let usual = u64::try_from(usual).unwrap_or(MS);
        let hit = FAULTS
            .iter()
            .filter(|fault| fault.effect == "installed")
            .find(|fault| (fault.from * SECOND..fault.to * SECOND).contains(&now));
        let dice = self.rng.u64(0..100);
        match hit.map(|fault| (fault.name, now - fault.from * SECOND)) {
            Some(("slow-fsync", _)) => (usual + 80 * MS, Kind::Ok),
            Some((_, since)) if since < 1_200 * MS && dice < 85 => {
                (SECOND + self.rng.u64(0..300 * MS), Kind::Info)
            }
            Some(("partition", _)) if dice < 8 => (usual + 20 * MS, Kind::Fail),
            Some((_, _)) if dice < 9 => (5 * SECOND, Kind::Info),
            _ if dice < 1 => (usual, Kind::Fail),
            _ => (usual, Kind::Ok),
        }
    }

    fn operation(&mut self, now: u64, took: u64, kind: Kind, process: u64, turn: u64) {
        let key = i64::try_from(turn * 4 + self.rng.u64(0..4)).unwrap_or(0);
        let number = self.rng.i64(1..6);
        let (f, asked, answer) = match self.rng.u64(0..10) {
            0..5 => ("read", Value::Nil, Value::Int(number)),
            5..8 => ("write", Value::Int(number), Value::Int(number)),
            _ => {
                let pair = Value::list([Value::Int(number), Value::Int(number % 5 + 1)]);
                ("cas", pair.clone(), pair)
            }
        };
        let who = Process::Client(process);
        self.push(now, Kind::Invoke, who, f, Value::keyed(key, asked.clone()));
        let value = if kind == Kind::Ok { answer } else { asked };
        self.push(now + took, kind, who, f, Value::keyed(key, value));
        let (node, index) = (self.rng.u32(1..6), now / MS);
        if let Some(event) = self.events.last_mut() {
            event.node = Some(node);
            event.witness = (kind == Kind::Ok).then_some(Witness { group: turn % 8, index });
            event.error = match kind {
                Kind::Fail if f == "cas" => Some("value-mismatch".to_owned()),
                Kind::Fail => Some("not-leader".to_owned()),
                Kind::Info => Some("timeout: no answer after 1 s".to_owned()),
                Kind::Ok | Kind::Invoke => None,
            };
        }
    }

    fn history(mut self) -> History {
        self.events.sort_by_key(|event| event.time);
        for (index, event) in (0..).zip(self.events.iter_mut()) {
            event.index = index;
        }
        History { events: self.events }
    }
}

fn made(seed: u64, seconds: u64, rate: u64, faults: bool) -> History {
    let mut made = Made { rng: fastrand::Rng::with_seed(seed), events: Vec::new() };
    if faults {
        made.faults(seconds);
    }
    made.clients(seconds, rate);
    made.history()
}

/// A read that began after a write had ended and did not see it, during the first partition.
fn plant(history: &mut History) -> Vec<u64> {
    let from = 8 * SECOND;
    let numbers = [(10_001, "write", 3), (10_002, "read", 3), (10_003, "read", 2)];
    for (place, (process, f, number)) in (0..).zip(numbers) {
        for (kind, after) in [(Kind::Invoke, 0), (Kind::Ok, 6)] {
            let asked = kind == Kind::Invoke && f == "read";
            let value = if asked { Value::Nil } else { Value::Int(number) };
            let time = from + (place * 9 + after) * MS;
            let mut event = history.events.first().cloned().unwrap_or_else(|| unreachable!());
            event.time = time;
            event.kind = kind;
            event.process = Process::Client(process);
            event.f = f.to_owned();
            event.value = Value::keyed(8, value);
            event.error = None;
            event.node = (kind == Kind::Ok).then_some(u32::try_from(place + 1).unwrap_or(1));
            event.witness =
                (kind == Kind::Ok).then_some(Witness { group: 5, index: 812 - place / 2 * 3 });
            event.extra.clear();
            history.events.push(event);
        }
    }
    history.events.sort_by_key(|event| event.time);
    let mut found = Vec::new();
    for (index, event) in (0..).zip(history.events.iter_mut()) {
        event.index = index;
        if matches!(event.process, Process::Client(10_001..=10_003)) {
            found.push(index);
        }
    }
    found
}

fn summary(workload: &str, nemesis: &str, dir: &str) -> RunSummary {
    RunSummary {
        workload: workload.to_owned(),
        nemesis: nemesis.to_owned(),
        seed: 7,
        revision: "884311d".to_owned(),
        version: "tetrarch 0.1.0 (884311d, release)".to_owned(),
        nodes: 5,
        backend: "proxy".to_owned(),
        started: "2026-11-21T15:33:44Z".to_owned(),
        rate: 500.0,
        concurrency: 20,
        replay: format!(
            "tetrarch-jepsen test -w {workload} -n {nemesis} --binary target/release/tetrarch --nodes 5 --time-limit 60s --concurrency 4n --rate 500 --seed 7"
        ),
        dir: dir.to_owned(),
        files: ["history.edn", "history.jsonl", "results.json", "nodes/1.log", "nodes/2.log"]
            .map(str::to_owned)
            .to_vec(),
        ..RunSummary::default()
    }
}

fn verdicts(events: Vec<u64>) -> Vec<Verdict> {
    let end = |place: usize| events.get(place).copied().unwrap_or(0);
    let words = format!(
        "Key 8 read as 2 (#{}) after 3 had been written (#{}) and read (#{}): the read began 3 ms after the other read had ended. No order of these three operations explains what the clients saw.",
        end(4),
        end(1),
        end(3)
    );
    let anomaly = Anomaly { kind: "stale-read".to_owned(), words, events };
    vec![
        Verdict::valid("stats", "every kind of operation took effect often enough")
            .with_figures(serde_json::json!({ "read": 14_201, "write": 8_412, "cas": 5_333 })),
        Verdict::invalid(
            "linear",
            "key 8 has no linearization: a read returned a value that had been overwritten",
            vec![anomaly],
        )
        .with_figures(serde_json::json!({
            "keys": 60, "operations": 27_946, "witness": { "agreed": 59, "refuted": 1 },
            "states_visited": 188_201, "seconds": 0.412
        })),
        Verdict::unknown("replicas", "node 4 did not answer the last digest request within 10 s"),
    ]
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().unwrap_or_else(|| "target/pages".to_owned()));
    let mut number =
        |otherwise: u64| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (seconds, rate) = (number(60), number(500));

    let mut history = made(7, seconds, rate, true);
    let verdicts = verdicts(plant(&mut history));
    let findings = vec![LogFinding {
        node: 3,
        line: 4_120,
        text: "thread 'main' panicked at src/consensus/apply.rs:88: <index> went back".to_owned(),
    }];
    let broken = RunSummary { findings, ..summary("register", "partition,kill,disk", "register") };
    let broken = broken.counted(&history).judged(&verdicts);
    report::write(&dir.join("register"), &broken, &history, &verdicts)?;

    let history = made(8, 20, 200, false);
    let proved = vec![Verdict::valid("linear", "all 20 keys have a linearization")];
    let valid = summary("set", "none", "valid").counted(&history).judged(&proved);
    report::write(&dir.join("valid"), &valid, &history, &proved)?;

    let nothing = History::default();
    let empty = summary("append", "none", "empty").counted(&nothing).judged(&[]);
    report::write(&dir.join("empty"), &empty, &nothing, &[])?;

    let other = RunSummary { nemesis: "partition,kill,disk".to_owned(), ..valid.clone() };
    let runs = [broken, valid, RunSummary { validity: Validity::Valid, ..other }, empty];
    std::fs::write(dir.join("index.html"), matrix::html(&runs))?;
    std::fs::write(dir.join("matrix.md"), matrix::markdown(&runs))?;
    anstream::println!("{}\n{}", matrix::terminal(&runs, true), dir.join("index.html").display());
    Ok(())
}
