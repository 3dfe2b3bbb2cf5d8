//! Shards come and go with the catalog.

use tokio::sync::watch;

use super::*;
use crate::convergence::{Foundation, Shards, storage_group};
use crate::model::Incarnation;
use crate::placement::{Catalog, Layout, Mode, NamespaceEntry, NodeEntry, NodeState};

const ID: NamespaceId = NamespaceId(5);

fn catalog(has: bool) -> Catalog {
    let mut catalog = Catalog { next_namespace: NamespaceId(6), ..Catalog::unfounded() };
    let node = |number: u64| NodeEntry {
        address: format!("node{number}:1"),
        incarnation: Incarnation((number << 32) + 7),
        state: NodeState::Active,
    };
    catalog.nodes = (1..=2).map(|number| (NodeId(number), node(number))).collect();
    if has {
        let entry = NamespaceEntry {
            id: ID,
            mode: Mode::Eventual,
            layout: Layout::Spread,
            limits: NamespaceLimits::default(),
            quota: None,
            history_ms: 0,
            epoch: 1,
            recorded_since: 0,
            data_type: Some(DataType::Counter),
            topology: crate::placement::Topology::Mesh,
            switch: None,
        };
        catalog.namespaces.insert("n".to_owned(), entry);
    }
    catalog
}

struct Life {
    shards: Arc<Shards>,
    log: Log,
    state: State,
    driver: CancellationToken,
}

fn start(home: &Home) -> Life {
    let env = home.env();
    let (log, state) = home.cellar(&env).unwrap();
    let driver = drive(&env, &log);
    let (_sender, catalog) = watch::channel(None);
    let foundation = Foundation {
        node: NodeId(1),
        home: 7,
        log_bytes: 1 << 20,
        env,
        log: log.clone(),
        state: state.clone(),
        catalog,
    };
    Life { shards: Shards::new(foundation), log, state, driver }
}

impl Life {
    async fn add(&self, home: &Home) {
        let request = WriteRequest {
            key: text("k"),
            ask: Ask::Add(1),
            context: None,
            once: None,
            show: false,
            deadline: home.clock.now() + Duration::from_secs(60),
        };
        self.shards.get(ID).unwrap().write(request).await.unwrap();
    }

    fn holds_nothing(&self) -> bool {
        let group = storage_group(ID);
        !self.log.groups().contains(&group) && !self.state.groups().contains(&group)
    }
}

#[tokio::test]
async fn a_namespace_is_opened_kept_over_restarts_and_dropped_with_its_data() {
    let home = Home::new(1, DataType::Counter, 2);
    let life = start(&home);
    life.shards.follow(&catalog(true)).await;
    let shard = life.shards.get(ID).unwrap();
    assert_eq!(*shard.members(), [NodeId(1), NodeId(2)]);
    assert_eq!(shard.actor().home, 7);
    life.add(&home).await;
    life.shards.keep_up().await;
    life.shards.close().await;
    life.driver.cancel();

    let life = start(&home);
    life.shards.follow(&catalog(true)).await;
    life.add(&home).await;
    let shown = life.shards.get(ID).unwrap().read(b"k").unwrap().0;
    assert_eq!(shown.what, What::Text("2".to_owned()));
    life.shards.follow(&catalog(false)).await;
    assert!(life.shards.get(ID).is_none() && life.holds_nothing());
    life.driver.cancel();
}

#[tokio::test]
async fn a_drop_that_was_cut_short_is_ended_by_the_next_start() {
    for half in [true, false] {
        let home = Home::new(1, DataType::Counter, 2);
        let life = start(&home);
        life.shards.follow(&catalog(true)).await;
        life.add(&home).await;
        life.state.checkpoint(storage_group(ID)).unwrap();
        life.shards.close().await;
        if half {
            life.log.drop_group(storage_group(ID), Box::new(|_| {}));
            life.log.drive();
        }
        life.driver.cancel();
        home.disk.power_cut(3);

        let life = start(&home);
        // A catalog from before the namespace says nothing of it.
        let old = Catalog { next_namespace: ID, ..catalog(false) };
        life.shards.follow(&old).await;
        assert!(!life.holds_nothing(), "only what was known once is gone");
        life.shards.follow(&catalog(false)).await;
        assert!(life.holds_nothing());
        life.driver.cancel();
    }
}
