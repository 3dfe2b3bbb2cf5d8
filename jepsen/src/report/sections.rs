//! The sections of the page that are words and tables.
//!
//! Promises: each is short enough to be read, whatever the history holds: what is left out is
//! counted. A section with nothing to say is not there, except where nothing is itself the news.

use std::collections::BTreeMap;

use maud::{Markup, PreEscaped, html};
use serde_json::Value as Json;

use super::faults::{Meter, Outcome, Window};
use super::page::word;
use super::timeline::{self, Scene};
use super::words;
use crate::history::{Event, Kind, Operation};
use crate::report::{Ended, RunSummary};
use crate::verdict::{Anomaly, Validity, Verdict};

/// Anomalies with a picture of their own; of further ones only the words.
const PICTURES_MAX: usize = 6;
const ANOMALIES_MAX: usize = 30;
const ERRORS_MAX: usize = 12;
const FAULTS_MAX: usize = 200;
const FINDINGS_MAX: usize = 50;
const FIGURES_MAX: usize = 40;

/// The verdict and its reason.
pub(super) fn banner(summary: &RunSummary) -> Markup {
    let minutes = words::duration(nanos(summary.seconds));
    html! {
        header.banner class=(word(summary.validity)) {
            h1 { (mark(summary.validity)) (capital(word(summary.validity))) }
            p.reason { (summary.reason) }
            p.facts {
                b { (summary.workload) } " under " b { (summary.nemesis) }
                @if summary.nodes > 0 { " · " (words::counted(u64::from(summary.nodes), "node", "nodes")) }
                " · " (words::counted(summary.operation_count(), "operation", "operations"))
                " · " (minutes)
                " · " (words::counted(summary.installed_count(), "fault", "faults")) " in force"
                @if !summary.started.is_empty() { " · " (summary.started) }
            }
        }
    }
}

/// The verdict as a sign, for whoever does not see its colour.
pub(super) fn mark(validity: Validity) -> Markup {
    let path = match validity {
        Validity::Valid => "M10 19l6 6 11-13",
        Validity::Unknown => "M13 14a5 5 0 1 1 7.5 4.3c-1.7 1-2.5 2-2.5 4M18 26.5v.1",
        Validity::Invalid => "M11.5 11.5l13 13M24.5 11.5l-13 13",
    };
    html! {
        svg viewBox="0 0 36 36" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="3.4" stroke-linecap="round" stroke-linejoin="round" {
            circle cx="18" cy="18" r="15.8" stroke-width="2.6" {}
            path d=(path) {}
        }
    }
}

/// With a capital letter in front.
pub(super) fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

fn nanos(seconds: f64) -> u64 {
    u64::try_from(std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default().as_nanos())
        .unwrap_or(u64::MAX)
}

/// Each checker's verdict, the worst first.
pub(super) fn why(verdicts: &[Verdict]) -> Markup {
    let mut ordered: Vec<&Verdict> = verdicts.iter().collect();
    ordered.sort_by_key(|verdict| std::cmp::Reverse(verdict.validity));
    html! {
        h2 { "Why" }
        @if ordered.is_empty() {
            p.soft { "No checker has judged this history." }
        }
        @for verdict in ordered {
            div.card {
                div.checker {
                    span.chip class=(word(verdict.validity)) { (word(verdict.validity)) }
                    b { (verdict.checker) }
                    span { (verdict.reason) }
                }
                (figures(&verdict.figures))
            }
        }
    }
}

fn figures(figures: &Json) -> Markup {
    let mut flat: Vec<(String, String)> = Vec::new();
    flatten("", figures, &mut flat);
    let left_out = flat.len().saturating_sub(FIGURES_MAX);
    html! {
        @if !flat.is_empty() {
            dl.figures {
                @for (name, figure) in flat.iter().take(FIGURES_MAX) {
                    div { dt { (name) } dd { (figure) } }
                }
                @if left_out > 0 { div { dt { "and " (left_out) " more in results.json" } } }
            }
        }
    }
}

fn flatten(path: &str, json: &Json, flat: &mut Vec<(String, String)>) {
    match json {
        Json::Object(fields) => {
            for (name, field) in fields {
                let name = name.replace(['_', '-'], " ");
                let path = if path.is_empty() { name } else { format!("{path} · {name}") };
                flatten(&path, field, flat);
            }
        }
        Json::Null => {}
        other => {
            let text = match (other, other.as_u64(), other.as_f64()) {
                (_, Some(number), _) => words::count(number),
                (_, None, Some(number)) => format!("{}", (number * 1e3).round() / 1e3),
                (Json::String(text), _, _) => text.clone(),
                _ => other.to_string(),
            };
            flat.push((path.to_owned(), words::shortened(&text, 120)));
        }
    }
}

