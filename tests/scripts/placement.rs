//! Runs `placement/` scripts: one catalog and the plans that are made from it.
//!
//! Every command goes through its bytes, and so does the catalog after it; what the catalog must keep
//! is checked each time.
//!
//! * `found NODE... groups=N replicas=N [cluster=N]`, `add NODE`, `address NODE HOST:PORT`: a node is
//!   written `ID` or `ID@DIRECTORY`, its directory being its id where none is named
//! * `replace OLD NEW`, `moved GROUP FROM TO`
//! * `plan`: the next move; `follow [COUNT]`: does the next moves, all of them without a count
//! * `step GROUP FROM TO voters=1,2 [learners=3] [joint=true] [caught_up=true]`: the next step of a move
//! * `transfers GROUP:TO:FACTS... in_flight=N`: which of the groups led here are handed back; facts are
//!   `m` (matched), `c` (connected) and the milliseconds for which the target was fit
//! * `slot KEY... [ns=N] [layout=ordered]`: slots and groups of keys
//! * `create NAME [layout=ordered] [mode=eventual] [quota=N] [history=MS] [key=N] [value=N]`,
//!   `change NAME [if=EPOCH] [quota=N|none] [history=MS] [key=N value=N]`, `delete NAME`, `purged ID`
//! * `nodes`, `groups`, `namespaces`: the catalog

use std::collections::BTreeSet;
use std::fmt::Write as _;

use goldenscript::{ArgumentConsumer, Runner};
use tetrarch::model::{ClusterId, GroupId, Incarnation, NamespaceId, NodeId};
use tetrarch::placement::{
    Catalog, CatalogCommand, CatalogReply, Layout, Led, Mode, Move, MoveFacts, NamespaceLimits,
    Topology, TransferLimits, move_step, next_move, slot_of, transfers,
};

use super::{Fault, named, next};

#[derive(Debug, Default)]
pub(crate) struct Map {
    catalog: Catalog,
}

const LIMITS: TransferLimits = TransferLimits { stable_ms: 3000, in_flight_max: 2 };

impl Map {
    fn propose(&mut self, command: &CatalogCommand) -> Result<String, Fault> {
        let command = CatalogCommand::decode(&command.encode())?;
        let reply = self.catalog.apply(&command);
        self.catalog.check()?;
        self.catalog = Catalog::decode(&self.catalog.encode())?;
        match CatalogReply::decode(&reply.encode())? {
            CatalogReply::Done { epoch } | CatalogReply::Namespace { epoch, .. } => {
                Ok(format!("done, epoch {epoch}\n"))
            }
            CatalogReply::Refused { code, reason } => Ok(format!("refused, {code:?}: {reason}\n")),
        }
    }

    fn follow(&mut self, count: Option<usize>) -> Result<String, Fault> {
        let mut trace = String::new();
        for _ in 0..count.unwrap_or(usize::MAX) {
            let Some(Move { group, from, to }) = next_move(&self.catalog) else { break };
            let reply = self.propose(&CatalogCommand::Moved { group, from, to })?;
            write!(trace, "group {group}: {from} -> {to}: {reply}")?;
        }
        Ok(trace)
    }

    fn plan(&self) -> String {
        next_move(&self.catalog).map_or_else(
            || "nothing moves\n".to_owned(),
            |Move { group, from, to }| format!("group {group}: {from} -> {to}\n"),
        )
    }

    fn step(&self, args: &mut ArgumentConsumer<'_>) -> Result<String, Fault> {
        let set = |list: Option<String>| -> Result<BTreeSet<NodeId>, Fault> {
            let list = list.unwrap_or_default();
            list.split(',').filter(|id| !id.is_empty()).map(|id| Ok(NodeId(id.parse()?))).collect()
        };
        let facts = MoveFacts {
            voters: set(args.lookup_parse("voters")?)?,
            learners: set(args.lookup_parse("learners")?)?,
            joint: args.lookup_parse("joint")?.unwrap_or(false),
            target_caught_up: args.lookup_parse("caught_up")?.unwrap_or(false),
        };
        let asked = Move {
            group: GroupId(next(args, "a group")?),
            from: NodeId(next(args, "a node")?),
            to: NodeId(next(args, "a node")?),
        };
        Ok(format!("{:?}\n", move_step(&self.catalog, &asked, &facts)))
    }

