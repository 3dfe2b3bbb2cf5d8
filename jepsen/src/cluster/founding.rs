//! From options to a cluster that is ready.
//!
//! Why it exists: ports must be known to all founders before any is bound, so that another process
//! may take one in between; then everything starts again with others.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::crew::Crew;
use super::disk::Disk;
use super::links::Links;
use super::namespaces::Namespaces;
use super::seat::{Entry, Place, Recipe, Seat};
use super::shim::Shim;
use super::view::Asks;
use super::{Backend, Cluster, ClusterError, ClusterOptions, proxy, tools};

/// Most nodes of a cluster.
const NODES_MAX: u32 = 7;
/// Below what operating systems give to outgoing connections.
const PORTS: std::ops::Range<u16> = 10_240..32_000;
/// In a namespace every port is free.
const NAMESPACE_PORT: u16 = 7101;
/// Starts before it is believed that ports are not the problem.
const STARTS_MAX: u32 = 5;
/// What a node says when its port was taken in between.
const PORT_TAKEN: &str = "cannot listen on";
/// Longest wait for a cluster to come up, and to spread its leaders.
const UP_WITHIN: Duration = Duration::from_secs(90);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) async fn found(options: ClusterOptions) -> Result<Cluster, ClusterError> {
    if !(1..=NODES_MAX).contains(&options.nodes) {
        let nodes = options.nodes;
        return Err(ClusterError::Broken(format!("{nodes} nodes: give 1 to {NODES_MAX}")));
    }
    let logs = options.dir.join("nodes");
    fs::create_dir_all(&logs)
        .map_err(ClusterError::io(format!("cannot make {}", logs.display())))?;
    let mut tries = 0;
    loop {
        tries += 1;
        let cluster = seats(&options).await?;
        match come_up(&cluster).await? {
            None => {
                spread(&cluster).await?;
                return Ok(cluster);
            }
            Some(node) if tries == STARTS_MAX => {
                let words = format!("node {node} found no free port in {tries} tries");
                return Err(ClusterError::Broken(words));
            }
            Some(_) => cluster.stop().await,
        }
    }
}

/// All seats, their network and their disks; nothing runs yet.
async fn seats(options: &ClusterOptions) -> Result<Cluster, ClusterError> {
    let recipe = Arc::new(Recipe {
        binary: options.binary.clone(),
        flags: options.flags.clone(),
        environment: options.environment.clone(),
    });
    let (crew, links) = (Crew::default(), Links::of_length(options.nodes, options.link_delay));
    let mut places = BTreeMap::new();
    let namespaces = match options.backend {
        Backend::Proxy => None,
        Backend::Namespaces => {
            Some(Namespaces::build(&options.dir, &crew, &links, options.nodes).await?)
        }
    };
    for number in 1..=options.nodes {
        let place = place(options, (&crew, &links), namespaces.as_ref(), number).await?;
        places.insert(number, place);
    }
    let founders: Vec<String> =
        places.iter().map(|(number, place)| format!("{number}={}", place.advertise)).collect();
    let entry = Entry::Found(founders.join(","));
    let mut cluster = Cluster {
        backend: match options.backend {
            Backend::Proxy => "proxy",
            Backend::Namespaces => "namespaces",
        },
        seats: BTreeMap::new(),
        urls: BTreeMap::new(),
        logs: Vec::new(),
        links,
        crew,
        asks: Asks::new().map_err(ClusterError::Broken)?,
        missing: Vec::new(),
        namespaces: parking_lot::Mutex::new(namespaces),
    };
    for (number, place) in places {
        let mut seat = Seat::new(number, place, entry.clone(), &recipe);
        let missing = equip(&mut seat, options).await;
        // The same is missing for all of them.
        for why in missing {
            if !cluster.missing.contains(&why) {
                cluster.missing.push(why);
            }
        }
        seat.wipe().map_err(ClusterError::io("cannot empty a data directory"))?;
        cluster.urls.insert(number, seat.url());
        cluster.logs.push((number, seat.log.clone()));
        cluster.seats.insert(number, Mutex::new(seat));
    }
    Ok(cluster)
}

