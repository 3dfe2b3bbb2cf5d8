//! Runs commands of the page in a shell, at nodes that do not lead the key that is asked for.
//!
//! The page's nodes are 127.0.0.1:7101 to 7103. `$LEASE`, `$CURSOR`, `$ETAG`, `$TOKEN`,
//! `$SESSION`, `$RECEIPT`, `$CONTEXT` and `$VECTOR` stand for what the answers before have shown last, as the page says.

use std::collections::BTreeMap;
use std::process::Stdio;

use percent_encoding::percent_decode_str;

use crate::support::cluster::Cluster;

/// The first node's port on the page; the others follow.
const FIRST_PORT: u16 = 7101;

/// Longer than any example takes.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// What to remember of outputs: the variable, and what stands before its value.
const REMEMBERED: [(&str, &str); 13] = [
    ("LEASE", "\"lease\":\""),
    ("LEASE", "\"lease_id\":\""),
    ("CURSOR", "\"next\":\""),
    ("CURSOR", "\"cursor\":\""),
    ("CURSOR", "kv-cursor: "),
    ("TOKEN", "\"token\":"),
    ("SESSION", "kv-session: "),
    ("RECEIPT", "kv-receipt: "),
    ("CONTEXT", "kv-context: "),
    ("VECTOR", "kv-vector: "),
    ("ETAG", "etag: "),
    ("KEYED", "\"keyed\":\""),
    ("RESTART", "\"restart\":\""),
];

/// Runs examples.
pub(crate) struct Runner<'a> {
    cluster: &'a Cluster,
    variables: BTreeMap<&'static str, String>,
    /// Commands run.
    pub(crate) commands: u64,
    /// Those that were for a key, and were sent to a node that does not lead its group.
    pub(crate) for_a_key: u64,
}

impl<'a> Runner<'a> {
    pub(crate) fn new(cluster: &'a Cluster) -> Self {
        Self { cluster, variables: BTreeMap::new(), commands: 0, for_a_key: 0 }
    }

    /// Runs a command and gives what it printed, in the page's addresses.
    pub(crate) async fn run(&mut self, command: &str) -> String {
        self.commands += 1;
        let command = self.addressed(command).await;
        let mut shell = tokio::process::Command::new("bash");
        shell.args(["-c", &command]).stdin(Stdio::null()).kill_on_drop(true);
        shell.env("PATH", self.path());
        for (name, value) in &self.variables {
            shell.env(name, value);
        }
        let output = tokio::time::timeout(PATIENCE, shell.output())
            .await
            .unwrap_or_else(|_| panic!("no end after {PATIENCE:?}: {command}"))
            .expect("bash can be started");
        let mut printed = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        printed.push_str(&String::from_utf8_lossy(&output.stderr));
        self.remember(&printed);
        for (node, port) in self.ports() {
            printed = printed.replace(&format!("127.0.0.1:{port}"), &page_address(node));
        }
        printed.trim_end().to_owned()
    }

    /// With `tetrarch` being the binary under test.
    fn path(&self) -> String {
        let binary = std::path::Path::new(env!("CARGO_BIN_EXE_tetrarch"));
        let dir = binary.parent().expect("the binary stands in a directory").display().to_string();
        format!("{dir}:{}", std::env::var("PATH").unwrap_or_default())
    }

    fn ports(&self) -> Vec<(u64, u16)> {
        self.cluster.ids().into_iter().map(|id| (id, self.cluster.node(id).port)).collect()
    }

    /// The command with real addresses. A request for a key goes to a node that does not lead it.
    async fn addressed(&mut self, command: &str) -> String {
        let away = match self.leader_of(command).await {
            Some(leader) => {
                self.for_a_key += 1;
                self.cluster.ids().into_iter().find(|id| *id != leader)
            }
            None => None,
        };
        let mut command = command.to_owned();
        for (node, port) in self.ports() {
            let to = away.map_or(port, |id| self.cluster.node(id).port);
            command = command.replace(&page_address(node), &format!("127.0.0.1:{to}"));
        }
        command
    }

    async fn leader_of(&self, command: &str) -> Option<u64> {
        let path = command.split("/v1/ns/").nth(1)?;
        let path = path.split(['\'', '"', ' ', '?']).next()?;
        let (namespace, key) = path.split_once("/keys/").or_else(|| path.split_once("/locks/"))?;
        let key = percent_decode_str(key).collect::<Vec<u8>>();
        let key = percent_encoding::percent_encode(&key, percent_encoding::NON_ALPHANUMERIC);
        let at = self.cluster.url(1);
        let asked = format!("/v1/route?ns={namespace}&key={key}");
        let answer = self.cluster.api.get_path(&at, &asked).await.ok()?;
        let route: tetrarch::wire::RouteView = serde_json::from_slice(&answer.body).ok()?;
        route.leader
    }

    fn remember(&mut self, printed: &str) {
        for (name, before) in REMEMBERED {
            if let Some((_, value)) = printed.rsplit_once(before) {
                let end = if before.ends_with(' ') { '\n' } else { '"' };
                let value = value.split(end).next().unwrap_or_default();
                let value = if name == "TOKEN" {
                    value.chars().take_while(char::is_ascii_digit).collect()
                } else {
                    value.to_owned()
                };
                self.variables.insert(name, value);
            }
        }
    }
}

fn page_address(node: u64) -> String {
    format!("127.0.0.1:{}", u64::from(FIRST_PORT) + node - 1)
}