    fn slots(&self, args: &mut ArgumentConsumer<'_>) -> Result<String, Fault> {
        let namespace = NamespaceId(args.lookup_parse("ns")?.unwrap_or(1));
        let layout = layout(args)?;
        let mut trace = String::new();
        for key in args.rest_pos() {
            let slot = slot_of(namespace, layout, key.value.as_bytes());
            let group = self.catalog.group_of(slot).map_or("none".to_owned(), |g| g.to_string());
            writeln!(trace, "{:?} slot {} group {group}", key.value, slot.get())?;
        }
        Ok(trace)
    }

    fn nodes(&self) -> Result<String, Fault> {
        let mut trace = String::new();
        for (node, entry) in &self.catalog.nodes {
            let led = self.catalog.groups.values().filter(|group| group.preferred == *node).count();
            let held = self.catalog.groups_on(*node).count();
            writeln!(
                trace,
                "{node} at {} {:?}: holds {held}, prefers to lead {led}",
                entry.address, entry.state
            )?;
        }
        Ok(trace)
    }

    fn groups(&self) -> Result<String, Fault> {
        let mut trace = String::new();
        for (group, entry) in &self.catalog.groups {
            let ids = |nodes: &[NodeId]| -> String {
                nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            };
            let slots: Vec<_> = entry
                .ranges
                .iter()
                .map(|range| format!(" slots {}..{}", range.first.get(), range.last.get()))
                .collect();
            writeln!(
                trace,
                "{group}: replicas {} preferred {} founders {}{}",
                ids(&entry.replicas),
                entry.preferred,
                ids(&entry.founders),
                slots.concat(),
            )?;
        }
        Ok(trace)
    }
}

impl Map {
    fn namespaces(&self) -> Result<String, Fault> {
        let mut trace = String::new();
        for (name, entry) in &self.catalog.namespaces {
            let NamespaceLimits { key_bytes_max: key, value_bytes_max: value } = entry.limits;
            let quota = entry.quota.map_or("none".to_owned(), |quota| quota.to_string());
            writeln!(
                trace,
                "{name}: id {} {:?} {:?} key {key} value {value} quota {quota} history {} since {}",
                entry.id, entry.mode, entry.layout, entry.history_ms, entry.epoch
            )?;
        }
        for (id, epoch) in &self.catalog.doomed {
            writeln!(trace, "doomed: id {id} since {epoch}")?;
        }
        Ok(trace)
    }
}

impl Runner for Map {
    fn run(&mut self, command: &goldenscript::Command) -> Result<String, Fault> {
        let mut args = command.consume_args();
        let asked = match command.name.as_str() {
            "found" => found(&mut args)?,
            "add" => {
                let (node, address, incarnation) = node(&next::<String>(&mut args, "a node")?)?;
                CatalogCommand::AddNode { node, address, incarnation }
            }
            "address" => {
                let (node, _, incarnation) = node(&next::<String>(&mut args, "a node")?)?;
                let address = next(&mut args, "an address")?;
                CatalogCommand::SetAddress { node, incarnation, address }
            }
            "replace" => CatalogCommand::Replace {
                old: NodeId(next(&mut args, "a node")?),
                new: NodeId(next(&mut args, "a node")?),
            },
            "moved" => CatalogCommand::Moved {
                group: GroupId(next(&mut args, "a group")?),
                from: NodeId(next(&mut args, "a node")?),
                to: NodeId(next(&mut args, "a node")?),
            },
            "create" => create(&mut args)?,
            "change" => change(&mut args)?,
            "delete" => CatalogCommand::DeleteNamespace { name: next(&mut args, "a name")? },
            "purged" => {
                CatalogCommand::Purged { namespace: NamespaceId(next(&mut args, "an id")?) }
            }
            "plan" => return Ok(self.plan()),
            "follow" => {
                let count = args.next_pos().map(|arg| arg.parse()).transpose()?;
                return self.follow(count);
            }
            "step" => return self.step(&mut args),
            "transfers" => return handed_back(&mut args),
            "slot" => return self.slots(&mut args),
            "nodes" => return self.nodes(),
            "groups" => return self.groups(),
            "namespaces" => return self.namespaces(),
            other => return Err(format!("there is no command {other}").into()),
        };
        args.reject_rest()?;
        self.propose(&asked)
    }
}

