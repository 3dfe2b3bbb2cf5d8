//! One node, put together: disk, log, state, peers, groups, hall, front door.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;

use super::error::AppError;
use super::ground::Ground;
use super::switch::Switch;
use crate::client::{self, Client, ClientError};
use crate::config::{Config, Start};
use crate::consensus::door::{Door, Seen};
use crate::consensus::founding::{Founding, FoundingError, Plan};
use crate::consensus::group::Timing;
use crate::consensus::groups::{Foundation, Groups};
use crate::consensus::identity::{Charter, Identity, Member};
use crate::consensus::inbox::RaftInbox;
use crate::consensus::machine::CatalogSender;
use crate::consensus::metrics::{ConsensusMetrics, GroupMarks};
use crate::consensus::quiet::QuietTimes;
use crate::consensus::witness::Witness;
use crate::convergence::metrics::ShardFigures;
use crate::convergence::{self, ConvergeInbox, Shards, StreamMetrics, Streams};
use crate::http::{self, FrontOptions};
use crate::model::{self, ClusterId, GroupId, NamespaceId, NodeId};
use crate::peer::{Corridor, Doorkeeper, PeerMetrics, Refusal, Transport};
use crate::placement::Catalog;
use crate::runtime::limits::{ANNOUNCE_RETRY, CATALOG_PROPOSE_MAX, JOIN_RETRIES, PEERS_TICK};
use crate::runtime::metrics::Metrics;
use crate::runtime::{DirectoryLock, Env};
use crate::service::{Context, ForwardService, Parts, Service, ServiceMetrics, Usage};
use crate::storage::log::{Log, LogMetrics, LogOptions};
use crate::storage::state::{State, StateMetrics};
use crate::storage::{Disk, StorageError};
use crate::wire::JoinRequest;

/// A node that is ready to enter its cluster.
#[derive(Debug)]
pub struct Node {
    pub(super) env: Env,
    pub(super) groups: Arc<Groups>,
    pub(super) inbox: Arc<RaftInbox>,
    pub(super) router: http::Entrance,
    pub(super) service: Service,
    pub(super) shards: Arc<Shards>,
    pub(super) streams: Arc<Streams>,
    founding: Arc<Founding>,
    door: Arc<Door>,
    peers: Arc<dyn Corridor>,
    address: String,
    /// Held until the node is gone.
    _lock: Option<DirectoryLock>,
}

/// What must survive a restart, opened.
struct Cellar {
    lock: Option<DirectoryLock>,
    disk: Arc<dyn Disk>,
    identity: Identity,
    log: Log,
    state: State,
    catalog: CatalogSender,
}

impl Node {
    /// Opens what is on disk and builds every room over it. Nothing speaks to a peer yet.
    ///
    /// # Errors
    ///
    /// When the ground's disk cannot be used, or belongs to another node.
    pub async fn build(config: &Config, ground: Ground, env: &Env) -> Result<Self, AppError> {
        let metrics = Metrics::default();
        let (Ground { address, corridor, .. }, cellar) =
            Cellar::open(config, ground, env, &metrics).await?;
        let witness = Arc::new(Witness::open(cellar.log.clone()));
        let seen = Seen {
            log: cellar.log.clone(),
            witness: Arc::clone(&witness),
            catalog: cellar.catalog.subscribe(),
            run: env.rng.next(),
        };
        let shards = shards(config, &cellar, env, &metrics);
        let plan = plan(config);
        let door =
            Arc::new(Door::new(cellar.identity, address.clone(), plan.founders.clone(), seen));
        let doorkeeper: Arc<dyn Doorkeeper> = Arc::clone(&door) as Arc<_>;
        let (peers, internal) = corridor(env.clone(), doorkeeper, PeerMetrics::new(&metrics));
        let transport: Arc<dyn Transport> = Arc::clone(&peers) as Arc<_>;
        let (flow, figures) = (Arc::clone(&transport), StreamMetrics::new(&metrics));
        let streams = Streams::new(Arc::clone(&shards), flow, figures);
        let groups = Arc::new(Groups::new(Foundation {
            node: config.node,
            env: env.clone(),
            log: cellar.log.clone(),
            state: cellar.state,
            transport: Arc::clone(&transport),
            witness,
            door: Arc::clone(&door),
            catalog: cellar.catalog,
            timing: Timing {
                heartbeat: config.heartbeat(plan.groups),
                keep_entries: config.log.keep_entries,
                quiet: config.quiesce.map(|idle| QuietTimes { idle, beat: config.quiet_beat() }),
            },
            metrics: ConsensusMetrics::register(&metrics),
        })?);
        GroupMarks::register(&metrics, &groups);
        let (log, alarm) = (cellar.log, (Arc::clone(&shards), Arc::clone(&streams)));
        let service = Service::new(Parts {
            env: env.clone(),
            node: config.node,
            wing: Arc::clone(&groups) as Arc<_>,
            eventual: Arc::new((Arc::clone(&shards), Arc::clone(&streams))),
            transport,
            metrics: ServiceMetrics::new(&metrics),
            health: Box::new(move || log.poisoned().or_else(|| diverged(&alarm.0, &alarm.1))),
        });
        let founding = Arc::new(Founding::new(cellar.disk, Arc::clone(&door), env.clone()));
        let inbox = Arc::new(RaftInbox::new(Arc::clone(&founding)));
        peers.set_inbox(Arc::new(Switch {
            raft: Arc::clone(&inbox),
            hall: ForwardService::new(service.clone()),
            convergence: ConvergeInbox::new(Arc::clone(&streams)),
        }));
        let router = http::router(service.clone(), &metrics, internal, FrontOptions::default());
        Ok(Self {
            env: env.clone(),
            groups,
            inbox,
            router,
            service,
            shards,
            streams,
            founding,
            door,
            peers,
            address,
            _lock: cellar.lock,
        })
    }

