//! Waiting for a state of the world, by looking at it again and again.
//!
//! Why it exists: nothing in these tests sleeps and hopes. The limit is a guard against hanging, far
//! above what any machine needs; no test asserts a time.

use std::time::Duration;

use tokio::time::Instant;

/// How often the world is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// When waiting is given up: a hung test is worse than a failed one.
pub(crate) const GIVE_UP_AFTER: Duration = Duration::from_secs(120);

/// Waits until `look` finds what it wants. An `Err` says what is still missing; the last one is
/// shown when the wait is given up.
pub(crate) async fn wait_until<T>(what: &str, look: impl AsyncFnMut() -> Result<T, String>) -> T {
    wait_at_most(GIVE_UP_AFTER, what, look).await
}

/// [`wait_until`] with a guard of its own, for what is known to take long.
pub(crate) async fn wait_at_most<T>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let started = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(missing) if started.elapsed() >= limit => {
                panic!("gave up after {limit:?} waiting until {what}: {missing}")
            }
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}
