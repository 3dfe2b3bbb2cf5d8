//! Switches with both sides at work: another node drives in the middle, writes race with the freeze.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::model::NodeId;
use crate::model::eventual::{Ask, DataType, What};
use crate::peer::MemoryNetwork;
use crate::placement::{Layout, Mode, NamespaceLimits, Siblings, SwitchPhase, SwitchTo, Topology};
use crate::service::eventual::Order;
use crate::service::switching::drive;

const NAME: &str = "visits";

const KEYS: u64 = 300;

/// A cluster with a namespace.
async fn cluster(data_type: Option<DataType>) -> (Arc<World>, [Service; 3]) {
    let (world, network) = (World::new(), MemoryNetwork::new(7));
    let services = [1, 2, 3].map(|node| world.service_of_both(node, &network));
    let request = NamespaceRequest {
        name: NAME.into(),
        mode: if data_type.is_some() { Mode::Eventual } else { Mode::Linearizable },
        layout: Layout::Spread,
        limits: NamespaceLimits::default(),
        quota: None,
        history: Duration::ZERO,
        data_type,
        topology: Topology::Mesh,
    };
    services[0].create_namespace(request, within(&services[0], 5_000)).await.unwrap();
    (world, services)
}

fn to(mode: Mode, data_type: Option<DataType>) -> SwitchTo {
    SwitchTo {
        mode,
        layout: Layout::Spread,
        history_ms: 0,
        data_type,
        topology: Topology::Mesh,
        siblings: Siblings::Refuse,
        began_ms: 1_780_000_000_000,
    }
}

/// Node 1 drives until it copies, then node 2 goes on while node 1 is late.
async fn switch(world: &World, services: &[Service; 3], to: SwitchTo) {
    services[2].switch_namespace(NAME, to, within(&services[2], 20_000)).await.unwrap();
    let reached = async |is_there: &dyn Fn(&SwitchPhase) -> bool| {
        let mut catalog = world.catalog.subscribe();
        let there = catalog.wait_for(|catalog| {
            let entry = catalog.as_ref().and_then(|catalog| catalog.namespace(NAME));
            let switch = entry.and_then(|entry| entry.switch.as_ref());
            switch.is_some_and(|switch| is_there(&switch.phase))
        });
        drop(there.await.unwrap());
    };
    let all = async {
        reached(&|phase| *phase != SwitchPhase::Freezing).await;
        world.leader.send_replace(Some(NodeId(2)));
        reached(&|phase| *phase == SwitchPhase::Done).await;
    };
    tokio::select! {
        () = drive::run(services[0].clone()) => unreachable!("it goes on for ever"),
        () = drive::run(services[1].clone()) => unreachable!("it goes on for ever"),
        () = all => {}
        () = tokio::time::sleep(Duration::from_secs(120)) => {
            let seen = services[2].look_switch(NAME, within(&services[2], 5_000)).await;
            panic!("the switch does not come to its end: {seen:?}");
        }
    }
}

/// Adds until the switch keeps it from that; how much was acknowledged.
async fn add(service: &Service) -> u64 {
    let mut acked = 0;
    loop {
        let context = within(service, 5_000);
        // Otherwise it is over already, or about to be.
        let Ok(Some(space)) = service.eventual(NAME, &context).await else { return acked };
        let key = Bytes::from(format!("c{}", acked % 5));
        match space.write(key, Order::from(Ask::Add(1)), &context).await {
            Ok(_) => acked += 1,
            Err(error) => {
                assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
                if error.code() == "switching" {
                    return acked;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_go_to_consensus_exactly_while_they_are_added_to_and_another_node_drives() {
    let (world, services) = cluster(Some(DataType::Counter)).await;
    let writers = services.iter().map(add);
    let switched = switch(&world, &services, to(Mode::Linearizable, None));
    let (acked, ()) = tokio::join!(futures_util::future::join_all(writers), switched);
    let (mut sum, acked) = (0, acked.iter().sum::<u64>());
    for key in ["c0", "c1", "c2", "c3", "c4"] {
        let key = Bytes::from_static(key.as_bytes());
        let context = within(&services[2], 5_000);
        let got = services[2].get(NAME, key, ReadMode::Linearizable, context).await.unwrap();
        let text = got.row.map(|row| String::from_utf8(row.value.to_vec()).unwrap());
        sum += text.map_or(0, |text| text.parse::<u64>().unwrap());
    }
    assert_eq!(sum, acked, "what was acknowledged, once");
    assert!(acked > 0, "somebody wrote before the freeze");
    let written = services[0].write(
        NAME,
        Bytes::from_static(b"c0"),
        value("1").into(),
        within(&services[0], 5_000),
    );
    assert!(written.await.is_ok(), "and now it takes writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_come_from_consensus_once_although_two_nodes_copy_them() {
    let (world, services) = cluster(None).await;
    let mut expected = BTreeMap::new();
    for number in 0..KEYS {
        let key = Bytes::from(format!("k{number:03}"));
        let value = Bytes::from(number.to_string());
        let op = WriteOp::Put { value, content_type: None, attach: Attach::None };
        let context = within(&services[0], 5_000);
        services[0].write(NAME, key.clone(), op.into(), context).await.unwrap();
        expected.insert(key, number.to_string());
    }
    switch(&world, &services, to(Mode::Eventual, Some(DataType::Counter))).await;
    for service in &services {
        let context = within(service, 5_000);
        let space = service.eventual(NAME, &context).await.unwrap().expect("it is eventual");
        for (key, value) in &expected {
            let held = space.get(key, None, &context).await.unwrap();
            assert_eq!(held.shown.what, What::Text(value.clone()), "{key:?}");
        }
        let missing = space.get(&Bytes::from_static(b"other"), None, &context).await.unwrap();
        assert_eq!(missing.shown.what, What::Missing);
    }
}
