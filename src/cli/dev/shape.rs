//! The shape of a local cluster: nodes, groups, ports; fixed at the first start of a directory.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::Failure;
use crate::fleet::Birth;
use crate::runtime::limits;

const FILE: &str = "dev.toml";

/// What `dev.toml` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shape {
    pub(super) nodes: u64,
    pub(super) groups: Option<u64>,
    base_port: u16,
}

impl Shape {
    /// The directory's shape, or a new one from the flags. A flag that contradicts the directory is
    /// refused.
    pub(super) fn settle(
        dir: &Path,
        nodes: Option<u64>,
        groups: Option<u64>,
        base_port: Option<u16>,
    ) -> Result<Self, Failure> {
        let path = dir.join(FILE);
        let kept = match std::fs::read_to_string(&path) {
            Ok(text) => Some(toml::from_str::<Self>(&text).map_err(|error| {
                Failure::usage(format!("{}: {}", path.display(), error.message()))
            })?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Failure::file("read", &path, &error)),
        };
        let shape = match kept {
            None => {
                Self { nodes: nodes.unwrap_or(3), groups, base_port: base_port.unwrap_or(7101) }
            }
            Some(kept) => {
                let refuse = |flag: &str, given: String, has: String| {
                    Err(Failure::usage(format!(
                        "--{flag} {given}, but the cluster in {} has {has}; leave the flag out, \
                         or start another cluster with another --data-dir",
                        dir.display()
                    )))
                };
                if let Some(nodes) = nodes.filter(|nodes| *nodes != kept.nodes) {
                    return refuse("nodes", nodes.to_string(), kept.nodes.to_string());
                }
                if let Some(groups) = groups.filter(|groups| Some(*groups) != kept.groups) {
                    let has = kept.groups.map_or("the default".to_owned(), |g| g.to_string());
                    return refuse("groups", groups.to_string(), has);
                }
                if let Some(port) = base_port.filter(|port| *port != kept.base_port) {
                    return refuse("base-port", port.to_string(), kept.base_port.to_string());
                }
                kept
            }
        };
        let most = limits::GROUPS_MAX;
        if let Some(groups) = shape.groups.filter(|groups| !(1..=most).contains(groups)) {
            return Err(Failure::usage(format!("--groups {groups}: give 1 to {most}")));
        }
        if !(1..=limits::DEV_NODES_MAX).contains(&shape.nodes) {
            let most = limits::DEV_NODES_MAX;
            return Err(Failure::usage(format!("--nodes must be from 1 to {most}")));
        }
        let last = u64::from(shape.base_port) + shape.nodes - 1;
        if shape.base_port == 0 || last > u64::from(u16::MAX) {
            return Err(Failure::usage("--base-port leaves no room for the nodes' ports"));
        }
        Ok(shape)
    }

    pub(super) fn remember(&self, dir: &Path) -> Result<(), Failure> {
        let text = toml::to_string(self).expect("a shape is plain TOML");
        let path = dir.join(FILE);
        std::fs::write(&path, text).map_err(|error| Failure::file("written", &path, &error))
    }

    pub(super) fn address(&self, node: u64) -> String {
        format!("127.0.0.1:{}", u64::from(self.base_port) + node - 1)
    }

    pub(super) fn check_ports(&self) -> Result<(), Failure> {
        for node in 1..=self.nodes {
            let address = self.address(node);
            TcpListener::bind(&address).map_err(|error| {
                Failure::failed(format!(
                    "node {node} cannot listen on {address}: {error}; stop what uses the port, or \
                     give another --base-port with another --data-dir"
                ))
            })?;
        }
        Ok(())
    }

    /// How a node of it is started.
    pub(super) fn birth(&self, node: u64, root: &Path) -> Birth {
        let dir = root.join(format!("node-{node}"));
        // What dev decides must not be overruled from the outside; log settings may be.
        let mut unset = vec!["JOIN", "ADVERTISE", "CONFIG", "REPLICAS"];
        if self.groups.is_none() {
            unset.push("GROUPS");
        }
        let args = self.serve_args(node, &dir);
        Birth { node, args, unset, log: root.join(format!("node-{node}.log")), dir }
    }

    /// The arguments of a node's `serve`.
    fn serve_args(&self, node: u64, dir: &Path) -> Vec<String> {
        let founders: Vec<_> =
            (1..=self.nodes).map(|node| format!("{node}={}", self.address(node))).collect();
        let mut args = vec!["serve".to_owned()];
        let mut add = |flag: &str, value: String| args.extend([format!("--{flag}"), value]);
        add("node", node.to_string());
        add("data-dir", dir.display().to_string());
        add("listen", self.address(node));
        add("founders", founders.join(","));
        if let Some(groups) = self.groups {
            add("groups", groups.to_string());
        }
        args
    }
}

/// Holds the directory for this process; another `dev` on it is refused.
pub(super) fn lock(dir: &Path) -> Result<std::fs::File, Failure> {
    std::fs::create_dir_all(dir).map_err(|error| Failure::file("created", dir, &error))?;
    let path = dir.join("dev.lock");
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| Failure::file("written", &path, &error))?;
    let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    rustix::fs::flock(&file, exclusive).map_err(|error| {
        Failure::failed(format!(
            "{} is in use by another `tetrarch dev` ({error}); stop that one, or give another \
             --data-dir and --base-port",
            dir.display()
        ))
    })?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_shape() {
        let dir = tempfile::tempdir().unwrap();
        let shape = Shape::settle(dir.path(), Some(5), None, Some(9000)).unwrap();
        shape.remember(dir.path()).unwrap();
        assert_eq!(Shape::settle(dir.path(), None, None, None).unwrap(), shape);
        assert_eq!(Shape::settle(dir.path(), Some(5), None, None).unwrap(), shape);
        for (nodes, groups, port) in
            [(Some(3), None, None), (None, Some(7), None), (None, None, Some(1))]
        {
            let error = Shape::settle(dir.path(), nodes, groups, port).unwrap_err();
            assert!(error.text.contains("another --data-dir"), "{}", error.text);
        }
    }

    #[test]
    fn a_directory_in_use_and_a_port_in_use_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        assert!(lock(dir.path()).unwrap_err().text.contains("in use"));
        drop(held);
        lock(dir.path()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shape = Shape::settle(dir.path(), Some(1), None, Some(port)).unwrap();
        assert!(shape.check_ports().unwrap_err().text.contains("--base-port"));
    }
}
