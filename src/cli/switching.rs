//! `tetrarch ns switch`: a namespace to the other side, surveyed, begun, watched, cancelled.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::import::progress;
use super::spaces::Asked;
use super::{Failure, print};
use crate::client::Client;
use crate::runtime::Env;
use crate::wire::{SwitchRequest, SwitchView};

/// How often a switch is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct SwitchArgs {
    #[command(flatten)]
    asked: Asked,
    /// The namespace.
    name: String,
    /// Begins a switch: to linearizable or eventual. Without it: how far one is.
    #[arg(long, value_name = "MODE")]
    to: Option<String>,
    /// To eventual: what its values are, lww, mv, counter, set or map.
    #[arg(long = "type", value_name = "TYPE", requires = "to")]
    data_type: Option<String>,
    /// To linearizable: one order for all keys, in one group.
    #[arg(long, requires = "to")]
    ordered: bool,
    /// Of values that stand beside each other the latest is taken; otherwise they stand in the way.
    #[arg(long, requires = "to")]
    latest: bool,
    /// Only lists what stands in the way; exit code 1 if anything does.
    #[arg(long, requires = "to")]
    check: bool,
    /// Gives a switch up that is not done yet.
    #[arg(long, conflicts_with = "to")]
    cancel: bool,
    /// Waits until the switch has ended.
    #[arg(long, conflicts_with_all = ["cancel", "check"])]
    wait: bool,
}

pub(super) async fn run(args: SwitchArgs, env: &Env) -> Result<(), Failure> {
    let client = args.asked.reach.client(env)?;
    let (name, as_json) = (&args.name, args.asked.json);
    let wanted = args.to.clone().map(|to| SwitchRequest {
        to,
        data_type: args.data_type.clone(),
        layout: args.ordered.then(|| "ordered".to_owned()),
        siblings: args.latest.then(|| "latest".to_owned()),
        ..SwitchRequest::default()
    });
    if let (true, Some(wanted)) = (args.check, &wanted) {
        return check(&client, name, wanted, as_json).await;
    }
    let view = match &wanted {
        Some(wanted) => {
            client.begin_switch(name, wanted).await.map_err(|error| Failure::write(&error))?
        }
        None if args.cancel => {
            client.cancel_switch(name).await.map_err(|error| Failure::write(&error))?
        }
        None => client.switch(name).await.map_err(|error| Failure::read(&error))?,
    };
    let view = if args.wait { wait(&client, view).await? } else { view };
    let stopped = args.wait && view.phase == "stopped";
    show(&view, as_json);
    if stopped { Err(Failure::failed("the switch was given up")) } else { Ok(()) }
}

async fn check(
    client: &Client,
    name: &str,
    wanted: &SwitchRequest,
    as_json: bool,
) -> Result<(), Failure> {
    let found = client.check_switch(name, wanted).await.map_err(|error| Failure::read(&error))?;
    if as_json {
        print::json(&json!(found));
    } else {
        for obstacle in &found.named {
            let key = obstacle.key.as_ref().or(obstacle.key64.as_ref());
            print::line(format!("{}: {}", key.map_or("", String::as_str), obstacle.why));
        }
        let all = if found.complete { "all" } else { "the first" };
        print::line(format!("{} of {all} {} keys stand in the way", found.obstacles, found.keys));
    }
    match found.obstacles {
        0 => Ok(()),
        _ => Err(Failure::failed("the switch would be refused")),
    }
}

async fn wait(client: &Client, mut view: SwitchView) -> Result<SwitchView, Failure> {
    let bar = progress(view.keys);
    while !matches!(view.phase.as_str(), "done" | "stopped") {
        bar.set_position(view.copied.unwrap_or_default());
        let waits = view.waits_for.as_ref().map(|reason| format!(": {reason}"));
        bar.set_message(format!("{}{}", view.phase, waits.unwrap_or_default()));
        tokio::time::sleep(LOOK_EVERY).await;
        view = client.switch(&view.namespace).await.map_err(|error| Failure::read(&error))?;
    }
    bar.finish_and_clear();
    Ok(view)
}

fn show(view: &SwitchView, as_json: bool) {
    if as_json {
        return print::json(&json!(view));
    }
    let SwitchView { namespace, phase, to, data_type, copied, .. } = view;
    let kind = data_type.as_ref().map_or_else(|| to.clone(), |kind| format!("{to} {kind}"));
    let copied = copied.map_or_else(|| "?".to_owned(), |keys| keys.to_string());
    print::line(format!("{namespace} to {kind}: {phase}, {copied} keys copied"));
    for reason in view.waits_for.iter().chain(&view.reason) {
        print::line(reason);
    }
}
