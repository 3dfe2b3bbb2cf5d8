//! Planted violations: each rule must catch its own, and let the innocent pass.

use super::*;

#[track_caller]
fn caught(rule: Rule, path: &str, text: &str, says: &str) {
    let found = rule(path, text);
    assert!(found.iter().any(|what| what.contains(says)), "{path}: {text:?}: {found:?}");
}

#[track_caller]
fn passes(rule: Rule, path: &str, text: &str) {
    assert_eq!(rule(path, text), [""; 0], "{path}: {text:?}");
}

#[test]
fn a_file_without_a_header_is_caught() {
    let rule = opens_with_a_header;
    caught(rule, "src/model/row.rs", "use x;\n//! late\n", "header");
    caught(rule, "tests/tidy.rs", "", "header");
    passes(rule, "src/model/row.rs", "//! Rows.\n");
    passes(rule, "docs/glossary.md", "# Words\n");
}

#[test]
fn a_long_file_is_caught() {
    let rule = is_not_too_long;
    caught(rule, "src/model/row.rs", &"x\n".repeat(501), "501 lines");
    passes(rule, "src/model/row.rs", &"x\n".repeat(500));
    passes(rule, "docs/benchmarks.md", &"x\n".repeat(501));
}

#[test]
fn an_import_from_above_is_caught_however_it_is_written() {
    let rule = imports_only_downward;
    let says = "model must not import from room placement";
    for text in [
        "use crate::placement::Catalog;",
        "    use crate::placement;",
        "pub use crate::placement::*;",
        "use crate::{placement::Catalog, storage};",
        "use crate::{\n    storage::{Disk, State},\n    placement::{self, Catalog},\n};",
        "fn f() -> crate::placement::Catalog {",
        "fn f() { let x = \"a // b\"; crate::placement::g(); }",
        "pub(in crate::placement) fn f() {",
        "let quote = '\"'; crate::placement::f();",
    ] {
        caught(rule, "src/model/row.rs", text, says);
        caught(rule, "src/model.rs", text, says);
        passes(rule, "src/service/mod.rs", text);
    }
}

#[test]
fn what_is_no_import_from_above_passes() {
    let rule = imports_only_downward;
    for text in [
        "use crate::storage::Effect;",
        "use crate::model::Row;",
        "use crate::runtime::{limits::KEY_BYTES_MAX, Clock};",
        "// crate::placement::Catalog",
        "/// As [`crate::placement::Catalog`] has it.",
        "let text = \"crate::placement::Catalog\";",
        "use other_crate::placement::Catalog;",
        "use crate::storage::{placement, http};",
    ] {
        passes(rule, "src/model/row.rs", text);
    }
    passes(rule, "src/lib.rs", "pub mod http; use crate::http::x;");
    passes(rule, "tests/x.rs", "use crate::http::x;");
}

#[test]
fn every_forbidden_pair_of_rooms_is_caught() {
    let rule = imports_only_downward;
    let names: Vec<&str> = ROOMS.iter().map(|(name, _)| *name).collect();
    for (room, allowed) in ROOMS {
        let root = if *room == "main" { "tetrarch" } else { "crate" };
        for other in names.iter().filter(|other| *other != room) {
            let (path, text) = (format!("src/{room}/x.rs"), format!("use {root}::{other}::X;"));
            if allowed.contains(other) {
                passes(rule, &path, &text);
            } else {
                let says = format!("room {room} must not import from room {other}");
                caught(rule, &path, &text, &says);
            }
        }
    }
}

#[test]
fn the_order_of_rooms_has_no_circle_and_the_wings_do_not_see_each_other() {
    let allowed = |room: &str| ROOMS.iter().find(|(name, _)| *name == room).unwrap().1;
    for (room, _) in ROOMS {
        let mut reached = BTreeSet::new();
        let mut open = allowed(room).to_vec();
        while let Some(next) = open.pop() {
            if reached.insert(next) {
                open.extend(allowed(next));
            }
        }
        assert!(!reached.contains(room), "room {room} reaches itself");
    }
    assert!(!allowed("consensus").contains(&"convergence"));
    assert!(!allowed("convergence").contains(&"consensus"));
}

