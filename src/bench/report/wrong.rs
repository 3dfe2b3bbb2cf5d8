//! What an application would notice: counters, carts, profiles and stocks that ended wrong.
//!
//! Promises: each mode stands with every distance that was measured, also when it made no mistake.

use maud::{Markup, html};

use super::faults::bar;
use super::not_measured;
use super::picks::{ink, sound, who};
use super::words::{count, part, share};
use crate::bench::figures::{Report, Run};

/// All of it.
pub(super) fn section(report: &Report) -> Markup {
    html! {
        h2 { "What an application notices" }
        (counters(report))
        (carts(report))
        (others(report))
    }
}

fn head(what: &str, of: &[&str]) -> Markup {
    html! {
        tr {
            th { "mode" } th.n { "round trip" } th { "fault" }
            @for name in of { th.n { (name) } }
            th { (what) }
        }
    }
}

fn lead(run: &Run) -> Markup {
    html! { td { (who(run)) } td.n { (run.rtt_ms) " ms" } td { (run.fault) } }
}

fn counters(report: &Report) -> Markup {
    let runs: Vec<_> = sound(report)
        .filter_map(|run| Some((run, run.counter.as_ref()?)))
        .filter(|(run, _)| run.workload != "inventory")
        .collect();
    if runs.is_empty() {
        return not_measured("Counters");
    }
    let longest = runs.iter().map(|(_, sum)| sum.error).fold(0.0, f64::max);
    html! {
        div.card {
            p { b { "Counters" } span.soft { " · what was added and acknowledged, against what they say at the end" } }
            div.wide { table {
                (head("", &["added", "shown", "unknown", "missing"]))
                @for (run, sum) in &runs {
                    tr {
                        (lead(run))
                        td.n { (sum.expected) } td.n { (sum.actual) } td.n { (sum.unknown) } td.n { (share(sum.error)) }
                        (bar(sum.error, longest, &ink(&who(run))))
                    }
                }
            } }
        }
    }
}

fn carts(report: &Report) -> Markup {
    let runs: Vec<_> = sound(report).filter_map(|run| Some((run, run.cart.as_ref()?))).collect();
    if runs.is_empty() {
        return not_measured("Carts");
    }
    let wrong = |lost: u64, back: u64| count(lost.saturating_add(back));
    let longest =
        runs.iter().map(|(_, cart)| wrong(cart.lost, cart.resurrected)).fold(0.0, f64::max);
    html! {
        div.card {
            p { b { "Carts" } span.soft { " · items that were put in and are gone, and items that were taken out and are back" } }
            div.wide { table {
                (head("", &["carts", "items expected", "gone", "share", "back"]))
                @for (run, cart) in &runs {
                    tr {
                        (lead(run))
                        td.n { (cart.carts) } td.n { (cart.expected) } td.n { (cart.lost) }
                        td.n { (share(part(cart.lost, cart.expected))) } td.n { (cart.resurrected) }
                        (bar(wrong(cart.lost, cart.resurrected), longest, &ink(&who(run))))
                    }
                }
            } }
        }
    }
}

fn others(report: &Report) -> Markup {
    let told = |run: &Run| run.profile_fields_lost.is_some() || run.invariant_breaks.is_some();
    let runs: Vec<_> = sound(report).filter(|run| told(run)).collect();
    if runs.is_empty() {
        return not_measured("Profiles and stocks");
    }
    let wrong = |run: &Run| {
        count(
            run.profile_fields_lost.unwrap_or(0).saturating_add(run.invariant_breaks.unwrap_or(0)),
        )
    };
    let longest = runs.iter().map(|run| wrong(run)).fold(0.0, f64::max);
    let dash =
        |value: Option<u64>| value.map_or_else(|| super::words::NONE.to_owned(), |n| n.to_string());
    html! {
        div.card {
            p { b { "Profiles and stocks" } span.soft { " · fields whose acknowledged last value is not there, and stocks that ended below zero" } }
            div.wide { table {
                (head("", &["workload", "keys", "fields lost", "oversold"]))
                @for run in &runs {
                    tr {
                        (lead(run))
                        td.n { (run.workload) } td.n { (run.keys) }
                        td.n { (dash(run.profile_fields_lost)) } td.n { (dash(run.invariant_breaks)) }
                        (bar(wrong(run), longest, &ink(&who(run))))
                    }
                }
            } }
        }
    }
}
