//! Switches in the catalog: each step by example, and what no order of steps may break.

use proptest::prelude::*;

use super::*;
use crate::model::{ClusterId, Incarnation, NodeId};
use crate::placement::{CatalogCommand, CatalogReply, Layout};

const NAME: &str = "default";

fn founded() -> Catalog {
    let mut catalog = Catalog::unfounded();
    drop(catalog.apply(&CatalogCommand::Found {
        cluster: ClusterId(1),
        nodes: vec![(NodeId(1), "h1:7101".to_owned(), Incarnation(1))],
        groups: 4,
        replicas: 3,
    }));
    catalog
}

fn to_eventual() -> SwitchTo {
    SwitchTo {
        mode: Mode::Eventual,
        layout: Layout::Spread,
        history_ms: 0,
        data_type: Some(DataType::Lww),
        topology: Topology::Mesh,
        siblings: Siblings::Refuse,
        began_ms: 5,
    }
}

fn to_linearizable() -> SwitchTo {
    SwitchTo { mode: Mode::Linearizable, data_type: None, ..to_eventual() }
}

fn apply(catalog: &mut Catalog, command: &CatalogCommand) -> Result<u64, RefusalCode> {
    let before = catalog.clone();
    let reply = catalog.apply(command);
    assert_eq!(catalog.check(), Ok(()), "{command:?}");
    assert_eq!(Catalog::decode(&catalog.encode()).as_ref(), Ok(&*catalog));
    match reply {
        CatalogReply::Refused { code, .. } => {
            assert_eq!(*catalog, before, "a refusal changes nothing");
            Err(code)
        }
        other => Ok(other.epoch().unwrap()),
    }
}

fn begin(catalog: &mut Catalog, to: SwitchTo) -> Result<u64, RefusalCode> {
    apply(catalog, &CatalogCommand::SwitchNamespace { name: NAME.to_owned(), to })
}

fn step(catalog: &mut Catalog, job: u64, step: SwitchStep) -> Result<u64, RefusalCode> {
    apply(catalog, &CatalogCommand::StepSwitch { name: NAME.to_owned(), job, step })
}

fn entry(catalog: &Catalog) -> &NamespaceEntry {
    catalog.namespace(NAME).unwrap()
}

#[test]
fn a_name_means_the_new_namespace_only_at_the_end_and_the_old_one_is_doomed_then() {
    let mut catalog = founded();
    let old = entry(&catalog).id;
    let job = begin(&mut catalog, to_eventual()).unwrap();
    assert_eq!(begin(&mut catalog, to_eventual()), Ok(job), "the same again changes nothing");
    assert_eq!(entry(&catalog).epoch, job, "the freeze is a change that groups can be told of");
    let hidden = entry(&catalog).hidden().unwrap().id;
    assert!(hidden > old && catalog.entries().any(|entry| entry.id == hidden));
    assert_eq!(step(&mut catalog, job, SwitchStep::Finish), Err(RefusalCode::NotSwitching));
    step(&mut catalog, job, SwitchStep::Copy).unwrap();
    assert_eq!(
        step(&mut catalog, job + 1, SwitchStep::Seal { keys: 3 }),
        Err(RefusalCode::NotSwitching)
    );
    let sealed = step(&mut catalog, job, SwitchStep::Seal { keys: 3 }).unwrap();
    assert_eq!(step(&mut catalog, job, SwitchStep::Seal { keys: 3 }), Ok(sealed), "once");
    assert_eq!((entry(&catalog).id, catalog.doomed.len()), (old, 0));
    let done = step(&mut catalog, job, SwitchStep::Finish).unwrap();
    let now = entry(&catalog);
    assert_eq!((now.id, now.mode, now.data_type), (hidden, Mode::Eventual, Some(DataType::Lww)));
    assert_eq!(
        now.switch.as_ref().map(|switch| (&switch.phase, switch.keys)),
        Some((&SwitchPhase::Done, 3))
    );
    assert_eq!(catalog.doomed.get(&old), Some(&done));
    assert_eq!(step(&mut catalog, job, SwitchStep::Finish), Ok(done), "also when it was not heard");
    // And back again.
    let back = begin(&mut catalog, to_linearizable()).unwrap();
    assert!(back > done && entry(&catalog).active_switch().is_some());
}

