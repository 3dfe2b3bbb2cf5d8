//! Linearizability of registers: one per key, absent at first, with read, write, cas and delete.
//!
//! Why three ways: each alone is fast on other histories, and a bug in a checker is a bug that nobody
//! sees. The order that the server claims is checked in one pass (`witness`); two searches that
//! trust nothing, in depth (`wgl`) and event by event (`jit`), run on every key too, briefly at
//! first, and for what is left of the time where nothing is known yet. Where two of them finish they
//! must agree; if not, the verdict is against this checker, and no pass.
//!
//! Promises: `valid` only if every key was proved; `invalid` comes with the smallest part of a key's
//! history that shows it, in words. Keys are judged alone, which is sound as linearizability is local.

mod explain;
mod jit;
mod ops;
mod smallest;
mod wgl;
mod witness;
mod words;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;

use self::ops::{Register, registers, simplified};
use self::witness::Finding;
use self::words::{Limit, Outcome};
use super::{Budget, Checker};
use crate::clock::Clock;
use crate::history::{History, Kind, Process};
use crate::verdict::{Anomaly, Verdict};

/// Steps of a first, brief search, and how many more for each operation.
const BRIEF: (u64, u64) = (4_096, 64);
/// Anomalies that are shrunk and told.
const TOLD: usize = 3;
/// The part of the budget that shrinking may take on top, at most.
const SHRINKING: Duration = Duration::from_secs(20);
/// Threads at most: a search may hold some hundred MiB.
const THREADS_MAX: usize = 4;

/// The checker of registers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Linear;

impl Checker for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn check(&self, history: &History, budget: Budget) -> Verdict {
        let clock = Clock::default();
        match registers(history) {
            Ok(registers) => Case { history, registers, clock, budget }.verdict(),
            Err(why) => Verdict::unknown("linear", format!("not a register's history: {why}")),
        }
    }
}

/// What the three say of a key.
#[derive(Clone, Debug)]
struct Opinion {
    witness: Finding,
    wgl: Outcome,
    jit: Outcome,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ruling {
    Linearizable,
    Refuted,
    FalseWitness,
    Disagreement,
    Open,
}

impl Opinion {
    fn ruling(&self) -> Ruling {
        let searches = [self.wgl, self.jit];
        let refuted = searches.iter().any(|outcome| matches!(outcome, Outcome::Refuted(_)));
        let accepted = self.witness == Finding::Proved || searches.contains(&Outcome::Linearizable);
        match (refuted, accepted) {
            (true, true) => Ruling::Disagreement,
            (true, false) => Ruling::Refuted,
            (false, true) if matches!(self.witness, Finding::Contradicted { .. }) => {
                Ruling::FalseWitness
            }
            (false, true) => Ruling::Linearizable,
            (false, false) => Ruling::Open,
        }
    }

    /// Where the history of the key became impossible.
    fn refuted_at(&self) -> Option<usize> {
        match (self.jit, self.wgl) {
            (Outcome::Refuted(Some(place)), _) | (_, Outcome::Refuted(Some(place))) => Some(place),
            _ => None,
        }
    }
}

/// A history before this court.
struct Case<'a> {
    history: &'a History,
    registers: Vec<Register>,
    clock: Clock,
    budget: Budget,
}

