//! When operations begin: an open load at a rate, a closed one by a number of connections.
//!
//! Why it exists: a load that waits for answers before it asks again asks less of a slow store, and
//! then praises it. An open load is planned before it begins: each operation has a moment at which it
//! is *meant* to begin, whatever the store does, and its latency counts from that moment.
//!
//! ```text
//!   plan --> pacing thread --(due)--> one dispatcher a site --[place]--> a task for each operation
//! ```
//!
//! Promises: no operation is dropped in silence: what finds no place among those under way waits, is
//! told as late, and is still measured from when it was meant to begin; what has not begun when the
//! time is up is told as never begun. The thread wakes by the system's timers, which are some tens of
//! microseconds late, not by those of the runtime, which are a millisecond late.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::draw::arrivals;
use crate::runtime::limits::BENCH_UNDER_WAY_MAX;
use crate::runtime::{Clock, Env, Moment, Rng};

/// What is done when it is time.
pub trait Fire: Send + Sync + 'static {
    /// An operation that has been chosen.
    type Job: Send + 'static;

    /// Chooses the next operation of a site; in the order of its moments.
    fn draw(&self, site: u64) -> Self::Job;

    /// Does it.
    fn fire(
        &self,
        site: u64,
        job: Self::Job,
        intended: Moment,
        late: bool,
    ) -> impl Future<Output = ()> + Send;

    /// It could not be begun before the time was up.
    fn never(&self, site: u64, job: Self::Job, intended: Moment);
}

/// The moments of an open load, counted from its beginning, in order, each with its site.
pub fn plan(sites: u64, rate: f64, lasts: Duration, seed: u64) -> Vec<(Duration, u64)> {
    #[allow(clippy::cast_precision_loss, reason = "there are a handful of sites")]
    let each = rate / sites.max(1) as f64;
    let mut all = Vec::new();
    for site in 1..=sites {
        let rng = Rng::seeded(seed.wrapping_add(site));
        all.extend(arrivals(&rng, each, lasts).into_iter().map(|at| (at, site)));
    }
    all.sort_unstable();
    all
}

/// Runs a planned load from `begin` on. Ends when everything has ended that was begun; nothing is begun
/// after `give_up`.
pub async fn open<F: Fire>(
    env: &Env,
    fire: &Arc<F>,
    plan: Vec<(Duration, u64)>,
    (begin, give_up): (Moment, Moment),
) {
    let sites = plan.iter().map(|(_, site)| *site).max().unwrap_or(0);
    let mut doors = Vec::new();
    let mut ends = Vec::new();
    for site in 1..=sites {
        // Bounded by the plan.
        let (door, due) = mpsc::unbounded_channel();
        doors.push(door);
        let work = dispatch(env.clone(), Arc::clone(fire), site, due, give_up);
        ends.push(env.tasks.spawn_to_end("bench-site", work));
    }
    let clock = Arc::clone(&env.clock);
    drop(env.tasks.thread("bench-pace", move || {
        for (at, site) in plan {
            let due = begin + at;
            wait(&*clock, due);
            let door = usize::try_from(site - 1).ok().and_then(|at| doors.get(at));
            if door.is_none_or(|door| door.send(due).is_err()) {
                return;
            }
        }
    }));
    for end in ends {
        // A panic has failed the run already.
        drop(end.await);
    }
}

/// Holds a thread up until then: the system's timers are some tens of microseconds late, those of the
/// runtime a millisecond.
pub(super) fn wait(clock: &dyn Clock, until: Moment) {
    loop {
        let now = clock.now();
        if now >= until {
            return;
        }
        std::thread::park_timeout(until.since(now));
    }
}

async fn dispatch<F: Fire>(
    env: Env,
    fire: Arc<F>,
    site: u64,
    mut due: mpsc::UnboundedReceiver<Moment>,
    give_up: Moment,
) {
    let places = Arc::new(Semaphore::new(BENCH_UNDER_WAY_MAX));
    while let Some(intended) = due.recv().await {
        let job = fire.draw(site);
        let place = match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => Some((place, false)),
            Err(_) => {
                let left = give_up.since(env.clock.now());
                let waited = tokio::time::timeout(left, Arc::clone(&places).acquire_owned()).await;
                waited.ok().and_then(Result::ok).map(|place| (place, true))
            }
        };
        let Some((place, late)) = place else {
            fire.never(site, job, intended);
            continue;
        };
        let fire = Arc::clone(&fire);
        env.tasks.spawn("bench-op", async move {
            fire.fire(site, job, intended, late).await;
            drop(place);
        });
    }
    let all = u32::try_from(BENCH_UNDER_WAY_MAX).unwrap_or(u32::MAX);
    tokio::select! {
        places = places.acquire_many(all) => drop(places),
        () = env.tasks.stopping() => {}
    }
}