    /// What clients ask.
    pub fn router(&self) -> &http::Entrance {
        &self.router
    }

    /// The groups that run here.
    pub fn groups(&self) -> &Arc<Groups> {
        &self.groups
    }

    /// Comes to have a charter, and is accepted by the peers.
    pub(super) async fn enter(&self, config: &Config) -> Result<Charter, AppError> {
        let charter = match self.door.identity().charter {
            Some(charter) => {
                self.peers.set_peers(&self.door.others());
                warn_of_other_settings(config, &charter);
                charter
            }
            None => match &config.start {
                Start::Found(_) => {
                    self.peers.set_peers(&self.door.others());
                    self.founding.charter(&plan(config), &*self.peers).await?
                }
                Start::Join(endpoints) => self.join(endpoints, config.peer_source).await?,
                Start::Recover => return Err(nothing_to_recover(config)),
            },
        };
        self.groups.set_heartbeat(config.heartbeat(charter.groups))?;
        // A founder that was cut off while it gave out the charter goes on with that.
        let is_first = charter.members.first().is_some_and(|m| m.node == config.node);
        let log = self.groups.log().state(GroupId::SYSTEM.0);
        let is_blank = log.last_index.is_none()
            && log.purged.is_none()
            && self.groups.state().applied(GroupId::SYSTEM.0).is_none();
        if is_first && charter.is_founders() && is_blank {
            self.founding.spread(&charter, &*self.peers).await?;
        }
        self.peers.set_peers(&self.door.others());
        let accepted = self.founding.accepted(&*self.peers).await;
        if let Err(FoundingError::Rejected { refusal, .. }) = &accepted
            && matches!(refusal, Refusal::Restored { .. })
        {
            self.founding.bar(&refusal.to_string())?;
        }
        accepted?;
        Ok(charter)
    }

    /// Asks the members to let this node in, under its own id and data directory.
    async fn join(
        &self,
        endpoints: &[String],
        source: Option<IpAddr>,
    ) -> Result<Charter, AppError> {
        let identity = self.door.identity();
        let failed = |reason: String| AppError::Join { endpoint: endpoints.join(", "), reason };
        let options = client::Options {
            endpoints: endpoints.to_vec(),
            timeout: CATALOG_PROPOSE_MAX,
            pinned: false,
        };
        let client = Client::bound_to(source, options, &self.env)
            .map_err(|error| failed(error.to_string()))?;
        let request = JoinRequest {
            id: identity.node.0,
            address: self.address.clone(),
            incarnation: identity.incarnation.to_string(),
        };
        let mut tries = 0;
        let joined = loop {
            tries += 1;
            match client.join(&request).await {
                Ok(joined) => break joined,
                // Adding the same directory again changes nothing, so any failure may be repeated.
                Err(error) if tries < JOIN_RETRIES && is_passing(&error) => {
                    tracing::info!(%error, "joining is tried again");
                    tokio::time::sleep(ANNOUNCE_RETRY).await;
                }
                Err(error) => return Err(failed(error.to_string())),
            }
        };
        let malformed = || failed("the member's answer cannot be read".to_owned());
        let cluster = joined.cluster.as_deref().and_then(hex).ok_or_else(malformed)?;
        let mut members = Vec::new();
        for node in &joined.nodes {
            let incarnation = hex(&node.incarnation).ok_or_else(malformed)?;
            members.push(Member {
                node: NodeId(node.id),
                address: node.address.clone(),
                incarnation: model::Incarnation(incarnation),
            });
        }
        let charter =
            Charter { cluster: ClusterId(cluster), members, groups: joined.groups, replicas: 0 };
        self.founding.adopt(charter.clone())?;
        Ok(charter)
    }

