//! What a namespace promises while it is measured.
//!
//! Why it exists: a mode is more than the namespace's settings: who reads where, with which session,
//! and on how many disks a write must be. The names are those of the report.
//!
//! Promises: two modes differ in nothing else than what is said here; binary, storage, durability and
//! batching are the same.

use std::fmt;
use std::str::FromStr;

use crate::wire::NamespaceCreate;

/// What a namespace promises while it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Consensus first, then the answer; reads see all that was acknowledged.
    Linearizable,
    /// The same writes; reads at the node asked, as soon as it has what the site has seen.
    LinearizableSession,
    /// The answer first; of concurrent writes one is shown.
    Lww,
    /// The same, answered when a second node has the write on its disk.
    LwwAck2,
    /// The answer first; concurrent values stand side by side.
    Mv,
    /// Sums.
    Counter,
    /// Sets of texts.
    Set,
    /// Documents, merged field by field.
    Map,
}

/// A name that is none.
#[derive(Debug, thiserror::Error)]
#[error("there is no mode \"{name}\"; choose among {}", Mode::ALL.map(Mode::name).join(", "))]
pub struct UnknownMode {
    name: String,
}

impl Mode {
    /// All of them, from the strongest on.
    pub const ALL: [Self; 8] = [
        Self::Linearizable,
        Self::LinearizableSession,
        Self::Lww,
        Self::LwwAck2,
        Self::Mv,
        Self::Counter,
        Self::Set,
        Self::Map,
    ];

    /// Its name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linearizable => "linearizable",
            Self::LinearizableSession => "linearizable-session",
            Self::Lww => "lww",
            Self::LwwAck2 => "lww-ack2",
            Self::Mv => "mv",
            Self::Counter => "counter",
            Self::Set => "set",
            Self::Map => "map",
        }
    }

    /// Whether consensus comes before the answer.
    pub const fn is_strong(self) -> bool {
        matches!(self, Self::Linearizable | Self::LinearizableSession)
    }

    /// Whether of concurrent writes one is shown and the others are lost.
    pub const fn is_lww(self) -> bool {
        matches!(self, Self::Lww | Self::LwwAck2)
    }

    /// On how many disks a write must be, where the client says so.
    pub const fn ack(self) -> Option<u64> {
        match self {
            Self::LwwAck2 => Some(2),
            _ => None,
        }
    }

    /// The namespace to be made for it.
    pub fn namespace(self, name: &str) -> NamespaceCreate {
        let data_type = match self {
            Self::Linearizable | Self::LinearizableSession => None,
            Self::Lww | Self::LwwAck2 => Some("lww"),
            Self::Mv | Self::Counter | Self::Set | Self::Map => Some(self.name()),
        };
        NamespaceCreate {
            name: name.to_owned(),
            mode: data_type.map(|_| "eventual".to_owned()),
            data_type: data_type.map(str::to_owned),
            ..NamespaceCreate::default()
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(name: &str) -> Result<Self, UnknownMode> {
        let found = Self::ALL.into_iter().find(|mode| mode.name() == name);
        found.ok_or_else(|| UnknownMode { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_others_are_refused() {
        for mode in Mode::ALL {
            assert_eq!(mode.name().parse::<Mode>().unwrap(), mode);
        }
        let error = "eventual".parse::<Mode>().unwrap_err().to_string();
        assert!(error.contains("lww-ack2"), "{error}");
    }

    #[test]
    fn a_namespace_says_what_its_mode_needs() {
        assert_eq!(Mode::LinearizableSession.namespace("x").mode, None);
        let wanted = Mode::LwwAck2.namespace("x");
        assert_eq!(
            (wanted.mode.as_deref(), wanted.data_type.as_deref()),
            (Some("eventual"), Some("lww"))
        );
        assert_eq!(Mode::Map.namespace("x").data_type.as_deref(), Some("map"));
    }
}