/// Runs so many loops until then, spread over the sites; each asks again when it is answered.
pub async fn closed<F: Fire>(
    env: &Env,
    fire: &Arc<F>,
    (connections, sites): (u64, u64),
    until: Moment,
) {
    let mut ends = Vec::new();
    for connection in 0..connections {
        let site = 1 + connection % sites.max(1);
        let (fire, env) = (Arc::clone(fire), env.clone());
        let tasks = env.tasks.clone();
        ends.push(tasks.spawn_to_end("bench-connection", async move {
            while !env.tasks.is_stopping() {
                let now = env.clock.now();
                if now >= until {
                    return;
                }
                let job = fire.draw(site);
                fire.fire(site, job, now, false).await;
            }
        }));
    }
    for end in ends {
        drop(end.await);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use parking_lot::Mutex;
    use tokio::sync::watch;

    use super::*;

    #[derive(Debug)]
    struct Slow {
        env: Env,
        takes: Duration,
        /// Nothing ends before so many were drawn.
        drawn_first: usize,
        drawn: watch::Sender<usize>,
        /// Intended and begun, in the order they began.
        begun: Mutex<Vec<(Moment, Moment)>>,
        late: AtomicU64,
        never: AtomicU64,
    }

    impl Slow {
        fn new(takes: Duration) -> Arc<Self> {
            Self::held(takes, 0)
        }

        fn held(takes: Duration, drawn_first: usize) -> Arc<Self> {
            Arc::new(Self {
                env: Env::system(),
                takes,
                drawn_first,
                drawn: watch::Sender::new(0),
                begun: Mutex::default(),
                late: AtomicU64::new(0),
                never: AtomicU64::new(0),
            })
        }
    }

    impl Fire for Slow {
        type Job = ();

        fn draw(&self, _site: u64) {
            self.drawn.send_modify(|drawn| *drawn += 1);
        }

        async fn fire(&self, _site: u64, (): (), intended: Moment, late: bool) {
            self.begun.lock().push((intended, self.env.clock.now()));
            self.late.fetch_add(u64::from(late), Ordering::Relaxed);
            let mut drawn = self.drawn.subscribe();
            drawn.wait_for(|drawn| *drawn >= self.drawn_first).await.unwrap();
            tokio::time::sleep(self.takes).await;
        }

        fn never(&self, _site: u64, (): (), _intended: Moment) {
            self.never.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_plan_has_the_rate_is_in_order_and_repeats() {
        let lasts = Duration::from_secs(10);
        let all = plan(3, 300.0, lasts, 1);
        assert!((2_800..3_200).contains(&all.len()), "{}", all.len());
        assert!(all.is_sorted() && all.iter().all(|(at, _)| *at < lasts));
        assert_eq!(all, plan(3, 300.0, lasts, 1));
        assert_ne!(all, plan(3, 300.0, lasts, 2));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_slow_store_does_not_slow_the_load_down() {
        let slow = Slow::new(Duration::from_millis(300));
        let env = slow.env.clone();
        let plan: Vec<_> = (0..100).map(|n| (Duration::from_millis(n), 1 + n % 2)).collect();
        let begin = env.clock.now();
        open(&env, &slow, plan.clone(), (begin, begin + Duration::from_secs(60))).await;
        let begun = slow.begun.lock();
        // All are begun before the first is over, each not before its time.
        assert_eq!(begun.len(), 100);
        assert!(begun.iter().all(|(intended, at)| at >= intended));
        let mut moments: Vec<_> = begun.iter().map(|(intended, _)| *intended).collect();
        moments.sort_unstable();
        assert_eq!(moments, plan.iter().map(|(at, _)| begin + *at).collect::<Vec<_>>());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_finds_no_place_is_told_and_never_dropped_in_silence() {
        let slow = Slow::held(Duration::from_millis(200), BENCH_UNDER_WAY_MAX + 1);
        let env = slow.env.clone();
        let many = u64::try_from(BENCH_UNDER_WAY_MAX).unwrap() + 100;
        let begin = env.clock.now();
        let plan = vec![(Duration::ZERO, 1); usize::try_from(many).unwrap()];
        open(&env, &slow, plan.clone(), (begin, begin + Duration::from_secs(60))).await;
        assert_eq!(slow.begun.lock().len() as u64, many);
        // Those behind the first that waited may find places that became free at once.
        assert!((1..=100).contains(&slow.late.load(Ordering::Relaxed)));
        // And when the time is up before there is a place:
        let stuck = Slow::new(Duration::from_secs(1));
        open(&stuck.env, &stuck, plan, (begin, begin)).await;
        assert_eq!(stuck.never.load(Ordering::Relaxed), 100);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_closed_load_waits_for_its_answers() {
        let slow = Slow::new(Duration::from_millis(5));
        let env = slow.env.clone();
        let until = env.clock.now() + Duration::from_millis(200);
        closed(&env, &slow, (4, 3), until).await;
        let begun = slow.begun.lock().len();
        assert!((4..=4 * 40 + 4).contains(&begun), "{begun}");
    }
}
