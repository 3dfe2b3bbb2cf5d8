//! Histories made by hand, and what is certain of who replaced what.

use super::*;
use crate::workload::tests_history::Script;

/// A write at a node that was shown another one, or nothing.
fn write(script: &mut Script, value: i64, at_node: u32, shown: Option<i64>) {
    let task = Value::keyed(1, value);
    let event = script.operation("write", task.clone(), Kind::Ok, task);
    event.node = Some(at_node);
    event.with("receipt", format!("r{value}")).with("context", shown.is_some());
    if let Some(shown) = shown {
        event.with("shown", format!("r{shown}")).with("shown-value", shown);
    }
}

fn record(script: &Script) -> Vec<(Option<usize>, Vec<usize>)> {
    let history = script.history();
    let keys = keys(&history, &Doubts::default());
    let writes = &keys[&1].writes;
    writes.iter().map(|w| (w.shown, w.rivals.iter().copied().collect())).collect()
}

#[test]
fn one_node_alone_leaves_no_doubt() {
    let mut script = Script::default();
    write(&mut script, 10, 1, None);
    write(&mut script, 11, 1, Some(10));
    write(&mut script, 12, 1, Some(11));
    assert_eq!(record(&script), [(None, vec![]), (Some(0), vec![]), (Some(1), vec![])]);
}

#[test]
fn a_write_of_another_node_is_a_rival_until_the_node_is_known_to_have_it() {
    let mut script = Script::default();
    write(&mut script, 10, 1, None);
    write(&mut script, 20, 2, None);
    write(&mut script, 11, 1, Some(10));
    // Node 1 shows node 2's write, so that it is none for this or for later ones.
    write(&mut script, 12, 1, Some(20));
    write(&mut script, 13, 1, Some(12));
    let found = record(&script);
    assert_eq!(found[1], (None, vec![0]));
    assert_eq!(found[2], (Some(0), vec![1]));
    assert_eq!(found[3], (Some(1), vec![]));
    assert_eq!(found[4], (Some(3), vec![]));
}

#[test]
fn what_a_known_write_stands_on_is_known() {
    let mut script = Script::default();
    write(&mut script, 20, 2, None);
    write(&mut script, 21, 2, Some(20));
    let read = script.operation("read", Value::keyed(1, Value::Nil), Kind::Ok, Value::keyed(1, 21));
    read.with("shown", "r21").with("shown-value", 21);
    write(&mut script, 10, 1, Some(21));
    assert_eq!(record(&script)[2], (Some(1), vec![]));
}

#[test]
fn a_rival_that_had_not_come_is_none() {
    let mut script = Script::default();
    write(&mut script, 10, 1, None);
    // Node 2's first write replaces 10 for certain; its second one is sent later.
    write(&mut script, 20, 2, Some(10));
    write(&mut script, 21, 2, Some(20));
    write(&mut script, 11, 1, Some(10));
    assert_eq!(record(&script)[3], (Some(0), vec![1, 2]));
    // Another key: node 1 still shows what node 2 has replaced there before.
    let mut other = Script::default();
    let mut keyed = |value: i64, at_node: u32, shown: Option<i64>, key: i64| {
        write(&mut other, value, at_node, shown);
        for event in other.last_two() {
            event.value = Value::keyed(key, value);
        }
    };
    keyed(50, 1, None, 2);
    keyed(51, 2, Some(50), 2);
    keyed(10, 1, None, 1);
    keyed(20, 2, Some(10), 1);
    keyed(11, 1, Some(10), 1);
    keyed(52, 1, Some(50), 2);
    let history = other.history();
    let keys = keys(&history, &Doubts::default());
    assert_eq!(keys[&1].writes[2].rivals, BTreeSet::new());
}

#[test]
fn a_write_without_an_answer_is_a_rival_for_ever() {
    let mut script = Script::default();
    write(&mut script, 10, 1, None);
    let task = Value::keyed(1, 99);
    script.operation("write", task.clone(), Kind::Info, task);
    write(&mut script, 11, 1, Some(10));
    assert_eq!(record(&script)[2], (Some(0), vec![1]));
}

/// From docs/api.md: of one writer, its first write.
const FIRST: &str = "AQEB_KnbtgaX-ofYBgGKfnsjo-fHfg";

#[test]
fn only_what_came_between_two_answers_of_a_node_is_a_rival() {
    for (before, after, rivals) in [
        ("AQAAAAAAAAAAAA", FIRST, vec![1]),
        (FIRST, FIRST, vec![]),
        ("AQAAAAAAAAAAAA", "AQAAAAAAAAAAAA", vec![]),
    ] {
        let mut script = Script::default();
        write(&mut script, 10, 1, None);
        write(&mut script, 20, 2, None);
        for event in script.last_two() {
            event.with("receipt", "1-66d6d4fc-1795292439.1");
        }
        write(&mut script, 11, 1, Some(10));
        if let Some(event) = script.last_two().last_mut() {
            event.with("heard-before", before).with("heard", after);
        }
        assert_eq!(record(&script)[2], (Some(0), rivals), "{before} {after}");
    }
}
