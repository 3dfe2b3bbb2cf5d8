//! Reads everything back and compares it with the books; what was lost comes out on the way.
//!
//! Why it exists: figures of a store that breaks its promises, or of a load that miscounts, must not be
//! published. `wrong` must be 0; whatever a mode allows to be lost is a figure of its own.
//!
//! | workload | where nothing may be lost | where it may |
//! |---|---|---|
//! | ycsb | the acknowledged write with the highest revision is there | all sites show the same; each acknowledged write is current, superseded or lost, by receipt; the shown ones are those that are current; what was lost is what the lineage says |
//! | counter | the sum is exact, but for what is unknown | the difference is the error |
//! | cart, profile, inventory | nothing lost, nothing back, nothing oversold | counted |
//!
//! Promises: with every statement that is wrong the first few are told in words.

#[cfg(test)]
mod tests;

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;

use super::figures::{CartFigures, Loss, Run, SumFigures, Verified};
use super::ledger::lineage::trace;
use super::ledger::values::{Judged, Write};
use super::mode::Mode;
use super::perform::{Shop, field_name, fields_of, integer_of, items_of, number_of};
use super::tally::Tally;
use super::target::{Failed, Fate, Seen};
use super::workload::{PROFILE_FIELDS, STOCK, Workload};
use crate::runtime::limits::{BENCH_CHECK_CONCURRENCY, BENCH_EXAMPLES_MAX, BENCH_FATES_MAX};

/// What has been found so far.
#[derive(Debug, Default)]
struct Findings {
    verified: Verified,
    loss: Loss,
    /// Acknowledged writes of cells whose lineage is exact; those of them that are lost, and those
    /// without effect.
    traced: (u64, u64, u64),
    sum: SumFigures,
    added: u64,
    cart: CartFigures,
    fields_lost: u64,
    oversold: u64,
    followed: usize,
    /// The numbers up to this one are of writes that the load began with.
    filled: u64,
}

impl Findings {
    /// How many of these writes were acknowledged, and not made before the load.
    fn of_the_load(&self, writes: &[Write]) -> u64 {
        let ours = |write: &&Write| write.is_acked() && write.number > self.filled;
        count(writes.iter().filter(ours).count())
    }

    fn check(&mut self, right: bool, text: impl FnOnce() -> String) {
        self.verified.checked += 1;
        if right {
            return;
        }
        self.verified.wrong += 1;
        if self.verified.examples.len() < BENCH_EXAMPLES_MAX {
            self.verified.examples.push(text());
        }
    }
}

/// Reads back what a shop has written. The first `filled` writes in the books are those that it began
/// with: they are read back too, but count for no share.
pub async fn verify(shop: &Shop, tally: &Tally, filled: u64, run: &mut Run) {
    let found = Mutex::new(Findings { filled, ..Findings::default() });
    books(shop, tally, &mut found.lock());
    let keys = shop.ledger.values.len() / shop.workload.fields();
    let keys = if shop.workload.is_ycsb() { shop.ledger.values.len() } else { keys };
    let order = (0..keys).map(|n| spread(n, keys));
    stream::iter(order)
        .for_each_concurrent(BENCH_CHECK_CONCURRENCY, |key| {
            let found = &found;
            async move {
                if let Err(failed) = check_key(shop, key, found).await {
                    found.lock().check(false, || format!("{}: {failed}", shop.key(key)));
                }
            }
        })
        .await;
    let mut found = found.into_inner();
    finish(shop, &mut found, run).await;
    run.verified = found.verified;
}

/// Goes through all numbers below `of` once, in an order that has nothing to do with theirs: the
/// first keys are those that are written most.
fn spread(n: u64, of: u64) -> u64 {
    // A prime that no sensible number of keys is a multiple of.
    n.wrapping_mul(2_654_435_761) % of.max(1)
}