#[test]
fn a_switch_that_is_given_up_leaves_the_namespace_as_it_was() {
    let mut catalog = founded();
    let before = entry(&catalog).clone();
    let job = begin(&mut catalog, to_eventual()).unwrap();
    let hidden = entry(&catalog).hidden().unwrap().id;
    step(&mut catalog, job, SwitchStep::Copy).unwrap();
    step(&mut catalog, job, SwitchStep::Stop { reason: "x".repeat(9999) }).unwrap();
    let now = entry(&catalog).clone();
    assert!(now.active_switch().is_none() && catalog.doomed.contains_key(&hidden));
    assert_eq!(NamespaceEntry { switch: None, epoch: before.epoch, ..now.clone() }, before);
    let Some(SwitchPhase::Stopped { reason }) = now.switch.map(|switch| switch.phase) else {
        panic!("it says that it was given up");
    };
    assert!(reason.len() <= SWITCH_REASON_BYTES_MAX);
    assert_eq!(
        step(&mut catalog, job, SwitchStep::Seal { keys: 1 }),
        Err(RefusalCode::NotSwitching)
    );
    let again = begin(&mut catalog, to_eventual()).unwrap();
    assert!(again > job && entry(&catalog).hidden().unwrap().id > hidden, "ids are given once");
}

#[test]
fn what_cannot_be_is_refused_and_nothing_else_changes_meanwhile() {
    let mut catalog = founded();
    assert_eq!(begin(&mut catalog, to_linearizable()), Err(RefusalCode::Invalid), "it is so");
    let untyped = SwitchTo { data_type: None, ..to_eventual() };
    assert_eq!(begin(&mut catalog, untyped), Err(RefusalCode::Invalid));
    begin(&mut catalog, to_eventual()).unwrap();
    let other = SwitchTo { data_type: Some(DataType::Mv), ..to_eventual() };
    assert_eq!(begin(&mut catalog, other), Err(RefusalCode::Switching));
    let change = CatalogCommand::ChangeNamespace {
        name: NAME.to_owned(),
        if_epoch: None,
        key_bytes_max: Some(9),
        value_bytes_max: None,
        quota: None,
        history_ms: None,
        topology: None,
    };
    assert_eq!(apply(&mut catalog, &change), Err(RefusalCode::Switching));
    let hidden = entry(&catalog).hidden().unwrap().id;
    let purged = CatalogCommand::Purged { namespace: hidden };
    assert_eq!(apply(&mut catalog, &purged), Err(RefusalCode::Invalid), "its rows are wanted");
}

#[test]
fn a_namespace_that_is_deleted_takes_its_switch_with_it() {
    let mut catalog = founded();
    let name = "jobs".to_owned();
    let create = CatalogCommand::CreateNamespace {
        name: name.clone(),
        mode: Mode::Linearizable,
        layout: Layout::Spread,
        limits: crate::placement::NamespaceLimits::default(),
        quota: None,
        history_ms: 0,
        data_type: None,
        topology: Topology::Mesh,
    };
    apply(&mut catalog, &create).unwrap();
    let to = to_eventual();
    let job = apply(&mut catalog, &CatalogCommand::SwitchNamespace { name: name.clone(), to });
    apply(&mut catalog, &CatalogCommand::DeleteNamespace { name: name.clone() }).unwrap();
    assert_eq!(catalog.doomed.len(), 2, "what it was, and what it was to become");
    let step = CatalogCommand::StepSwitch { name, job: job.unwrap(), step: SwitchStep::Copy };
    assert_eq!(apply(&mut catalog, &step), Err(RefusalCode::UnknownNamespace));
}

proptest! {
    #[test]
    fn no_order_of_steps_breaks_the_catalog(orders in proptest::collection::vec((0_u8..7, 0_u64..9), 1..40)) {
        let mut catalog = founded();
        let mut ids = std::collections::BTreeSet::from([entry(&catalog).id]);
        for (kind, back) in orders {
            let job = catalog.epoch.saturating_sub(back);
            let active = entry(&catalog).active_switch().map_or(job, |s| if back < 6 { s.job } else { job });
            let before = entry(&catalog).hidden().map(|hidden| hidden.id);
            let _refused_or_not = match kind {
                0 => begin(&mut catalog, to_eventual()),
                1 => begin(&mut catalog, to_linearizable()),
                2 => step(&mut catalog, active, SwitchStep::Copy),
                3 => step(&mut catalog, active, SwitchStep::Seal { keys: back }),
                4 | 5 => step(&mut catalog, active, SwitchStep::Finish),
                _ => step(&mut catalog, active, SwitchStep::Stop { reason: String::new() }),
            };
            let hidden = entry(&catalog).hidden().map(|hidden| hidden.id);
            if hidden.is_some() && hidden != before {
                prop_assert!(ids.insert(hidden.unwrap()), "an id was given twice");
            }
        }
    }
}
