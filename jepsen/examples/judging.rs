//! How fast histories are written, read and judged: `cargo run --release --example judging [OPERATIONS
//! [KEYS]]`, a million operations over 2,000 keys unless told otherwise.
//!
//! The history is made up: twenty clients work on a few keys at a time, as a real run would have them;
//! each operation takes effect at a random time between its invocation and its completion; one in a
//! thousand is never answered. It is judged with and without the order that the server would claim, as
//! histories of others come without.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufReader, Write};

use tetrarch_jepsen::checker::linear::Linear;
use tetrarch_jepsen::checker::{Budget, Checker};
use tetrarch_jepsen::clock::Clock;
use tetrarch_jepsen::history::{Event, History, Kind, Process, Value, Witness};

const CLIENTS: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let operations: usize = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let keys: usize = arguments.next().map_or(Ok(2_000), |text| text.parse())?;
    let mut out = std::io::stdout().lock();
    let clock = Clock::default();
    let mut since = 0;
    let mut lap = |what: &str, out: &mut dyn Write| {
        let now = clock.now();
        let seconds = (now - since) / 1_000_000;
        since = now;
        writeln!(out, "{what}: {}.{:03} s", seconds / 1000, seconds % 1000)
    };
    let mut history = made_up(operations, keys);
    lap("making it up", &mut out)?;
    let mut edn = Vec::new();
    history.write_edn(&mut edn)?;
    lap(&format!("writing {} MB of EDN", edn.len() / 1_000_000), &mut out)?;
    let mut json = Vec::new();
    history.write_jsonl(&mut json)?;
    lap(&format!("writing {} MB of JSON lines", json.len() / 1_000_000), &mut out)?;
    assert_eq!(History::read_edn(edn.as_slice())?, history, "what was written is read");
    lap("reading the EDN", &mut out)?;
    assert_eq!(History::read_jsonl(BufReader::new(json.as_slice()))?, history, "likewise");
    lap("reading the JSON lines", &mut out)?;
    let verdict = Linear.check(&history, Budget::default());
    lap("judging it", &mut out)?;
    writeln!(out, "  {:?}: {} {}", verdict.validity, verdict.reason, verdict.figures)?;
    for event in &mut history.events {
        event.witness = None;
    }
    let verdict = Linear.check(&history, Budget::default());
    lap("stripping and judging it without what the server claims", &mut out)?;
    writeln!(out, "  {:?}: {} {}", verdict.validity, verdict.reason, verdict.figures)?;
    Ok(())
}

struct Running {
    f: &'static str,
    asked: Value,
    answer: Value,
    key: usize,
    effective: bool,
    index: u64,
}

fn made_up(operations: usize, keys: usize) -> History {
    let mut rng = fastrand::Rng::with_seed(7);
    let per_key = operations.div_ceil(keys);
    let mut states: Vec<(Option<i64>, u64)> = vec![(None, 0); keys + 8];
    let mut clients: Vec<Option<Running>> = (0..CLIENTS).map(|_| None).collect();
    let mut processes: Vec<u64> = (0_u64..).take(CLIENTS).collect();
    let mut history = History::default();
    let (mut begun, mut time, mut value) = (0, 0, 0);
    while begun < operations || clients.iter().any(Option::is_some) {
        let client = rng.usize(..CLIENTS);
        let Some(process) = processes.get_mut(client) else { continue };
        time += rng.u64(..200_000);
        let Some(slot) = clients.get_mut(client) else { continue };
        let Some(running) = slot else {
            if begun < operations {
                let key = begun / per_key + rng.usize(..4);
                begun += 1;
                value += 1;
                let old = states.get(key).and_then(|state| state.0);
                let fresh = Value::from(value);
                let (f, asked) = match rng.u8(..10) {
                    0..5 => ("read", Value::Nil),
                    5..8 => ("write", fresh),
                    _ => ("cas", Value::keyed(old, fresh)),
                };
                let answer = Value::Nil;
                *slot = Some(Running { f, asked, answer, key, effective: false, index: 0 });
                let Some(running) = slot else { continue };
                record(&mut history, time, *process, running, Kind::Invoke);
            }
            continue;
        };
        let Some(state) = states.get_mut(running.key) else { continue };
        if !running.effective {
            take_effect(running, state);
            continue;
        }
        let unanswered = rng.u16(..1000) == 0;
        let kind = if unanswered {
            Kind::Info
        } else if running.answer == Value::Bool(false) {
            Kind::Fail
        } else {
            Kind::Ok
        };
        record(&mut history, time, *process, running, kind);
        if unanswered {
            *process += u64::try_from(CLIENTS).unwrap_or(0);
        }
        *slot = None;
    }
    history
}

fn take_effect(running: &mut Running, state: &mut (Option<i64>, u64)) {
    running.effective = true;
    running.answer = running.asked.clone();
    match (running.f, running.asked.as_keyed()) {
        ("read", _) => running.answer = state.0.into(),
        ("cas", Some((old, _))) if *old != state.0.into() => running.answer = Value::Bool(false),
        ("cas", Some((_, new))) => *state = (new.as_int(), state.1 + 1),
        _ => *state = (running.asked.as_int(), state.1 + 1),
    }
    running.index = state.1;
}

fn record(history: &mut History, time: u64, process: u64, running: &Running, kind: Kind) {
    let key = i64::try_from(running.key).unwrap_or(0);
    let ok = kind == Kind::Ok;
    let value = if ok { &running.answer } else { &running.asked };
    history.events.push(Event {
        index: u64::try_from(history.events.len()).unwrap_or(0),
        time,
        kind,
        process: Process::Client(process),
        f: running.f.to_owned(),
        value: Value::keyed(key, value.clone()),
        node: None,
        witness: ok.then_some(Witness { group: 1, index: running.index }),
        error: None,
        extra: BTreeMap::new(),
    });
}
