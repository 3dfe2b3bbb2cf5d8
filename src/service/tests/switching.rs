//! A linearizable namespace on its way to the other side: what is refused, and that nothing slips in.

use super::*;
use crate::model::eventual::DataType;
use crate::placement::{Layout, Mode, NamespaceEntry, Siblings, SwitchPhase, SwitchTo, Topology};
use crate::service::switching::drive;

const NAME: &str = "default";

fn to_counter() -> SwitchTo {
    SwitchTo {
        mode: Mode::Eventual,
        layout: Layout::Spread,
        history_ms: 0,
        data_type: Some(DataType::Counter),
        topology: Topology::Mesh,
        siblings: Siblings::Refuse,
        began_ms: 5,
    }
}

async fn put_number(service: &Service, key: &'static str) -> Result<Wrote, ServiceError> {
    let context = within(service, 2_000);
    service.write(NAME, Bytes::from_static(key.as_bytes()), value("1").into(), context).await
}

async fn begin(service: &Service) -> Result<SwitchView, ServiceError> {
    service.switch_namespace(NAME, to_counter(), within(service, 5_000)).await
}

fn phase(world: &World) -> SwitchPhase {
    let catalog = world.catalog.borrow().clone().unwrap();
    let switch = catalog.namespace(NAME).and_then(|entry| entry.switch.clone());
    switch.unwrap().phase
}

/// Drives the switches of a node until they are where they are wanted.
async fn driven(world: &World, service: &Service, is_there: impl Fn(&SwitchPhase) -> bool) {
    let reached = async {
        let mut catalog = world.catalog.subscribe();
        while !is_there(&phase(world)) {
            catalog.changed().await.unwrap();
        }
    };
    tokio::select! {
        () = drive::run(service.clone()) => unreachable!("it goes on for ever"),
        () = reached => {}
    }
}

#[tokio::test]
async fn writes_are_refused_while_reads_go_on_and_all_is_as_before_when_it_is_cancelled() {
    let world = World::new();
    let (leader, other) = (world.service(1, true), world.service(2, true));
    put_number(&leader, "k").await.unwrap();
    let begun = begin(&other).await.unwrap();
    assert_eq!(begun.switch.phase, SwitchPhase::Freezing);
    assert_eq!(begin(&leader).await.unwrap().switch.job, begun.switch.job, "the same again");
    for service in [&leader, &other] {
        let refused = put_number(service, "k").await.unwrap_err();
        assert_eq!((refused.code(), refused.outcome()), ("switching", Outcome::NotApplied));
        assert!(get(service, ReadMode::Linearizable, 1_000).await.unwrap().row.is_some());
    }
    let cancelled = leader.cancel_switch(NAME, within(&leader, 5_000)).await.unwrap();
    assert!(matches!(cancelled.switch.phase, SwitchPhase::Stopped { .. }));
    put_number(&other, "k").await.unwrap();
    let none = leader.cancel_switch(NAME, within(&leader, 5_000)).await.unwrap_err();
    assert_eq!(none.code(), "no_switch");
}

#[tokio::test]
async fn no_write_of_a_node_with_an_old_catalog_slips_in_once_copying_has_begun() {
    let world = World::new();
    let (leader, other) = (world.service(1, true), world.service(2, true));
    put_number(&leader, "before").await.unwrap();
    world.hold(2);
    begin(&leader).await.unwrap();
    driven(&world, &leader, |phase| *phase == SwitchPhase::Copying).await;
    // It has not heard of the switch, and asks the leader to do its write.
    let write = put_number(&other, "late");
    let late = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        world.release(2);
    };
    let (wrote, ()) = tokio::join!(write, late);
    assert_eq!(wrote.unwrap_err().code(), "switching");
    let found = leader
        .get(NAME, Bytes::from_static(b"late"), ReadMode::Linearizable, within(&leader, 1_000))
        .await
        .unwrap();
    assert_eq!(found.row, None, "it was refused, and is there");
}

#[tokio::test]
async fn keys_that_do_not_fit_are_named_before_anything_is_done() {
    let world = World::new();
    let service = world.service(1, true);
    put_number(&service, "one").await.unwrap();
    put(&service, 1_000).await.unwrap();
    let survey =
        service.survey_switch(NAME, &to_counter(), &within(&service, 5_000)).await.unwrap();
    assert_eq!((survey.keys, survey.obstacles, survey.is_complete), (2, 1, true));
    assert_eq!(survey.named[0].key, "k");
    let refused = begin(&service).await.unwrap_err();
    assert_eq!((refused.code(), refused.outcome()), ("switch_blocked", Outcome::NotApplied));
    put_number(&service, "one").await.unwrap();
}

#[tokio::test]
async fn a_switch_that_meets_a_key_that_does_not_fit_gives_itself_up() {
    let world = World::new();
    let service = world.service(1, true);
    put_number(&service, "one").await.unwrap();
    begin(&service).await.unwrap();
    // As if it had come after the survey and before the freeze.
    let name = NAME.to_owned();
    world.edit_catalog(|catalog| {
        let entry = catalog.namespaces.get_mut(&name).unwrap();
        *entry = NamespaceEntry { switch: None, ..entry.clone() };
    });
    put(&service, 1_000).await.unwrap();
    let context = within(&service, 5_000);
    let command = crate::placement::CatalogCommand::SwitchNamespace {
        name: NAME.to_owned(),
        to: to_counter(),
    };
    service.step_switch(NAME, &command, &context).await.unwrap();
    driven(&world, &service, |phase| matches!(phase, SwitchPhase::Stopped { .. })).await;
    let SwitchPhase::Stopped { reason } = phase(&world) else { unreachable!("it was waited for") };
    assert!(reason.contains("\"k\""), "{reason}");
    put(&service, 1_000).await.unwrap();
}
