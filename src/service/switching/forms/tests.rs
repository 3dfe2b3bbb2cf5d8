//! What keys become, there and back.

use super::*;

const PLANTING: Planting = Planting {
    actor: Actor { node: 0, home: 1, run: 2 },
    data_type: DataType::Lww,
    value_bytes_max: 1 << 20,
    began_ms: 1_780_000_000_000,
};

fn row(value: &str, content_type: Option<&str>) -> Row {
    Row {
        created: 1,
        at: 1,
        revision: 1,
        version: 1,
        modified_ms: 0,
        lease: None,
        content_type: content_type.map(str::to_owned),
        value: Bytes::copy_from_slice(value.as_bytes()),
    }
}

/// What is read of a key on the eventual side, as it would go back.
fn there(data_type: DataType, value: &str) -> Result<(String, Option<String>), String> {
    let planting = Planting { data_type, ..PLANTING };
    let op = planting.op(1, Bytes::from_static(b"k"), row(value, Some("text/x")))?;
    let back = flat(planting.shown(&op), Siblings::Refuse)?.expect("the key is there");
    let text = String::from_utf8(back.value.to_vec()).unwrap();
    Ok((text, back.content_type))
}

#[test]
fn values_of_each_type_come_back_as_they_went() {
    let typed = |kind: &str| Some(kind.to_owned());
    for data_type in [DataType::Lww, DataType::Mv] {
        assert_eq!(
            there(data_type, "any\u{0}thing").unwrap(),
            ("any\u{0}thing".to_owned(), typed("text/x"))
        );
    }
    for number in ["0", "-7", "9223372036854775807"] {
        let back = there(DataType::Counter, number).unwrap();
        assert_eq!(back, (number.to_owned(), typed("text/plain")));
    }
    let back = there(DataType::Set, r#"["b","a","b"]"#).unwrap();
    assert_eq!(back, (r#"["a","b"]"#.to_owned(), typed("application/json")));
    let back = there(DataType::Map, r#"{ "b": {"c":[1, null]}, "a": 1.50 }"#).unwrap();
    assert_eq!(back, (r#"{"a":1.50,"b":{"c":[1,null]}}"#.to_owned(), typed("application/json")));
    assert_eq!(there(DataType::Map, "{}").unwrap().0, "{}");
}

#[test]
fn what_does_not_fit_is_named_and_not_bent() {
    for (data_type, value) in [
        (DataType::Counter, "1.5"),
        (DataType::Counter, "9223372036854775808"),
        (DataType::Counter, "many"),
        (DataType::Set, "[]"),
        (DataType::Set, "[1]"),
        (DataType::Set, "text"),
        (DataType::Map, "[1]"),
        (DataType::Map, "{"),
    ] {
        assert!(there(data_type, value).is_err(), "{data_type:?}: {value}");
    }
    let leased = Row { lease: Some(crate::model::LeaseId(4)), ..row("v", None) };
    assert!(PLANTING.op(1, Bytes::from_static(b"k"), leased).is_err());
}

#[test]
fn unresolved_siblings_stand_in_the_way_unless_the_latest_is_asked_for() {
    let sibling = |ms: u64, value: &'static str| Sibling {
        dot: Dot { actor: PLANTING.actor, counter: ms },
        hlc: Hlc::at_ms(ms),
        value: Bytes::from_static(value.as_bytes()),
        content_type: None,
    };
    let what = What::Siblings(vec![sibling(9, "late"), sibling(3, "early")]);
    let shown = Shown { what, context: Vec::new(), partial: false, latest: None };
    assert!(flat(shown.clone(), Siblings::Refuse).unwrap_err().contains("2 values"));
    assert_eq!(flat(shown, Siblings::Latest).unwrap().unwrap().value, "late");
}

#[test]
fn whoever_plants_the_same_rows_makes_the_same_operations() {
    let op = |nth| PLANTING.op(nth, Bytes::from_static(b"k"), row("v", None)).unwrap();
    assert_eq!(op(3), op(3));
    assert_eq!(op(3).dot.counter, 3);
    let ids = [1, 2].map(|id| planter(ClusterId(7 << 32), NamespaceId(id)));
    assert!(ids[0] != ids[1] && ids[0] != planter(ClusterId(8 << 32), NamespaceId(1)));
}

#[test]
fn sums_tell_contents_apart() {
    let sum = |rows: &[(&str, &str, Option<&str>)]| {
        let mut sum = Sum::default();
        for (key, value, kind) in rows {
            let Row { value, content_type, .. } = row(value, *kind);
            sum.add(key.as_bytes(), &Flat { value, content_type });
        }
        sum.total()
    };
    assert_eq!(sum(&[("a", "b", None)]), sum(&[("a", "b", None)]));
    for other in [("ab", "", None), ("a", "b", Some("c")), ("a", "c", None)] {
        assert_ne!(sum(&[("a", "b", None)]), sum(&[other]), "{other:?}");
    }
}
