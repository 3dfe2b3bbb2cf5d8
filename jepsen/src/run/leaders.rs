//! Counts how often groups change their leaders while a test runs.
//!
//! Why it exists: a run that kills nodes and in which nobody lost the lead has tried nothing. Promises:
//! only a group that was seen with one leader and later with another counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::cluster::Cluster;

/// Pause between looks.
const EVERY: Duration = Duration::from_millis(500);

/// Someone who looks.
pub(super) struct Watch {
    stop: oneshot::Sender<()>,
    looking: JoinHandle<u64>,
}

/// Begins to look.
pub(super) fn watch(cluster: Arc<Cluster>) -> Watch {
    let (stop, mut stopped) = oneshot::channel();
    let looking = tokio::spawn(async move {
        let mut known = BTreeMap::new();
        let mut changes = 0;
        loop {
            for (group, leader) in cluster.leaders().await {
                let before = known.insert(group, leader);
                changes += u64::from(before.is_some_and(|before| before != leader));
            }
            let ended = tokio::time::timeout(EVERY, &mut stopped).await;
            if ended.is_ok() {
                return changes;
            }
        }
    });
    Watch { stop, looking }
}

impl Watch {
    /// Ends the looking, and says how many changes there were; 0 also when the looking failed, which
    /// makes a run that needs them `unknown`.
    pub(super) async fn stop(self) -> u64 {
        drop(self.stop);
        self.looking.await.unwrap_or_default()
    }
}
