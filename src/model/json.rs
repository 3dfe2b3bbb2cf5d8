//! JSON documents that come back as they were: members in their order, numbers digit for digit.
//!
//! Why it exists: a patch must not change what it does not touch. The usual value types put members
//! in another order or read `1.10` and `12345678901234567890123` as floats; the switches that keep
//! them change how every other part of the crate reads JSON. So a number here is its text.
//!
//! Promises: what [`Json::parse`] accepts, [`Json::write`] writes with the same meaning, without
//! spaces; nesting is at most [`JSON_DEPTH_MAX`] deep, so that no document exhausts the stack. Of
//! members of one name the last counts.

use std::collections::BTreeMap;

use crate::runtime::limits::JSON_DEPTH_MAX;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    Text(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// Where a text stops being JSON, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {reason}")]
pub(super) struct NoJson {
    pub(super) at: usize,
    pub(super) reason: &'static str,
}

impl Json {
    /// Reads a whole text.
    pub(super) fn parse(text: &[u8]) -> Result<Self, NoJson> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.space();
        if reader.at < text.len() { Err(reader.wrong("more after the value")) } else { Ok(value) }
    }

    /// Writes it without spaces.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Number(text) => out.extend_from_slice(text.as_bytes()),
            Self::Text(text) => write_text(text, out),
            Self::Array(items) => {
                out.push(b'[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Object(members) => {
                out.push(b'{');
                for (place, (name, value)) in members.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    write_text(name, out);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }

    /// How deep it is nested: 0 for what holds nothing.
    pub(super) fn depth(&self) -> usize {
        match self {
            Self::Array(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Self::Object(members) => {
                1 + members.iter().map(|(_, value)| value.depth()).max().unwrap_or(0)
            }
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => 0,
        }
    }

    /// About how many bytes it is written in; never more than there are by a factor of six, which
    /// is what an escaped letter takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 4,
            Self::Number(text) => text.len(),
            Self::Text(text) => text.len() + 2,
            Self::Array(items) => 2 + items.iter().map(|item| item.bytes() + 1).sum::<usize>(),
            Self::Object(members) => {
                2 + members.iter().map(|(name, v)| name.len() + v.bytes() + 4).sum::<usize>()
            }
        }
    }

    /// Takes about its [`Self::bytes`] from what is left; says no, and goes no further, when that
    /// is not enough.
    pub(super) fn takes(&self, left: &mut usize) -> bool {
        let mut take = |bytes: usize| {
            let rest = left.checked_sub(bytes);
            *left = rest.unwrap_or(0);
            rest.is_some()
        };
        match self {
            Self::Null | Self::Bool(_) => take(4),
            Self::Number(text) | Self::Text(text) => take(2 + text.len()),
            Self::Array(items) => take(2) && items.iter().all(|item| item.takes(left)),
            Self::Object(members) => {
                take(2)
                    && members.iter().all(|(name, value)| {
                        let rest = left.checked_sub(name.len() + 4);
                        *left = rest.unwrap_or(0);
                        rest.is_some() && value.takes(left)
                    })
            }
        }
    }

    /// The member of a name.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Whether both mean the same: members in any order, numbers by value.
    pub(super) fn means(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a == b || plain(a) == plain(b),
            (Self::Array(a), Self::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.means(b))
            }
            (Self::Object(a), Self::Object(b)) => {
                let same = |places: &BTreeMap<&String, &Self>| {
                    a.iter().all(|(name, value)| {
                        places.get(name).is_some_and(|known| known.means(value))
                    })
                };
                a.len() == b.len() && same(&b.iter().map(|(name, value)| (name, value)).collect())
            }
            (a, b) => a == b,
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// A number as sign, digits without zeros around them, and the power of ten of the last digit: the
/// same for all ways to write one number.
fn plain(text: &str) -> (bool, String, i64) {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let mut digits = format!("{whole}{part}");
    // An exponent beyond this means a number that nobody wrote twice in two ways.
    let exponent = exponent.parse::<i64>().unwrap_or(i64::MAX / 2);
    let mut power = exponent.saturating_sub(i64::try_from(part.len()).unwrap_or(0));
    let kept = digits.trim_end_matches('0').len();
    power = power.saturating_add(i64::try_from(digits.len() - kept).unwrap_or(0));
    digits.truncate(kept);
    let digits = digits.trim_start_matches('0').to_owned();
    if digits.is_empty() { (false, digits, 0) } else { (negative, digits, power) }
}

/// A text that is being read.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self, reason: &'static str) -> NoJson {
        NoJson { at: self.at, reason }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Passes a byte if it comes next.
    fn pass(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    fn value(&mut self, depth: usize) -> Result<Json, NoJson> {
        if depth > JSON_DEPTH_MAX {
            return Err(self.wrong("nested too deep"));
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            _ => Err(self.wrong("no value")),
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, NoJson> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if rest.starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.wrong("no value"))
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, NoJson> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.pass(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            if self.pass(b']') {
                return Ok(Json::Array(items));
            }
            if !self.pass(b',') {
                return Err(self.wrong("neither , nor ]"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, NoJson> {
        self.at += 1;
        // By name, so that many members take no time that grows with the square of their number.
        let mut places = BTreeMap::new();
        let mut members: Vec<(String, Json)> = Vec::new();
        self.space();
        if self.pass(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            let name = self.string()?;
            self.space();
            if !self.pass(b':') {
                return Err(self.wrong("no : after a name"));
            }
            let value = self.value(depth + 1)?;
            match places.get(&name).and_then(|place: &usize| members.get_mut(*place)) {
                Some((_, known)) => *known = value,
                None => {
                    places.insert(name.clone(), members.len());
                    members.push((name, value));
                }
            }
            self.space();
            if self.pass(b'}') {
                return Ok(Json::Object(members));
            }
            if !self.pass(b',') {
                return Err(self.wrong("neither , nor }"));
            }
        }
    }

    fn string(&mut self) -> Result<String, NoJson> {
        if !self.pass(b'"') {
            return Err(self.wrong("no text in quotes"));
        }
        let mut text = Vec::new();
        loop {
            let byte = self.peek().ok_or_else(|| self.wrong("a text without end"))?;
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => {
                    let mut utf8 = [0; 4];
                    text.extend_from_slice(self.escape()?.encode_utf8(&mut utf8).as_bytes());
                }
                0..0x20 => return Err(self.wrong("a control character in a text")),
                _ => text.push(byte),
            }
        }
        String::from_utf8(text).map_err(|_not_utf8| self.wrong("a text that is not UTF-8"))
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<char, NoJson> {
        let byte = self.peek().ok_or_else(|| self.wrong("a text without end"))?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                let code = match first {
                    0xd800..0xdc00 if self.pass(b'\\') && self.pass(b'u') => {
                        let second = self.hex()?;
                        if !(0xdc00..0xe000).contains(&second) {
                            return Err(self.wrong("half a surrogate pair"));
                        }
                        0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    code => code,
                };
                // Half a pair is no character.
                char::from_u32(code).ok_or_else(|| self.wrong("half a surrogate pair"))?
            }
            _ => return Err(self.wrong("an unknown escape")),
        })
    }

    fn hex(&mut self) -> Result<u32, NoJson> {
        let digits = self.text.get(self.at..self.at + 4).unwrap_or_default();
        let digit = |value: u32, byte: &u8| Some(value * 16 + char::from(*byte).to_digit(16)?);
        let value = digits.iter().try_fold(0, digit).filter(|_| digits.len() == 4);
        self.at += 4;
        value.ok_or_else(|| self.wrong("four hex digits are missing"))
    }

    fn number(&mut self) -> Result<Json, NoJson> {
        let start = self.at;
        self.pass(b'-');
        if !self.pass(b'0') {
            self.digits()?;
        }
        if self.pass(b'.') {
            self.digits()?;
        }
        if self.pass(b'e') || self.pass(b'E') {
            if !self.pass(b'+') {
                self.pass(b'-');
            }
            self.digits()?;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        Ok(Json::Number(String::from_utf8_lossy(text).into_owned()))
    }

    fn digits(&mut self) -> Result<(), NoJson> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.wrong("a digit is missing")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
