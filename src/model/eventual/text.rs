//! Dots, contexts and vectors as texts that clients carry.
//!
//! Why it exists: a receipt is a dot that a person may have to type; contexts and vectors are opaque.
//! Promises: each reads back as printed. Opaque ones carry a check and a version, so that a cut or
//! mistyped one is refused; they keep no secret, and who makes one up harms their own writes alone.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::dot::{Actor, Dot, Vector};
use crate::model::NamespaceId;
use crate::runtime::limits::{CONTEXT_DOTS_MAX, OPAQUE_TEXT_BYTES_MAX};

/// The version of opaque texts.
const VERSION: u8 = 1;
/// Bytes of the check.
const CHECK_BYTES: usize = 8;

/// The text is none that a node has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no {what} that a node of this release has given: {why}")]
pub struct TextError {
    what: &'static str,
    why: &'static str,
}

/// The versions that a client has been shown of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The namespace of the key.
    pub namespace: NamespaceId,
    /// The versions.
    pub dots: Vec<Dot>,
}

impl FromStr for Dot {
    type Err = TextError;

    /// Reads `node-home-run.counter`, as it is printed.
    fn from_str(text: &str) -> Result<Self, TextError> {
        let wrong = |why| TextError { what: "receipt", why };
        let shape = || wrong("it is not node-home-run.counter");
        let (actor, counter) = text.split_once('.').ok_or_else(shape)?;
        let mut parts = actor.split('-');
        let named = (parts.next(), parts.next(), parts.next(), parts.next());
        let (Some(node), Some(home), Some(run), None) = named else { return Err(shape()) };
        let actor = Actor {
            node: node.parse().map_err(|_error| shape())?,
            home: u32::from_str_radix(home, 16).map_err(|_error| shape())?,
            run: run.parse().map_err(|_error| shape())?,
        };
        let dot = Self { actor, counter: counter.parse().map_err(|_error| shape())? };
        // One write has one receipt: no plus signs, no zeros in front.
        if dot.to_string() == text { Ok(dot) } else { Err(wrong("it is written otherwise")) }
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&sealed(self))
    }
}

impl FromStr for Context {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let what = "context";
        let context: Self = unsealed(what, text)?;
        if context.dots.len() > CONTEXT_DOTS_MAX {
            return Err(TextError { what, why: "it names more versions than there can be" });
        }
        Ok(context)
    }
}

impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&sealed(self))
    }
}

impl FromStr for Vector {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        unsealed("vector", text)
    }
}

fn sealed(content: &impl Serialize) -> String {
    let mut bytes = postcard::to_extend(content, vec![VERSION])
        .expect("numbers and lists of them can be written");
    let check = xxh3_64(&bytes);
    bytes.extend_from_slice(&check.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn unsealed<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, TextError> {
    let wrong = |why| TextError { what, why };
    if text.len() > OPAQUE_TEXT_BYTES_MAX {
        return Err(wrong("it is too long"));
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_error| wrong("it is not base64url"))?;
    let (sealed, check) =
        bytes.split_last_chunk::<CHECK_BYTES>().ok_or_else(|| wrong("it is too short"))?;
    if xxh3_64(sealed).to_be_bytes() != *check {
        return Err(wrong("its check does not fit"));
    }
    let (&version, body) = sealed.split_first().ok_or_else(|| wrong("it is too short"))?;
    if version != VERSION {
        return Err(wrong("its version is unknown"));
    }
    postcard::from_bytes(body).map_err(|_error| wrong("its content cannot be read"))
}
