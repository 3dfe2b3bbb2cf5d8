//! The engine contract, run on every engine.

use super::*;

fn contract(engine: &dyn Engine) {
    assert_eq!(engine.get(1, b"a").unwrap(), None);
    assert_eq!(engine.insert(1, b"a", b"1").unwrap(), None);
    assert_eq!(engine.insert(1, b"a", b"2").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(engine.insert(2, b"a", b"other space").unwrap(), None);
    engine.insert(1, b"c", b"").unwrap();
    engine.insert(1, b"b", b"3").unwrap();
    assert_eq!(engine.get(1, b"a").unwrap().as_deref(), Some(&b"2"[..]));
    let keys = |from: &[u8], limit| -> Vec<Bytes> {
        engine.scan(1, from, limit).unwrap().into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(keys(b"", 9), ["a", "b", "c"]);
    assert_eq!(keys(b"", 2), ["a", "b"]);
    assert_eq!(keys(b"aa", 9), ["b", "c"]);
    assert_eq!(engine.remove(1, b"b").unwrap().as_deref(), Some(&b"3"[..]));
    assert_eq!(engine.remove(1, b"b").unwrap(), None);
    assert_eq!(keys(b"", 9), ["a", "c"]);
    engine.clear(1).unwrap();
    assert!(keys(b"", 9).is_empty());
    assert_eq!(engine.get(2, b"a").unwrap().as_deref(), Some(&b"other space"[..]));
    engine.insert(1, b"z", b"again").unwrap();
    assert_eq!(keys(b"", 9), ["z"]);
    engine.flush().unwrap();
}

#[test]
fn the_memory_engine_keeps_the_contract() {
    contract(&MemoryEngine::default());
}

#[test]
fn sled_keeps_the_contract_and_its_rows_after_a_close() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let engine = SledEngine::open(&path, 16 << 20).unwrap();
    contract(&engine);
    assert!(engine.disk_bytes() > 0);
    engine.close().unwrap();
    engine.close().unwrap();
    assert!(engine.get(1, b"z").is_err(), "closed");
    let engine = SledEngine::open(&path, 16 << 20).unwrap();
    assert_eq!(engine.get(1, b"z").unwrap().as_deref(), Some(&b"again"[..]));
    assert_eq!(engine.get(2, b"a").unwrap().as_deref(), Some(&b"other space"[..]));
}

#[test]
fn a_sled_that_cannot_open_is_an_error_not_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    std::fs::write(&path, b"a file where the directory should be").unwrap();
    assert!(SledEngine::open(&path, 16 << 20).is_err());
}
