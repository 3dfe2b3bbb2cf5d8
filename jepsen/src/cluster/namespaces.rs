//! A network namespace for each node, and a line from each to the switch.
//!
//! Why it exists: only with packets of its own does a node see loss, duplication and reordering as a
//! network makes them, and only so do its kernel's retransmissions take part. Needs root, `ip` and a C
//! compiler. The harness has a port of its own, over which clients reach all nodes whatever is cut.
//!
//! Promises: namespaces, devices and sockets are gone when the value is dropped.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::time::{sleep, timeout};

use super::ClusterError;
use super::crew::Crew;
use super::links::Links;
use super::process::{Process, dies_with_us};
use super::switch;
use super::tools::{self, plain, tool};

/// The harness's own port.
const OWN_PORT: u8 = 254;
/// The device inside a namespace.
const DEVICE: &str = "eth0";
/// Longest wait for a line to be there.
const JOINED_WITHIN: Duration = Duration::from_secs(10);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Tells the clusters of one process apart.
static BUILT: AtomicU32 = AtomicU32::new(0);

/// All namespaces of a cluster.
#[derive(Debug)]
pub(super) struct Namespaces {
    name: String,
    nodes: u8,
    net: [u8; 2],
    lines: Vec<Process>,
    sockets: PathBuf,
}

impl Namespaces {
    /// Builds them with their switch.
    pub(super) async fn build(
        dir: &Path,
        crew: &Crew,
        links: &Links,
        nodes: u32,
    ) -> Result<Self, ClusterError> {
        let unavailable = |why| ClusterError::Unavailable(format!("network namespaces: {why}"));
        let line = tools::compiled(tools::TAP, dir).await.map_err(unavailable)?;
        let process = std::process::id();
        let name = format!("tj{}x{}", process % 100_000, BUILT.fetch_add(1, Ordering::Relaxed));
        // Sockets have short names, which the directory of a run may not be.
        let sockets = std::env::temp_dir().join(&name);
        fs::create_dir_all(&sockets)
            .map_err(ClusterError::io(format!("cannot make {}", sockets.display())))?;
        // Not seeded: which addresses are free is not the test's choice.
        let mut rng = fastrand::Rng::new();
        let net = [rng.u8(64..=250), rng.u8(..)];
        let nodes = u8::try_from(nodes).unwrap_or(u8::MAX);
        let mut built = Self { name, nodes, net, lines: Vec::new(), sockets };
        let mut ports = BTreeMap::new();
        for port in (1..=nodes).chain([OWN_PORT]) {
            ports.insert(port, built.port(port, &line).await.map_err(unavailable)?);
        }
        switch::start(crew, links, ports);
        Ok(built)
    }

    /// The address of a node, or of the harness.
    pub(super) fn address(&self, port: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.net[0], self.net[1], port)
    }

    /// What stands in front of a command that is to run at a node.
    pub(super) fn inside(&self, port: u8) -> Vec<String> {
        if port == OWN_PORT {
            return Vec::new();
        }
        // Not by `ip netns exec`: it copies all mounts too, and a disk that is mounted in a copy never
        // loses its power.
        vec!["nsenter".to_owned(), format!("--net=/run/netns/{}", self.space(port))]
    }

    fn space(&self, port: u8) -> String {
        format!("{}n{port}", self.name)
    }

    fn device(&self, port: u8) -> String {
        if port == OWN_PORT { self.name.clone() } else { DEVICE.to_owned() }
    }

    /// Makes a namespace with a device that leads to the switch, and returns the switch's end.
    async fn port(&mut self, port: u8, program: &Path) -> Result<UnixDatagram, String> {
        let (space, device) = (self.space(port), self.device(port));
        if port != OWN_PORT {
            tool("ip", &["netns", "add", &space]).await?;
            tool("ip", &["-n", &space, "link", "set", "lo", "up"]).await?;
        }
        let address = format!("{}/24", self.address(port));
        let ethernet = switch::ethernet(port);
        let steps: [&[&str]; 4] = [
            &["tuntap", "add", "dev", &device, "mode", "tap"],
            &["link", "set", "dev", &device, "address", &ethernet],
            &["addr", "add", &address, "dev", &device],
            &["link", "set", "dev", &device, "up"],
        ];
        for step in steps {
            let words = if port == OWN_PORT {
                step.to_vec()
            } else {
                [&["-n", space.as_str()], step].concat()
            };
            tool("ip", &words).await?;
        }
        let (here, there) =
            (self.sockets.join(format!("{port}s")), self.sockets.join(format!("{port}")));
        let line = UnixDatagram::bind(&here).map_err(|error| error.to_string())?;
        let mut words = self.inside(port);
        words.extend(dies_with_us().iter().map(|word| (*word).to_owned()));
        for word in [plain(program)?, &device, plain(&there)?, plain(&here)?] {
            words.push(word.to_owned());
        }
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        let process = Process::start(command).await.map_err(|error| error.to_string())?;
        self.lines.push(process);
        let joined = async {
            while line.connect(&there).is_err() {
                sleep(LOOK_EVERY).await;
            }
        };
        let late = |_| format!("the line of port {port} did not come up");
        timeout(JOINED_WITHIN, joined).await.map_err(late)?;
        Ok(line)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.lines.clear();
        // What was never made cannot be removed; whatever else fails, nobody is left to be told.
        for port in 1..=self.nodes {
            drop(Command::new("ip").args(["netns", "del", &self.space(port)]).output());
        }
        drop(Command::new("ip").args(["link", "del", &self.name]).output());
        drop(fs::remove_dir_all(&self.sockets));
    }
}
