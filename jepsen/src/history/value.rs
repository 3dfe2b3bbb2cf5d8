//! The values of a history: what both EDN and JSON can say.
//!
//! Promises: maps keep a fixed order. Relies on: nothing.

use std::fmt;

/// A value. EDN keywords are kept apart from strings; JSON writes them as strings with a colon
/// in front.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// `nil`.
    #[default]
    Nil,
    /// `true`, `false`.
    Bool(bool),
    /// A number.
    Int(i64),
    /// A string.
    Text(String),
    /// A keyword, without its colon.
    Keyword(String),
    /// `[…]`.
    List(Vec<Self>),
    /// `{…}`, in the order of its pairs.
    Map(Vec<(Self, Self)>),
}

impl Value {
    /// A list.
    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::List(items.into_iter().collect())
    }

    /// `[key value]`, as jepsen.independent writes what concerns one of many keys.
    pub fn keyed(key: impl Into<Self>, value: impl Into<Self>) -> Self {
        Self::List(vec![key.into(), value.into()])
    }

    /// The number.
    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }

    /// The items of a list.
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// The text of a string or keyword.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Keyword(text) => Some(text),
            _ => None,
        }
    }

    /// Key and value of a `[key value]`.
    pub fn as_keyed(&self) -> Option<(&Self, &Self)> {
        if let Self::List(items) = self
            && let [key, value] = items.as_slice()
        {
            Some((key, value))
        } else {
            None
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nil, Into::into)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

impl fmt::Display for Value {
    /// As people read it, which is EDN.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Bool(truth) => write!(f, "{truth}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Keyword(word) => write!(f, ":{word}"),
            Self::List(items) => {
                f.write_str("[")?;
                for (place, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if place == 0 { "" } else { " " })?;
                }
                f.write_str("]")
            }
            Self::Map(pairs) => {
                f.write_str("{")?;
                for (place, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{}{key} {value}", if place == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}
