//! The key-ring: builds every room of a node, connects their traits, and stops them in order.
//!
//! It holds no logic of its own: what a start means is in `consensus::founding`, who may speak in
//! `consensus::door`, what runs here in `consensus::hosting`.
//!
//! Promises: nothing is acknowledged before the node was accepted by its peers; a stop flushes state
//! and log, so that the next start is quick; a broken promise (failed flush, panic) ends the process
//! with an error, never with half a node.

mod error;
mod ground;
mod node;
mod switch;

use std::future::Future;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::consensus::hosting;
use crate::consensus::tend::Homes;
use crate::consensus::{leadership, marks, moves, probe, quiet, tend, upkeep};
use crate::peer::Lab;
use crate::runtime::Env;
use crate::runtime::limits::{STOP_HAND_OVER_MAX, STOP_MAX, STOP_REQUESTS_MAX};
use crate::service::{switching, usage};

pub use error::AppError;
pub use ground::{BuildCorridor, Ground};
pub use node::Node;

/// Runs a node until it is told to stop or must stop.
///
/// # Errors
///
/// When it cannot start, or had to stop because a promise was broken.
pub async fn serve(config: Config) -> Result<(), AppError> {
    let lab = config.lab.map(|set| Arc::new(Lab::new(set.delay, set.seed)));
    let env = match &lab {
        None => Env::system(),
        Some(lab) => Env { clock: lab.clock(), ..Env::system() },
    };
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| AppError::Bind { address: config.listen, source })?;
    let listen = listener
        .local_addr()
        .map_err(|source| AppError::Bind { address: config.listen, source })?;
    if let Some(address) = config.peer_source {
        // Bound and let go: a wrong address is told now, and not as a cluster that does not answer.
        let tried = TcpListener::bind((address, 0)).await;
        drop(tried.map_err(|source| AppError::PeerSource { address, source })?);
    }
    let node = Node::build(&config, Ground::real(&config, listen, lab)?, &env).await?;
    let asked = asked_to_stop()?;
    watch_for_panics(&env);
    end_in_time(&env);
    tracing::info!(node = %config.node, %listen, "listening");
    let served = serve_node(&config, &node, listener, asked).await;
    // Whatever happened: what can still be flushed is, and the first failure is what is reported.
    env.tasks.stop();
    let closed = node.close().await;
    if let Some(reason) = env.tasks.failure() {
        return Err(AppError::Failed { reason });
    }
    served?;
    closed?;
    tracing::info!("stopped");
    Ok(())
}

async fn serve_node(
    config: &Config,
    node: &Node,
    listener: TcpListener,
    asked: impl Future<Output = ()>,
) -> Result<(), AppError> {
    let env = node.env.clone();
    let door_closed = tokio_util::sync::CancellationToken::new();
    let http = env.tasks.spawn_to_end("http", {
        let (router, env, closed) = (node.router.clone(), env.clone(), door_closed.clone());
        async move { crate::http::serve(listener, router, &env, closed).await }
    });
    let result = tokio::select! {
        result = run(config, node) => result,
        () = asked => Ok(()),
        () = env.tasks.stopping() => Ok(()),
    };
    // Their clients go on elsewhere while the rest is put in order here.
    node.service.end_watches();
    if result.is_ok() && env.tasks.failure().is_none() {
        drain(node).await;
    }
    door_closed.cancel();
    if tokio::time::timeout(STOP_REQUESTS_MAX, http).await.is_err() {
        tracing::warn!("requests were still under way when the node stopped");
    }
    result
}

/// Takes part in the cluster; ends only with an error.
///
/// # Errors
///
/// When the node may not take part, or no more.
pub async fn run(config: &Config, node: &Node) -> Result<(), AppError> {
    // Also while nobody answers: eventual namespaces are served by the catalog that is known here.
    node.groups.env().tasks.spawn("shards", Arc::clone(&node.shards).run());
    node.groups.env().tasks.spawn("streams", Arc::clone(&node.streams).run());
    let charter = node.enter(config).await?;
    let groups = &node.groups;
    let tasks = &groups.env().tasks;
    hosting::open_system(groups, &charter).await?;
    node.inbox.open(Arc::clone(groups));
    tasks.spawn("hosting", hosting::run(Arc::clone(groups)));
    tasks.spawn("leadership", leadership::run(Arc::clone(groups)));
    tasks.spawn("marks", marks::run(Arc::clone(groups)));
    tasks.spawn("probe", probe::run(Arc::clone(groups)));
    tasks.spawn("upkeep", upkeep::run(Arc::clone(groups), config.log.checkpoint_after_bytes));
    let homes = Arc::new(Homes::new(Arc::clone(groups)));
    tasks.spawn("tend", tend::run(Arc::clone(groups), homes));
    tasks.spawn("usage", usage::run(Arc::clone(groups) as Arc<_>, node.usage()));
    tasks.spawn("switches", switching::drive::run(node.service.clone()));
    tasks.spawn("moves", moves::drive(Arc::clone(groups), charter));
    tasks.spawn("peers", node.follow_peers());
    tasks.spawn("quiet", quiet::drive::run(Arc::clone(groups)));
    // A refusal for good must be heard also while the address cannot be announced.
    tokio::select! {
        ended = node.end_of_part() => ended,
        never = async { node.announce_address().await; std::future::pending().await } => never,
    }
}

/// Gives away what this node leads, so that a planned stop costs no election.
async fn drain(node: &Node) {
    let led = node.groups.all().into_iter().filter(|group| group.is_leader());
    let transport = node.groups.transport();
    let given = futures_util::future::join_all(led.map(|group| async move {
        group.hand_over_to_any(|voter| transport.is_connected(voter)).await;
    }));
    if tokio::time::timeout(STOP_HAND_OVER_MAX, given).await.is_err() {
        tracing::warn!("some groups were still led here when the node stopped");
    }
}

/// openraft's tasks are not ours to watch: a panic in one would leave a replica dead in a node that
/// goes on. Working threads only: storage contains the panics of its engine where it opens it.
fn watch_for_panics(env: &Env) {
    let tasks = env.tasks.clone();
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        tasks.fail(format!("a task panicked: {panic}"));
    }));
}

/// Ends the process when a stop takes too long: a thread that died may have left others waiting for
/// ever, and a node that neither serves nor ends is the worst of all.
fn end_in_time(env: &Env) {
    let (tasks, clock) = (env.tasks.clone(), Arc::clone(&env.clock));
    let runtime = tokio::runtime::Handle::current();
    drop(env.tasks.thread("watchdog", move || {
        runtime.block_on(tasks.stopping());
        let end = clock.now() + STOP_MAX;
        // Parking may end early for no reason.
        while clock.now() < end {
            std::thread::park_timeout(STOP_MAX);
        }
        tracing::error!("the node did not stop in time and is ended");
        std::process::abort();
    }));
}

fn asked_to_stop() -> Result<impl Future<Output = ()>, AppError> {
    let listen = |kind| signal(kind).map_err(|source| AppError::Signals { source });
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("asked to stop");
    })
}
