//! Namespaces: each refusal by example, and the laws under random commands.

use proptest::prelude::*;

use super::*;
use crate::model::{ClusterId, Incarnation, NodeId};
use crate::placement::{CatalogCommand, CatalogReply, LinkMode, SiteLink};
use crate::runtime::limits::SITE_LINKS_MAX;

fn founded() -> Catalog {
    let mut catalog = Catalog::unfounded();
    let found = CatalogCommand::Found {
        cluster: ClusterId(1),
        nodes: vec![(NodeId(1), "h1:7101".to_owned(), Incarnation(1))],
        groups: 4,
        replicas: 3,
    };
    changes(&mut catalog, &found);
    catalog
}

fn create(name: &str) -> CatalogCommand {
    CatalogCommand::CreateNamespace {
        name: name.to_owned(),
        mode: Mode::Linearizable,
        layout: Layout::Spread,
        limits: NamespaceLimits::default(),
        quota: None,
        history_ms: 1000,
        data_type: None,
        topology: Topology::Mesh,
    }
}

/// The same with other settings.
fn settings(name: &str, set: impl FnOnce(&mut Settings)) -> CatalogCommand {
    let mut settings = Settings {
        mode: Mode::Linearizable,
        layout: Layout::Spread,
        limits: NamespaceLimits::default(),
        quota: None,
        history_ms: 1000,
        data_type: None,
        topology: Topology::Mesh,
    };
    set(&mut settings);
    let Settings { mode, layout, limits, quota, history_ms, data_type, topology } = settings;
    let name = name.to_owned();
    CatalogCommand::CreateNamespace {
        name,
        mode,
        layout,
        limits,
        quota,
        history_ms,
        data_type,
        topology,
    }
}

fn eventual(name: &str, set: impl FnOnce(&mut Settings)) -> CatalogCommand {
    settings(name, |settings| {
        settings.mode = Mode::Eventual;
        settings.history_ms = 0;
        settings.data_type = Some(DataType::Lww);
        set(settings);
    })
}

fn topology_of(name: &str, topology: Topology) -> CatalogCommand {
    CatalogCommand::ChangeNamespace {
        name: name.to_owned(),
        if_epoch: None,
        key_bytes_max: None,
        value_bytes_max: None,
        quota: None,
        history_ms: None,
        topology: Some(topology),
    }
}

fn quota(name: &str, if_epoch: Option<u64>, quota: Option<u64>) -> CatalogCommand {
    CatalogCommand::ChangeNamespace {
        name: name.to_owned(),
        if_epoch,
        key_bytes_max: None,
        value_bytes_max: None,
        quota: Some(quota),
        history_ms: None,
        topology: None,
    }
}

fn limits(name: &str, key_bytes_max: u64, value_bytes_max: u64) -> CatalogCommand {
    CatalogCommand::ChangeNamespace {
        name: name.to_owned(),
        if_epoch: None,
        key_bytes_max: Some(key_bytes_max),
        value_bytes_max: Some(value_bytes_max),
        quota: None,
        history_ms: None,
        topology: None,
    }
}

fn delete(name: &str) -> CatalogCommand {
    CatalogCommand::DeleteNamespace { name: name.to_owned() }
}

fn purged(id: u64) -> CatalogCommand {
    CatalogCommand::Purged { namespace: NamespaceId(id) }
}

#[track_caller]
fn changes(catalog: &mut Catalog, command: &CatalogCommand) {
    let epoch = catalog.epoch + 1;
    assert_eq!(catalog.apply(command).epoch(), Some(epoch), "{command:?}");
    assert_eq!(catalog.check(), Ok(()), "after {command:?}");
}

#[track_caller]
fn changes_nothing(catalog: &mut Catalog, command: &CatalogCommand) {
    let before = catalog.clone();
    assert_eq!(catalog.apply(command).epoch(), Some(before.epoch), "{command:?}");
    assert_eq!(*catalog, before, "{command:?}");
}

#[track_caller]
fn refused(catalog: &mut Catalog, command: &CatalogCommand, wanted: RefusalCode, says: &str) {
    let before = catalog.clone();
    let CatalogReply::Refused { code, reason } = catalog.apply(command) else {
        panic!("{command:?} was not refused")
    };
    assert_eq!(code, wanted, "{command:?}: {reason}");
    assert!(reason.contains(says), "{command:?}: {reason}");
    assert_eq!(*catalog, before, "{command:?}");
}

#[test]
fn a_deleted_name_comes_back_with_another_id() {
    let mut catalog = founded();
    changes(&mut catalog, &create("logs"));
    changes_nothing(&mut catalog, &create("logs"));
    let first = catalog.namespace("logs").unwrap().id;
    changes(&mut catalog, &delete("logs"));
    assert_eq!(catalog.doomed.get(&first), Some(&catalog.epoch));
    assert_eq!(catalog.doomed_epoch(), catalog.epoch);
    refused(&mut catalog, &delete("logs"), RefusalCode::UnknownNamespace, "\"logs\"");
    changes(&mut catalog, &create("logs"));
    let second = catalog.namespace("logs").unwrap().id;
    assert!(second > first, "{second} after {first}");
    changes(&mut catalog, &purged(first.0));
    changes_nothing(&mut catalog, &purged(first.0));
    refused(&mut catalog, &purged(second.0), RefusalCode::Invalid, "in use");
    refused(&mut catalog, &purged(9), RefusalCode::UnknownNamespace, "never was");
    assert_eq!(catalog.doomed_epoch(), 0);
}

