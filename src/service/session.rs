//! What a client has seen, as a vector of positions: group to index; and of eventual namespaces, as
//! far as it has asked any, up to which operation of each actor.
//!
//! Why it exists: one number cannot say "not older than what I have seen" when every group has an
//! order of its own. Promises: reads back as printed; anything else is refused by its check; merging
//! only ever asks for more, but of more eventual namespaces than [`SESSION_SPACES_MAX`], or than the
//! longest text has room for, those go first that were not asked last. Does not promise: secrecy; a client that makes one up harms itself
//! alone. The text is base64url without padding of a version byte, postcard, and eight bytes of xxh3.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::eventual::Vector;
use crate::model::{GroupId, NamespaceId};
use crate::runtime::limits::{GROUPS_MAX, SESSION_SPACES_MAX, SESSION_TEXT_BYTES_MAX};

/// The version of the text without eventual namespaces, and with them.
const VERSION: u8 = 1;
const VERSION_WITH_SPACES: u8 = 2;

/// Bytes of the check.
const CHECK_BYTES: usize = 8;

/// What a client has seen of each group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    groups: BTreeMap<GroupId, u64>,
    /// Of eventual namespaces; the one asked last stands last.
    spaces: Vec<(NamespaceId, Vector)>,
}

/// The text is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no session that a node of this release has given: {why}")]
pub struct SessionError {
    why: &'static str,
}

impl Session {
    /// Reads a session's text; the empty text is the empty session.
    ///
    /// # Errors
    ///
    /// When it is not what [`Session`]'s `Display` writes.
    pub fn parse(text: &str) -> Result<Self, SessionError> {
        let wrong = |why| SessionError { why };
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.len() > SESSION_TEXT_BYTES_MAX {
            return Err(wrong("it is too long"));
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_error| wrong("it is not base64url"))?;
        let (sealed, check) =
            bytes.split_last_chunk::<CHECK_BYTES>().ok_or_else(|| wrong("it is too short"))?;
        if xxh3_64(sealed).to_be_bytes() != *check {
            return Err(wrong("its check does not fit"));
        }
        let (&version, body) = sealed.split_first().ok_or_else(|| wrong("it is too short"))?;
        let unread = |_error| wrong("its content cannot be read");
        let (groups, spaces): (BTreeMap<GroupId, u64>, Vec<(NamespaceId, Vector)>) = match version {
            VERSION => (postcard::from_bytes(body).map_err(unread)?, Vec::new()),
            VERSION_WITH_SPACES => postcard::from_bytes(body).map_err(unread)?,
            _ => return Err(wrong("its version is unknown")),
        };
        if u64::try_from(groups.len()).is_ok_and(|groups| groups > GROUPS_MAX) {
            return Err(wrong("it names more groups than there can be"));
        }
        if spaces.len() > SESSION_SPACES_MAX {
            return Err(wrong("it names more eventual namespaces than are kept"));
        }
        Ok(Self { groups, spaces })
    }

    /// The client has seen this group at this index.
    pub fn note(&mut self, group: GroupId, index: u64) {
        let seen = self.groups.entry(group).or_default();
        *seen = (*seen).max(index);
    }

    /// The client has seen this much of an eventual namespace.
    pub fn note_vector(&mut self, namespace: NamespaceId, seen: &Vector) {
        let known = self.spaces.iter().position(|(known, _)| *known == namespace);
        let mut vector = known.map(|at| self.spaces.remove(at).1).unwrap_or_default();
        vector.join(seen);
        if self.spaces.len() >= SESSION_SPACES_MAX {
            self.spaces.remove(0);
        }
        self.spaces.push((namespace, vector));
    }

    /// What a read of this eventual namespace must reflect at least.
    pub fn vector_of(&self, namespace: NamespaceId) -> Option<&Vector> {
        self.spaces.iter().find(|(known, _)| *known == namespace).map(|(_, vector)| vector)
    }

    /// The client has seen what both have seen.
    pub fn merge(&mut self, other: &Self) {
        for (&group, &index) in &other.groups {
            self.note(group, index);
        }
        for (namespace, vector) in &other.spaces {
            self.note_vector(*namespace, vector);
        }
    }

    /// The index that a read of this group must reflect at least; 0 when none.
    pub fn of(&self, group: GroupId) -> u64 {
        self.groups.get(&group).copied().unwrap_or(0)
    }

    /// All of it, in the order of groups.
    pub fn iter(&self) -> impl Iterator<Item = (GroupId, u64)> + '_ {
        self.groups.iter().map(|(&group, &index)| (group, index))
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.spaces.is_empty()
    }
}

