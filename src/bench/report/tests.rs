//! The page of a report that was made up: which sections it has, and what stands in them.

use std::collections::BTreeMap;

use super::*;
use crate::bench::figures::{
    Availability, Build, CartFigures, Generator, Latency, Load, Loss, Machine, OpFigures, Run,
    Second, SecondAtSite, Siblings, Staleness, SumFigures, VERSION, Verified, Visibility,
};

fn latency(p50: f64) -> Latency {
    Latency {
        count: 1_000,
        mean: p50 * 1.2,
        p50,
        p90: p50 * 1.8,
        p99: p50 * 3.1,
        p999: p50 * 6.0,
        max: p50 * 9.0,
    }
}

/// What a write takes in a mode at a distance.
fn takes(mode: &str, rtt: f64) -> f64 {
    match mode {
        "linearizable" => 1.4 + rtt * 1.55,
        "linearizable-session" => 1.3 + rtt * 1.5,
        "lww-ack2" => 1.2 + rtt,
        _ => 0.7 + rtt * 0.001,
    }
}

fn run(mode: &str, workload: &str, rtt_ms: u64, rate: f64) -> Run {
    let rtt = words::count(rtt_ms);
    let p50 = takes(mode, rtt);
    let op = |p50| OpFigures {
        count: 1_010,
        ok: 1_000,
        unknown: 10,
        latency: latency(p50),
        ..OpFigures::default()
    };
    let is_lww = mode.starts_with("lww");
    let effective = if is_lww { 0.4 * rtt * rate / (rtt * rate + 40_000.0) } else { 0.0 };
    let direct = effective * 0.7;
    let cdf = (1..=60).map(|n| {
        let share = f64::from(n) / 60.0;
        (1.0 + p50 * 0.2 + rtt / 2.0 * (0.9 + share * share), share)
    });
    Run {
        name: format!("{mode}/{workload}/rtt{rtt_ms}/none"),
        system: "tetrarch".into(),
        mode: mode.into(),
        workload: workload.into(),
        rtt_ms,
        fault: "none".into(),
        load: Load::Open { rate },
        nodes: 3,
        keys: 1_000,
        seconds: 20.0,
        ops: [("read".to_owned(), op(p50 / 2.0)), ("write".to_owned(), op(p50))].into(),
        availability: Availability { share: 0.999, ..Availability::default() },
        visibility: Some(Visibility { samples: 60, cdf: cdf.collect(), ..Visibility::default() }),
        staleness: Some(Staleness { reads: 500, fresh: 1.0 - direct, ..Staleness::default() }),
        loss: Some(Loss {
            writes: 1_000,
            direct,
            effective: if workload == "ycsb-a" { 0.0 } else { effective },
            predicted_direct: is_lww.then_some(direct * 1.1),
            predicted_effective: is_lww.then_some(effective * 1.1),
            ..Loss::default()
        }),
        siblings: (mode == "mv").then_some(Siblings {
            reads: 500,
            mean: 1.04,
            p99: 2,
            max: 4,
            share: 0.03,
        }),
        converge_ms: is_lww.then_some(rtt * 2.0 + 130.0),
        wire_bytes_per_op: Some(if is_lww { 280.0 } else { 650.0 + rtt }),
        cpu_us_per_op: Some(310.0),
        fsyncs_per_op: Some(0.8),
        rss_bytes: Some(41_000_000),
        verified: Verified { checked: 3_000, ..Verified::default() },
        ..Run::default()
    }
}

fn through_a_partition(mode: &str, lasts: u64) -> Run {
    let begin = lasts / 2;
    let at = |t: u64, site: u64| {
        let cut = site == 3 && mode == "linearizable" && (begin..begin + lasts).contains(&t);
        let in_time = if cut { 0 } else { 20 };
        SecondAtSite { wanted: 20, ok: in_time, in_time, failed: 20 - in_time }
    };
    let second = |t| Second { t, sites: (1..=3).map(|site| (site, at(t, site))).collect() };
    let hit = if mode == "linearizable" { 0.02 } else { 1.0 };
    Run {
        name: format!("{mode}/ycsb-a/rtt10/partition"),
        fault: "partition".into(),
        fault_s: Some((words::count(begin), words::count(begin + lasts))),
        fault_sites: vec![3],
        per_second: (0..lasts * 2).map(second).collect(),
        availability: Availability {
            within_ms: 1_000.0,
            share: 0.9,
            during_fault: [(1, 1.0), (2, 1.0), (3, hit)].into(),
            longest_gap_ms: [(1, 80.0), (2, 90.0), (3, (1.0 - hit) * 31_000.0)].into(),
        },
        converge_ms: (mode != "linearizable").then_some(words::count(lasts) * 22.0),
        ..run(mode, "ycsb-a", 10, 300.0)
    }
}

