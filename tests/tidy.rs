//! House rules that no lint can hold: headers, sizes, who may import whom, and words.
//!
//! Why it exists: a rule that nothing checks is broken within a month. Each rule is a function over a
//! file's path and text, and each is first tried on a planted violation, so that a rule that went
//! blind shows up as well. A plain scan of the text is enough: it sees `use crate::room::…`, groups
//! of imports, and paths in code; comments and string literals do not count.
//!
//! It promises nothing about what a macro writes. It relies on the rooms being the directories (or
//! files) directly under `src/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 500;

/// What each room may import besides itself. A room that is not listed here is an error: whoever
/// builds one says where it stands.
const ROOMS: &[(&str, &[&str])] = &[
    ("runtime", &[]),
    ("storage", &["runtime"]),
    ("model", &["runtime", "storage"]),
    ("placement", &["runtime", "storage", "model"]),
    ("peer", &["runtime", "storage", "model", "placement"]),
    ("consensus", &["runtime", "storage", "model", "placement", "peer"]),
    ("convergence", &["runtime", "storage", "model", "placement", "peer"]),
    ("service", &["runtime", "storage", "model", "placement", "peer", "consensus", "convergence"]),
    // Of model only the ids: see `wire_takes_only_ids`.
    ("wire", &["model"]),
    ("config", &["runtime", "model", "wire"]),
    (
        "http",
        &[
            "runtime",
            "storage",
            "model",
            "placement",
            "peer",
            "consensus",
            "convergence",
            "service",
            "wire",
        ],
    ),
    (
        "app",
        &[
            "runtime",
            "storage",
            "model",
            "placement",
            "peer",
            "consensus",
            "convergence",
            "service",
            "wire",
            "http",
            "config",
            // A node that joins asks a member as any client would.
            "client",
        ],
    ),
    // The slot of a key, by which a request goes straight to its leader, is placement's.
    ("client", &["wire", "model", "placement", "runtime"]),
    // Local nodes as processes, of which it knows the command line alone.
    ("fleet", &["client", "wire", "runtime"]),
    // It measures what clients see: nothing of the inside.
    ("bench", &["fleet", "client", "wire", "runtime"]),
    ("cli", &["bench", "fleet", "client", "wire", "config", "runtime", "app"]),
    ("main", &["cli", "app"]),
];

/// What `wire` may take from `model`.
const IDS: &[&str] =
    &["id", "ClusterId", "GroupId", "Incarnation", "NamespaceId", "NodeId", "Slot", "SlotRange"];

/// A name that only some places may use: the name, and the beginnings of the paths that may. A name in
/// lower case is a crate's, and counts where it is used as one.
const BANNED: &[(&str, &[&str])] = &[
    ("openraft", &["src/consensus"]),
    ("sled", &["src/storage/engine"]),
    // The client is tried against a server that answers as told.
    ("axum", &["src/http", "src/peer", "src/app", "src/client/tests.rs"]),
    // The client reads status codes; that is its trade.
    ("StatusCode", &["src/http", "src/peer", "src/app", "src/client"]),
];

/// Words that are banned from some rooms and allowed elsewhere.
const BANNED_FROM: &[(&str, &[&str])] = &[
    ("HashMap", &["model", "placement"]),
    ("HashSet", &["model", "placement"]),
    ("serde_json", &["model", "placement", "storage", "peer", "consensus"]),
];

/// Names that say nothing about what they name.
const EMPTY_WORDS: &[&str] =
    &["manager", "managers", "util", "utils", "helper", "helpers", "common", "commons"];

/// What a name of ours follows where it is declared.
const DECLARING: &[&str] = &["mod", "struct", "enum", "trait", "type", "union"];

type Rule = fn(&str, &str) -> Vec<String>;

const RULES: &[Rule] = &[
    opens_with_a_header,
    is_not_too_long,
    imports_only_downward,
    wire_takes_only_ids,
    keeps_words_in_their_rooms,
    names_say_something,
    mentions_no_outside_place,
];

// --- the rules ------------------------------------------------------------------------------

fn opens_with_a_header(path: &str, text: &str) -> Vec<String> {
    if is_rust(path) && !text.starts_with("//!") {
        return vec!["does not open with a //! header".to_owned()];
    }
    Vec::new()
}

fn is_not_too_long(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if is_rust(path) && lines > LINES_MAX {
        return vec![format!("has {lines} lines, more than {LINES_MAX}: split it by topic")];
    }
    Vec::new()
}

fn imports_only_downward(path: &str, text: &str) -> Vec<String> {
    // The root only says which rooms there are.
    let Some(room) = room_of(path).filter(|room| *room != "lib") else { return Vec::new() };
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return vec![format!("room {room} has no place in the order of rooms yet: see tidy.rs")];
    };
    let root = if room == "main" { "tetrarch::" } else { "crate::" };
    let used: BTreeSet<String> =
        paths_in(&code_of(text), root).into_iter().map(|path| first_part(&path)).collect();
    used.iter()
        .filter(|used| ROOMS.iter().any(|(name, _)| name == used))
        .filter(|used| *used != room && !allowed.contains(&used.as_str()))
        .map(|used| format!("room {room} must not import from room {used}"))
        .collect()
}

fn wire_takes_only_ids(path: &str, text: &str) -> Vec<String> {
    if room_of(path) != Some("wire") {
        return Vec::new();
    }
    paths_in(&code_of(text), "crate::model::")
        .iter()
        .map(|path| first_part(path))
        .filter(|part| !IDS.contains(&part.as_str()))
        .map(|part| format!("wire takes only ids from model, not {part}"))
        .collect()
}