/// The books against the load's own count.
fn books(shop: &Shop, tally: &Tally, found: &mut Findings) {
    let changed = found.filled + tally.changed();
    let (entered, open) = (shop.ledger.acked(), shop.ledger.open());
    found.check(entered == changed, || {
        format!("{changed} changes were acknowledged, but {entered} are in the books")
    });
    found.check(open == 0, || format!("{open} changes were begun and never closed in the books"));
    let (wrong, looked, examples) = tally.wrong_reads();
    found.verified.checked += looked;
    found.verified.wrong += wrong;
    found.verified.examples.extend(examples);
}

async fn check_key(shop: &Shop, key: u64, found: &Mutex<Findings>) -> Result<(), Failed> {
    let is_used = match shop.workload {
        Workload::Cart => shop.ledger.carts.is_used(key),
        Workload::Counter | Workload::Inventory => shop.ledger.sums.of(key) != (0, 0),
        Workload::Profile => {
            let mut cells = (0..PROFILE_FIELDS).map(|field| key * PROFILE_FIELDS + field);
            cells.any(|cell| !shop.ledger.values.cell(cell).lock().writes().is_empty())
        }
        _ => !shop.ledger.values.cell(key).lock().writes().is_empty(),
    };
    if !is_used {
        return Ok(());
    }
    let name = shop.key(key);
    let seen = shop.target.read_back(1, &name).await?;
    if !shop.mode.is_strong() {
        for site in 2..=shop.target.sites() {
            let other = shop.target.read_back(site, &name).await?;
            found.lock().check(other.values == seen.values, || {
                format!("{name}: site {site} shows something else than site 1")
            });
        }
    }
    match shop.workload {
        Workload::Counter | Workload::Inventory => sum(shop, key, &seen, &mut found.lock()),
        Workload::Cart => cart(shop, key, &seen, &mut found.lock()),
        Workload::Profile => profile(shop, key, &seen, &mut found.lock()),
        _ if shop.mode.is_strong() => newest(shop, key, &seen, &mut found.lock()),
        _ => fates(shop, key, &seen, found).await?,
    }
    Ok(())
}

/// In one order the last acknowledged write is there.
fn newest(shop: &Shop, key: u64, seen: &Seen, found: &mut Findings) {
    let cell = shop.ledger.values.cell(key).lock();
    let name = || shop.key(key);
    let shown = seen.values.first().and_then(|shown| number_of(&shown.value));
    let shown = shown.and_then(|number| cell.find(number));
    found.loss.writes += found.of_the_load(cell.writes());
    let Some(shown) = shown else {
        let wrote = cell.writes().iter().any(Write::is_acked);
        found.check(!wrote, || format!("{}: what was acknowledged is not there", name()));
        return;
    };
    if shown.is_unsure() {
        found.verified.blurred += 1;
        return;
    }
    let last = cell.writes().iter().filter(|write| write.is_acked()).max_by_key(|w| w.order);
    let right = last.is_some_and(|last| last.number == shown.number && shown.is_acked());
    found.check(right, || {
        let last = last.map(|last| (last.number, last.order));
        let shown = (shown.number, shown.order, shown.end.map(|(_, end)| end));
        format!("{}: the last acknowledged write is {last:?}, but {shown:?} is there", name())
    });
}

