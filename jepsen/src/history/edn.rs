//! Histories as Jepsen writes them: EDN, one map per line.
//!
//! Promises: what is written here is read by Jepsen, Knossos and Elle unchanged, and read back here to
//! the same history. The reader also takes what Jepsen itself wrote: tagged records, keywords for
//! processes and functions, sets, whole-vector files, events without index or time. Both work in a
//! stream. What [`Value`] cannot say is kept as near as it can be: sets and sequences as lists, other
//! numbers, characters and symbols as text.

use std::io::{self, BufWriter, Read, Write};

use super::scanner::{Scanner, Token};
use super::{Event, History, Kind, Process, ReadError, Value, Witness};

impl History {
    /// Writes the history as EDN, one event per line.
    ///
    /// # Errors
    ///
    /// When the writer fails.
    pub fn write_edn(&self, out: impl Write) -> io::Result<()> {
        let mut out = BufWriter::new(out);
        let mut line = String::new();
        for event in &self.events {
            line.clear();
            put_event(&mut line, event);
            line.push('\n');
            out.write_all(line.as_bytes())?;
        }
        out.flush()
    }

    /// Reads a history from EDN: maps one after the other, or one vector of them.
    ///
    /// # Errors
    ///
    /// When the input cannot be read or is not a history.
    pub fn read_edn(input: impl Read) -> Result<Self, ReadError> {
        let mut reader = Reader { scanner: Scanner::new(input), depth: 0 };
        let mut events = Vec::new();
        while let Some(event) = reader.event(events.len())? {
            events.push(event);
        }
        Ok(Self { events })
    }
}

/// An event as one EDN map.
pub fn put_event(text: &mut String, event: &Event) {
    let process = match event.process {
        Process::Client(number) => number.to_string(),
        Process::Nemesis => ":nemesis".to_owned(),
    };
    text.push_str(&format!(
        "{{:index {}, :time {}, :type :{}, :process {process}, :f :{}, :value ",
        event.index,
        event.time,
        event.kind.name(),
        event.f
    ));
    put_value(text, &event.value);
    if let Some(node) = event.node {
        text.push_str(&format!(", :node {node}"));
    }
    if let Some(Witness { group, index }) = event.witness {
        text.push_str(&format!(", :group {group}, :log-index {index}"));
    }
    if let Some(error) = &event.error {
        text.push_str(", :error ");
        put_text(text, error);
    }
    if !event.extra.is_empty() {
        text.push_str(", :extra {");
        for (place, (name, value)) in event.extra.iter().enumerate() {
            text.push_str(if place == 0 { ":" } else { ", :" });
            text.push_str(name);
            text.push(' ');
            put_value(text, value);
        }
        text.push('}');
    }
    text.push('}');
}

