//! The formats of many keys: NDJSON, `key<TAB>value`, and Debian package stanzas.
//!
//! Promises: a malformed record is reported with its line and the next one is read; no record is
//! held that is longer than the bound. NDJSON takes `key` or `key_b64` and `value` or `value_b64`;
//! it is the only format that carries any bytes. TSV knows no escapes: the value is what follows
//! the first tab. A `deb822` stanza is keyed by its `Package` and `Version`.

use std::io::BufRead;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::runtime::limits;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// One JSON object a line.
    Ndjson,
    /// Key, tab, value.
    Tsv,
    /// Stanzas separated by blank lines, as `apt-cache dumpavail` prints them.
    Deb822,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The line that it begins on, from 1.
    pub(super) line: u64,
    pub(super) key: Bytes,
    pub(super) value: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) line: u64,
    pub(super) reason: String,
    /// Reading cannot go on.
    pub(super) last: bool,
}

/// Reads records one after another.
#[derive(Debug)]
pub(super) struct Records<R> {
    input: R,
    format: Format,
    line: u64,
    bytes_max: usize,
    ended: bool,
}

enum Line {
    End,
    TooLong,
    Whole(Vec<u8>),
}

impl<R: BufRead> Records<R> {
    pub(super) fn new(input: R, format: Format) -> Self {
        let bytes_max = limits::IMPORT_RECORD_BYTES_MAX;
        Self { input, format, line: 0, bytes_max, ended: false }
    }

    /// A line with its newline, if it has one.
    fn read_line(&mut self) -> std::io::Result<Line> {
        let mut line = Vec::new();
        let mut too_long = false;
        loop {
            let chunk = self.input.fill_buf()?;
            let (taken, done) = match chunk.iter().position(|b| *b == b'\n') {
                Some(at) => (at + 1, true),
                None => (chunk.len(), chunk.is_empty()),
            };
            too_long |= line.len() + taken > self.bytes_max;
            if !too_long {
                line.extend(chunk.iter().take(taken));
            }
            self.input.consume(taken);
            if done {
                break;
            }
        }
        if line.is_empty() && !too_long {
            return Ok(Line::End);
        }
        self.line += 1;
        Ok(if too_long { Line::TooLong } else { Line::Whole(line) })
    }

    fn bad(&self, reason: impl Into<String>) -> Bad {
        Bad { line: self.line, reason: reason.into(), last: false }
    }

    fn too_long(&self) -> Bad {
        self.bad(format!("longer than {} bytes", self.bytes_max))
    }

    fn line_record(&mut self) -> std::io::Result<Option<Result<Record, Bad>>> {
        loop {
            let line = match self.read_line()? {
                Line::End => return Ok(None),
                Line::TooLong => return Ok(Some(Err(self.too_long()))),
                Line::Whole(line) => line,
            };
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if text.is_empty() {
                continue;
            }
            let parsed = if self.format == Format::Tsv { tsv(text) } else { ndjson(text) };
            let record = parsed.and_then(|(key, value)| check(key, value));
            return Ok(Some(match record {
                Ok((key, value)) => Ok(Record { line: self.line, key, value }),
                Err(reason) => Err(self.bad(reason)),
            }));
        }
    }

    fn stanza(&mut self) -> std::io::Result<Option<Result<Record, Bad>>> {
        let mut stanza = Vec::new();
        let (mut first, mut too_long) = (0, false);
        loop {
            match self.read_line()? {
                Line::End if first == 0 => return Ok(None),
                Line::End => break,
                Line::Whole(line) if line.trim_ascii().is_empty() => {
                    if first > 0 {
                        break;
                    }
                    continue;
                }
                Line::Whole(line) if stanza.len() + line.len() <= self.bytes_max => {
                    stanza.extend_from_slice(&line);
                }
                Line::Whole(_) | Line::TooLong => too_long = true,
            }
            if first == 0 {
                first = self.line;
            }
        }
        if too_long {
            return Ok(Some(Err(Bad { line: first, ..self.too_long() })));
        }
        let record = match (field(&stanza, "Package:"), field(&stanza, "Version:")) {
            (Some(package), Some(version)) => {
                check(Bytes::from([package, b"/", version].concat()), Bytes::from(stanza.clone()))
            }
            _ => Err("a stanza without Package and Version".to_owned()),
        };
        Ok(Some(match record {
            Ok((key, value)) => Ok(Record { line: first, key, value }),
            Err(reason) => Err(Bad { line: first, reason, last: false }),
        }))
    }
}

impl<R: BufRead> Iterator for Records<R> {
    type Item = Result<Record, Bad>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let read = match self.format {
            Format::Ndjson | Format::Tsv => self.line_record(),
            Format::Deb822 => self.stanza(),
        };
        read.unwrap_or_else(|error| {
            self.ended = true;
            Some(Err(Bad { last: true, ..self.bad(format!("the input broke: {error}")) }))
        })
    }
}

fn check(key: Bytes, value: Bytes) -> Result<(Bytes, Bytes), String> {
    if key.is_empty() {
        return Err("the key is empty".to_owned());
    }
    if key.len() > limits::KEY_BYTES_MAX {
        return Err(format!("the key is longer than {} bytes", limits::KEY_BYTES_MAX));
    }
    Ok((key, value))
}

fn field<'a>(stanza: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let line = stanza.split(|b| *b == b'\n').find(|line| line.starts_with(name.as_bytes()))?;
    let text = line.get(name.len()..)?.trim_ascii();
    (!text.is_empty()).then_some(text)
}

