//! Operations, times and counts as people read them.
//!
//! Promises: one line each, of bounded length, whatever a value holds. The words are text, not
//! markup: whoever puts them on a page escapes them.

use std::collections::BTreeSet;

use crate::history::{Kind, Operation, Value};

/// Longest value in a label or table, in characters; the whole of it is in the history.
const VALUE_CHARS_MAX: usize = 60;

/// A length of time.
pub(super) fn duration(nanos: u64) -> String {
    let seconds = nanos as f64 / 1e9;
    match nanos {
        0 => "0".to_owned(),
        1..=999 => format!("{nanos} ns"),
        1_000..=999_999 => format!("{} µs", three_digits(seconds * 1e6)),
        1_000_000..=999_999_999 => format!("{} ms", three_digits(seconds * 1e3)),
        1_000_000_000..=119_999_999_999 => format!("{} s", three_digits(seconds)),
        _ => {
            let whole = nanos / 1_000_000_000;
            match (whole / 3_600, whole / 60 % 60, whole % 60) {
                (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
                (hours, minutes, _) => format!("{hours} h {minutes} min"),
            }
        }
    }
}

/// A length of time given in milliseconds.
pub(super) fn milliseconds(ms: f64) -> String {
    if ms >= 1_000.0 {
        format!("{} s", three_digits(ms / 1e3))
    } else if ms >= 1.0 || ms == 0.0 {
        format!("{} ms", three_digits(ms))
    } else {
        format!("{} µs", three_digits(ms * 1e3))
    }
}

/// A point in time of the run.
pub(super) fn moment(nanos: u64) -> String {
    format!("{:.3} s", nanos as f64 / 1e9)
}

fn three_digits(number: f64) -> String {
    let text = if number >= 99.95 {
        format!("{number:.0}")
    } else if number >= 9.995 {
        format!("{number:.1}")
    } else {
        format!("{number:.2}")
    };
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `one fault`, `2 faults`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {many}", count(number)) }
}

/// At most this many characters, with an ellipsis where something is missing.
pub(super) fn shortened(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A value, shortened.
pub(super) fn value(value: &Value) -> String {
    shortened(&value.to_string(), VALUE_CHARS_MAX)
}

/// How something ended.
pub(super) fn ending(operation: &Operation<'_>) -> &'static str {
    match operation.kind() {
        Kind::Ok => "ok",
        Kind::Fail => "fail",
        Kind::Info | Kind::Invoke => "info",
    }
}

/// The micro-operations of a transaction: `[[:append k v] [:r k nil]]`.
fn steps(value: &Value) -> Option<Vec<(&str, &Value, &Value)>> {
    let items = value.as_list().filter(|items| !items.is_empty())?;
    items
        .iter()
        .map(|item| match item.as_list()? {
            [f, key, value] => Some((f.as_text()?.trim_start_matches(':'), key, value)),
            _ => None,
        })
        .collect()
}

/// The key of an operation on one of many registers, and what is asked of it.
fn keyed<'a>(f: &str, value: &'a Value) -> Option<(&'a Value, &'a Value)> {
    let (key, argument) = value.as_keyed()?;
    let scalar = |value: &Value| !matches!(value, Value::List(_) | Value::Map(_) | Value::Nil);
    // A lone register's `cas` has the shape of a keyed write: `[old new]`.
    let fits = f != "cas" || argument.as_list().is_some();
    (scalar(key) && fits).then_some((key, argument))
}

/// The keys that an operation touches; empty when it has none, or touches everything.
pub(super) fn keys<'a>(operation: &Operation<'a>) -> BTreeSet<&'a Value> {
    let asked = &operation.invoke.value;
    if let Some(steps) = steps(asked) {
        return steps.into_iter().map(|(_, key, _)| key).collect();
    }
    keyed(&operation.invoke.f, asked).map(|(key, _)| key).into_iter().collect()
}

/// Whether it changes nothing, so that its being unknown is of no consequence.
pub(super) fn only_reads(operation: &Operation<'_>) -> bool {
    let f = operation.invoke.f.as_str();
    match steps(&operation.invoke.value) {
        Some(steps) => steps.iter().all(|(f, _, _)| matches!(*f, "r" | "read")),
        None => matches!(f, "read" | "scan" | "get" | "range"),
    }
}

/// An operation in a few words: `write 5 = 3`, `read 5 → 3`, `append 5 1 · r 5 → [1]`.
pub(super) fn label(operation: &Operation<'_>) -> String {
    let f = operation.invoke.f.as_str();
    let asked = &operation.invoke.value;
    let answered = operation
        .complete
        .filter(|event| event.kind == Kind::Ok)
        .map(|event| &event.value)
        .filter(|answer| *answer != asked);
    if let Some(steps) = steps(asked) {
        let known = answered.and_then(self::steps).unwrap_or(steps);
        let words: Vec<String> = known.into_iter().map(|step| step_label(&step)).collect();
        return words.join(" · ");
    }
    if let Some((key, argument)) = keyed(f, asked) {
        let answer = answered.map(|value| value.as_keyed().map_or(value, |(_, inner)| inner));
        return format!("{f} {}{}", value(key), tail(f, argument, answer));
    }
    format!("{f}{}", tail(f, asked, answered))
}

fn tail(f: &str, argument: &Value, answer: Option<&Value>) -> String {
    let mut text = match (f, argument) {
        (_, Value::Nil) => String::new(),
        ("write", _) => format!(" = {}", value(argument)),
        ("cas", Value::List(pair)) if pair.len() == 2 => {
            let parts: Vec<String> = pair.iter().map(value).collect();
            format!(" from {}", parts.join(" to "))
        }
        _ => format!(" {}", value(argument)),
    };
    if let Some(answer) = answer {
        text.push_str(" → ");
        text.push_str(&value(answer));
    }
    text
}

fn step_label((f, key, result): &(&str, &Value, &Value)) -> String {
    match (*f, result) {
        ("r" | "read", Value::Nil) => format!("r {}", value(key)),
        ("r" | "read", _) => format!("r {} → {}", value(key), value(result)),
        ("w" | "write", _) => format!("w {} = {}", value(key), value(result)),
        (other, _) => format!("{other} {} {}", value(key), value(result)),
    }
}

/// Everything about an operation, for whoever hovers over it.
pub(super) fn story(operation: &Operation<'_>) -> String {
    let invoke = operation.invoke;
    let mut text = label(operation);
    text.push_str(&format!("\nasked at {} (event {})", moment(invoke.time), invoke.index));
    match operation.complete {
        None => text.push_str("\nno completion in the history: it may take effect at any time"),
        Some(complete) => {
            let took = duration(complete.time.saturating_sub(invoke.time));
            let ending = ending(operation);
            text.push_str(&format!("\n{ending} after {took} (event {})", complete.index));
            if let Some(node) = complete.node {
                text.push_str(&format!("\nat node {node}"));
            }
            if let Some(witness) = complete.witness {
                text.push_str(&format!("\ngroup {}, index {}", witness.group, witness.index));
            }
            if let Some(error) = &complete.error {
                text.push_str(&format!("\n{}", shortened(error, 2 * VALUE_CHARS_MAX)));
            }
            for (name, extra) in &complete.extra {
                text.push_str(&format!("\n{name}: {}", value(extra)));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests;
