//! Histories as JSON: one object per line.
//!
//! Promises: what is written here is read by elle-cli and by scripts for Porcupine, and read back here
//! to the same history, except that the keys of maps come back as numbers or keywords, and that a string
//! that begins with a colon comes back as a keyword. The name of a micro-operation of a `txn` stands
//! without its colon, as elle-cli wants it. A file that is one array of events is read too.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, BufWriter, Write};

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::edn::Parts;
use super::{Event, History, Process, ReadError, Value};

impl History {
    /// Writes the history as JSON lines.
    ///
    /// # Errors
    ///
    /// When the writer fails.
    pub fn write_jsonl(&self, out: impl Write) -> io::Result<()> {
        let mut out = BufWriter::new(out);
        for event in &self.events {
            serde_json::to_writer(&mut out, &Line::of(event))?;
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    /// Reads a history from JSON lines, or from one array of events.
    ///
    /// # Errors
    ///
    /// When the input cannot be read or is not a history.
    pub fn read_jsonl(mut input: impl BufRead) -> Result<Self, ReadError> {
        let mut events = Vec::new();
        let mut text = String::new();
        let mut line = 0;
        while input.read_line(&mut text)? > 0 {
            line += 1;
            let at_line = |why: String| ReadError::Malformed { line, why };
            if events.is_empty() && text.trim_start().starts_with('[') {
                input.read_to_string(&mut text)?;
                let all: Vec<Fields> =
                    serde_json::from_str(&text).map_err(|error| at_line(error.to_string()))?;
                for fields in all {
                    let event = fields.event(events.len()).map_err(at_line)?;
                    events.push(event);
                }
                break;
            }
            if !text.trim().is_empty() {
                let fields: Fields =
                    serde_json::from_str(&text).map_err(|error| at_line(error.to_string()))?;
                events.push(fields.event(events.len()).map_err(at_line)?);
            }
            text.clear();
        }
        Ok(Self { events })
    }
}

/// A value on its way to JSON.
struct Out<'a>(&'a Value);

impl Serialize for Out<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Nil => out.serialize_unit(),
            Value::Bool(truth) => out.serialize_bool(*truth),
            Value::Int(number) => out.serialize_i64(*number),
            Value::Text(text) => out.serialize_str(text),
            Value::Keyword(word) => out.collect_str(&format_args!(":{word}")),
            Value::List(items) => out.collect_seq(items.iter().map(Out)),
            Value::Map(pairs) => {
                let mut map = out.serialize_map(Some(pairs.len()))?;
                for (key, value) in pairs {
                    match key.as_text() {
                        Some(text) => map.serialize_entry(text, &Out(value))?,
                        None => map.serialize_entry(&key.to_string(), &Out(value))?,
                    }
                }
                map.end()
            }
        }
    }
}

/// The value of a `txn`: micro-operations by their bare names.
struct Txn<'a>(&'a [Value]);

impl Serialize for Txn<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(self.0.iter().map(Micro))
    }
}

struct Micro<'a>(&'a Value);

impl Serialize for Micro<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let Value::List(items) = self.0 else { return Out(self.0).serialize(out) };
        let mut list = out.serialize_seq(Some(items.len()))?;
        for (place, item) in items.iter().enumerate() {
            match item {
                Value::Keyword(word) if place == 0 => list.serialize_element(word)?,
                item => list.serialize_element(&Out(item))?,
            }
        }
        list.end()
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Txn(Txn<'a>),
    Plain(Out<'a>),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Who {
    Client(u64),
    Nemesis(&'static str),
}

#[derive(Serialize)]
struct Line<'a> {
    index: u64,
    time: u64,
    #[serde(rename = "type")]
    kind: &'static str,
    process: Who,
    f: &'a str,
    value: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<&'a str, Out<'a>>,
}

impl<'a> Line<'a> {
    fn of(event: &'a Event) -> Self {
        let value = match &event.value {
            Value::List(items) if event.f == "txn" => Content::Txn(Txn(items)),
            value => Content::Plain(Out(value)),
        };
        Self {
            index: event.index,
            time: event.time,
            kind: event.kind.name(),
            process: match event.process {
                Process::Client(number) => Who::Client(number),
                Process::Nemesis => Who::Nemesis("nemesis"),
            },
            f: &event.f,
            value,
            node: event.node,
            group: event.witness.map(|witness| witness.group),
            log_index: event.witness.map(|witness| witness.index),
            error: event.error.as_deref(),
            extra: event.extra.iter().map(|(name, value)| (name.as_str(), Out(value))).collect(),
        }
    }
}

/// A value on its way from JSON.
struct In(Value);

impl<'de> Deserialize<'de> for In {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ValueVisitor).map(In)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or_else(|_| number.to_string().into(), Value::Int))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.to_string().into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.strip_prefix(':').map_or_else(|| text.into(), |word| Value::Keyword(word.into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(In(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some((key, In(value))) = map.next_entry::<String, In>()? {
            let key = key.parse().map_or_else(|_| Value::Keyword(key), Value::Int);
            pairs.push((key, value));
        }
        Ok(Value::Map(pairs))
    }
}

/// An event's fields, in whatever order they come.
struct Fields(Parts);

impl Fields {
    fn event(self, place: usize) -> Result<Event, String> {
        let mut event = self.0.event(place)?;
        if event.f == "txn"
            && let Value::List(micros) = &mut event.value
        {
            for micro in micros {
                if let Value::List(items) = micro
                    && let Some(first) = items.first_mut()
                    && let Value::Text(name) = first
                {
                    *first = Value::Keyword(std::mem::take(name));
                }
            }
        }
        Ok(event)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut parts = Parts::default();
                while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                    let In(value) = map.next_value()?;
                    parts.put(&name, value);
                }
                Ok(Fields(parts))
            }
        }
        from.deserialize_map(FieldsVisitor)
    }
}