/// All sections have something to say.
fn full() -> Report {
    let mut runs = Vec::new();
    for rtt in [0, 10, 80, 200] {
        for mode in ["linearizable", "linearizable-session", "lww", "lww-ack2", "mv"] {
            runs.push(run(mode, "ycsb-a", rtt, 300.0));
        }
        for mode in ["linearizable", "lww", "counter"] {
            let done = run(mode, "counter", rtt, 150.0);
            let error = done.loss.as_ref().map_or(0.0, |loss| loss.effective);
            let counter = Some(SumFigures { expected: 1_000, actual: 900, unknown: 1, error });
            runs.push(Run { counter, ..done });
        }
        for (mode, lost, resurrected) in [("lww", 34, 3), ("mv", 0, 12), ("set", 0, 0)] {
            let cart = Some(CartFigures { carts: 100, expected: 640, lost, resurrected });
            runs.push(Run { cart, ..run(mode, "cart", rtt, 300.0) });
        }
    }
    for rate in [30.0, 100.0, 1_000.0, 2_000.0] {
        runs.push(run("lww", "counter", 80, rate));
    }
    for (mode, lost) in [("lww", 17), ("map", 0)] {
        runs.push(Run { profile_fields_lost: Some(lost), ..run(mode, "profile", 80, 300.0) });
    }
    runs.push(Run { invariant_breaks: Some(9), ..run("counter", "inventory", 80, 150.0) });
    for lasts in [10, 30] {
        runs.extend(["linearizable", "lww"].map(|mode| through_a_partition(mode, lasts)));
    }
    Report {
        version: VERSION,
        machine: Machine {
            cores: 2,
            memory: 25_276_514_304,
            kernel: "6.18".into(),
            cpu: "A processor".into(),
            disk: "ext4 on /dev/vda".into(),
        },
        build: Build {
            version: "0.1.0".into(),
            commit: Some("abc1234".into()),
            profile: "release".into(),
        },
        command: "tetrarch bench compare --out <x>".into(),
        seed: 7,
        started_ms: 1_700_000_000_000,
        remarks: Vec::new(),
        generator: Some(Generator { cpu_us_per_op: 4.2, ops_per_s: 240_000.0 }),
        planned: 90,
        runs,
    }
}

/// The page as its headings, each with how many pictures and rows of tables follow it.
fn structure(page: &str) -> Vec<String> {
    let sections = page.split("<h2>").skip(1);
    let outline = sections.map(|section| {
        let name = section.split("</h2>").next().unwrap_or_default();
        let (plots, rows) =
            (section.matches("<svg class=\"plot\"").count(), section.matches("<tr").count());
        let missing = section.matches("not measured in this run").count();
        format!("{name}: {plots} pictures, {rows} rows, {missing} missing")
    });
    outline.collect()
}

#[test]
fn every_section_of_a_full_report_has_its_pictures_and_tables() {
    let page = page(&full()).unwrap();
    let expected = [
        "The price and the loss: 6 pictures, 0 rows, 0 missing",
        "Through a fault: 4 pictures, 13 rows, 0 missing",
        "When others see a write: 4 pictures, 0 rows, 0 missing",
        "Loss by the rate of operations: 1 pictures, 0 rows, 0 missing",
        "What an application notices: 0 pictures, 30 rows, 0 missing",
        "Until all agree: 1 pictures, 24 rows, 0 missing",
        "Bytes between nodes: 0 pictures, 52 rows, 1 missing",
        "One trace, every mode: 0 pictures, 6 rows, 0 missing",
        "Every run: 0 pictures, 56 rows, 0 missing",
        "How it was measured: 0 pictures, 7 rows, 0 missing",
    ];
    assert_eq!(structure(&page), expected);
    assert!(page.contains("none wrong") && page.contains("abc1234") && page.contains("&lt;x&gt;"));
    assert!(page.contains("same binary") && page.contains("same machine"));
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_repeats() {
    let first = page(&full()).unwrap();
    for outside in ["http://", "https://", "<script", "<link", "<img", "@import", "url("] {
        assert!(!first.contains(outside), "{outside}");
    }
    assert_eq!(first, page(&full()).unwrap());
}

#[test]
fn what_was_not_measured_is_said_section_by_section() {
    let bare = Run {
        mode: "lww".into(),
        workload: "ycsb-a".into(),
        fault: "none".into(),
        ..Run::default()
    };
    for report in [Report::default(), Report { runs: vec![bare], ..Report::default() }] {
        let page = page(&report).unwrap();
        assert!(page.matches("not measured in this run").count() >= 9, "{:?}", structure(&page));
    }
    // Half of the figures: a loss without a latency, a distribution of one point, a fault without seconds.
    let mut odd = through_a_partition("lww", 10);
    odd.per_second.clear();
    odd.ops = BTreeMap::new();
    odd.visibility = Some(Visibility { cdf: vec![(0.0, 1.0)], ..Visibility::default() });
    page(&Report { runs: vec![odd], ..Report::default() }).unwrap();
}

#[test]
fn a_report_with_anything_wrong_says_so_first() {
    let mut report = full();
    report.runs[0].verified =
        Verified { checked: 9, wrong: 2, blurred: 0, examples: vec!["k7 is <gone>".into()] };
    report.runs[1].trouble = Some("the nodes did not agree".into());
    let page = page(&report).unwrap();
    let banner = page.split("<h2>").next().unwrap();
    for said in [
        "class=\"banner invalid\"",
        "2 of",
        "2 of 9 statements wrong: k7 is &lt;gone&gt;",
        "the nodes did not agree",
    ] {
        assert!(banner.contains(said), "{said}: {banner}");
    }
}