impl Case<'_> {
    fn verdict(&self) -> Verdict {
        let opinions = self.opinions();
        let rulings: Vec<Ruling> = opinions.iter().map(Opinion::ruling).collect();
        let count = |wanted: Ruling| rulings.iter().filter(|ruling| **ruling == wanted).count();
        let keys = opinions.len();
        let anomalies = self.anomalies(&opinions);
        let (refuted, claims) = (count(Ruling::Refuted), count(Ruling::FalseWitness));
        let verdict = if count(Ruling::Disagreement) > 0 {
            let reason = "the checker contradicts itself: its three ways disagree about a key";
            Verdict::invalid("linear", reason, anomalies)
        } else if refuted > 0 {
            let reason = format!("{refuted} of {keys} keys are not linearizable");
            Verdict::invalid("linear", reason, anomalies)
        } else if claims > 0 {
            let reason =
                format!("of {claims} of {keys} keys the order that the server claims is false");
            Verdict::invalid("linear", reason, anomalies)
        } else if keys == 0 {
            Verdict::unknown("linear", "the history holds no operation")
        } else if count(Ruling::Open) > 0 {
            let reason = format!(
                "{} of {keys} keys could not be decided in {} s",
                count(Ruling::Open),
                self.budget.time.as_secs()
            );
            Verdict::unknown("linear", reason)
        } else {
            Verdict::valid("linear", format!("all {keys} keys are linearizable"))
        };
        verdict.with_figures(self.figures(&opinions))
    }

    /// Of every key: briefly all three, then, where that left it open, both searches at once.
    fn opinions(&self) -> Vec<Opinion> {
        let opinions = Mutex::new(vec![None; self.registers.len()]);
        let next = AtomicUsize::new(0);
        let late = || self.elapsed() >= self.budget.time;
        let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let place = next.fetch_add(1, Ordering::Relaxed);
                        let Some(register) = self.registers.get(place) else { break };
                        let opinion = brief(register, &late);
                        if let Some(slot) = opinions.lock().get_mut(place) {
                            *slot = Some(opinion);
                        }
                    }
                });
            }
        });
        let mut opinions: Vec<Opinion> = opinions.into_inner().into_iter().flatten().collect();
        assert_eq!(opinions.len(), self.registers.len(), "every key was looked at");
        let mut open = opinions.iter().filter(|opinion| opinion.ruling() == Ruling::Open).count();
        for (opinion, register) in opinions.iter_mut().zip(&self.registers) {
            if opinion.ruling() != Ruling::Open || late() {
                continue;
            }
            // One hard key must not use up the time of the others.
            let left = self.budget.time.saturating_sub(self.elapsed());
            let share = left / u32::try_from(open).unwrap_or(u32::MAX).max(1);
            let until = self.elapsed() + share;
            open -= 1;
            (opinion.wgl, opinion.jit) = competing(register, &|| self.elapsed() >= until);
        }
        opinions
    }

    fn anomalies(&self, opinions: &[Opinion]) -> Vec<Anomaly> {
        let begun = self.elapsed();
        let stop = || self.elapsed() >= begun + SHRINKING.min(self.budget.time);
        let of = |wanted: Ruling| {
            let all = opinions.iter().zip(&self.registers);
            all.filter(move |(opinion, _)| opinion.ruling() == wanted)
        };
        let mut anomalies: Vec<Anomaly> = of(Ruling::Disagreement)
            .map(|(opinion, register)| disagreement(opinion, register))
            .chain(of(Ruling::Refuted).take(TOLD).map(|(opinion, register)| {
                let kept = smallest::smallest(&register.ops, opinion.refuted_at(), &stop);
                explain::anomaly(self.history, register, &kept)
            }))
            .chain(of(Ruling::FalseWitness).filter_map(|(opinion, register)| {
                let Finding::Contradicted { op, with, why } = opinion.witness else { return None };
                Some(explain::false_claim(self.history, register, (op, with), why))
            }))
            .take(TOLD)
            .collect();
        anomalies.sort_by_key(|anomaly| anomaly.events.len());
        anomalies
    }

    fn figures(&self, opinions: &[Opinion]) -> serde_json::Value {
        let events = self.history.events.iter().filter(|event| event.process != Process::Nemesis);
        let mut kinds = [0_u64; 4];
        for event in events {
            let place = match event.kind {
                Kind::Invoke => 0,
                Kind::Ok => 1,
                Kind::Fail => 2,
                Kind::Info => 3,
            };
            kinds.get_mut(place).into_iter().for_each(|count| *count += 1);
        }
        let [operations, ok, fail, info] = kinds;
        let count = |holds: &dyn Fn(&Opinion) -> bool| opinions.iter().filter(|o| holds(o)).count();
        json!({
            "operations": operations,
            "ok": ok,
            "fail": fail,
            "info": info,
            "keys": opinions.len(),
            "longest_key": self.registers.iter().map(|r| r.ops.len()).max().unwrap_or(0),
            "proved_by_witness": count(&|o| o.witness == Finding::Proved),
            "finished_by_wgl": count(&|o| o.wgl != Outcome::Unfinished),
            "finished_by_jit": count(&|o| o.jit != Outcome::Unfinished),
            "milliseconds": u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.clock.now())
    }
}

/// All three, each with few steps.
fn brief(register: &Register, late: &(dyn Fn() -> bool + Sync)) -> Opinion {
    let ops = simplified(&register.ops);
    let many = u64::try_from(ops.len()).unwrap_or(u64::MAX);
    let most = BRIEF.0.saturating_add(BRIEF.1.saturating_mul(many));
    Opinion {
        witness: witness::check(&ops),
        wgl: wgl::check(&ops, &mut Limit::new(most, late)),
        jit: jit::check(&ops, &mut Limit::new(most, late)),
    }
}

/// Both searches at once; who finishes first stops the other.
fn competing(register: &Register, late: &(dyn Fn() -> bool + Sync)) -> (Outcome, Outcome) {
    let ops = simplified(&register.ops);
    let won = AtomicBool::new(false);
    let stop = || won.load(Ordering::Relaxed) || late();
    let finish = |outcome: Outcome| {
        if outcome != Outcome::Unfinished {
            won.store(true, Ordering::Relaxed);
        }
        outcome
    };
    thread::scope(|scope| {
        let deep = scope.spawn(|| finish(wgl::check(&ops, &mut Limit::new(u64::MAX, &stop))));
        let jit = finish(jit::check(&ops, &mut Limit::new(u64::MAX, &stop)));
        (deep.join().expect("the search in depth does not panic"), jit)
    })
}

fn disagreement(opinion: &Opinion, register: &Register) -> Anomaly {
    let Opinion { witness, wgl, jit } = opinion;
    let words = format!(
        "key {}: this checker has a bug: witness {witness:?}, search in depth {wgl:?}, just in time {jit:?}",
        register.key
    );
    Anomaly { kind: "checkers-disagree".to_owned(), words, events: Vec::new() }
}

#[cfg(test)]
mod tests;
