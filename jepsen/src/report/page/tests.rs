//! The whole page, on histories that wish it ill.

use super::*;
use crate::history::{Event, Kind, Process, Value};
use crate::report::LogFinding;
use crate::verdict::Anomaly;

const HOSTILE: &str = "</style><script>alert(1)</script>\"'&<img src=x onerror=y>";

fn hostile() -> History {
    let mut events = Vec::new();
    for (index, kind) in [(0, Kind::Invoke), (1, Kind::Ok)] {
        events.push(Event {
            index,
            time: index * 5_000_000,
            kind,
            process: Process::Client(0),
            f: HOSTILE.to_owned(),
            value: Value::Text(HOSTILE.to_owned()),
            node: Some(1),
            witness: None,
            error: Some(HOSTILE.to_owned()),
            extra: [(HOSTILE.to_owned(), Value::Keyword(HOSTILE.to_owned()))].into(),
        });
    }
    for (index, f) in [(2, format!("start-{HOSTILE}")), (3, HOSTILE.to_owned())] {
        let event = events[0].clone();
        let (process, kind) = (Process::Nemesis, Kind::Info);
        events.push(Event { index, time: index * 5_000_000, f, process, kind, ..event });
    }
    History { events }
}

fn hostile_page() -> String {
    let anomaly = Anomaly {
        kind: HOSTILE.to_owned(),
        words: format!("{HOSTILE} #0 #1x #77 #"),
        events: vec![0, 1],
    };
    let verdicts = [Verdict::invalid(HOSTILE, HOSTILE, vec![anomaly])
        .with_figures(serde_json::json!({ HOSTILE: HOSTILE, "deep": { "er": [1, HOSTILE] } }))];
    let all = || HOSTILE.to_owned();
    let finding = LogFinding { node: 1, line: 2, text: all() };
    let summary = RunSummary {
        workload: all(),
        nemesis: all(),
        revision: all(),
        version: all(),
        backend: all(),
        started: all(),
        replay: all(),
        findings: vec![finding],
        files: vec![all(), "javascript:alert(1)".to_owned()],
        ..RunSummary::default()
    };
    let history = hostile();
    page(&summary.counted(&history).judged(&verdicts), &history, &verdicts).unwrap()
}

#[test]
fn whatever_a_history_holds_is_text_on_the_page() {
    let page = hostile_page();
    assert!(!page.contains("<script"), "a script got in");
    assert!(!page.contains("<img"), "an element got in");
    assert_eq!(page.matches("</style>").count(), 1);
    assert!(!page.contains("href=\"javascript"), "a link runs something");
    assert!(page.contains("href=\"./javascript%3Aalert%281%29\""));
}

#[test]
fn the_page_needs_no_network_and_no_script() {
    let page = hostile_page();
    for outside in ["http://", "https://", "@import", "url(", " src=\"", "<link", "<script"] {
        let found = page.replace("http://www.w3.org/2000/svg", "").contains(outside);
        assert!(!found, "the page holds {outside}");
    }
}

#[test]
fn words_link_to_the_events_of_their_anomaly_only() {
    let page = hostile_page();
    assert!(page.contains("<a href=\"#a0-0\">#0</a>"));
    assert!(page.contains("<a href=\"#a0-1\">#1</a>x"));
    assert!(page.contains("#77"));
    assert!(page.contains("id=\"a0-0\"") && page.contains("id=\"a0-1\""));
}

#[test]
fn the_verdict_stands_first_and_the_same_run_gives_the_same_bytes() {
    let page = hostile_page();
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is missing"));
    let order = ["<h1>", "Why</h2>", "The anomaly</h2>", "Over time</h2>", "Operations</h2>"];
    assert!(order.map(at).is_sorted());
    assert!(page.contains("Invalid</h1>"));
    assert_eq!(page, hostile_page());
}

#[test]
fn an_empty_history_has_a_page_that_claims_nothing() {
    let history = History::default();
    let summary = RunSummary::default().counted(&history).judged(&[]);
    let page = page(&summary, &history, &[]).unwrap();
    assert!(page.contains("Unknown</h1>"));
    assert!(page.contains("No checker has judged this history."));
    assert!(!page.contains("Over time"));
}

#[test]
fn a_summary_survives_its_json_and_an_older_file_has_defaults() {
    let history = hostile();
    let summary = RunSummary::default().counted(&history);
    assert_eq!(summary.operation_count(), 1);
    assert_eq!(summary.installed_count(), 2);
    let json = serde_json::to_string(&summary).unwrap();
    assert_eq!(serde_json::from_str::<RunSummary>(&json).unwrap(), summary);
    let old: RunSummary = serde_json::from_str("{\"workload\":\"set\"}").unwrap();
    assert_eq!(old.validity, Validity::Unknown);
    assert_eq!(old.name(), "set without faults");
}

#[test]
fn verdicts_add_up_to_the_worst() {
    let valid = Verdict::valid("linear", "fine");
    let unknown = Verdict::unknown("coverage", "no fault bit");
    let summary = RunSummary::default().judged(&[valid.clone(), unknown]);
    assert_eq!(summary.validity, Validity::Unknown);
    assert_eq!(summary.reason, "coverage: no fault bit");
    assert_eq!(RunSummary::default().judged(&[valid]).reason, "linear: fine");
}