/// What must not have happened, in words and as pictures.
pub(super) fn anomalies(
    verdicts: &[Verdict],
    operations: &[Operation<'_>],
    windows: &[Window],
) -> Markup {
    let all: Vec<(&str, &Anomaly)> = verdicts
        .iter()
        .flat_map(|verdict| verdict.anomalies.iter().map(|a| (verdict.checker.as_str(), a)))
        .collect();
    let left_out = all.len().saturating_sub(ANOMALIES_MAX);
    html! {
        @if !all.is_empty() {
            h2 { (if all.len() == 1 { "The anomaly" } else { "The anomalies" }) }
        }
        @for (place, (checker, anomaly)) in all.iter().take(ANOMALIES_MAX).enumerate() {
            section.card {
                div.checker {
                    span.chip.invalid { (anomaly.kind) }
                    span.soft { "found by " (checker) }
                }
                p { (linked(&anomaly.words, place, anomaly)) }
                @if place < PICTURES_MAX { (scene(place, anomaly, operations, windows)) }
            }
        }
        @if left_out > 0 { p.soft { (left_out) " more are in results.json." } }
    }
}

/// Escapes, and makes each `#12` that is an event of this anomaly a link to its row.
fn linked(text: &str, place: usize, anomaly: &Anomaly) -> Markup {
    let mut pieces = text.split('#');
    html! {
        (pieces.next().unwrap_or_default())
        @for piece in pieces {
            @let digits: String = piece.chars().take_while(char::is_ascii_digit).collect();
            @if digits.parse().is_ok_and(|index: u64| anomaly.events.contains(&index)) {
                a href={ "#a" (place) "-" (digits) } { "#" (digits) }
                (piece.strip_prefix(&digits).unwrap_or_default())
            } @else {
                "#" (piece)
            }
        }
    }
}

fn scene(
    place: usize,
    anomaly: &Anomaly,
    operations: &[Operation<'_>],
    windows: &[Window],
) -> Markup {
    let Some(scene) = Scene::of(anomaly, operations, windows) else {
        return html! { p.soft { "None of its events is an operation of this history: there is nothing to draw." } };
    };
    let keys: Vec<String> = scene.keys.iter().take(8).map(|key| words::value(key)).collect();
    html! {
        p.small.soft {
            @if !keys.is_empty() {
                (if keys.len() == 1 { "Key " } else { "Keys " }) (keys.join(", "))
                @if scene.keys.len() > keys.len() { " and others" }
                ". "
            }
            "Each bar goes from invocation to completion. The order of their ends is exact; distances are stretched to make room for words. Hover for details."
        }
        p {
            @for ending in ["ok", "fail", "info"] { span.key { i class=(ending) {} (meaning(ending)) } }
            span.key { i.box {} "strong outline: part of the anomaly" }
            @if !scene.windows.is_empty() { span.key { i.shaded {} "a fault in force" } }
        }
        (timeline::picture(&scene))
        @if scene.near_left_out + scene.far_left_out > 0 {
            p.small.soft {
                @if scene.near_left_out > 0 { (words::count(size(scene.near_left_out))) " further operations of the anomaly are not drawn. " }
                @if scene.far_left_out > 0 { (words::count(size(scene.far_left_out))) " further operations around it are not drawn." }
            }
        }
        (in_words(place, &scene))
    }
}

fn meaning(ending: &str) -> &'static str {
    match ending {
        "ok" => "ok: took effect",
        "fail" => "fail ✗: certainly did not",
        _ => "info ?: nobody knows; may take effect at any later time",
    }
}

fn size(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn in_words(place: usize, scene: &Scene<'_>) -> Markup {
    html! {
        div.wide { table {
            tr { th { "events" } th { "process" } th { "operation" } th { "ending" } th { "node" } th { "group, index" } th.n { "asked at" } th.n { "took" } }
            @for operation in &scene.near {
                @let complete = operation.complete;
                @let took = complete.map(|event| event.time.saturating_sub(operation.invoke.time));
                tr id={ "a" (place) "-" (operation.invoke.index) } {
                    td.mono {
                        "#" (operation.invoke.index)
                        @if let Some(event) = complete { "–" span id={ "a" (place) "-" (event.index) } { "#" (event.index) } }
                    }
                    td { (timeline::name(operation.invoke.process).replace("process ", "")) }
                    td.text { (words::label(operation)) }
                    td { (ended(operation)) }
                    td { (complete.and_then(|event| event.node).map_or(String::new(), |node| node.to_string())) }
                    td { (complete.and_then(|event| event.witness).map_or(String::new(), |w| format!("{}, {}", w.group, w.index))) }
                    td.n { (words::moment(operation.invoke.time)) }
                    td.n { (took.map_or("open".to_owned(), words::duration)) }
                }
            }
        } }
    }
}

fn ended(operation: &Operation<'_>) -> Markup {
    let ending = words::ending(operation);
    let error = operation.complete.and_then(|event| event.error.as_deref());
    html! {
        b class={ "ending-" (ending) } { (ending) }
        @if let Some(error) = error { " " (words::shortened(error, 60)) }
    }
}

/// What was done, by `f` and ending, and which errors came back.
pub(super) fn operations(summary: &RunSummary, operations: &[Operation<'_>]) -> Markup {
    let errors = errors(operations);
    html! {
        h2 { "Operations" }
        @if summary.operations.is_empty() { p.soft { "None was begun." } }
        @else { div.card.wide { table {
            tr { th { "operation" } th { "ending" } th.n { "count" } th.n { "share" } th.n { "median" } th.n { "95 of 100" } th.n { "99 of 100" } th.n { "999 of 1,000" } th.n { "longest" } }
            @for operation in &summary.operations {
                @let endings: Vec<(&str, &Ended)> = [("ok", &operation.ok), ("fail", &operation.fail), ("info", &operation.info)].into_iter().filter(|(_, ended)| ended.count > 0).collect();
                @for (row, (ending, ended)) in endings.iter().enumerate() {
                    tr class=[(row + 1 < endings.len()).then_some("shared")] {
                        td { @if row == 0 { b { (operation.f) } } }
                        td { b class={ "ending-" (ending) } { (ending) } }
                        td.n { (words::count(ended.count)) }
                        td.n { (share(ended.count, operation.count())) }
                        (latencies(ended))
                    }
                }
            }
        } } }
        @if !errors.is_empty() {
            h3 { "Errors" }
            div.card.wide { table {
                tr { th { "ending" } th { "error" } th { "of" } th.n { "count" } }
                @for ((kind, error, f), count) in errors.iter().take(ERRORS_MAX) {
                    tr {
                        td { b class={ "ending-" (kind) } { (kind) } }
                        td.text { (words::shortened(error, 120)) }
                        td { (f) }
                        td.n { (words::count(*count)) }
                    }
                }
            } }
            @if errors.len() > ERRORS_MAX { p.small.soft { "and " (errors.len() - ERRORS_MAX) " rarer ones" } }
        }
    }
}

fn latencies(ended: &Ended) -> Markup {
    html! {
        @if let Some(q) = ended.latency {
            @for ms in [q.p50_ms, q.p95_ms, q.p99_ms, q.p999_ms, q.max_ms] { td.n { (words::milliseconds(ms)) } }
        } @else { td.n.none colspan="5" { "none completed" } }
    }
}

fn share(part: u64, whole: u64) -> String {
    let percent = part as f64 * 100.0 / whole.max(1) as f64;
    match percent {
        p if p >= 99.995 || part == 0 => format!("{p:.0}%"),
        p if p >= 99.0 || p < 1.0 => format!("{p:.2}%"),
        p => format!("{p:.1}%"),
    }
}

type ErrorOf<'a> = (&'static str, &'a str, &'a str);

fn errors<'a>(operations: &[Operation<'a>]) -> Vec<(ErrorOf<'a>, u64)> {
    let mut counts: BTreeMap<ErrorOf<'a>, u64> = BTreeMap::new();
    for operation in operations {
        let complete: Option<&Event> = operation.complete;
        let error = match complete {
            None => "still open when the history ends",
            Some(event) if event.kind == Kind::Ok => continue,
            Some(event) => event.error.as_deref().unwrap_or("no error given"),
        };
        *counts.entry((words::ending(operation), error, &operation.invoke.f)).or_default() += 1;
    }
    let mut counts: Vec<(ErrorOf<'a>, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

/// What was broken, whether it was in force, and what clients saw of it.
pub(super) fn faults(windows: &[Window], meter: &Meter) -> Markup {
    html! {
        h2 { "Faults" }
        @if windows.is_empty() {
            p.soft { "Nothing was broken in this history." }
        } @else {
            p.small.soft {
                "In a usual second without faults " (words::counted(nanos(meter.calm() / 1e9), "operation", "operations"))
                " took effect. Silence: the longest time in which none did, from the beginning of the fault to the recovery. Recovery: from the end of the fault until half the usual rate was reached for a second."
            }
            div.card.wide { table {
                tr { th { "fault" } th.n { "at" } th.n { "lasted" } th { "what" } th { "effect" } th.n { "ok/s" } th.n { "silence" } th.n { "recovery" } }
                @for window in windows.iter().take(FAULTS_MAX) { (fault(window, meter)) }
            } }
            @if windows.len() > FAULTS_MAX { p.small.soft { "and " (windows.len() - FAULTS_MAX) " more in the history" } }
        }
    }
}

fn fault(window: &Window, meter: &Meter) -> Markup {
    let impact = window.bites().then(|| meter.impact(window));
    let lasted = match (window.lasts(), window.ended) {
        (false, _) => "at once".to_owned(),
        (true, true) => words::duration(window.end - window.begin),
        (true, false) => "to the end".to_owned(),
    };
    let effect = match window.outcome {
        Outcome::Installed => ("ok", "in force"),
        Outcome::Skipped => ("info", "skipped"),
        Outcome::Failed => ("fail", "failed"),
    };
    html! {
        tr {
            td { b { (window.name) } }
            td.n { (words::moment(window.begin)) }
            td.n { (if window.bites() { lasted } else { String::new() }) }
            td.text.small { (words::value(&window.value)) }
            td {
                span class={ "ending-" (effect.0) } { (effect.1) }
                @if let Some(why) = window.why.as_deref().filter(|_| !window.bites()) { ": " (words::shortened(why, 120)) }
            }
            @if let Some(impact) = impact {
                td.n { (impact.ok_per_second.map_or(String::new(), |rate| format!("{rate:.0}"))) }
                td.n { (words::duration(impact.silence)) }
                td.n { (impact.recovered.map_or("not seen".to_owned(), |after| if after == 0 { "at once".to_owned() } else { words::duration(after) })) }
            } @else { td {} td {} td {} }
        }
    }
}

/// Lines of the node logs that should not be there.
pub(super) fn findings(summary: &RunSummary) -> Markup {
    html! {
        @if !summary.findings.is_empty() {
            h2 { "In the node logs" }
            div.card.wide { table {
                tr { th { "node" } th.n { "line" } th { "text" } }
                @for finding in summary.findings.iter().take(FINDINGS_MAX) {
                    tr {
                        td { (finding.node) }
                        td.n { @if finding.line > 0 { (finding.line) } }
                        td.text.mono { (words::shortened(&finding.text, 400)) }
                    }
                }
            } }
            @if summary.findings.len() > FINDINGS_MAX { p.small.soft { "and " (summary.findings.len() - FINDINGS_MAX) " more" } }
        }
    }
}

/// What the run was, how to do it again, and its files.
pub(super) fn run(summary: &RunSummary) -> Markup {
    let rate =
        if summary.rate > 0.0 { format!("{} per second", summary.rate) } else { String::new() };
    let number = |number: u64| if number == 0 { String::new() } else { words::count(number) };
    let facts: Vec<(&str, String)> = vec![
        ("workload", summary.workload.clone()),
        ("nemesis", summary.nemesis.clone()),
        ("seed", summary.seed.to_string()),
        ("server", summary.version.clone()),
        ("harness", summary.revision.clone()),
        ("nodes", number(u64::from(summary.nodes))),
        ("links broken by", summary.backend.clone()),
        ("clients", number(summary.concurrency)),
        ("asked rate", rate),
        ("events", words::count(summary.events)),
        ("began", summary.started.clone()),
        ("lasted", words::duration(nanos(summary.seconds))),
    ];
    html! {
        h2 { "The run" }
        div.card.wide { table {
            @for (name, fact) in facts.iter().filter(|(_, fact)| !fact.is_empty()) {
                tr { td.soft { (name) } td.text { (fact) } }
            }
        } }
        @if !summary.replay.is_empty() { h3 { "Do it again" } pre { (summary.replay) } }
        @if !summary.files.is_empty() {
            h3 { "Files" }
            p { @for (place, file) in summary.files.iter().enumerate() {
                @if place > 0 { (PreEscaped(" &middot; ")) }
                a href={ "./" (href(file)) } { (file) }
            } }
        }
    }
}

/// A path within the store as a link: nothing of it is read as a scheme, a query or a fragment.
pub(super) fn href(path: &str) -> String {
    path.split('/')
        .map(|part| {
            percent_encoding::utf8_percent_encode(part, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
                .replace("%2E", ".")
                .replace("%2D", "-")
                .replace("%5F", "_")
        })
        .collect::<Vec<String>>()
        .join("/")
}