fn found(args: &mut ArgumentConsumer<'_>) -> Result<CatalogCommand, Fault> {
    let (groups, replicas) = (named(args, "groups")?, named(args, "replicas")?);
    let cluster = ClusterId(args.lookup_parse("cluster")?.unwrap_or(1));
    let nodes = args.rest_pos().iter().map(|arg| node(&arg.value)).collect::<Result<_, _>>()?;
    Ok(CatalogCommand::Found { cluster, nodes, groups, replicas })
}

fn node(text: &str) -> Result<(NodeId, String, Incarnation), Fault> {
    let (id, directory) = text.split_once('@').unwrap_or((text, text));
    Ok((NodeId(id.parse()?), format!("node{id}:7101"), Incarnation(directory.parse()?)))
}

fn layout(args: &mut ArgumentConsumer<'_>) -> Result<Layout, Fault> {
    match args.lookup("layout").map(|arg| arg.value.as_str()) {
        None | Some("spread") => Ok(Layout::Spread),
        Some("ordered") => Ok(Layout::Ordered),
        Some(other) => Err(format!("there is no layout {other}").into()),
    }
}

fn create(args: &mut ArgumentConsumer<'_>) -> Result<CatalogCommand, Fault> {
    let usual = NamespaceLimits::default();
    let mode = match args.lookup("mode").map(|arg| arg.value.as_str()) {
        None | Some("linearizable") => Mode::Linearizable,
        Some("eventual") => Mode::Eventual,
        Some(other) => return Err(format!("there is no mode {other}").into()),
    };
    Ok(CatalogCommand::CreateNamespace {
        mode,
        layout: layout(args)?,
        limits: NamespaceLimits {
            key_bytes_max: args.lookup_parse("key")?.unwrap_or(usual.key_bytes_max),
            value_bytes_max: args.lookup_parse("value")?.unwrap_or(usual.value_bytes_max),
        },
        quota: args.lookup_parse("quota")?,
        history_ms: args.lookup_parse("history")?.unwrap_or(300_000),
        data_type: None,
        topology: Topology::Mesh,
        name: next(args, "a name")?,
    })
}

fn change(args: &mut ArgumentConsumer<'_>) -> Result<CatalogCommand, Fault> {
    let quota = match args.lookup("quota").map(|arg| arg.value.as_str()) {
        None => None,
        Some("none") => Some(None),
        Some(bytes) => Some(Some(bytes.parse()?)),
    };
    Ok(CatalogCommand::ChangeNamespace {
        if_epoch: args.lookup_parse("if")?,
        key_bytes_max: args.lookup_parse("key")?,
        value_bytes_max: args.lookup_parse("value")?,
        quota,
        history_ms: args.lookup_parse("history")?,
        topology: None,
        name: next(args, "a name")?,
    })
}

fn handed_back(args: &mut ArgumentConsumer<'_>) -> Result<String, Fault> {
    let in_flight = named(args, "in_flight")?;
    let led = args.rest_pos().iter().map(|arg| led(&arg.value)).collect::<Result<Vec<_>, _>>()?;
    let mut trace = String::new();
    for (group, to) in transfers(&led, in_flight, &LIMITS) {
        writeln!(trace, "group {group} -> {to}")?;
    }
    Ok(if trace.is_empty() { "none\n".to_owned() } else { trace })
}

fn led(text: &str) -> Result<Led, Fault> {
    let mut parts = text.split(':');
    let mut part = || parts.next().ok_or("written GROUP:TO:FACTS");
    let (group, preferred, facts) = (part()?, part()?, part()?);
    Ok(Led {
        group: GroupId(group.parse()?),
        preferred: NodeId(preferred.parse()?),
        target_matched: facts.contains('m'),
        target_connected: facts.contains('c'),
        target_stable_ms: facts.trim_matches(['m', 'c']).parse()?,
    })
}