/// Where there is no one order each acknowledged write has a fate, and what is shown is what is current.
async fn fates(shop: &Shop, key: u64, seen: &Seen, found: &Mutex<Findings>) -> Result<(), Failed> {
    let name = shop.key(key);
    let writes = shop.ledger.values.cell(key).lock().writes().to_vec();
    let shown: Vec<&str> = seen.values.iter().filter_map(|s| s.name.as_deref()).collect();
    {
        let mut found = found.lock();
        let one = !shop.mode.is_lww() || seen.values.len() <= 1;
        found.check(one, || format!("{name}: {} values in place of one", seen.values.len()));
        for shown in &seen.values {
            let number = number_of(&shown.value);
            let write = writes.iter().find(|write| Some(write.number) == number);
            let right = write.is_some_and(|write| write.is_unsure() || write.is_acked());
            found.check(right, || format!("{name}: shows what nobody wrote or what was refused"));
        }
        if found.followed >= BENCH_FATES_MAX {
            return Ok(());
        }
        found.followed += writes.len();
        found.verified.blurred += u64::from(writes.iter().any(Write::is_unsure));
    }
    let mut lost = Vec::new();
    let mut current = Vec::new();
    let acked = writes.iter().filter(|write| write.is_acked());
    for receipt in acked.filter_map(|write| write.name.as_deref()) {
        let fate = shop.target.fate(&name, receipt).await?.unwrap_or(Fate::Unknown);
        match fate {
            Fate::Lost => lost.push(receipt.to_owned()),
            Fate::Current => current.push(receipt),
            Fate::Superseded | Fate::Merged | Fate::Unknown => {}
        }
        let mut found = found.lock();
        *found.loss.fates.entry(fate.name().to_owned()).or_default() += 1;
        let right = match fate {
            Fate::Unknown | Fate::Merged => false,
            Fate::Lost => shop.mode.is_lww(),
            Fate::Current | Fate::Superseded => true,
        };
        found.check(right, || format!("{name}: the fate of {receipt} is {}", fate.name()));
    }
    let mut found = found.lock();
    let load = found.of_the_load(&writes);
    found.loss.writes += load;
    let right = current.iter().all(|receipt| shown.contains(receipt));
    found.check(right, || format!("{name}: current are {current:?}, but {shown:?} is shown"));
    if let Some(traced) = trace(&writes, &shown) {
        let hidden = traced.lost.iter().filter(|receipt| !lost.contains(receipt));
        let hidden: Vec<_> = hidden.collect();
        found.check(hidden.is_empty(), || {
            format!("{name}: lost by lineage, and no receipt says so: {hidden:?}")
        });
        let seen = lost.iter().filter(|receipt| !traced.lost.contains(*receipt)).count();
        found.loss.lost_though_seen += count(seen);
        found.traced.0 += load;
        found.traced.1 += count(traced.lost.len());
        found.traced.2 += traced.without_effect;
    }
    Ok(())
}

fn sum(shop: &Shop, key: u64, seen: &Seen, found: &mut Findings) {
    let (added, unknown) = shop.ledger.sums.of(key);
    let is_stock = shop.workload == Workload::Inventory;
    let began = if is_stock { STOCK } else { 0 };
    let actual = integer_of(seen) - began;
    found.sum.expected += added;
    found.sum.actual += actual;
    found.sum.unknown += unknown;
    found.added += added.unsigned_abs();
    found.verified.blurred += u64::from(unknown > 0);
    if shop.mode.is_strong() || shop.mode == Mode::Counter {
        let right = actual.abs_diff(added) <= unknown;
        found.check(right, || {
            format!(
                "{}: {added} were added, {unknown} are unknown, {actual} is there",
                shop.key(key)
            )
        });
    }
    if is_stock {
        let oversold = (-added).saturating_sub(STOCK).max(0).unsigned_abs();
        found.oversold += oversold;
        let right = !shop.mode.is_strong() || oversold == 0;
        found.check(right, || format!("{}: {oversold} sold that were not there", shop.key(key)));
    }
}

fn cart(shop: &Shop, cart: u64, seen: &Seen, found: &mut Findings) {
    let check = shop.ledger.carts.check(cart, &items_of(seen));
    found.cart.carts += 1;
    found.cart.expected += check.known;
    found.cart.lost += check.lost;
    found.cart.resurrected += check.resurrected;
    found.check(check.invented == 0, || {
        format!("{}: {} items that nobody put in", shop.key(cart), check.invented)
    });
    let keeps = shop.mode.is_strong() || matches!(shop.mode, Mode::Set | Mode::Mv);
    found.check(!keeps || check.lost == 0, || {
        format!("{}: {} items are gone", shop.key(cart), check.lost)
    });
    let forgets = shop.mode.is_strong() || shop.mode == Mode::Set;
    found.check(!forgets || check.resurrected == 0, || {
        format!("{}: {} items are back", shop.key(cart), check.resurrected)
    });
}