#[test]
fn a_room_without_a_place_is_caught() {
    caught(imports_only_downward, "src/attic/mod.rs", "//! Attic.", "no place");
}

#[test]
fn more_than_ids_on_the_wire_is_caught() {
    let rule = wire_takes_only_ids;
    for text in [
        "use crate::model::Row;",
        "use crate::model::{GroupId, Row};",
        "use crate::model::row::Row;",
        "fn f(x: crate::model::Row) {}",
    ] {
        caught(rule, "src/wire.rs", text, "not");
        passes(rule, "src/http/mod.rs", text);
    }
    passes(rule, "src/wire/mod.rs", "use crate::model::{GroupId, NodeId};");
    passes(rule, "src/wire.rs", "use crate::model::id::NodeId;");
}

#[test]
fn a_word_outside_its_room_is_caught() {
    let rule = keeps_words_in_their_rooms;
    for (path, text) in [
        ("src/service/mod.rs", "use openraft::Raft;"),
        ("src/storage/state.rs", "let tree: sled::Tree;"),
        ("src/storage/state.rs", "use sled;"),
        ("src/storage/state.rs", "use sled as tree;"),
        ("src/service/mod.rs", "use axum::Router;"),
        ("src/cli/mod.rs", "StatusCode::OK"),
        ("src/model/row.rs", "use std::collections::HashMap;"),
        ("src/placement/plan.rs", "use std::collections::{BTreeMap, HashSet};"),
        ("src/model/row.rs", "serde_json::to_vec(x)"),
        ("src/placement/plan.rs", "serde_json::to_vec(x)"),
        ("src/storage/log.rs", "serde_json::to_vec(x)"),
        ("src/peer/frame.rs", "serde_json::to_vec(x)"),
        ("src/consensus/types.rs", "serde_json::to_vec(x)"),
    ] {
        caught(rule, path, text, "does not belong");
    }
    for (path, text) in [
        ("src/consensus/types.rs", "use openraft::Raft;"),
        ("src/storage/engine/mod.rs", "sled::open(x)"),
        ("src/storage/engine.rs", "sled::open(x)"),
        ("src/http/mod.rs", "use axum::http::StatusCode;"),
        ("src/peer/accept.rs", "use axum::Router;"),
        ("src/app.rs", "use axum::Router;"),
        ("src/service/mod.rs", "use std::collections::HashMap;"),
        ("src/model/row.rs", "// unlike a HashMap"),
        ("src/storage/state.rs", "let name = \"sled\"; bobsled::go(self.sled); on_sled()"),
        ("src/app.rs", "filter(\"openraft=warn\")"),
        ("tests/cluster/main.rs", "serde_json::to_vec(x)"),
    ] {
        passes(rule, path, text);
    }
}

#[test]
fn an_empty_word_in_a_name_is_caught() {
    let rule = names_say_something;
    for (path, text) in [
        ("src/model/utils.rs", ""),
        ("src/model/row_helper.rs", ""),
        ("src/common/mod.rs", ""),
        ("src/model/row.rs", "pub struct RowManager;"),
        ("src/model/row.rs", "mod helpers {"),
        ("src/model/row.rs", "pub(crate) enum Util {"),
        ("src/model/row.rs", "trait CommonRow<T> {"),
    ] {
        caught(rule, path, text, "says nothing");
    }
    for text in ["struct Utility;", "// a struct Manager", "use hyper_util::rt;", "fn uncommon()"] {
        passes(rule, "src/model/row.rs", text);
    }
}

#[test]
fn a_place_that_nobody_else_has_is_caught() {
    let rule = mentions_no_outside_place;
    for place in
        [concat!("see ../", "shared/x"), concat!("/x/.", "library"), concat!("/wo", "rk/m")]
    {
        caught(rule, "docs/a.md", place, "nobody else has");
        caught(rule, "src/lib.rs", &format!("// {place}"), "nobody else has");
    }
    passes(rule, "docs/a.md", "the library does the work; shared/x");
}