#[test]
fn only_equal_settings_are_the_same_namespace() {
    let mut catalog = founded();
    changes(&mut catalog, &create("a"));
    let other = settings("a", |settings| settings.layout = Layout::Ordered);
    refused(&mut catalog, &other, RefusalCode::NamespaceExists, "other settings");
}

#[test]
fn the_first_namespace_changes_but_stays() {
    let mut catalog = founded();
    refused(&mut catalog, &delete("default"), RefusalCode::Invalid, "part of every cluster");
    changes(&mut catalog, &quota("default", Some(1), Some(5)));
    assert_eq!(catalog.namespace("default").unwrap().quota, Some(5));
    changes_nothing(&mut catalog, &quota("default", Some(1), Some(5)));
    refused(
        &mut catalog,
        &quota("default", Some(1), Some(6)),
        RefusalCode::NamespaceChanged,
        "at epoch 2",
    );
    changes(&mut catalog, &quota("default", Some(2), None));
    assert_eq!(catalog.namespace("default").unwrap().quota, None);
}

#[test]
fn names_and_limits_that_cannot_be_are_refused() {
    let mut catalog = founded();
    let long = "n".repeat(65);
    for name in ["", "A", ".a", "-a", "a b", "a/b", "ä", long.as_str()] {
        refused(&mut catalog, &create(name), RefusalCode::Invalid, "not a namespace's name");
    }
    for name in ["a", "0", "a.b_c-d", &long[..64]] {
        changes(&mut catalog, &create(name));
    }
    refused(&mut catalog, &limits("a", 0, 1), RefusalCode::Invalid, "longest key");
    refused(&mut catalog, &limits("a", 1 << 20, 1), RefusalCode::Invalid, "longest key");
    refused(&mut catalog, &limits("a", 1, 1 << 30), RefusalCode::Invalid, "longest value");
    refused(&mut catalog, &limits("z", 1, 1), RefusalCode::UnknownNamespace, "\"z\"");
    changes(&mut catalog, &limits("a", 1, 0));
    let ages = settings("h", |settings| settings.history_ms = HISTORY_MS_MAX + 1);
    refused(&mut catalog, &ages, RefusalCode::Invalid, "in memory");
}

#[test]
fn the_doomed_count_as_namespaces_until_they_are_purged() {
    let mut catalog = founded();
    for number in 1..NAMESPACES_MAX {
        // Not through `apply`, whose check of everything would make this quadratic in a test.
        let name = format!("n{number}");
        assert!(catalog.apply(&create(&name)).epoch().is_some(), "{name}");
    }
    assert_eq!(catalog.check(), Ok(()));
    refused(&mut catalog, &create("more"), RefusalCode::TooManyNamespaces, "at most 10000");
    changes(&mut catalog, &delete("n7"));
    refused(&mut catalog, &create("more"), RefusalCode::TooManyNamespaces, "being removed");
    changes(&mut catalog, &purged(8));
    changes(&mut catalog, &create("more"));
}

#[test]
fn the_longest_history_of_all_is_what_is_kept() {
    let mut catalog = founded();
    assert_eq!(catalog.history_kept(), Duration::from_secs(300));
    let none = CatalogCommand::ChangeNamespace {
        name: "default".to_owned(),
        if_epoch: None,
        key_bytes_max: None,
        value_bytes_max: None,
        quota: None,
        history_ms: Some(0),
        topology: None,
    };
    changes(&mut catalog, &none);
    assert_eq!(catalog.history_kept(), Duration::from_secs(60), "for those who wait for locks");
}

#[test]
fn a_mode_takes_its_own_settings_only() {
    let mut catalog = founded();
    let untyped = eventual("e", |settings| settings.data_type = None);
    refused(&mut catalog, &untyped, RefusalCode::Invalid, "needs a type");
    let ordered = eventual("e", |settings| settings.layout = Layout::Ordered);
    refused(&mut catalog, &ordered, RefusalCode::Invalid, "takes no layout");
    let full = eventual("e", |settings| settings.quota = Some(7));
    refused(&mut catalog, &full, RefusalCode::Invalid, "takes no quota");
    let watched = eventual("e", |settings| settings.history_ms = 7);
    refused(&mut catalog, &watched, RefusalCode::Invalid, "keeps no history");
    let typed = settings("l", |settings| settings.data_type = Some(DataType::Map));
    refused(&mut catalog, &typed, RefusalCode::Invalid, "takes no type");
    let linked = settings("l", |settings| settings.topology = Topology::Ring);
    refused(&mut catalog, &linked, RefusalCode::Invalid, "takes no topology");
    changes(&mut catalog, &eventual("e", |_| {}));
    changes_nothing(&mut catalog, &eventual("e", |_| {}));
    assert_eq!(catalog.namespace("e").unwrap().data_type, Some(DataType::Lww));
    let other = eventual("e", |settings| settings.data_type = Some(DataType::Mv));
    refused(&mut catalog, &other, RefusalCode::NamespaceExists, "other settings");
    refused(&mut catalog, &quota("e", None, Some(5)), RefusalCode::Invalid, "takes no quota");
    changes(&mut catalog, &topology_of("e", Topology::Ring));
    changes_nothing(&mut catalog, &topology_of("e", Topology::Ring));
    refused(&mut catalog, &topology_of("default", Topology::Ring), RefusalCode::Invalid, "groups");
}