fn profile(shop: &Shop, key: u64, seen: &Seen, found: &mut Findings) {
    let fields = fields_of(seen);
    for field in 0..PROFILE_FIELDS {
        let cell = shop.ledger.values.cell(key * PROFILE_FIELDS + field).lock();
        if !cell.writes().iter().any(Write::is_acked) {
            continue;
        }
        let shown = fields.get(&field_name(field)).and_then(serde_json::Value::as_u64);
        let judged = cell.judge(shown, shop.env.clock.now());
        let name = || format!("{}, {}", shop.key(key), field_name(field));
        match judged {
            Judged::Behind(0, _) => found.verified.checked += 1,
            Judged::Behind(behind, _) => {
                found.fields_lost += 1;
                let may = shop.mode.is_lww();
                found.check(may, || format!("{}: the last {behind} writes are gone", name()));
            }
            Judged::Unsure => found.verified.blurred += 1,
            Judged::Wrong => found.check(false, || format!("{}: nobody wrote that", name())),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of writes are far below 2^53")]
fn share(part: u64, of: u64) -> f64 {
    part as f64 / of.max(1) as f64
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}

/// What the findings come to.
async fn finish(shop: &Shop, found: &mut Findings, run: &mut Run) {
    let metered = match shop.target.metered().await {
        Ok(metered) => metered,
        Err(failed) => {
            found.check(false, || format!("the meter of losses cannot be read: {failed}"));
            None
        }
    };
    match shop.workload {
        Workload::Counter | Workload::Inventory => {
            let differs = found.sum.actual.abs_diff(found.sum.expected);
            found.sum.error = share(differs.saturating_sub(found.sum.unknown), found.added);
            // Each addition that has no effect is a write without one.
            found.loss.writes = shop.ledger.sums.acked();
            found.loss.effective = found.sum.error;
            run.counter = Some(found.sum.clone());
            if shop.workload == Workload::Inventory {
                run.invariant_breaks = Some(found.oversold);
            }
        }
        Workload::Cart => run.cart = Some(found.cart.clone()),
        Workload::Profile => run.profile_fields_lost = Some(found.fields_lost),
        _ => {
            let lost = found.loss.fates.get(Fate::Lost.name()).copied().unwrap_or(0);
            let exact = found.traced.0 == found.loss.writes;
            let lost = if exact { found.traced.1 } else { lost };
            found.loss.direct = share(lost, found.loss.writes);
            found.loss.effective = share(found.traced.2, found.traced.0);
        }
    }
    if let Some(metered) = metered.filter(|_| shop.mode.is_lww()) {
        let writes = match shop.workload {
            Workload::Counter | Workload::Inventory => shop.ledger.sums.acked(),
            Workload::Cart => shop.ledger.carts.acked(),
            _ => shop.ledger.values.acked().saturating_sub(found.filled),
        };
        let (direct, effective) = (share(metered.direct, writes), share(metered.effective, writes));
        (found.loss.metered_direct, found.loss.metered_effective) = (Some(direct), Some(effective));
        let blind = shop.workload.is_ycsb() && shop.workload != Workload::YcsbF;
        let blind = blind || found.traced.0.saturating_mul(2) < found.loss.writes;
        if shop.workload.is_ycsb() && blind && found.traced.0 < found.loss.writes {
            // Who writes without looking has no lineage that can be seen from the outside: here
            // the store's own count is exact, since each write has seen what its node showed. Of who
            // looks it is not: there what can be traced stands for all.
            found.loss.effective = effective;
        } else if !shop.workload.is_ycsb() {
            found.loss.direct = direct;
            found.loss.writes = writes;
        }
    }
    let counted = shop.workload.is_ycsb() || run.counter.is_some() || shop.mode.is_lww();
    run.loss = counted.then(|| found.loss.clone()).filter(|loss| loss.writes > 0);
}