    /// How much the namespaces hold, as the hall knows it.
    pub(super) fn usage(&self) -> Usage {
        self.service.usage().clone()
    }

    /// Keeps connected to the nodes of the catalog, for ever.
    pub(super) fn follow_peers(&self) -> impl Future<Output = ()> + Send + 'static {
        let (door, peers) = (Arc::clone(&self.door), Arc::clone(&self.peers));
        async move {
            let mut removed = BTreeSet::new();
            loop {
                peers.set_peers(&door.others());
                // Judged again when it comes back, it hears that it was removed, and stops.
                for node in door.removed() {
                    if removed.insert(node) {
                        peers.disconnect(node);
                    }
                }
                tokio::time::sleep(PEERS_TICK).await;
            }
        }
    }

    /// Tells the catalog where this node is now, if that has changed.
    pub(super) async fn announce_address(&self) {
        let mut catalog = self.groups.catalog();
        let identity = self.door.identity();
        loop {
            let known = catalog
                .borrow_and_update()
                .as_ref()
                .and_then(|c| c.nodes.get(&identity.node).map(|n| n.address.clone()));
            match known {
                Some(address) if address == self.address => return,
                Some(_) => {
                    let deadline = self.env.clock.now() + CATALOG_PROPOSE_MAX;
                    let context = Context::new(deadline, "announce");
                    let (node, address) = (identity.node, self.address.clone());
                    let told = self.service.add_node(node, address, identity.incarnation, context);
                    if let Err(error) = told.await {
                        tracing::info!(%error, "announcing the new address is tried again");
                    }
                    tokio::time::sleep(ANNOUNCE_RETRY).await;
                }
                None => {
                    if catalog.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Waits until a peer says that this node has no part in the cluster any more.
    pub(super) async fn end_of_part(&self) -> Result<(), AppError> {
        let mut rejected = self.door.rejected();
        match rejected.wait_for(Option::is_some).await {
            Ok(rejection) => match &*rejection {
                Some((by, refusal)) => {
                    if matches!(refusal, Refusal::Restored { .. }) {
                        self.founding.bar(&refusal.to_string())?;
                    }
                    Err(FoundingError::Rejected { by: *by, refusal: refusal.clone() }.into())
                }
                None => Ok(()),
            },
            Err(_closed) => Ok(()),
        }
    }

    /// The eventual namespaces here.
    pub fn shards(&self) -> &Arc<Shards> {
        &self.shards
    }

    /// What brings the shards of all nodes together.
    pub fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }

    /// Stops the groups and the shards, and flushes what is left.
    pub(super) async fn close(self) -> Result<(), AppError> {
        self.groups.stop().await;
        self.shards.close().await;
        // The log first: state that a clean stop vouches for must not be ahead of it.
        self.groups.flush_log().await;
        let (state, log) = (self.groups.state().clone(), self.groups.log().clone());
        let closed = self.env.tasks.blocking(move || state.close()).await;
        log.close().await;
        Ok(closed?)
    }
}

impl Cellar {
    async fn open(
        config: &Config,
        mut ground: Ground,
        env: &Env,
        metrics: &Metrics,
    ) -> Result<(Ground, Self), AppError> {
        let disk = Arc::clone(&ground.disk);
        let identity = Identity::open(&*disk, config.node, &env.rng)?;
        let options = LogOptions {
            segment_bytes: config.log.segment_bytes,
            inline: ground.index_root.is_none(),
            ..Default::default()
        };
        let (log_disk, log_env) = (Arc::clone(&disk), env.clone());
        let log_metrics = LogMetrics::new(metrics);
        let state_metrics = StateMetrics::new(metrics);
        let (state_disk, state_env) = (Arc::clone(&disk), env.clone());
        let (index_root, state_options) = (ground.index_root.clone(), ground.state.clone());
        let opened = env.tasks.blocking(move || {
            let log = Log::open(log_disk, "log".into(), options, &log_env, log_metrics)?;
            let state = State::open(
                state_disk,
                index_root,
                state_options,
                &state_env,
                state_metrics,
                &|progress| {
                    let (groups, of, rows) =
                        (progress.groups, progress.groups_total, progress.rows);
                    tracing::info!(groups, of, rows, "checking checkpoints");
                },
            )?;
            Ok::<_, StorageError>((log, state))
        });
        let (log, state) = opened.await?;
        if let Some(rebuilt) = state.rebuilt() {
            let took_ms = u64::try_from(rebuilt.took.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(reason = rebuilt.reason, took_ms, "the working index starts anew");
        }
        let tasks = env.tasks.clone();
        log.on_poison(Box::new(move |error| tasks.fail(format!("the log failed: {error}"))));
        let stored = state.get(GroupId::SYSTEM.0, model::CATALOG_KEY)?.value;
        let catalog = stored.and_then(|bytes| Catalog::decode(&bytes).ok()).map(Arc::new);
        let lock = ground.lock.take();
        let catalog = Arc::new(watch::Sender::new(catalog));
        Ok((ground, Self { lock, disk, identity, log, state, catalog }))
    }
}

/// The shards of the eventual namespaces over what is on disk.
fn shards(config: &Config, cellar: &Cellar, env: &Env, metrics: &Metrics) -> Arc<Shards> {
    let shards = Shards::new(convergence::Foundation {
        node: config.node,
        home: convergence::home_of(cellar.identity.incarnation),
        env: env.clone(),
        log: cellar.log.clone(),
        state: cellar.state.clone(),
        log_bytes: config.log.eventual_bytes,
        catalog: cellar.catalog.subscribe(),
    });
    ShardFigures::register(metrics, &shards);
    shards
}

/// What must never be, in words, if it is.
fn diverged(shards: &Shards, streams: &Streams) -> Option<String> {
    let said = |namespaces: Vec<NamespaceId>, what: &str| {
        let names: Vec<String> = namespaces.iter().map(ToString::to_string).collect();
        (!names.is_empty()).then(|| format!("{what}, in the namespaces {}", names.join(", ")))
    };
    said(streams.diverged(), "nodes have heard of the same but hold different things")
        .or_else(|| said(shards.distrusted(), "digests are not those of the rows on this node"))
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// A founded cluster keeps the shape that it was founded with; who gives another one should hear so.
fn warn_of_other_settings(config: &Config, charter: &Charter) {
    let Start::Found(founding) = &config.start else { return };
    let (groups, replicas) = founding.given;
    // Who joined does not know with how many replicas the cluster was founded.
    let replicas = replicas && charter.replicas != 0;
    let settings = [
        ("groups", groups, founding.groups, charter.groups),
        ("replicas", replicas, founding.replicas, charter.replicas),
    ];
    for (setting, given, wanted, has) in settings {
        if given && wanted != has {
            tracing::warn!(
                setting,
                wanted,
                has,
                "the setting has no effect: the cluster was founded with another one and keeps it"
            );
        }
    }
}

/// Whether the members may yet say something else.
fn is_passing(error: &ClientError) -> bool {
    match error {
        ClientError::Refused { problem, .. } => problem.status >= 500,
        ClientError::Endpoint { .. }
        | ClientError::Key
        | ClientError::IdempotencyKey
        | ClientError::Gone { .. }
        | ClientError::LeaseLost { .. } => false,
        ClientError::Unreachable { .. }
        | ClientError::NoAnswer { .. }
        | ClientError::Unsure { .. }
        | ClientError::CutOff { .. }
        | ClientError::Strange { .. }
        | ClientError::TimeUp => true,
    }
}

fn plan(config: &Config) -> Plan {
    match &config.start {
        Start::Found(founding) => Plan {
            founders: founding.members.iter().cloned().collect(),
            groups: founding.groups,
            replicas: founding.replicas,
        },
        Start::Join(_) | Start::Recover => {
            Plan { founders: BTreeMap::new(), groups: 0, replicas: 0 }
        }
    }
}

fn nothing_to_recover(config: &Config) -> AppError {
    AppError::Directory {
        path: config.data_dir.display().to_string(),
        source: std::io::Error::new(
            std::io::ErrorKind::NotFound,
            "it belongs to no cluster yet: give --founders to found one, or --join to enter one",
        ),
    }
}
