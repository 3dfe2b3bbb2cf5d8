//! Both formats: what is written is read back, and what others write is understood.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::history::{Event, History, Kind, Process, Value, Witness};

fn event(index: u64) -> Event {
    Event {
        index,
        time: index * 1000,
        kind: Kind::Ok,
        process: Process::Client(3),
        f: "read".to_owned(),
        value: Value::keyed(1, Value::Nil),
        node: Some(2),
        witness: Some(Witness { group: 5, index: 17 }),
        error: None,
        extra: BTreeMap::new(),
    }
}

fn edn(history: &History) -> String {
    let mut out = Vec::new();
    history.write_edn(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn jsonl(history: &History) -> String {
    let mut out = Vec::new();
    history.write_jsonl(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn read(text: &str) -> History {
    History::read_edn(text.as_bytes()).unwrap()
}

#[test]
fn an_event_is_one_line_as_jepsen_writes_it() {
    let mut event = event(7);
    event.extra.insert("etag".to_owned(), "a\"b\n".into());
    event.error = Some("unavailable".to_owned());
    let history = History { events: vec![event] };
    assert_eq!(
        edn(&history),
        "{:index 7, :time 7000, :type :ok, :process 3, :f :read, :value [1 nil], :node 2, :group 5, \
         :log-index 17, :error \"unavailable\", :extra {:etag \"a\\\"b\\n\"}}\n"
    );
    assert_eq!(
        jsonl(&history),
        "{\"index\":7,\"time\":7000,\"type\":\"ok\",\"process\":3,\"f\":\"read\",\"value\":[1,null],\
         \"node\":2,\"group\":5,\"log_index\":17,\"error\":\"unavailable\",\
         \"extra\":{\"etag\":\"a\\\"b\\n\"}}\n"
    );
}

#[test]
fn micro_operations_stand_in_json_as_elle_wants_them() {
    let append = [Value::Keyword("append".to_owned()), 1.into(), 2.into()];
    let value = Value::list([Value::list(append)]);
    let history =
        History { events: vec![Event { f: "txn".to_owned(), value, witness: None, ..event(0) }] };
    assert!(jsonl(&history).contains("\"value\":[[\"append\",1,2]]"), "{}", jsonl(&history));
    assert_eq!(History::read_jsonl(jsonl(&history).as_bytes()).unwrap(), history);
}

#[test]
fn what_jepsen_wrote_is_read() {
    let history = read(
        "; a run
         #jepsen.history.Op{:index 0, :time 5, :type :invoke, :process 0, :f :cas, :value [1 [2 3]]}
         #jepsen.history.Op {:index 1, :time 9, :type :info, :process :nemesis, :f :start-partition,
           :value #{\"n1\" \"n2\"}, :exception {:via [{:type java.net.SocketException}]}}
         {:type :fail :process 0 :f :cas :value #jepsen.independent.Tuple[1 (2 3)] :error [:timeout \\a 1.5]
          :at #inst \"2026-01-01\" #_ignored #_{:x 1} :big 12N ^{:meta true} :final? true}",
    );
    let [invoke, nemesis, fail] = history.events.as_slice() else { panic!("{history:?}") };
    assert_eq!(invoke.process, Process::Client(0));
    assert_eq!(invoke.value.to_string(), "[1 [2 3]]");
    assert_eq!((nemesis.process, nemesis.f.as_str()), (Process::Nemesis, "start-partition"));
    assert_eq!(nemesis.value, Value::list(["n1", "n2"].map(Value::from)));
    assert_eq!((fail.index, fail.time, fail.kind), (2, 0, Kind::Fail));
    assert_eq!(fail.value.to_string(), "[1 [2 3]]");
    assert_eq!(fail.error.as_deref(), Some("[:timeout \"a\" \"1.5\"]"));
    assert_eq!(fail.extra["big"], Value::Int(12));
    assert_eq!(fail.extra["final?"], Value::Bool(true));
}

#[test]
fn a_file_that_is_one_vector_is_read_in_both_formats() {
    let history = History { events: (0..3).map(event).collect() };
    let vector = format!("[{}]", edn(&history));
    assert_eq!(read(&vector), history);
    let array = format!("[{}]", jsonl(&history).trim_end().replace('\n', ",\n"));
    assert_eq!(History::read_jsonl(array.as_bytes()).unwrap(), history);
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("a", edn(&history)), ("b", jsonl(&history)), ("c", vector), ("d", array)]
    {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        assert_eq!(History::read(&path).unwrap(), history, "{name}");
    }
}

#[test]
fn what_is_no_history_is_refused_with_its_line() {
    let wrong = |text: &str| History::read_edn(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(wrong("{:type :ok}"), "line 1: an event without a process");
    assert_eq!(
        wrong("\n{:process 1 :f :read}"),
        "line 2: an event without a type of invoke, ok, fail or info"
    );
    assert!(wrong("{:type :ok :process 0 :value [1 2}").starts_with("line 1: a '}'"));
    assert!(
        wrong("{:type :ok :process 0 :value [1")
            .ends_with("the end of the file where a value is due")
    );
    assert!(wrong("{:type :ok :process 0 :value \"a").contains("string without an end"));
    assert!(wrong("7").contains("where an event is due"));
    assert!(wrong(&format!("{{:value {}", "[".repeat(100_000))).contains("too deep"));
    assert!(wrong("{:value {1}}").contains("without a value"));
    let json = |text: &str| History::read_jsonl(text.as_bytes()).unwrap_err().to_string();
    assert!(json("{\"type\":\"ok\",\"process\":0}\n{\"type\"").starts_with("line 2:"));
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        // JSON cannot tell a string with a colon in front from a keyword.
        "[^:]\\PC{0,6}".prop_map(Value::Text),
        Just(Value::Text("\"\\\n\t\u{1}é\u{1F600}".to_owned())),
        "[a-z][a-z-]{0,6}".prop_map(Value::Keyword),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let key = prop_oneof![
            any::<i64>().prop_map(Value::Int),
            "[a-z][a-z-]{0,6}".prop_map(Value::Keyword),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|map| Value::Map(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        values in prop::collection::vec((values(), values(), any::<Option<u32>>(), 0_u8..4), 0..6),
    ) {
        let events = values
            .into_iter()
            .zip(0..)
            .map(|((value, extra, node, kind), index)| Event {
                kind: [Kind::Invoke, Kind::Ok, Kind::Fail, Kind::Info][usize::from(kind)],
                process: if kind == 3 { Process::Nemesis } else { Process::Client(index) },
                witness: node.map(|node| Witness { group: u64::from(node), index }),
                error: node.map(|node| format!("error \"{node}\"")),
                extra: BTreeMap::from([("etag".to_owned(), extra)]),
                value,
                node,
                ..event(index)
            })
            .collect();
        let history = History { events };
        prop_assert_eq!(&read(&edn(&history)), &history);
        prop_assert_eq!(&History::read_jsonl(jsonl(&history).as_bytes()).unwrap(), &history);
    }

    #[test]
    fn no_input_makes_the_readers_panic(text in "[\\[\\]{}()#_:\"\\\\ a1,;^]{0,40}") {
        drop(History::read_edn(text.as_bytes()));
        drop(History::read_jsonl(text.as_bytes()));
    }
}
