//! Which writes a node had heard of, as its answers say: `KV-Receipt` and `KV-Vector`, read.
//!
//! Why it exists: a write takes the place of what its node shows when it is made. What the node had heard of
//! when it showed something to the writer, and when it had written, leaves in doubt only what came between the
//! two, which clocks and orders of answers can tell far less well.
//!
//! Promises: what cannot be read is nothing, so that less is certain, never something wrong. Relies on
//! `docs/api.md`: a receipt is `node-home-run.counter`; a vector is base64url of a version, the number of
//! writers, of each node, home, run and the highest counter as variable-length numbers, and a check; it has
//! no gaps.

use std::collections::BTreeMap;

/// The version of vectors that is read.
const VERSION: u8 = 1;
/// Bytes of the check.
const CHECK_BYTES: usize = 8;
/// Bits of a variable-length number that a byte carries.
const BITS: u32 = 7;

/// Who writes: node, home, run.
type Writer = (u64, u64, u64);

/// The name of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Dot {
    pub(super) writer: Writer,
    pub(super) counter: u64,
}

/// Up to which counter each writer's writes are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard(BTreeMap<Writer, u64>);

impl Dot {
    /// Reads a receipt.
    pub(super) fn read(receipt: &str) -> Option<Self> {
        let (writer, counter) = receipt.split_once('.')?;
        let mut parts = writer.split('-');
        let (node, home, run) = (parts.next()?, parts.next()?, parts.next()?);
        let home = u64::from_str_radix(home, 16).ok()?;
        let writer = (node.parse().ok()?, home, run.parse().ok()?);
        Some(Self { writer, counter: counter.parse().ok()? })
    }
}

impl Heard {
    /// Reads a vector.
    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = decoded(text)?;
        let (sealed, _check) = bytes.split_at_checked(bytes.len().checked_sub(CHECK_BYTES)?)?;
        let (version, body) = sealed.split_first()?;
        if *version != VERSION {
            return None;
        }
        let mut rest = body.iter();
        let mut number = || {
            let mut number = 0_u64;
            for place in (0..u64::BITS).step_by(usize::try_from(BITS).ok()?) {
                let byte = *rest.next()?;
                number |= u64::from(byte & 0x7f) << place;
                if byte & 0x80 == 0 {
                    return Some(number);
                }
            }
            None
        };
        let mut heard = BTreeMap::new();
        for _ in 0..number()? {
            let writer = (number()?, number()?, number()?);
            heard.insert(writer, number()?);
        }
        Some(Self(heard))
    }

    /// Whether it has a write.
    pub(super) fn has(&self, dot: Dot) -> bool {
        self.0.get(&dot.writer).is_some_and(|counter| *counter >= dot.counter)
    }
}

/// The bytes of a base64url text without padding.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0_u32, 0);
    for letter in text.bytes() {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        held = (held << 6 | u32::from(six)) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_and_receipts_of_answers_are_read() {
        // From docs/api.md.
        let heard = Heard::read("AQEB_KnbtgaX-ofYBgGKfnsjo-fHfg").unwrap();
        let first = Dot::read("1-66d6d4fc-1795292439.1").unwrap();
        assert!(heard.has(first), "{heard:?}");
        assert!(!heard.has(Dot { counter: 2, ..first }));
        assert!(!heard.has(Dot { writer: (2, 0, 0), counter: 1 }));
        let three = "AQMB_KnbtgaW-ofYBgMC17ec_Q2W-ofYBgEDl5bRnweW-ofYBgHYROmUgewPFw";
        assert!(Heard::read(three).unwrap().has(Dot::read("1-66d6d4fc-1795292438.3").unwrap()));
    }

    #[test]
    fn what_is_none_is_not_read() {
        for text in
            ["", "AQ", "not/base64", "AgEB_KnbtgaX-ofYBgGKfnsjo-fHfg", "AQ8B_KnbtgaX-ofYBgGKfns"]
        {
            assert_eq!(Heard::read(text), None, "{text}");
        }
        assert_eq!(Dot::read("1-66d6d4fc.1"), None);
    }
}
