//! Real shards and streams beside the fake groups: for what concerns both sides.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{FakeTransport, FakeWing, Parts, Service, ServiceMetrics, World};
use crate::convergence::{ConvergeInbox, Foundation, Shards, StreamMetrics, Streams};
use crate::model::NodeId;
use crate::peer::memory::OpenDoor;
use crate::peer::{Corridor, MemoryCorridor, MemoryNetwork};
use crate::runtime::Env;
use crate::runtime::limits::EVENTUAL_LOG_BYTES;
use crate::runtime::metrics::Metrics;
use crate::storage::disk::SimDisk;
use crate::storage::log::{Log, LogMetrics, LogOptions};
use crate::storage::state::{State, StateMetrics, StateOptions};

impl World {
    /// A hall on a node with replicas of both sides.
    pub(crate) fn service_of_both(self: &Arc<Self>, node: u64, network: &MemoryNetwork) -> Service {
        let (env, node) = (Env::system(), NodeId(node));
        let (shards, streams) = self.shards(node, network, &env);
        let service = Service::new(Parts {
            env,
            node,
            wing: Arc::new(FakeWing { node, hosts: true, world: Arc::clone(self) }),
            eventual: Arc::new((shards, streams)),
            transport: Arc::new(FakeTransport { world: Arc::clone(self), node }),
            metrics: ServiceMetrics::new(&Metrics::default()),
            health: Box::new(|| None),
        });
        self.state.lock().services.insert(node, service.clone());
        service
    }

    fn shards(
        &self,
        node: NodeId,
        network: &MemoryNetwork,
        env: &Env,
    ) -> (Arc<Shards>, Arc<Streams>) {
        let (metrics, disk) = (Metrics::default(), Arc::new(SimDisk::new()));
        let options = LogOptions { inline: true, ..LogOptions::default() };
        let log_metrics = LogMetrics::new(&metrics);
        let log = Log::open(disk.clone(), PathBuf::from("log"), options, env, log_metrics).unwrap();
        let (options, state_metrics) = (StateOptions::default(), StateMetrics::new(&metrics));
        let state = State::open(disk, None, options, env, state_metrics, &|_| {}).unwrap();
        let driven = log.clone();
        env.tasks.spawn("driver", async move {
            loop {
                driven.drive();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let shards = Shards::new(Foundation {
            node,
            // As the catalog of this world has it.
            home: u32::try_from(node.0).unwrap(),
            env: env.clone(),
            log,
            state,
            catalog: self.catalog.subscribe(),
            log_bytes: EVENTUAL_LOG_BYTES,
        });
        let door = Arc::new(OpenDoor { node });
        let corridor = Arc::new(MemoryCorridor::new(network.clone(), env.clone(), door));
        let transport = Arc::clone(&corridor) as Arc<_>;
        let streams = Streams::new(Arc::clone(&shards), transport, StreamMetrics::new(&metrics));
        corridor.set_inbox(Arc::new(ConvergeInbox::new(Arc::clone(&streams))));
        env.tasks.spawn("shards", Arc::clone(&shards).run());
        env.tasks.spawn("streams", Arc::clone(&streams).run());
        (shards, streams)
    }
}