/// Gives a seat the disk and the shim that were asked for; what cannot be had is told, and the faults
/// that would need it skip themselves.
async fn equip(seat: &mut Seat, options: &ClusterOptions) -> Vec<String> {
    let mut missing = Vec::new();
    if options.own_disks {
        let made = match tools::compiled(tools::POWER, &options.dir).await {
            Ok(power) => Disk::make(&options.dir, seat.number, &power).await,
            Err(why) => Err(why),
        };
        match made {
            Ok(disk) => {
                seat.data = disk.at.join("data");
                seat.disk = Some(disk);
            }
            Err(why) => missing.push(format!("disks of the nodes' own: {why}")),
        }
    }
    if options.shim {
        // The directory must be there, so that the name that the kernel gives it is known.
        let dir = seat.disk.as_ref().map_or_else(|| options.dir.join("data"), |d| d.at.clone());
        let control = options.dir.join(format!("shim-{}", seat.number));
        let made = match tools::compiled(tools::FAULT, &options.dir).await {
            Ok(library) => fs::create_dir_all(&dir)
                .and_then(|()| Shim::make(&library, &control, &dir))
                .map_err(|error| error.to_string()),
            Err(why) => Err(why),
        };
        match made {
            Ok(shim) => seat.shim = Some(shim),
            Err(why) => missing.push(format!("the fault shim: {why}")),
        }
    }
    missing
}

/// Where a node is; behind a proxy of its own, or in its namespace.
async fn place(
    options: &ClusterOptions,
    network: (&Crew, &Links),
    namespaces: Option<&Namespaces>,
    number: u32,
) -> Result<Place, ClusterError> {
    let (own, advertised, port, inside) = match namespaces {
        Some(namespaces) => {
            let seat = u8::try_from(number).expect("there are at most seven nodes");
            let own = namespaces.address(seat);
            (own, own, NAMESPACE_PORT, namespaces.inside(seat))
        }
        None => {
            let own = proxy::own_address(number);
            let port = behind_proxy(network, number).await?;
            (own, proxy::proxy_address(number), port, Vec::new())
        }
    };
    Ok(Place {
        listen: (own, port).into(),
        advertise: format!("{advertised}:{port}"),
        source: own.into(),
        inside,
        data: options.dir.join(format!("data/{number}")),
        log: options.dir.join(format!("nodes/{number}.log")),
    })
}

/// Starts the proxy of a node and returns the port that both are to have.
async fn behind_proxy((crew, links): (&Crew, &Links), number: u32) -> Result<u16, ClusterError> {
    let mut tried = Err(io::Error::other("no port was tried"));
    for _ in 0..STARTS_MAX {
        let Some(port) = free_port(proxy::own_address(number)) else { continue };
        tried = proxy::start(crew, links, number, port).await.map(|()| port);
        if tried.is_ok() {
            break;
        }
    }
    let what = "no proxy can listen on loopback (127.0.0.0/8 must be local, as on Linux)";
    tried.map_err(ClusterError::io(what))
}

/// A port that could be bound just now.
fn free_port(at: Ipv4Addr) -> Option<u16> {
    // Not seeded: which ports are free is not the test's choice.
    let mut rng = fastrand::Rng::new();
    let tried = std::iter::repeat_with(|| rng.u16(PORTS)).take(100);
    tried.into_iter().find(|port| TcpListener::bind((at, *port)).is_ok())
}

/// Starts all and waits until they are ready; otherwise the node that lost its port.
async fn come_up(cluster: &Cluster) -> Result<Option<u32>, ClusterError> {
    for (number, seat) in &cluster.seats {
        let started = seat.lock().await.start().await;
        started.map_err(ClusterError::io(format!("node {number} cannot be started")))?;
    }
    let up = async {
        loop {
            let mut waiting = false;
            for (number, seat) in &cluster.seats {
                let mut seat = seat.lock().await;
                if !seat.runs() {
                    if seat.words().contains(PORT_TAKEN) {
                        return Ok(Some(*number));
                    }
                    let tail = seat.tail();
                    let words = format!("node {number} ended at its start:\n{tail}");
                    return Err(ClusterError::Broken(words));
                }
                waiting |= cluster.asks.ready(&seat.url()).await.is_err();
            }
            if !waiting {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let late = || ClusterError::Broken(format!("the cluster was not ready within {UP_WITHIN:?}"));
    tokio::time::timeout(UP_WITHIN, up).await.unwrap_or_else(|_| Err(late()))
}

/// Waits until every group is led by the node that should.
async fn spread(cluster: &Cluster) -> Result<(), ClusterError> {
    let home = async {
        loop {
            let views = cluster.views().await;
            let is_home = |view: &super::View| {
                view.groups.iter().all(|group| group.leader == Some(group.preferred))
            };
            if views.len() == cluster.seats.len() && views.iter().all(is_home) {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let late = |_| {
        let words = format!("leaders were not spread within {UP_WITHIN:?}");
        ClusterError::Broken(words)
    };
    tokio::time::timeout(UP_WITHIN, home).await.map_err(late)
}