impl FromIterator<(GroupId, u64)> for Session {
    fn from_iter<T: IntoIterator<Item = (GroupId, u64)>>(seen: T) -> Self {
        let mut session = Self::default();
        for (group, index) in seen {
            session.note(group, index);
        }
        session
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        let text = |spaces: &[(NamespaceId, Vector)]| {
            let written = match spaces.is_empty() {
                true => postcard::to_extend(&self.groups, vec![VERSION]),
                false => postcard::to_extend(&(&self.groups, spaces), vec![VERSION_WITH_SPACES]),
            };
            let mut bytes = written.expect("numbers are written into memory, which does not fail");
            let check = xxh3_64(&bytes).to_be_bytes();
            bytes.extend_from_slice(&check);
            URL_SAFE_NO_PAD.encode(bytes)
        };
        let mut spaces = &self.spaces[..];
        let mut written = text(spaces);
        while written.len() > SESSION_TEXT_BYTES_MAX
            && let Some((_oldest, rest)) = spaces.split_first()
        {
            spaces = rest;
            written = text(spaces);
        }
        f.write_str(&written)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::eventual::Actor;

    proptest! {
        #[test]
        fn a_session_reads_back_as_printed(seen: BTreeMap<u64, u64>) {
            let session: Session = seen.into_iter().map(|(g, i)| (GroupId(g), i)).collect();
            prop_assert_eq!(Session::parse(&session.to_string()), Ok(session));
        }

        #[test]
        fn any_text_is_a_session_or_an_error(text: String) {
            drop(Session::parse(&text));
        }
    }

    fn vector(counters: &[u64]) -> Vector {
        let actor = |node| Actor { node, home: 7, run: 1 };
        Vector((1..).zip(counters).map(|(node, counter)| (actor(node), *counter)).collect())
    }

    #[test]
    fn what_was_seen_of_eventual_namespaces_travels_along_and_only_grows() {
        let mut session: Session = [(GroupId(1), 5)].into_iter().collect();
        session.note_vector(NamespaceId(4), &vector(&[3, 9]));
        session.note_vector(NamespaceId(4), &vector(&[5, 2]));
        let mut read = Session::parse(&session.to_string()).unwrap();
        assert_eq!(read, session);
        assert_eq!(read.vector_of(NamespaceId(4)), Some(&vector(&[5, 9])));
        assert_eq!((read.vector_of(NamespaceId(5)), read.of(GroupId(1))), (None, 5));
        for namespace in 100.. {
            if read.vector_of(NamespaceId(4)).is_none() {
                assert_eq!(namespace, 100 + SESSION_SPACES_MAX as u64);
                break;
            }
            read.note_vector(NamespaceId(namespace), &vector(&[1]));
        }
        assert_eq!(Session::parse(&read.to_string()), Ok(read));
    }

    #[test]
    fn what_a_text_has_no_room_for_goes_oldest_first() {
        let actor = |run| Actor { node: 1 << 40, home: u32::MAX, run };
        let many = Vector((0..500).map(|run| (actor(u32::MAX - run), u64::MAX)).collect());
        let mut session = Session::default();
        for namespace in 1..=4 {
            session.note_vector(NamespaceId(namespace), &many);
        }
        let text = session.to_string();
        let read = Session::parse(&text).unwrap();
        assert!(text.len() > SESSION_TEXT_BYTES_MAX / 2, "no more goes than must");
        assert_eq!(read.vector_of(NamespaceId(1)), None);
        assert_eq!(read.vector_of(NamespaceId(4)), Some(&many));
    }

    #[test]
    fn a_changed_letter_is_noticed() {
        let mut session = Session::default();
        session.note(GroupId(3), 900);
        let text = session.to_string();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(Session::parse(&changed).is_err(), "{changed} passes for {text}");
        }
    }

    #[test]
    fn merging_asks_for_more_and_never_for_less() {
        let mut session: Session = [(GroupId(1), 5), (GroupId(2), 9)].into_iter().collect();
        session.merge(&[(GroupId(1), 7), (GroupId(2), 3)].into_iter().collect());
        session.note(GroupId(3), 0);
        assert_eq!([1, 2, 3, 4].map(|g| session.of(GroupId(g))), [7, 9, 0, 0]);
    }

    #[test]
    fn a_far_too_long_text_is_refused_unread() {
        let text = "A".repeat(SESSION_TEXT_BYTES_MAX + 1);
        assert!(Session::parse(&text).unwrap_err().to_string().contains("too long"));
    }
}
