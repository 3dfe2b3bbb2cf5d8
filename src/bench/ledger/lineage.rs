//! What was lost, from what each write's client had seen: the exact count.
//!
//! Why it exists: the store says itself what it has lost; here the same is worked out from the outside,
//! from the names of the writes and of what their clients had read before. That the two agree is the
//! evidence for both.
//!
//! Promises: a write is lost *directly* when nobody had seen it who wrote later, and it is not current;
//! it is lost *effectively* when it is not among the ancestors of what is current. Only cells are
//! counted in which every write's client had looked before and every outcome is known.

use std::collections::{BTreeMap, BTreeSet};

use super::values::Write;

/// What became of the writes of a cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traced {
    /// Acknowledged writes.
    pub writes: u64,
    /// Those lost directly, by name.
    pub lost: BTreeSet<String>,
    /// How many are without effect.
    pub without_effect: u64,
}

/// Follows the writes of a cell whose current ones are these; `None` where that is not exact.
pub fn trace(writes: &[Write], current: &[&str]) -> Option<Traced> {
    let mut parents: BTreeMap<&str, &[Box<str>]> = BTreeMap::new();
    for write in writes {
        if write.is_unsure() {
            return None;
        }
        if write.is_acked() {
            parents.insert(write.name.as_deref()?, write.over.as_deref()?);
        }
    }
    let seen: BTreeSet<&str> =
        parents.values().flat_map(|over| over.iter().map(|n| &**n)).collect();
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&str> = current.to_vec();
    while let Some(name) = open.pop() {
        // Somebody's whom these books know nothing of.
        let over = parents.get(name)?;
        if reached.insert(name) {
            open.extend(over.iter().map(|name| &**name));
        }
    }
    let lost = parents
        .keys()
        .filter(|name| !seen.contains(**name) && !current.contains(*name))
        .map(|name| (*name).to_owned())
        .collect();
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    Some(Traced {
        writes: count(parents.len()),
        lost,
        without_effect: count(parents.len() - reached.len()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::ledger::End;
    use crate::runtime::Moment;

    fn write(name: &str, over: &[&str], end: End) -> Write {
        Write {
            number: 1,
            site: 1,
            began: Moment(1),
            end: Some((Moment(2), end)),
            name: Some(name.into()),
            order: None,
            over: Some(over.iter().map(|name| Box::from(*name)).collect()),
        }
    }

    #[test]
    fn a_branch_that_nobody_went_on_from_is_lost_with_all_that_was_built_on_it() {
        let writes = [
            write("root", &[], End::Acked),
            write("a", &["root"], End::Acked),
            write("b", &["root"], End::Acked),
            write("b2", &["b"], End::Acked),
            write("refused", &["b"], End::NotApplied),
        ];
        let traced = trace(&writes, &["a"]).unwrap();
        assert_eq!(traced.lost, ["b2".to_owned()].into());
        assert_eq!((traced.writes, traced.without_effect), (4, 2));
        let both = trace(&writes, &["a", "b2"]).unwrap();
        assert_eq!((both.lost.len(), both.without_effect), (0, 0));
    }

    #[test]
    fn what_is_not_known_exactly_is_not_counted() {
        let root = || write("root", &[], End::Acked);
        assert_eq!(trace(&[root(), write("x", &["root"], End::Unknown)], &["root"]), None);
        assert_eq!(trace(&[root()], &["stranger"]), None);
        let blind = Write { over: None, ..root() };
        assert_eq!(trace(&[blind], &["root"]), None);
        assert_eq!(trace(&[root()], &["root"]).unwrap().without_effect, 0);
    }
}
