//! A key on the command line: whom to ask, in which namespace, and how the key is written.
//!
//! Promises: any bytes can be named: as text, in hex, or in base64.

use bytes::Bytes;
use clap::Args;

use super::{Failure, Reach};
use crate::client::from_base64;

/// Whom to ask in which namespace.
#[derive(Debug, Args)]
pub(super) struct SpaceArgs {
    #[command(flatten)]
    pub(super) reach: Reach,
    /// The namespace.
    #[arg(long, default_value = "default")]
    pub(super) ns: String,
    /// Answers in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Whom to ask for which key.
#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    #[command(flatten)]
    pub(super) space: SpaceArgs,
    /// KEY is written in hex.
    #[arg(long)]
    key_hex: bool,
    /// KEY is written in base64.
    #[arg(long, conflicts_with = "key_hex")]
    key64: bool,
    /// The key.
    key: String,
}

impl KeyArgs {
    pub(super) fn bytes(&self) -> Result<Bytes, Failure> {
        let bytes = match (self.key_hex, self.key64) {
            (true, _) => from_hex(&self.key),
            (_, true) => from_base64(&self.key),
            _ => Some(Bytes::from(self.key.clone())),
        };
        bytes.ok_or_else(|| Failure::usage(format!("\"{}\" is not what its flag says", self.key)))
    }

    pub(super) fn missing(&self) -> Failure {
        let (key, ns) = (&self.key, &self.space.ns);
        Failure::not_found(format!("there is no key \"{key}\" in namespace {ns}"))
    }
}

fn from_hex(text: &str) -> Option<Bytes> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? * 16 + digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect::<Option<Vec<u8>>>().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_hex() {
        assert_eq!(from_hex("00fFa1").unwrap(), &b"\x00\xff\xa1"[..]);
        for bad in ["0", "0g", "é"] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }
}
