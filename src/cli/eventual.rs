//! `tetrarch kv add|set-add|set-remove`, `tetrarch ns conflicts|convergence|receipt|restore`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::key::{KeyArgs, SpaceArgs};
use super::{Failure, print};
use crate::client::Patch;
use crate::runtime::Env;
use crate::wire::{Conflict, ReceiptView};

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    #[command(flatten)]
    on: KeyArgs,
    /// What is added; a negative number subtracts.
    #[arg(allow_hyphen_values = true)]
    number: String,
}

#[derive(Debug, Args)]
pub(super) struct ElementArgs {
    #[command(flatten)]
    on: KeyArgs,
    /// The elements.
    #[arg(required = true)]
    elements: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum LossCommand {
    /// Lists the writes of an eventual namespace that were lost to others.
    Conflicts {
        #[command(flatten)]
        space: SpaceArgs,
        /// Only keys that begin with this.
        #[arg(long, default_value = "")]
        prefix: String,
        /// Prints only how many there are.
        #[arg(long)]
        totals: bool,
    },
    /// Says whether all nodes have the same of an eventual namespace; exit code 1 if not.
    Convergence {
        #[command(flatten)]
        space: SpaceArgs,
        /// Instead asks for one pass over the link of mode `manual` that leads from this node to the
        /// one that is asked.
        #[arg(long, value_name = "FROM")]
        pass: Option<u64>,
    },
    /// Says what became of a write.
    Receipt {
        #[command(flatten)]
        on: KeyArgs,
        /// The write, as its answer named it (`KV-Receipt`).
        receipt: String,
    },
    /// Writes a value once more that was lost.
    Restore {
        #[command(flatten)]
        on: KeyArgs,
        /// The write that was lost.
        receipt: String,
    },
}

/// `kv add`.
pub(super) async fn add(args: AddArgs, env: &Env) -> Result<(), Failure> {
    // Text, since JSON readers round long numbers.
    change(&args.on, &Patch::Add(json!(args.number)), env).await
}

/// `kv set-add`.
pub(super) async fn set_add(args: ElementArgs, env: &Env) -> Result<(), Failure> {
    change(&args.on, &Patch::SetEdit { add: args.elements, remove: Vec::new() }, env).await
}

/// `kv set-remove`.
pub(super) async fn set_remove(args: ElementArgs, env: &Env) -> Result<(), Failure> {
    change(&args.on, &Patch::SetEdit { add: Vec::new(), remove: args.elements }, env).await
}

async fn change(on: &KeyArgs, patch: &Patch, env: &Env) -> Result<(), Failure> {
    let (space, key) = (&on.space, on.bytes()?);
    let wrote = space.reach.client(env)?.patch(&space.ns, &key, patch).await;
    let wrote = wrote.map_err(|error| Failure::write(&error))?;
    let value = wrote.value.unwrap_or_default();
    if space.json {
        let value = String::from_utf8_lossy(&value);
        print::json(&json!({"value": value, "receipt": wrote.receipt, "replayed": wrote.replayed}));
    } else {
        print::line(String::from_utf8_lossy(&value));
    }
    Ok(())
}

/// `ns conflicts`, `convergence`, `receipt`, `restore`.
pub(super) async fn losses(command: LossCommand, env: &Env) -> Result<(), Failure> {
    match command {
        LossCommand::Conflicts { space, prefix, totals: true } => {
            totals(&space, &prefix, env).await
        }
        LossCommand::Conflicts { space, prefix, .. } => conflicts(&space, &prefix, env).await,
        LossCommand::Convergence { space, pass: None } => convergence(&space, env).await,
        LossCommand::Convergence { space, pass: Some(from) } => pass(&space, from, env).await,
        LossCommand::Receipt { on, receipt } => {
            let (space, key) = (&on.space, on.bytes()?);
            let told = space.reach.client(env)?.receipt(&space.ns, &key, &receipt).await;
            show_receipt(&told.map_err(|error| Failure::read(&error))?, space.json);
            Ok(())
        }
        LossCommand::Restore { on, receipt } => {
            let (space, key) = (&on.space, on.bytes()?);
            let wrote = space.reach.client(env)?.restore(&space.ns, &key, &receipt).await;
            let wrote = wrote.map_err(|error| Failure::write(&error))?;
            if space.json {
                print::json(&json!(wrote));
            } else {
                print::line(format!("written again as {}", wrote.receipt));
            }
            Ok(())
        }
    }
}

fn show_receipt(told: &ReceiptView, as_json: bool) {
    if as_json {
        return print::json(&json!(told));
    }
    let until = if told.is_final { "for good" } else { "as far as this node has heard" };
    let by = told.by.as_ref().map(|by| format!(" to {by}")).unwrap_or_default();
    print::line(format!("{}{by}, {until}", told.fate));
}

async fn totals(space: &SpaceArgs, prefix: &str, env: &Env) -> Result<(), Failure> {
    let client = space.reach.client(env)?;
    let totals = client.conflict_totals(&space.ns, prefix.as_bytes()).await;
    let totals = totals.map_err(|error| Failure::read(&error))?;
    if space.json {
        print::json(&json!(totals));
    } else {
        print::line(format!(
            "{} lost ({} bytes), {} not yet for good; {} in all without effect now",
            totals.lost, totals.lost_bytes, totals.pending, totals.effective
        ));
    }
    Ok(())
}

async fn conflicts(space: &SpaceArgs, prefix: &str, env: &Env) -> Result<(), Failure> {
    let client = space.reach.client(env)?;
    let mut cursor: Option<String> = None;
    loop {
        let page = client.conflicts(&space.ns, prefix.as_bytes(), None, cursor.as_deref()).await;
        let page = page.map_err(|error| Failure::read(&error))?;
        page.conflicts.iter().for_each(|lost| show_lost(lost, space.json));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

fn show_lost(lost: &Conflict, as_json: bool) {
    if as_json {
        return print::json(&json!(lost));
    }
    let key = lost.key.as_ref().or(lost.key64.as_ref()).cloned().unwrap_or_default();
    let field = if lost.field.is_empty() { String::new() } else { format!(" {:?}", lost.field) };
    let value = lost.value.as_ref().or(lost.value64.as_ref());
    let value = value.map_or_else(|| "(not kept)".to_owned(), |value| format!("{value:?}"));
    print::line(format!(
        "{}  {key}{field}  {value}  lost to {}  {}",
        lost.receipt, lost.by, lost.written
    ));
}

async fn pass(space: &SpaceArgs, from: u64, env: &Env) -> Result<(), Failure> {
    let asked = space.reach.client(env)?.ask_pass(&space.ns, from).await;
    let asked = asked.map_err(|error| Failure::write(&error))?;
    if space.json {
        print::json(&json!(asked));
    } else {
        print::line(format!("a pass from node {} to node {} is asked for", asked.from, asked.to));
    }
    Ok(())
}

async fn convergence(space: &SpaceArgs, env: &Env) -> Result<(), Failure> {
    let found = space.reach.client(env)?.convergence(&space.ns).await;
    let found = found.map_err(|error| Failure::read(&error))?;
    if space.json {
        print::json(&json!(found));
    } else {
        print::line(&found.state);
        for member in found.members.iter().filter(|member| !member.reachable) {
            print::line(format!("node {} does not answer", member.node));
        }
        for lag in &found.lags {
            let age = lag.age_ms.map_or_else(String::new, |ms| format!(", up to {ms} ms old"));
            print::line(format!(
                "node {} lacks {} writes of node {}{age}",
                lag.to, lag.writes, lag.from
            ));
        }
    }
    match found.state.as_str() {
        "converged" => Ok(()),
        state => Err(Failure::failed(format!("{} is {state}", space.ns))),
    }
}
