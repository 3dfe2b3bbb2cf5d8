//! Several keys at once, or none: conditions, what is done when they hold, what is done otherwise.
//!
//! Promises: all of it happens at one place in the group's order, or nothing does. The keys must be
//! of one group: in a spread namespace keys with the same `{tag}` are.
//!
//! ```no_run
//! use tetrarch::client::{Client, Txn, ops};
//!
//! # async fn tour(client: Client) -> Result<(), tetrarch::client::ClientError> {
//! let transfer = Txn::new()
//!     .when(ops::exists(b"{ada}/purse", true))
//!     .then(ops::add(b"{ada}/purse", -5))
//!     .then(ops::add(b"{ada}/chest", 5))
//!     .or_else(ops::get(b"{ada}/chest"));
//! let done = client.txn("default", &transfer).await?;
//! println!("moved: {}, at revision {}", done.succeeded, done.revision);
//! # Ok(()) }
//! ```

use reqwest::Method;

use super::call::{Call, Idempotency};
use super::coded::{from_text, space_path};
use super::{Client, ClientError};
use crate::wire::{Op, TxnReply, TxnRequest};

/// A transaction in the making.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Txn {
    request: TxnRequest,
    idempotency: Idempotency,
}

impl Txn {
    /// One that does nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more condition; all must hold.
    #[must_use]
    pub fn when(mut self, condition: crate::wire::Condition) -> Self {
        self.request.conditions.push(condition);
        self
    }

    /// One more operation for when all conditions hold.
    #[must_use]
    pub fn then(mut self, op: Op) -> Self {
        self.request.then.push(op);
        self
    }

    /// One more operation for when one does not.
    #[must_use]
    pub fn or_else(mut self, op: Op) -> Self {
        self.request.otherwise.push(op);
        self
    }

    /// How a repetition is recognised.
    #[must_use]
    pub fn idempotency(mut self, idempotency: Idempotency) -> Self {
        self.idempotency = idempotency;
        self
    }
}

impl From<TxnRequest> for Txn {
    fn from(request: TxnRequest) -> Self {
        Self { request, idempotency: Idempotency::default() }
    }
}

/// Operations and conditions, for [`Txn`] and [`Client::batch`].
pub mod ops {
    use serde_json::Value;

    use super::super::coded::to_text;
    use crate::wire::{Amount, Condition, Op};

    /// How a condition compares.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Than {
        /// Equal.
        Eq,
        /// Not equal.
        Ne,
        /// Less.
        Lt,
        /// Greater.
        Gt,
        /// Less or equal.
        Le,
        /// Greater or equal.
        Ge,
    }

    impl Than {
        fn name(self) -> Option<String> {
            let name = match self {
                Self::Eq => "eq",
                Self::Ne => "ne",
                Self::Lt => "lt",
                Self::Gt => "gt",
                Self::Le => "le",
                Self::Ge => "ge",
            };
            Some(name.to_owned())
        }
    }

    /// Writes a key.
    pub fn put(key: &[u8], value: &[u8]) -> Op {
        let ((put, put64), (value, value64)) = (to_text(key), to_text(value));
        Op { put, put64, value, value64, ..Op::default() }
    }

    /// Removes a key.
    pub fn delete(key: &[u8]) -> Op {
        let (delete, delete64) = to_text(key);
        Op { delete, delete64, ..Op::default() }
    }

    /// Reads a key; in transactions only.
    pub fn get(key: &[u8]) -> Op {
        let (get, get64) = to_text(key);
        Op { get, get64, ..Op::default() }
    }

    /// Changes a JSON value by RFC 7396.
    pub fn merge(key: &[u8], patch: Value) -> Op {
        Op { merge: Some(patch), ..change(key) }
    }

    /// Changes a JSON value by RFC 6902.
    pub fn json_patch(key: &[u8], patch: Vec<Value>) -> Op {
        Op { json: Some(patch), ..change(key) }
    }

    /// Adds to a number.
    pub fn add(key: &[u8], number: i64) -> Op {
        Op { add: Some(Amount::Number(number.into())), ..change(key) }
    }

    /// Keeps the greater number.
    pub fn max(key: &[u8], number: i64) -> Op {
        Op { max: Some(Amount::Number(number.into())), ..change(key) }
    }

    /// Keeps the smaller number.
    pub fn min(key: &[u8], number: i64) -> Op {
        Op { min: Some(Amount::Number(number.into())), ..change(key) }
    }

    /// Adds text to the end.
    pub fn append(key: &[u8], text: &str) -> Op {
        Op { append: Some(text.to_owned()), ..change(key) }
    }

    fn change(key: &[u8]) -> Op {
        let (patch, patch64) = to_text(key);
        Op { patch, patch64, ..Op::default() }
    }

    /// The key is there, or is not.
    pub fn exists(key: &[u8], exists: bool) -> Condition {
        Condition { exists: Some(exists), ..of(key) }
    }

    /// The key has this entity tag.
    pub fn etag(key: &[u8], etag: &str) -> Condition {
        Condition { etag: Some(etag.to_owned()), ..of(key) }
    }

    /// The key's value compares so with these bytes; a missing key never does.
    pub fn value(key: &[u8], than: Than, value: &[u8]) -> Condition {
        let (value, value64) = to_text(value);
        Condition { value, value64, op: than.name(), ..of(key) }
    }

    /// The key's revision compares so; that of a missing key is 0.
    pub fn revision(key: &[u8], than: Than, revision: u64) -> Condition {
        Condition { revision: Some(revision), op: than.name(), ..of(key) }
    }

    /// The number of the key's writes compares so; that of a missing key is 0.
    pub fn version(key: &[u8], than: Than, version: u64) -> Condition {
        Condition { version: Some(version), op: than.name(), ..of(key) }
    }

    fn of(key: &[u8]) -> Condition {
        let (key, key64) = to_text(key);
        Condition { key, key64, ..Condition::default() }
    }
}

/// The key that an operation is about.
pub(super) fn key_of(op: &Op) -> Option<bytes::Bytes> {
    let named = [
        (&op.put, &op.put64),
        (&op.delete, &op.delete64),
        (&op.get, &op.get64),
        (&op.patch, &op.patch64),
    ];
    named.iter().find_map(|(text, base64)| from_text(text.as_deref(), base64.as_deref()))
}

impl Client {
    /// Does a transaction.
    ///
    /// # Errors
    ///
    /// As [`Client::put`]; 422 `cross_group` when the keys are not of one group. That the conditions
    /// did not hold is no error.
    pub async fn txn(&self, ns: &str, txn: &Txn) -> Result<TxnReply, ClientError> {
        let request = &txn.request;
        let key = request.then.iter().chain(&request.otherwise).find_map(key_of);
        let repeat = txn.idempotency.repeat(&self.inner.env);
        let mut call = Call::new(Method::POST, format!("{}/txn", space_path(ns)), repeat);
        if let Some(key) = &key {
            call = call.target(ns, key);
        }
        self.call(call.json(request)).await?.json()
    }
}
