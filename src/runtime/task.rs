//! Named tasks and threads whose panics are never silent.
//!
//! Why it exists: a detached task that panics leaves a node half alive, which is worse than dead. A
//! panic here is logged with the task's name and stops the node: the rest of the cluster can go on
//! without a node, not with a node whose log writer has vanished.
//!
//! Promises: `stopping` resolves once, for everyone. Relies on: tokio.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

/// Spawns tasks, and tells them all when the node stops.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    stop: CancellationToken,
    fatal: std::sync::Arc<parking_lot::Mutex<Option<String>>>,
    inline: bool,
}

impl Tasks {
    /// Tasks without threads: blocking work runs where it is asked for. For a simulation, in which
    /// one thread runs everything and its order must repeat.
    pub fn inline() -> Self {
        Self { inline: true, ..Self::default() }
    }

    /// Runs a future to its end, or until the node stops.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let tasks = self.clone();
        tokio::spawn(async move {
            let stop = tasks.stop.clone();
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                result = AssertUnwindSafe(future).catch_unwind() => {
                    if let Err(panic) = result {
                        tasks.fail(format!("task {name} panicked: {}", panic_text(&*panic)));
                    }
                }
            }
        });
    }

    /// Runs a future that is not cut short when the node stops; it watches `stopping` itself.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    pub fn spawn_to_end(
        &self,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let tasks = self.clone();
        tokio::spawn(async move {
            if let Err(panic) = AssertUnwindSafe(future).catch_unwind().await {
                tasks.fail(format!("task {name} panicked: {}", panic_text(&*panic)));
            }
        })
    }

    /// Runs blocking work on a thread of its own, to its end.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that spawns threads")]
    pub fn thread(
        &self,
        name: &'static str,
        work: impl FnOnce() + Send + 'static,
    ) -> std::thread::JoinHandle<()> {
        let tasks = self.clone();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(work)) {
                    tasks.fail(format!("thread {name} panicked: {}", panic_text(&*panic)));
                }
            })
            .expect("the operating system starts a thread")
    }

    /// Runs blocking work on tokio's pool, or here if these tasks are inline, and returns its result.
    ///
    /// # Panics
    ///
    /// Passes on a panic of the work.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        if self.inline {
            return work();
        }
        match tokio::task::spawn_blocking(work).await {
            Ok(value) => value,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Asks everything to stop.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Stops the node because a promise was broken; the first reason is kept.
    pub fn fail(&self, reason: String) {
        tracing::error!(reason, "the node stops");
        self.fatal.lock().get_or_insert(reason);
        self.stop.cancel();
    }

    /// Why the node failed, if it did.
    pub fn failure(&self) -> Option<String> {
        self.fatal.lock().clone()
    }

    /// Whether the node is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Resolves when the node stops.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }
}

/// The text of a panic's payload.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_stops_the_node_and_says_which_task() {
        let tasks = Tasks::default();
        tasks.spawn("doomed", async { panic!("boom {}", 7) });
        tasks.stopping().await;
        assert_eq!(tasks.failure().unwrap(), "task doomed panicked: boom 7");
    }

    #[tokio::test]
    async fn stop_ends_tasks_without_a_failure() {
        let tasks = Tasks::default();
        tasks.spawn("idle", std::future::pending());
        tasks.stop();
        tasks.stopping().await;
        assert!(tasks.is_stopping() && tasks.failure().is_none());
        assert_eq!(tasks.blocking(|| 3).await, 3);
    }

    #[tokio::test]
    async fn inline_tasks_do_blocking_work_on_the_thread_that_asks() {
        let here = std::thread::current().id();
        let there = Tasks::inline().blocking(move || std::thread::current().id()).await;
        assert_eq!(there, here);
    }
}
