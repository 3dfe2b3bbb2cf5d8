//! When other sites show a write: the time to visibility, by sample.
//!
//! Why it exists: how long a write is on its way decides how much is lost and how old reads are. As
//! everything runs on one machine there is one clock, so the time is measured, not estimated.
//!
//! Promises: a sampled write is waited for at every other site at once, by a read that the node answers
//! as soon as it has the write: nothing is polled, so the error is the time of one request. At most
//! `BENCH_WATCHED_MAX` are waited for at a time; what would be more is not sampled.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::draw::unit;
use super::figures::Visibility;
use super::target::{Acked, Target};
use crate::runtime::limits::{BENCH_VISIBLE_MAX, BENCH_WATCHED_MAX};
use crate::runtime::{Env, Moment, Rng};

/// Points of the distribution that are told.
const POINTS: usize = 200;

#[derive(Debug, Default)]
struct Found {
    times: Vec<Duration>,
    /// The same, counted from when the writer began to look.
    lags: Vec<Duration>,
    never: u64,
}

/// Looks when writes are seen.
#[derive(Debug)]
pub struct Watch {
    env: Env,
    target: Arc<dyn Target>,
    /// Share of the writes that are sampled.
    share: f64,
    rng: Rng,
    places: Arc<Semaphore>,
    found: Mutex<Found>,
}

impl Watch {
    /// Samples this share of the writes.
    pub fn new(env: &Env, target: Arc<dyn Target>, share: f64, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            env: env.clone(),
            target,
            share,
            rng: Rng::seeded(seed),
            places: Arc::new(Semaphore::new(BENCH_WATCHED_MAX)),
            found: Mutex::default(),
        })
    }

    /// A write was acknowledged at a site, whose client had begun to look at the first moment and had its
    /// answer at the second.
    pub fn offer(
        self: &Arc<Self>,
        site: u64,
        key: impl FnOnce() -> String,
        acked: &Acked,
        (began, at): (Moment, Moment),
    ) {
        if acked.proof.is_none() || unit(&self.rng) >= self.share {
            return;
        }
        let key = key();
        for other in (1..=self.target.sites()).filter(|other| *other != site) {
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return };
            let (watch, key, acked) = (Arc::clone(self), key.clone(), acked.clone());
            self.env.tasks.spawn("bench-watch", async move {
                let shown = watch.target.shows(other, &key, &acked, BENCH_VISIBLE_MAX).await;
                let now = watch.env.clock.now();
                let mut found = watch.found.lock();
                match shown {
                    Ok(true) => {
                        found.times.push(now.since(at));
                        found.lags.push(now.since(began));
                    }
                    Ok(false) | Err(_) => found.never += 1,
                }
                drop(place);
            });
        }
    }

    /// Waits for those that are waited for, and tells what was found.
    pub async fn figures(&self) -> Option<Visibility> {
        let all = u32::try_from(BENCH_WATCHED_MAX).unwrap_or(u32::MAX);
        drop(self.places.acquire_many(all).await);
        let mut found = self.found.lock();
        found.times.sort_unstable();
        distribution(&found.times, found.never)
    }

    /// How long it took, of each sample, from when a writer began to look until another site showed what
    /// it then wrote: the time in which others write without knowing of it.
    pub fn lags(&self) -> Vec<Duration> {
        self.found.lock().lags.clone()
    }
}

#[allow(clippy::cast_precision_loss, reason = "there are far fewer samples than a float counts")]
fn distribution(times: &[Duration], never: u64) -> Option<Visibility> {
    let seen = u64::try_from(times.len()).unwrap_or(u64::MAX);
    let samples = seen + never;
    if samples == 0 {
        return None;
    }
    let step = times.len().div_ceil(POINTS).max(1);
    let point = |at: usize| {
        let time = times.get(at)?;
        Some((time.as_secs_f64() * 1_000.0, (at + 1) as f64 / samples as f64))
    };
    let mut cdf: Vec<_> = (0..times.len()).step_by(step).filter_map(point).collect();
    let last = times.len().checked_sub(1).and_then(point);
    if last.is_some() && cdf.last() != last.as_ref() {
        cdf.extend(last);
    }
    Some(Visibility { samples, never, cdf, resolution_ms: 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_ends_at_the_share_that_was_ever_seen() {
        let times: Vec<_> = (1..=1_000).map(Duration::from_millis).collect();
        let told = distribution(&times, 1_000).unwrap();
        assert!(told.cdf.len() <= POINTS + 1);
        assert_eq!(told.cdf.first(), Some(&(1.0, 0.0005)));
        assert_eq!(told.cdf.last(), Some(&(1_000.0, 0.5)));
        assert!(told.cdf.is_sorted());
        assert_eq!(distribution(&[], 0), None);
        assert_eq!(distribution(&[], 2).map(|told| (told.never, told.cdf.len())), Some((2, 0)));
    }
}
