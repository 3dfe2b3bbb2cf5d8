//! Workloads of eventual namespaces: every node takes reads and writes, whatever is cut.
//!
//! Why it exists: there is no order of a group here that answers could be held against. What is left
//! are promises about the end (all replicas the same, nothing that was acknowledged unaccounted for)
//! and about the way there (each node answers by itself, and never forgets what it took).
//!
//! Promises: what is asked at the end is asked by one thread, one node after the other, with the node
//! in the task, so that convergence comes before what relies on it.

pub mod asking;
pub mod converge;
pub mod crdt;
pub mod loss;
pub mod resurrection;

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

use crate::api::{Api, ApiError};
use crate::history::Value;
use crate::workload::Task;
use crate::workload::finding::{number, text};

/// The namespaces of a workload: one for each type that it tries.
#[derive(Debug)]
pub(crate) struct Spaces {
    stem: &'static str,
    types: &'static [&'static str],
    nodes: OnceLock<Vec<u32>>,
    over: OnceLock<Instant>,
}

impl Spaces {
    /// Namespaces of these types.
    pub(crate) const fn of(stem: &'static str, types: &'static [&'static str]) -> Self {
        Self { stem, types, nodes: OnceLock::new(), over: OnceLock::new() }
    }

    /// Makes them and waits until every node serves them.
    pub(crate) async fn make(&self, api: &Api) -> Result<(), ApiError> {
        self.nodes.get_or_init(|| api.nodes());
        for data_type in self.types {
            asking::make(api, &self.name(api, data_type), data_type).await?;
        }
        Ok(())
    }

    /// When all faults were over: when that is asked first. All namespaces have had the same time then.
    pub(crate) fn over(&self) -> Instant {
        *self.over.get_or_init(Instant::now)
    }

    /// For how long everything has been over, if it is.
    pub(crate) fn since_over(&self) -> Option<Duration> {
        self.over.get().map(Instant::elapsed)
    }

    /// The name of the namespace of a type.
    pub(crate) fn name(&self, api: &Api, data_type: &str) -> String {
        api.own(&format!("{}-{data_type}", self.stem))
    }

    /// A final task for each type and node: `[node type]`.
    pub(crate) fn each(&self, f: &'static str) -> impl Iterator<Item = (u64, Task)> + '_ {
        self.types.iter().flat_map(move |data_type| self.each_node(f, vec![(*data_type).into()]))
    }

    /// A final task for each node: `[node rest…]`.
    pub(crate) fn each_node(
        &self,
        f: &'static str,
        rest: Vec<Value>,
    ) -> impl Iterator<Item = (u64, Task)> + '_ {
        let nodes = self.nodes.get().into_iter().flatten();
        nodes.map(move |node| {
            let mut value = vec![Value::Int(i64::from(*node))];
            value.extend(rest.iter().cloned());
            (0, Task { f: f.to_owned(), value: Value::List(value) })
        })
    }
}

/// The node and the type of a final task.
fn told(task: &Task) -> Option<(u32, &str)> {
    let node = u32::try_from(number(&task.value, 0)?).ok()?;
    Some((node, text(&task.value, 1)?))
}
