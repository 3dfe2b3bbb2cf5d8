//! The words of EDN, from a stream.
//!
//! Promises: reads ahead by one buffer, never by the file; says the line of what is wrong.

use std::fmt;
use std::io::Read;

use super::ReadError;

/// Bytes that are asked for at once.
const BUFFER: usize = 1 << 16;

/// A word; what it says beyond its sort stands in [`Scanner::text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// `(`, `[`, `{`.
    Open(u8),
    /// `)`, `]`, `}`.
    Close(u8),
    /// `#{`.
    Set,
    /// `#name`: says what the next value is; or `^`, before what is said about the next.
    Tag,
    /// `#_`: the next value does not count.
    Discard,
    /// `:word`, without its colon.
    Keyword,
    /// A string.
    Text,
    /// A number or symbol.
    Atom,
    /// Nothing more.
    End,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(byte) | Self::Close(byte) => write!(f, "a {:?}", char::from(*byte)),
            Self::Set => f.write_str("a set"),
            Self::Tag => f.write_str("a tag"),
            Self::Discard => f.write_str("a #_"),
            Self::Keyword => f.write_str("a keyword"),
            Self::Text => f.write_str("a string"),
            Self::Atom => f.write_str("a number or symbol"),
            Self::End => f.write_str("the end of the file"),
        }
    }
}

pub(super) struct Scanner<R> {
    input: R,
    buffer: Vec<u8>,
    at: usize,
    line: u64,
    text: Vec<u8>,
}

impl<R: Read> Scanner<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), at: 0, line: 1, text: Vec::new() }
    }

    /// The line that was reached, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// What the last keyword, string or atom says.
    pub(super) fn text(&self) -> &str {
        // Checked when it was read.
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// An error at this line.
    pub(super) fn wrong(&self, why: String) -> ReadError {
        ReadError::Malformed { line: self.line, why }
    }

    /// The next word.
    pub(super) fn token(&mut self) -> Result<Token, ReadError> {
        loop {
            let Some(byte) = self.next()? else { return Ok(Token::End) };
            match byte {
                b' ' | b'\t' | b'\r' | b',' | b'\n' => {}
                b';' => while self.next()?.is_some_and(|byte| byte != b'\n') {},
                b'(' | b'[' | b'{' => return Ok(Token::Open(byte)),
                b')' | b']' | b'}' => return Ok(Token::Close(byte)),
                b'"' => return self.string().map(|()| Token::Text),
                b':' => {
                    self.text.clear();
                    return self.word().map(|()| Token::Keyword);
                }
                b'#' => return self.dispatch(),
                b'^' => return Ok(Token::Discard),
                b'\\' => {
                    self.text.clear();
                    // A character may be one that ends a word.
                    if let Some(first) = self.next()? {
                        self.text.push(first);
                    }
                    return self.word().map(|()| Token::Atom);
                }
                first => {
                    self.text.clear();
                    self.text.push(first);
                    return self.word().map(|()| Token::Atom);
                }
            }
        }
    }

    fn dispatch(&mut self) -> Result<Token, ReadError> {
        Ok(match self.peek()? {
            Some(b'{') => {
                self.at += 1;
                Token::Set
            }
            Some(b'_') => {
                self.at += 1;
                Token::Discard
            }
            _ => {
                self.text.clear();
                self.word()?;
                Token::Tag
            }
        })
    }

    fn word(&mut self) -> Result<(), ReadError> {
        while let Some(byte) = self.peek()? {
            if matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b';' | b'"')
                || matches!(byte, b'(' | b')' | b'[' | b']' | b'{' | b'}')
            {
                break;
            }
            self.text.push(byte);
            self.at += 1;
        }
        self.checked()
    }

    fn string(&mut self) -> Result<(), ReadError> {
        self.text.clear();
        loop {
            let Some(byte) = self.next()? else {
                return Err(self.wrong("a string without an end".to_owned()));
            };
            match byte {
                b'"' => return self.checked(),
                b'\\' => self.escape()?,
                byte => self.text.push(byte),
            }
        }
    }

    fn escape(&mut self) -> Result<(), ReadError> {
        let plain = match self.next()? {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'u') => {
                let mut code = 0;
                for _ in 0..4 {
                    let digit = self.next()?.and_then(|byte| char::from(byte).to_digit(16));
                    let Some(digit) = digit else {
                        return Err(self.wrong("\\u without four digits".to_owned()));
                    };
                    code = code * 16 + digit;
                }
                let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                self.text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            Some(other) => other,
            None => return Err(self.wrong("a string without an end".to_owned())),
        };
        self.text.push(plain);
        Ok(())
    }

    fn checked(&self) -> Result<(), ReadError> {
        match std::str::from_utf8(&self.text) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.wrong(error.to_string())),
        }
    }

    fn peek(&mut self) -> Result<Option<u8>, ReadError> {
        if let Some(byte) = self.buffer.get(self.at) {
            return Ok(Some(*byte));
        }
        self.buffer.resize(BUFFER, 0);
        let read = loop {
            match self.input.read(&mut self.buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.buffer.truncate(read);
        self.at = 0;
        Ok(self.buffer.first().copied())
    }

    fn next(&mut self) -> Result<Option<u8>, ReadError> {
        let byte = self.peek()?;
        self.at += usize::from(byte.is_some());
        self.line += u64::from(byte == Some(b'\n'));
        Ok(byte)
    }
}