fn tsv(line: &[u8]) -> Result<(Bytes, Bytes), String> {
    let tab = line.iter().position(|b| *b == b'\t').ok_or("there is no tab after the key")?;
    let (key, rest) = line.split_at(tab);
    Ok((Bytes::copy_from_slice(key), Bytes::copy_from_slice(rest.get(1..).unwrap_or_default())))
}

fn ndjson(line: &[u8]) -> Result<(Bytes, Bytes), String> {
    let object: Value = serde_json::from_slice(line).map_err(|e| format!("not JSON: {e}"))?;
    Ok((bytes_of(&object, "key")?, bytes_of(&object, "value")?))
}

/// The bytes of a field, given as text or, with `_b64` behind its name, in base64.
pub(super) fn bytes_of(object: &Value, name: &str) -> Result<Bytes, String> {
    let coded = format!("{name}_b64");
    match (object.get(name), object.get(&coded)) {
        (Some(Value::String(text)), None) => Ok(Bytes::from(text.clone())),
        (None, Some(Value::String(text))) => {
            STANDARD.decode(text).map(Bytes::from).map_err(|e| format!("{coded}: {e}"))
        }
        (None, None) => Err(format!("there is neither {name} nor {coded}")),
        (Some(_), Some(_)) => Err(format!("there are both {name} and {coded}")),
        _ => Err(format!("{name} is not a string")),
    }
}

/// `{"value": text}`, or `{"value_b64": …}` when the bytes are not text.
pub(super) fn value_json(value: &[u8]) -> Value {
    match std::str::from_utf8(value) {
        Ok(text) => json!({ "value": text }),
        Err(_) => json!({ "value_b64": STANDARD.encode(value) }),
    }
}

/// A record as one NDJSON line, without the newline.
pub(super) fn record_json(key: &[u8], value: &[u8]) -> Value {
    let mut object = value_json(value);
    if let Some(fields) = object.as_object_mut() {
        match std::str::from_utf8(key) {
            Ok(text) => fields.insert("key".to_owned(), json!(text)),
            Err(_) => fields.insert("key_b64".to_owned(), json!(STANDARD.encode(key))),
        };
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Seen = Vec<Result<(u64, String, String), u64>>;

    fn read(input: &[u8], format: Format) -> Seen {
        let text = |b: &Bytes| String::from_utf8_lossy(b).into_owned();
        Records::new(std::io::BufReader::with_capacity(7, input), format)
            .map(|r| r.map(|r| (r.line, text(&r.key), text(&r.value))).map_err(|b| b.line))
            .collect()
    }

    fn good(line: u64, key: &str, value: &str) -> Result<(u64, String, String), u64> {
        Ok((line, key.to_owned(), value.to_owned()))
    }

    #[test]
    fn a_malformed_line_is_reported_and_the_next_one_is_read() {
        let text = b"a\t1\nno tab\r\n\nb\t\t2\r\n\tempty key\nc\t";
        let seen = read(text, Format::Tsv);
        assert_eq!(
            seen,
            [good(1, "a", "1"), Err(2), good(4, "b", "\t2"), Err(5), good(6, "c", "")]
        );
    }

    #[test]
    fn json_lines_take_text_or_base64() {
        let text = br#"{"key":"a","value":"1"}
{"key_b64":"YQ==","value_b64":"Mg=="}
{"key":"a"}
{"key":"a","key_b64":"YQ==","value":""}
[1]
{"key":"a","value":3}"#;
        let seen = read(text, Format::Ndjson);
        assert_eq!(seen, [good(1, "a", "1"), good(2, "a", "2"), Err(3), Err(4), Err(5), Err(6)]);
    }

    #[test]
    fn stanzas_are_keyed_by_package_and_version() {
        let text =
            b"\n\nPackage: a\nVersion: 1:2\n more\n\nPackage: b\n\n\nVersion: 3\nPackage: c\n";
        let seen = read(text, Format::Deb822);
        let first = good(3, "a/1:2", "Package: a\nVersion: 1:2\n more\n");
        assert_eq!(seen, [first, Err(7), good(10, "c/3", "Version: 3\nPackage: c\n")]);
    }

    #[test]
    fn a_line_beyond_the_bound_is_skipped_whole() {
        let mut records = Records::new(&b"aaaa\tbbbbbbbbb\nk\tv\n"[..], Format::Tsv);
        records.bytes_max = 8;
        assert!(records.next().unwrap().unwrap_err().reason.contains("longer than 8"));
        assert_eq!(records.next().unwrap().unwrap().line, 2);
        assert!(records.next().is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_survive_ndjson(
            records in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..20),
                prop::collection::vec(any::<u8>(), 0..50)), 0..10)
        ) {
            let lines: Vec<_> =
                records.iter().map(|(k, v)| record_json(k, v).to_string()).collect();
            let read: Vec<_> = Records::new(lines.join("\n").as_bytes(), Format::Ndjson)
                .map(|r| r.map(|r| (r.key.to_vec(), r.value.to_vec())).unwrap())
                .collect();
            prop_assert_eq!(read, records);
        }

        #[test]
        fn no_input_breaks_a_parser(text in prop::collection::vec(any::<u8>(), 0..300)) {
            for format in [Format::Ndjson, Format::Tsv, Format::Deb822] {
                for record in Records::new(&text[..], format).flatten() {
                    prop_assert!(!record.key.is_empty());
                }
            }
        }
    }
}