fn keeps_words_in_their_rooms(path: &str, text: &str) -> Vec<String> {
    let Some(room) = room_of(path) else { return Vec::new() };
    let code = code_of(text);
    let everywhere = BANNED
        .iter()
        .filter(|(_, homes)| !homes.iter().any(|home| path.starts_with(home)))
        .map(|(word, _)| word);
    let here = BANNED_FROM.iter().filter(|(_, rooms)| rooms.contains(&room)).map(|(word, _)| word);
    everywhere
        .chain(here)
        .filter(|word| uses(&code, word))
        .map(|word| format!("`{word}` does not belong into room {room}"))
        .collect()
}

fn names_say_something(path: &str, text: &str) -> Vec<String> {
    if !is_rust(path) {
        return Vec::new();
    }
    let in_path = path.trim_end_matches(".rs").split('/').map(str::to_owned);
    let code = code_of(text);
    let words: Vec<&str> = code.split(|c: char| !is_name(c)).filter(|w| !w.is_empty()).collect();
    let declared = words
        .iter()
        .zip(words.iter().skip(1))
        .filter(|(what, _)| DECLARING.contains(what))
        .map(|(_, name)| (*name).to_owned());
    in_path
        .chain(declared)
        .filter(|name| words_of(name).iter().any(|word| EMPTY_WORDS.contains(&word.as_str())))
        .map(|name| format!("the name {name} says nothing about what it names"))
        .collect()
}

fn mentions_no_outside_place(_path: &str, text: &str) -> Vec<String> {
    // In pieces, since this file is held to the rule too.
    [concat!("..", "/shared"), concat!(".", "library"), concat!("/work", "/")]
        .iter()
        .filter(|place| text.contains(*place))
        .map(|place| format!("mentions {place}, which nobody else has"))
        .collect()
}

// --- reading text ---------------------------------------------------------------------------

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

/// The room of a file under `src/`: `src/model/row.rs` and `src/model.rs` are both of `model`.
fn room_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?;
    is_rust(path).then(|| first.trim_end_matches(".rs"))
}

/// The text without comments and without what stands in string literals of one line.
fn code_of(text: &str) -> String {
    text.lines().map(code_of_line).collect::<Vec<_>>().join("\n")
}

fn code_of_line(line: &str) -> String {
    let mut code = String::new();
    let mut chars = line.chars().peekable();
    let mut in_string = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' if in_string => drop(chars.next()),
            // The character literal of a quote opens nothing.
            '"' if !in_string && code.ends_with('\'') => code.push(c),
            '"' => {
                in_string = !in_string;
                code.push(c);
            }
            '/' if !in_string && chars.peek() == Some(&'/') => break,
            _ if in_string => {}
            _ => code.push(c),
        }
    }
    code
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a name occurs as a whole word; a crate's only before `::`, or where it is imported.
fn uses(code: &str, name: &str) -> bool {
    let is_crate = name.starts_with(char::is_lowercase);
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        let whole = !before.ends_with(is_name) && !after.starts_with(is_name);
        let imported = before.ends_with("use ") || before.ends_with("crate ");
        whole && (!is_crate || imported || after.starts_with("::"))
    })
}

/// `RowHelper` and `row_helper` are both `row` and `helper`.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c.is_uppercase() {
            words.push(String::new());
        }
        if c != '_' {
            words.last_mut().expect("there is always a last word").extend(c.to_lowercase());
        }
    }
    words
}

/// What follows each `root` in the code; a group of imports counts as each of its members.
fn paths_in(code: &str, root: &str) -> Vec<String> {
    code.match_indices(root)
        .filter(|(at, _)| !code[..*at].ends_with(is_name))
        .flat_map(|(at, _)| members(&code[at + root.len()..]))
        .collect()
}

/// The members of the group that the text begins with, or the path that it begins with.
fn members(text: &str) -> Vec<String> {
    let Some(group) = text.strip_prefix('{') else {
        return vec![text.chars().take_while(|&c| is_name(c) || c == ':').collect()];
    };
    let mut members = vec![String::new()];
    let mut depth = 0_usize;
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => members.push(String::new()),
            _ if depth == 0 && !c.is_whitespace() => {
                members.last_mut().expect("there is always a last member").push(c);
            }
            _ => {}
        }
    }
    members.retain(|member| !member.is_empty());
    members
}

fn first_part(path: &str) -> String {
    path.chars().take_while(|&c| is_name(c)).collect()
}

// --- the house ------------------------------------------------------------------------------

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the repository that is ours, by its path from the root.
fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut open: Vec<PathBuf> =
        ["src", "tests", "docs", "jepsen", ".ci"].iter().map(|dir| root().join(dir)).collect();
    open.extend(["README.md", "Cargo.toml"].iter().map(|file| root().join(file)));
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let listed = fs::read_dir(&path).expect("a directory of the repository can be listed");
            open.extend(listed.map(|entry| entry.expect("and so can its entries").path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            let name = path.strip_prefix(root()).expect("it was found under the root");
            files.push((name.display().to_string(), text));
        }
    }
    files.sort();
    files
}

#[test]
fn the_house_is_tidy() {
    let files = files();
    assert!(files.iter().any(|(path, _)| path == "src/lib.rs"), "the walk finds the sources");
    let violations: Vec<String> = files
        .iter()
        .flat_map(|(path, text)| {
            RULES
                .iter()
                .flat_map(|rule| rule(path, text))
                .map(move |what| format!("{path}: {what}"))
        })
        .collect();
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

#[path = "tidy/planted.rs"]
mod planted;
