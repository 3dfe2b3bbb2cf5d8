//! How plans are read, and what effects say.

use super::*;

#[test]
fn plans_are_read_as_on_the_command_line() {
    let plan = |spec| parse(spec).map(|plan| plan.names());
    assert_eq!(plan("partition,kill").unwrap(), ["partition", "kill"]);
    assert_eq!(plan(" kill:all , partition:one-way ").unwrap(), ["kill:all", "partition:one-way"]);
    assert!(plan("none").unwrap().is_empty());
    assert_eq!(plan("all").unwrap().len(), faults().len());
    assert!(plan("meteor").unwrap_err().contains("there is no nemesis meteor"));
    assert!(plan("kill:half").unwrap_err().contains("kill has no variant half"));
    assert!(plan("").is_err());
}

#[test]
fn every_kind_makes_a_fault_of_its_own_name() {
    for kind in faults() {
        assert_eq!(kind.make(None).name(), kind.name);
        assert!(!kind.what.is_empty());
    }
}

#[test]
fn one_node_that_was_hit_makes_it_installed() {
    let skipped = |node| (node, Err(Miss::Skipped(format!("node {node} is dead"))));
    let effect = Effect::of_nodes(vec![skipped(1), (2, Ok(()))]);
    assert_eq!(effect, Effect::installed(nodes(&[2])));
    let effect = Effect::of_nodes(vec![skipped(1), skipped(3)]);
    assert_eq!(effect, Effect::skipped(nodes(&[1, 3]), "node 1 is dead"));
    assert!(!Effect::of_nodes(Vec::new()).is_installed());
}

#[test]
fn an_event_says_whether_the_fault_was_there() {
    let event = Effect::failed(nodes(&[1]), "it lives").event("start-kill");
    assert_eq!((event.f.as_str(), event.kind), ("start-kill", Kind::Info));
    assert_eq!(event.process, Process::Nemesis);
    assert_eq!(event.extra.get("effect"), Some(&Value::Keyword("failed".into())));
    assert_eq!(event.extra.get("why"), Some(&Value::Text("it lives".into())));
}
