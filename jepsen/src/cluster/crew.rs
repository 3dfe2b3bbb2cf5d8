//! The harness's background tasks.
//!
//! Why it exists: a task of the harness that dies silently would leave a link that passes nothing or
//! a fault that nobody ends, and the history would be blamed on the store. Promises: a panic in any
//! task is kept, and the cluster's next step says it; all tasks end when the crew is dropped.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Background tasks. Cheap to clone; dismissed when the last clone is dropped, or before.
#[derive(Clone, Debug, Default)]
pub(super) struct Crew {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    end: CancellationToken,
    failure: Arc<Mutex<Option<String>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Crew {
    /// Runs a task until it ends or the crew is dismissed.
    #[allow(clippy::disallowed_methods, reason = "this is where a panic is made to be heard")]
    pub(super) fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let (end, failure) = (self.inner.end.clone(), Arc::clone(&self.inner.failure));
        drop(tokio::spawn(async move {
            let guarded = AssertUnwindSafe(task).catch_unwind();
            let ended = end.run_until_cancelled(guarded).await;
            if let Some(Err(panic)) = ended {
                let words = panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                let words = words.unwrap_or_else(|| "without a word".to_owned());
                failure
                    .lock()
                    .get_or_insert(format!("the harness's task {name} panicked: {words}"));
            }
        }));
    }

    /// Ends all tasks.
    pub(super) fn dismiss(&self) {
        self.inner.end.cancel();
    }

    /// The first panic of a task.
    pub(super) fn failure(&self) -> Option<String> {
        self.inner.failure.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panicking_task_is_told() {
        let crew = Crew::default();
        assert_eq!(crew.failure(), None);
        crew.spawn("test", async { panic!("on purpose") });
        while crew.failure().is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!(crew.failure().unwrap(), "the harness's task test panicked: on purpose");
    }
}
