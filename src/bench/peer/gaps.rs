//! What a node's death does to writers: the longest time without a success.
//!
//! Promises: each writer has a key of its own and asks sites that stay; a write that hangs is given up
//! and tried again, so a gap is as long as the store makes it and not as long as one request. What ends
//! before the death is no gap of it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use super::contender::Contender;
use crate::bench::target::{Over, Target};
use crate::runtime::limits::{BENCH_GAP_PATIENCE, BENCH_GAP_WRITERS};
use crate::runtime::{Env, Moment};

/// The longest gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Gaps {
    /// Of keys that the dead node led, in milliseconds.
    pub(super) led: Option<f64>,
    /// Of all other keys.
    pub(super) others: Option<f64>,
}

/// One writer: when it had its last success, and how long it had to wait for one after the death.
#[derive(Debug)]
struct Writer {
    last: Moment,
    longest: Duration,
}

/// Kills a site that leads, and watches.
pub(super) async fn gaps(
    env: &Env,
    side: &mut Box<dyn Contender>,
    watched: Duration,
) -> Result<Gaps, String> {
    let keys: Vec<String> = (0..BENCH_GAP_WRITERS).map(|key| format!("gap/{key}")).collect();
    let target = side.target();
    let victim = side.victim().await?;
    let led = side.leads(victim, &keys).await?;
    let stay: Vec<u64> = (1..=target.sites()).filter(|site| *site != victim).collect();
    let start = env.clock.now();
    let death = Arc::new(Mutex::new(None::<Moment>));
    let until = start + Duration::from_secs(2) + watched;
    let mut writers = Vec::new();
    let mut ends = Vec::new();
    for (number, key) in keys.into_iter().enumerate() {
        let writer = Arc::new(Mutex::new(Writer { last: start, longest: Duration::ZERO }));
        let site = stay.get(number % stay.len().max(1)).copied().unwrap_or(1);
        writers.push(Arc::clone(&writer));
        let (env, target, death) = (env.clone(), Arc::clone(&target), Arc::clone(&death));
        let tasks = env.tasks.clone();
        let work =
            async move { write(&env, &*target, (site, &key), (&writer, &death), until).await };
        ends.push(tasks.spawn_to_end("bench-gap", work));
    }
    sleep(Duration::from_secs(2)).await;
    *death.lock() = Some(env.clock.now());
    side.kill(victim).await?;
    for end in ends {
        // A panic has failed the run already.
        drop(end.await);
    }
    let longest = |of: bool| {
        let these = writers.iter().zip(&led).filter(|(_, led)| **led == of);
        let times = these.map(|(writer, _)| writer.lock().longest.as_secs_f64() * 1_000.0);
        times.fold(None, |most: Option<f64>, ms| Some(most.map_or(ms, |most| most.max(ms))))
    };
    Ok(Gaps { led: longest(true), others: longest(false) })
}

/// Writes again and again; the time without a success counts up to the end.
async fn write(
    env: &Env,
    target: &dyn Target,
    (site, key): (u64, &str),
    (writer, death): (&Mutex<Writer>, &Mutex<Option<Moment>>),
    until: Moment,
) {
    let mut number = 0_u64;
    loop {
        number += 1;
        let put = target.write(site, key, number.to_string().into(), Over::Anything);
        let wrote = matches!(timeout(BENCH_GAP_PATIENCE, put).await, Ok(Ok(_)));
        let now = env.clock.now();
        let over = now >= until || env.tasks.is_stopping();
        if wrote || over {
            let mut writer = writer.lock();
            if death.lock().is_some_and(|death| now >= death) {
                writer.longest = writer.longest.max(now.since(writer.last));
            }
            writer.last = now;
        }
        if over {
            return;
        }
        // Not so often that the writers are a load.
        sleep(Duration::from_millis(5)).await;
    }
}
