//! A seat of the cluster: an address, a directory, a log file, and the process that sits there.
//!
//! Why it exists: clients and histories speak of nodes 1 to n for the whole run, while a node whose
//! disk was damaged is replaced by one with a new id, as the store demands. The replacement takes the
//! old one's seat: same number, same addresses, same log file.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::process::{Process, dies_with_us};

/// Lines of a log that an error shows.
const TAIL_LINES: usize = 12;
/// The most of a log that is read at a time.
const TAIL_BYTES: u64 = 256 * 1024;

/// What all nodes are started with.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) binary: PathBuf,
    pub(super) flags: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
}

/// How a node comes to its cluster.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// The list of founders.
    Found(String),
    /// URLs of members.
    Join(String),
}

/// One seat.
#[derive(Debug)]
pub(super) struct Seat {
    /// Its number in histories and reports.
    pub(super) number: u32,
    /// The id of the node that sits there now.
    pub(super) server: u64,
    pub(super) listen: SocketAddr,
    pub(super) advertise: String,
    pub(super) source: IpAddr,
    /// Words in front of the command line, such as those that enter a network namespace.
    pub(super) inside: Vec<String>,
    pub(super) entry: Entry,
    pub(super) recipe: Arc<Recipe>,
    pub(super) data: PathBuf,
    pub(super) log: PathBuf,
    /// Where the part of the log begins that the present process wrote.
    log_from: u64,
    pub(super) process: Option<Process>,
}

impl Seat {
    /// An empty seat.
    pub(super) fn new(number: u32, place: Place, entry: Entry, recipe: &Arc<Recipe>) -> Self {
        Self {
            number,
            server: u64::from(number),
            listen: place.listen,
            advertise: place.advertise,
            source: place.source,
            inside: place.inside,
            entry,
            recipe: Arc::clone(recipe),
            data: place.data,
            log: place.log,
            log_from: 0,
            process: None,
        }
    }

    /// How clients reach it.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Starts the node, always with the same command line.
    pub(super) async fn start(&mut self) -> io::Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        self.log_from = log.metadata()?.len();
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.process = Some(Process::start(command).await?);
        Ok(())
    }

    fn command(&self) -> Command {
        let mut words: Vec<String> = dies_with_us().iter().map(|w| (*w).to_owned()).collect();
        // The signal is kept across exec, but not by what changes its privileges: that goes first.
        words.splice(0..0, self.inside.iter().cloned());
        words.push(self.recipe.binary.to_string_lossy().into_owned());
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        // Settings of the person who runs the tests must not reach the servers.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TETRARCH_") {
                command.env_remove(name);
            }
        }
        command.envs(self.recipe.environment.iter().map(|(name, text)| (name, text)));
        command.args(["serve", "--node", &self.server.to_string()]);
        command.args(["--listen", &self.listen.to_string(), "--advertise", &self.advertise]);
        command.args(["--peer-source", &self.source.to_string()]);
        command.arg("--data-dir").arg(&self.data);
        match &self.entry {
            Entry::Found(founders) => command.args(["--founders", founders]),
            Entry::Join(urls) => command.args(["--join", urls]),
        };
        command.args(self.flags());
        command
    }

    /// The flags of all; without those that only founders may be given, for one that joins.
    fn flags(&self) -> Vec<&str> {
        let mut flags = Vec::new();
        let mut given = self.recipe.flags.iter().map(String::as_str);
        while let Some(flag) = given.next() {
            let founding = ["--groups", "--replicas"];
            if matches!(self.entry, Entry::Found(_)) {
                flags.push(flag);
            } else if founding.contains(&flag) {
                given.next();
            } else if !founding.iter().any(|name| flag.starts_with(&format!("{name}="))) {
                flags.push(flag);
            }
        }
        flags
    }

    /// Whether its process runs, paused or not. One that ended by itself is let go.
    pub(super) fn runs(&mut self) -> bool {
        if let Some(process) = &mut self.process
            && process.ended().is_some()
        {
            self.process = None;
        }
        self.process.is_some()
    }

    /// SIGKILL; whether the process is gone.
    pub(super) async fn kill(&mut self) -> bool {
        match &mut self.process {
            None => true,
            Some(process) => {
                let gone = process.kill().await;
                if gone {
                    self.process = None;
                }
                gone
            }
        }
    }

    /// What the present process, or the last one, has written.
    pub(super) fn words(&self) -> String {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = OpenOptions::new().read(true).open(&self.log)?;
            let end = file.metadata()?.len();
            let from = self.log_from.max(end.saturating_sub(TAIL_BYTES));
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
    }

    /// The last lines of that.
    pub(super) fn tail(&self) -> String {
        let words = self.words();
        let lines: Vec<&str> = words.lines().collect();
        lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default().join("\n")
    }

    /// Removes what the node kept.
    pub(super) fn wipe(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.data) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Where a seat is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) listen: SocketAddr,
    pub(super) advertise: String,
    pub(super) source: IpAddr,
    pub(super) inside: Vec<String>,
    pub(super) data: PathBuf,
    pub(super) log: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(entry: Entry, flags: &[&str]) -> Seat {
        let recipe = Recipe {
            binary: "tetrarch".into(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            environment: vec![("TETRARCH_X".into(), "1".into())],
        };
        let place = Place {
            listen: "127.0.1.2:7000".parse().unwrap(),
            advertise: "127.0.2.2:7000".into(),
            source: "127.0.1.2".parse().unwrap(),
            inside: Vec::new(),
            data: "data".into(),
            log: "log".into(),
        };
        Seat::new(2, place, entry, &Arc::new(recipe))
    }

    #[test]
    fn one_that_joins_is_not_told_what_only_founders_may_say() {
        let flags = ["--groups", "9", "--heartbeat-ms", "100", "--replicas=3"];
        let founder = seat(Entry::Found("1=a:1".into()), &flags);
        assert_eq!(founder.flags(), flags);
        let joiner = seat(Entry::Join("http://a:1".into()), &flags);
        assert_eq!(joiner.flags(), ["--heartbeat-ms", "100"]);
    }

    #[test]
    fn the_command_says_who_and_where_the_node_is() {
        let seat = seat(Entry::Join("http://a:1".into()), &[]);
        let line = format!("{:?}", seat.command());
        for part in ["\"--peer-source\" \"127.0.1.2\"", "\"--node\" \"2\"", "TETRARCH_X"] {
            assert!(line.contains(part), "{part} is missing in {line}");
        }
    }
}