fn put_value(text: &mut String, value: &Value) {
    match value {
        Value::Text(inner) => put_text(text, inner),
        Value::List(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    text.push(' ');
                }
                put_value(text, item);
            }
            text.push(']');
        }
        Value::Map(pairs) => {
            text.push('{');
            for (place, (key, item)) in pairs.iter().enumerate() {
                if place > 0 {
                    text.push_str(", ");
                }
                put_value(text, key);
                text.push(' ');
                put_value(text, item);
            }
            text.push('}');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

fn put_text(text: &mut String, inner: &str) {
    text.push('"');
    for c in inner.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
}

/// How deep values may be nested: more is an attack on the stack, not a history.
const DEPTH_MAX: usize = 200;

struct Reader<R> {
    scanner: Scanner<R>,
    depth: usize,
}

impl<R: Read> Reader<R> {
    /// The next event, in a vector of them or not.
    fn event(&mut self, place: usize) -> Result<Option<Event>, ReadError> {
        loop {
            match self.scanner.token()? {
                Token::End => return Ok(None),
                // The brackets of a file that is one vector, list or set of events mean nothing here.
                Token::Open(b'[' | b'(') | Token::Close(b']' | b')') | Token::Tag => {}
                Token::Discard => drop(self.value()?),
                Token::Open(_) => return self.map_of_event(place).map(Some),
                other => return Err(self.scanner.wrong(format!("{other} where an event is due"))),
            }
        }
    }

    fn map_of_event(&mut self, place: usize) -> Result<Event, ReadError> {
        let mut parts = Parts::default();
        loop {
            match self.scanner.token()? {
                Token::Close(b'}') => break,
                Token::Discard => drop(self.value()?),
                Token::Keyword => {
                    let name = self.scanner.text().to_owned();
                    let value = self.value()?;
                    parts.put(&name, value);
                }
                other => {
                    return Err(self.scanner.wrong(format!("{other} where a keyword is due")));
                }
            }
        }
        let line = self.scanner.line();
        parts.event(place).map_err(|why| ReadError::Malformed { line, why })
    }

    /// The next value.
    fn value(&mut self) -> Result<Value, ReadError> {
        loop {
            let token = self.scanner.token()?;
            match token {
                Token::Discard => drop(self.value()?),
                Token::Tag => {}
                token => return self.value_from(token),
            }
        }
    }

    fn value_from(&mut self, token: Token) -> Result<Value, ReadError> {
        Ok(match token {
            Token::Keyword => Value::Keyword(self.scanner.text().to_owned()),
            Token::Text => Value::Text(self.scanner.text().to_owned()),
            Token::Atom => atom(self.scanner.text()),
            Token::Open(opening) => {
                let closing = if opening == b'(' { b')' } else { opening + 2 };
                let items = self.items(closing)?;
                if opening == b'{' { self.map(items)? } else { Value::List(items) }
            }
            Token::Set => {
                let mut items = self.items(b'}')?;
                items.sort();
                Value::List(items)
            }
            other => return Err(self.scanner.wrong(format!("{other} where a value is due"))),
        })
    }

    fn items(&mut self, closing: u8) -> Result<Vec<Value>, ReadError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.scanner.wrong("values nested too deep".to_owned()));
        }
        let mut items = Vec::new();
        loop {
            match self.scanner.token()? {
                Token::Close(close) if close == closing => {
                    self.depth -= 1;
                    return Ok(items);
                }
                Token::Discard => drop(self.value()?),
                Token::Tag => {}
                token => items.push(self.value_from(token)?),
            }
        }
    }

    fn map(&self, items: Vec<Value>) -> Result<Value, ReadError> {
        if !items.len().is_multiple_of(2) {
            return Err(self.scanner.wrong("a map with a key without a value".to_owned()));
        }
        let mut items = items.into_iter();
        let mut pairs = Vec::new();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            pairs.push((key, value));
        }
        Ok(Value::Map(pairs))
    }
}

fn atom(text: &str) -> Value {
    match text {
        "nil" => Value::Nil,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        // Big integers carry an N.
        text => text.trim_end_matches('N').parse().map_or_else(|_| text.into(), Value::Int),
    }
}

/// What is known of an event while its fields are read.
#[derive(Default)]
pub(super) struct Parts {
    index: Option<u64>,
    time: Option<u64>,
    kind: Option<Kind>,
    process: Option<Process>,
    f: Option<String>,
    value: Value,
    node: Option<u32>,
    group: Option<u64>,
    log_index: Option<u64>,
    error: Option<String>,
    extra: std::collections::BTreeMap<String, Value>,
}

impl Parts {
    /// Takes a field; one that this history does not know is an extra.
    pub(super) fn put(&mut self, name: &str, value: Value) {
        let number = || value.as_int().and_then(|number| u64::try_from(number).ok());
        match name {
            "index" => self.index = number(),
            "time" => self.time = number(),
            "type" => self.kind = value.as_text().and_then(Kind::named),
            "process" => {
                self.process = number().map(Process::Client).or(Some(Process::Nemesis));
            }
            "f" => self.f = value.as_text().map(str::to_owned),
            "value" => self.value = value,
            "group" => self.group = number(),
            "log-index" | "log_index" => self.log_index = number(),
            "error" if value == Value::Nil => {}
            "error" => {
                self.error = Some(value.as_text().map_or_else(|| value.to_string(), str::to_owned));
            }
            "extra" => {
                let Value::Map(pairs) = value else { return };
                for (key, item) in pairs {
                    let name = key.as_text().map_or_else(|| key.to_string(), str::to_owned);
                    self.extra.insert(name, item);
                }
            }
            "node" if number().is_some() => {
                self.node = number().and_then(|number| u32::try_from(number).ok());
            }
            other => drop(self.extra.insert(other.to_owned(), value)),
        }
    }

    /// The event at this place of the file.
    pub(super) fn event(self, place: usize) -> Result<Event, String> {
        let kind = self.kind.ok_or("an event without a type of invoke, ok, fail or info")?;
        let place = u64::try_from(place).unwrap_or(u64::MAX);
        let witness = self.group.zip(self.log_index);
        Ok(Event {
            index: self.index.unwrap_or(place),
            time: self.time.unwrap_or(0),
            kind,
            process: self.process.ok_or("an event without a process")?,
            f: self.f.unwrap_or_else(|| "txn".to_owned()),
            value: self.value,
            node: self.node,
            witness: witness.map(|(group, index)| Witness { group, index }),
            error: self.error,
            extra: self.extra,
        })
    }
}

#[cfg(test)]
#[path = "edn/tests.rs"]
mod tests;
