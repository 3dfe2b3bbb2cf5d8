//! Tests of how a batch is cut.

use super::*;
use crate::service::ask::KeyStep;

fn ops(keys: &[&str]) -> Vec<Placed> {
    let op = |(at, key): (usize, &&str)| {
        let key = Bytes::copy_from_slice(key.as_bytes());
        (at, BatchOp { number: 0, step: KeyStep { key, step: Step::Get } })
    };
    keys.iter().enumerate().map(op).collect()
}

fn cut(keys: &[&str]) -> Vec<Vec<usize>> {
    let places = |stage: Vec<Placed>| stage.into_iter().map(|(at, _)| at).collect();
    stages(ops(keys)).into_iter().map(places).collect()
}

#[test]
fn no_key_is_twice_in_a_stage_and_its_operations_keep_their_order() {
    assert_eq!(cut(&["a", "b", "a", "c", "a", "b"]), [vec![0, 1, 3], vec![2, 5], vec![4]]);
    assert!(cut(&[]).is_empty());
}

#[test]
fn a_stage_is_bounded_and_the_order_of_a_key_survives_full_stages() {
    let keys: Vec<String> = (0..BATCH_ENTRY_OPS_MAX * 2).map(|n| n.to_string()).collect();
    let mut keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    keys.push("0");
    let stages = cut(&keys);
    assert!(stages.iter().all(|stage| stage.len() <= BATCH_ENTRY_OPS_MAX));
    let stage_of = |at| stages.iter().position(|stage| stage.contains(&at)).unwrap();
    assert!(stage_of(keys.len() - 1) > stage_of(0));
    assert_eq!(stages.iter().map(Vec::len).sum::<usize>(), keys.len(), "nothing is lost");
}

#[test]
fn the_content_of_an_operation_tells_operations_apart() {
    let write = |key: &'static str, value: &'static str| Write {
        at: 0,
        number: 0,
        key: Bytes::from_static(key.as_bytes()),
        request: KeyRequest::from(crate::model::WriteOp::Put {
            value: Bytes::from_static(value.as_bytes()),
            content_type: None,
            attach: crate::model::Attach::None,
        }),
    };
    assert_eq!(content(&write("a", "b")), content(&write("a", "b")));
    assert_ne!(content(&write("a", "b")), content(&write("ab", "")));
}
