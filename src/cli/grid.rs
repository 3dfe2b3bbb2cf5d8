//! The picture of a cluster: a row for each node, a column for each group.
//!
//! Promises: fits the width it is given: many groups wrap into blocks, and more than fit into a few
//! blocks become one line of counts a node. A group without a leader is always listed.

use anstyle::{AnsiColor, Style};

use super::print::styled;
use crate::wire::{ClusterView, GroupView, NodeView};

/// Blocks of groups that still fit on a screen; beyond it counts say more.
const BLOCKS_MAX: usize = 4;
/// Entries that a replica may be behind before it is marked: as many as one busy moment makes.
const LAG_MARKED: u64 = 1_000;
const NAME_WIDTH: usize = 9;

/// How a group's copy on a node is drawn.
fn mark(group: &GroupView, node: u64) -> char {
    let replica = group.replicas.iter().find(|replica| replica.node == node);
    let holds = group.voters.contains(&node) || group.learners.contains(&node);
    match replica {
        _ if group.leader == Some(node) => '●',
        Some(replica) if replica.role == "unknown" || replica.role == "stopped" => '×',
        Some(replica) if replica.lag.is_some_and(|lag| lag > LAG_MARKED) => '▿',
        _ if group.learners.contains(&node) => '○',
        Some(_) => '·',
        None if holds => '·',
        None => ' ',
    }
}

fn style(mark: char) -> Style {
    match mark {
        '●' => AnsiColor::Green.on_default(),
        '×' => AnsiColor::Red.on_default(),
        '▿' | '○' => AnsiColor::Yellow.on_default(),
        _ => Style::new(),
    }
}

/// Draws the cluster for a terminal of this width.
pub(super) fn draw(view: &ClusterView, width: usize) -> String {
    let mut out = String::new();
    let line = |out: &mut String, text: String| {
        out.push_str(text.trim_end());
        out.push('\n');
    };
    let cluster = view.cluster.as_deref().unwrap_or("none yet");
    let moving = if view.moves_left > 0 {
        format!(", {} replicas still to move", view.moves_left)
    } else {
        String::new()
    };
    line(&mut out, format!("cluster {cluster}, epoch {}{moving}", view.epoch));
    for node in &view.nodes {
        line(&mut out, node_line(node));
    }
    let columns = width.saturating_sub(NAME_WIDTH).max(20);
    let wide = view.groups.len() <= columns / 3;
    let per_block = if wide { columns / 3 } else { columns };
    if view.groups.len() > per_block * BLOCKS_MAX {
        out.push_str("\ntoo many groups to draw at this width; counts a node:\n");
        for node in &view.nodes {
            line(&mut out, counts(view, node));
        }
    } else {
        for block in view.groups.chunks(per_block.max(1)) {
            out.push('\n');
            line(&mut out, heading(block, wide));
            for node in view.nodes.iter().filter(|node| node.state != "removed") {
                let mut row = format!("{:<NAME_WIDTH$}", format!("node {}", node.id));
                for group in block {
                    let mark = mark(group, node.id);
                    let cell = styled(style(mark), mark);
                    row.push_str(&cell);
                    row.push_str(if wide { "  " } else { "" });
                }
                line(&mut out, row);
            }
        }
        out.push_str("\n● leads  · follows  ○ learns  ▿ lags  × no answer\n");
    }
    let headless: Vec<_> =
        view.groups.iter().filter(|g| g.leader.is_none()).map(|g| g.id.to_string()).collect();
    if !headless.is_empty() {
        line(&mut out, format!("without a known leader: {}", headless.join(", ")));
    }
    out
}

fn heading(block: &[GroupView], wide: bool) -> String {
    if !wide {
        let first = block.first().map_or(0, |g| g.id);
        let last = block.last().map_or(0, |g| g.id);
        return format!("{:<NAME_WIDTH$}{first} to {last}", "groups");
    }
    let numbers = block.iter().map(|g| format!("{:<3}", g.id)).collect::<String>();
    format!("{:<NAME_WIDTH$}{numbers}", "group")
}

fn node_line(node: &NodeView) -> String {
    let state = match (&node.replaced_by, node.reachable) {
        (Some(by), _) => format!("{} by {by}", node.state),
        (None, _) if node.state == "removed" => node.state.clone(),
        (None, false) => styled(AnsiColor::Red.on_default(), "no answer"),
        (None, true) => node.state.clone(),
    };
    let uptime = node.uptime_ms.map_or_else(String::new, |ms| format!(", up {}", uptime(ms)));
    let version = node.version.as_ref().map_or_else(String::new, |v| format!(", {v}"));
    format!(
        "node {:<4} http://{:<21} {state}{uptime}{version}, leads {} of {}",
        node.id, node.address, node.leads, node.replicas
    )
}

fn uptime(ms: u64) -> String {
    let seconds = ms / 1000;
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

fn counts(view: &ClusterView, node: &NodeView) -> String {
    let marks: Vec<char> = view.groups.iter().map(|group| mark(group, node.id)).collect();
    let of = |wanted: char| marks.iter().filter(|mark| **mark == wanted).count();
    format!(
        "node {:<4} leads {:<5} follows {:<5} learns {:<5} lags {:<5} no answer {}",
        node.id,
        of('●'),
        of('·'),
        of('○'),
        of('▿'),
        of('×')
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ReplicaView;

    fn view(groups: u64) -> ClusterView {
        let node = |id| NodeView {
            id,
            address: format!("127.0.0.1:710{id}"),
            state: "active".to_owned(),
            replaced_by: None,
            reachable: id != 3,
            incarnation: String::new(),
            leads: groups / 2,
            replicas: groups,
            moves_left: 0,
            uptime_ms: Some(61_000),
            version: None,
        };
        let replica = |node, lag| ReplicaView {
            node,
            role: if node == 3 { "unknown" } else { "follower" }.to_owned(),
            term: None,
            applied: None,
            last: None,
            lag,
        };
        let group = |id: u64| GroupView {
            id,
            leader: (id != 4).then_some(1 + id % 2),
            preferred: 1,
            term: 1,
            committed: 0,
            applied: 0,
            last: 0,
            voters: vec![1, 2, 3],
            learners: Vec::new(),
            slots: Vec::new(),
            replicas: vec![replica(1, Some(5)), replica(2, Some(5_000)), replica(3, None)],
        };
        ClusterView {
            nodes: (1..=3).map(node).collect(),
            groups: (0..groups).map(group).collect(),
            ..ClusterView::default()
        }
    }

    fn plain(text: &str) -> String {
        let text = text.as_bytes();
        String::from_utf8(anstream::adapter::strip_bytes(text).into_vec()).unwrap()
    }

    #[test]
    fn one_sees_who_leads_lags_and_is_silent() {
        let text = plain(&draw(&view(5), 80));
        assert!(text.contains("group    0  1  2  3  4"), "{text}");
        assert!(text.contains("node 1   ●  ·  ●  ·  ·"), "{text}");
        assert!(text.contains("node 2   ▿  ●  ▿  ●  ▿"), "{text}");
        assert!(text.contains("node 3   ×  ×  ×  ×  ×"), "{text}");
        assert!(text.contains("without a known leader: 4"), "{text}");
        assert!(text.contains("up 1 min 1 s"), "{text}");
    }

    #[test]
    fn many_groups_wrap_and_very_many_are_counted() {
        let text = plain(&draw(&view(200), 80));
        assert!(text.contains("groups   0 to 70") && text.contains("142 to 199"), "{text}");
        assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
        let text = plain(&draw(&view(1000), 80));
        assert!(text.contains("node 1    leads 499"), "{text}");
    }
}