#[test]
fn a_topology_names_nodes_that_there_are_and_links_that_carry_something() {
    let mut catalog = founded();
    changes(&mut catalog, &eventual("e", |_| {}));
    let hub = |node| topology_of("e", Topology::Hub(NodeId(node)));
    refused(&mut catalog, &hub(9), RefusalCode::Invalid, "names node 9");
    changes(&mut catalog, &hub(1));
    let joins = CatalogCommand::AddNode {
        node: NodeId(2),
        address: "h2:7101".to_owned(),
        incarnation: Incarnation(2),
    };
    changes(&mut catalog, &joins);
    let good = SiteLink {
        from: NodeId(1),
        to: NodeId(2),
        mode: LinkMode::Interval(1000),
        bytes_per_s: Some(1),
        hours: Some((22, 6)),
    };
    for (bad, why) in [
        (SiteLink { to: NodeId(1), ..good.clone() }, "to itself"),
        (SiteLink { to: NodeId(3), ..good.clone() }, "names node 3"),
        (SiteLink { bytes_per_s: Some(0), ..good.clone() }, "0 bytes"),
        (SiteLink { mode: LinkMode::Interval(0), ..good.clone() }, "at least 1 ms"),
        (SiteLink { hours: Some((6, 6)), ..good.clone() }, "hours"),
    ] {
        let links = topology_of("e", Topology::Links(vec![bad]));
        refused(&mut catalog, &links, RefusalCode::Invalid, why);
    }
    let many = topology_of("e", Topology::Links(vec![good.clone(); SITE_LINKS_MAX + 1]));
    refused(&mut catalog, &many, RefusalCode::Invalid, "at most 256 links");
    changes(&mut catalog, &topology_of("e", Topology::Links(vec![good])));
}

fn any_type() -> impl Strategy<Value = Option<DataType>> {
    prop::option::of(prop::sample::select(vec![DataType::Lww, DataType::Map]))
}

fn any_topology() -> impl Strategy<Value = Topology> {
    let plans = vec![Topology::Mesh, Topology::Ring, Topology::Hub(NodeId(1))];
    prop::sample::select(plans)
}

fn any_command() -> impl Strategy<Value = CatalogCommand> {
    let name = prop::sample::select(vec!["a", "b", "default", "Not Good"]);
    let few = prop::option::of(0u64..3);
    prop_oneof![
        (name.clone(), few.clone(), 0u64..2).prop_map(|(name, quota, layout)| {
            settings(name, |settings| {
                settings.layout = if layout == 0 { Layout::Spread } else { Layout::Ordered };
                settings.quota = quota;
            })
        }),
        (name.clone(), any_type(), any_topology()).prop_map(|(name, data_type, topology)| {
            settings(name, |settings| {
                settings.mode = Mode::Eventual;
                settings.history_ms = 0;
                settings.data_type = data_type;
                settings.topology = topology;
            })
        }),
        (name.clone(), any_topology()).prop_map(|(name, topology)| topology_of(name, topology)),
        (name.clone(), few.clone(), few)
            .prop_map(|(name, if_epoch, new)| quota(name, if_epoch, new)),
        name.prop_map(delete),
        (0u64..12).prop_map(purged),
    ]
}

proptest! {
    #[test]
    fn random_commands_never_give_an_id_twice(
        commands in prop::collection::vec(any_command(), 0..60),
    ) {
        let mut catalog = founded();
        let mut given = BTreeSet::from([NamespaceId(1)]);
        for command in commands {
            let before = catalog.clone();
            let reply = catalog.apply(&command);
            prop_assert_eq!(catalog.check(), Ok(()), "after {:?}", command);
            prop_assert_eq!(catalog.epoch, before.epoch + u64::from(catalog != before));
            if matches!(reply, CatalogReply::Refused { .. }) {
                prop_assert_eq!(&catalog, &before);
            }
            for (name, entry) in &catalog.namespaces {
                let is_old = before.namespaces.get(name).is_some_and(|was| was.id == entry.id);
                prop_assert!(is_old || given.insert(entry.id), "{} again", entry.id);
            }
            // The same once more: nothing, or a refusal because it is done.
            let after = catalog.clone();
            catalog.apply(&command);
            prop_assert_eq!(&catalog, &after, "{:?} twice", command);
            catalog = Catalog::decode(&catalog.encode()).unwrap();
        }
    }
}
