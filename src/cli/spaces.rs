//! `tetrarch ns`: namespaces, made, listed, changed, removed.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, Reach, print};
use crate::runtime::Env;
use crate::wire::{NamespaceChange, NamespaceCreate, NamespaceLimits, NamespaceView, Topology};

/// Whom to ask, and for whom to answer.
#[derive(Debug, Args)]
pub(super) struct Asked {
    #[command(flatten)]
    pub(super) reach: Reach,
    /// Answers in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// What of a namespace can be set.
#[derive(Debug, Args)]
pub(super) struct Settings {
    /// Most bytes of keys and values; more are refused.
    #[arg(long, value_name = "BYTES")]
    quota: Option<u64>,
    /// How long changes are kept for watches and scans: `5m`; `0s` for not at all.
    #[arg(long, value_name = "TIME")]
    history: Option<String>,
    /// Longest key.
    #[arg(long, value_name = "BYTES")]
    key_bytes: Option<u64>,
    /// Longest value.
    #[arg(long, value_name = "BYTES")]
    value_bytes: Option<u64>,
    /// Of an eventual one, how its nodes are linked: mesh, ring, or JSON such as `{"hub":1}`.
    #[arg(long, value_parser = topology)]
    topology: Option<Topology>,
}

fn topology(text: &str) -> Result<Topology, String> {
    let bare = serde_json::Value::String(text.to_owned());
    serde_json::from_value(bare)
        .or_else(|_not_a_name| serde_json::from_str(text))
        .map_err(|error| format!("give mesh, ring, {{\"hub\":1}} or {{\"links\":[…]}}: {error}"))
}

#[derive(Debug, Subcommand)]
pub(super) enum NsCommand {
    /// Lists all namespaces.
    List {
        #[command(flatten)]
        asked: Asked,
    },
    /// Shows one.
    Get {
        #[command(flatten)]
        asked: Asked,
        /// Its name.
        name: String,
    },
    /// Makes one; making the same again is no error.
    Create {
        #[command(flatten)]
        asked: Asked,
        #[command(flatten)]
        settings: Settings,
        /// One order for all keys, in one group, instead of many groups.
        #[arg(long)]
        ordered: bool,
        /// Which side of CAP it picks: linearizable (the default) or eventual.
        #[arg(long)]
        mode: Option<String>,
        /// Of an eventual one, what its values are: lww, mv, counter, set or map.
        #[arg(long = "type", value_name = "TYPE")]
        data_type: Option<String>,
        /// Its name: a-z, 0-9, `.`, `_`, `-`.
        name: String,
    },
    /// Changes settings of one.
    Set {
        #[command(flatten)]
        asked: Asked,
        #[command(flatten)]
        settings: Settings,
        /// Lifts the quota.
        #[arg(long, conflicts_with = "quota")]
        no_quota: bool,
        /// Its name.
        name: String,
    },
    #[command(flatten)]
    Loss(super::eventual::LossCommand),
    #[command(flatten)]
    Copy(super::copies::CopyCommand),
    /// Switches one to the other side, linearizable or eventual.
    Switch(super::switching::SwitchArgs),
    /// Removes one with all its keys.
    Delete {
        #[command(flatten)]
        asked: Asked,
        /// Does not ask for the name again.
        #[arg(long)]
        yes: bool,
        /// Its name.
        name: String,
    },
}

impl Settings {
    fn limits(&self) -> Option<NamespaceLimits> {
        let limits = NamespaceLimits { key_bytes: self.key_bytes, value_bytes: self.value_bytes };
        (limits != NamespaceLimits::default()).then_some(limits)
    }
}

pub(super) async fn run(command: NsCommand, env: &Env) -> Result<(), Failure> {
    match command {
        NsCommand::List { asked } => {
            let spaces = asked.reach.client(env)?.namespaces().await;
            show(&spaces.map_err(|error| Failure::read(&error))?, asked.json);
        }
        NsCommand::Get { asked, name } => {
            let space = asked.reach.client(env)?.namespace(&name).await;
            show(&[space.map_err(|error| Failure::read(&error))?], asked.json);
        }
        NsCommand::Create { asked, settings, ordered, mode, data_type, name } => {
            let limits = settings.limits();
            let wanted = NamespaceCreate {
                name,
                mode,
                data_type,
                topology: settings.topology,
                layout: ordered.then(|| "ordered".to_owned()),
                limits,
                quota: settings.quota,
                history: settings.history,
            };
            let space = asked.reach.client(env)?.create_namespace(&wanted).await;
            show(&[space.map_err(|error| Failure::write(&error))?], asked.json);
        }
        NsCommand::Set { asked, settings, no_quota, name } => {
            let quota = if no_quota { Some(None) } else { settings.quota.map(Some) };
            let limits = settings.limits();
            let (history, topology) = (settings.history, settings.topology);
            let change = NamespaceChange { limits, quota, history, topology };
            if change == NamespaceChange::default() {
                return Err(Failure::usage("say what to change: --quota, --history, …"));
            }
            let space = asked.reach.client(env)?.change_namespace(&name, &change).await;
            show(&[space.map_err(|error| Failure::write(&error))?], asked.json);
        }
        NsCommand::Loss(command) => super::eventual::losses(command, env).await?,
        NsCommand::Copy(command) => super::copies::run(command, env).await?,
        NsCommand::Switch(args) => super::switching::run(args, env).await?,
        NsCommand::Delete { asked, yes, name } => {
            if !yes {
                confirm(&name)?;
            }
            let done = asked.reach.client(env)?.delete_namespace(&name).await;
            done.map_err(|error| Failure::write(&error))?;
            if asked.json {
                print::json(&json!({"name": name, "state": "deleting"}));
            } else {
                print::line(format!("{name} is gone; its rows are being cleared away"));
            }
        }
    }
    Ok(())
}

/// All keys go at once: a person types the name, a script says `--yes`.
fn confirm(name: &str) -> Result<(), Failure> {
    use std::io::IsTerminal;
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("all keys of {name} would be removed; say --yes")));
    }
    print::note(format!("this removes all keys of {name}; type its name to go on:"));
    let mut typed = String::new();
    let read = std::io::stdin().read_line(&mut typed);
    if read.is_ok() && typed.trim() == name {
        return Ok(());
    }
    Err(Failure::failed("nothing was removed"))
}

