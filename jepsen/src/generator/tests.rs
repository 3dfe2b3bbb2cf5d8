//! Tests of the generator with a workload that needs no server.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::*;
use crate::api::ApiError;
use crate::checker::Checker;
use crate::clock::Clock;
use crate::history::History;

/// Ends as its task says.
struct Told;

#[async_trait]
impl Workload for Told {
    fn name(&self) -> &'static str {
        "told"
    }

    async fn prepare(&self, _: &Api) -> Result<(), ApiError> {
        Ok(())
    }

    fn next(&self, _: Asker, rng: &mut fastrand::Rng) -> Option<Task> {
        let f = ["ok", "ok", "fail", "info", "never"][rng.usize(..5)];
        Some(Task { f: f.into(), value: 1.into() })
    }

    async fn invoke(&self, _: &Api, node: u32, _: Asker, task: &Task) -> Completion {
        tokio::task::yield_now().await;
        let ending = match task.f.as_str() {
            "ok" => Ending::Ok,
            "fail" => Ending::Fail("refused".into()),
            "info" => Ending::Info("timeout".into()),
            _ => std::future::pending().await,
        };
        let value = if ending == Ending::Ok { 2.into() } else { Value::Nil };
        Completion { ending, value, node: Some(node), witness: None, extra: BTreeMap::new() }
    }

    fn last(&self, threads: u64) -> Vec<(u64, Task)> {
        let task = |f: &str| Task { f: f.into(), value: Value::Nil };
        vec![(0, task("ok")), (threads - 1, task("ok")), (0, task("fail"))]
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        Vec::new()
    }

    fn needed(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

async fn history(seed: u64) -> (History, Last) {
    let nodes = (1..=3).map(|node| (node, format!("http://127.0.0.1:{node}"))).collect();
    let api = Arc::new(Api::new(nodes, Duration::from_secs(1)).unwrap());
    let recorder = Arc::new(Recorder::new(Clock::default()));
    let pace = Pace { rate: 1_000.0, concurrency: 50, seed };
    let mut clients =
        Clients::new(Arc::new(Told), api, Arc::clone(&recorder), Arc::default(), pace);
    clients.work(Instant::now() + Duration::from_millis(400)).await.unwrap();
    clients.drain(Duration::from_secs(1)).await.unwrap();
    let last = clients.last().await.unwrap();
    (recorder.snapshot(), last)
}

#[tokio::test(start_paused = true)]
async fn a_process_has_one_operation_open_and_none_after_info() {
    let (history, last) = history(3).await;
    assert!(history.events.len() > 100, "{}", history.events.len());
    assert_eq!(last, Last { wanted: 3, ok: 2 });
    let mut open = BTreeSet::new();
    let mut gone = BTreeSet::new();
    for event in &history.events {
        assert!(!gone.contains(&event.process), "{event:?} after its info");
        if event.kind == Kind::Invoke {
            assert!(open.insert(event.process), "{event:?} is one too many");
        } else {
            assert!(open.remove(&event.process), "{event:?} ends nothing");
            assert_eq!(event.kind == Kind::Ok, event.value == Value::Int(2), "{event:?}");
        }
        if event.kind == Kind::Info {
            gone.insert(event.process);
        }
    }
    assert!(open.is_empty(), "what was given up has its completion: {open:?}");
    let given_up =
        history.events.iter().filter(|event| event.error.as_deref() == Some("abandoned"));
    assert!(given_up.count() > 0);
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats_what_is_asked() {
    let asked = |history: &History| -> Vec<String> {
        let invokes = history.events.iter().filter(|event| event.kind == Kind::Invoke);
        invokes.map(|event| event.f.clone()).take(50).collect()
    };
    let (first, second, other) = (history(3).await.0, history(3).await.0, history(4).await.0);
    assert_eq!(asked(&first), asked(&second));
    assert_ne!(asked(&first), asked(&other));
}