fn show(spaces: &[NamespaceView], as_json: bool) {
    if as_json {
        return spaces.iter().for_each(|space| print::json(&json!(space)));
    }
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(["name", "id", "kind", "keys", "bytes", "quota", "history", "groups"]);
    for space in spaces {
        let quota = space.quota.map_or_else(|| "-".to_owned(), |quota| quota.to_string());
        table.add_row([
            space.name.clone(),
            space.id.to_string(),
            space.data_type.clone().unwrap_or_else(|| space.layout.clone()),
            space.keys.map_or_else(unknown, |keys| keys.to_string()),
            space.bytes.map_or_else(unknown, |bytes| bytes.to_string()),
            quota,
            space.history.clone(),
            space.groups.to_string(),
        ]);
    }
    print::line(table);
}

/// `tetrarch limits`: what the server bounds.
pub(super) async fn limits(asked: Asked, env: &Env) -> Result<(), Failure> {
    let view = asked.reach.client(env)?.limits().await.map_err(|error| Failure::read(&error))?;
    if asked.json {
        print::json(&json!(view));
        return Ok(());
    }
    for (name, limit) in &view.limits {
        print::line(format!("{name:<24} {:>12} {:<8} {}", limit.value, limit.unit, limit.what));
    }
    Ok(())
}

/// A lease's time to live, for people.
pub(super) fn seconds(ms: u64) -> String {
    format!("{:.1} s", Duration::from_millis(ms).as_secs_f64())
}

fn unknown() -> String {
    "?".to_owned()
}
