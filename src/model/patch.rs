//! Making a new value of the old one: JSON merge patch, JSON patch, counting, appending.
//!
//! Promises: the same at every replica; what a patch does not touch stays as it was written, except
//! for spaces; the result and what is built on the way are bounded, whatever the patch says (a few
//! copies of a document into itself would otherwise fill the memory of every replica), and so is the
//! work: all patches of an entry live on one [`Budget`].

mod budget;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::denial::{Denial, PatchFault};
use super::json::Json;
use super::number::Decimal;
use super::op::{NumberOp, Patch};
use crate::runtime::limits::{JSON_DEPTH_MAX, PATCH_STEPS_MAX};

pub(super) use budget::Budget;

/// The new value, at most `limit` bytes long; `old` is `None` for a key without a row.
pub(super) fn apply(
    patch: &Patch,
    old: Option<&Bytes>,
    limit: u64,
    budget: &mut Budget,
) -> Result<Bytes, Denial> {
    let limit_bytes = usize::try_from(limit).unwrap_or(usize::MAX);
    let old_bytes = old.map_or(0, Bytes::len);
    let new = match patch {
        Patch::Merge(patch) => {
            budget.spend(old_bytes + patch.len())?;
            let patch = Json::parse(patch).map_err(|error| invalid(error.to_string()))?;
            let mut document = document(old)?;
            merge(&mut document, patch);
            written(&document, limit)?
        }
        Patch::Json(steps) => {
            budget.spend(old_bytes + steps.len())?;
            let steps = Json::parse(steps).map_err(|error| invalid(error.to_string()))?;
            let document = document(old)?;
            let mut work = Work { document, room: limit_bytes, limit, budget };
            work.run(&steps)?;
            written(&work.document, limit)?
        }
        Patch::Number(op) => number(*op, old)?,
        Patch::Append(more) => {
            let old = old.map_or(&[][..], Bytes::as_ref);
            budget.spend_copying(old_bytes)?;
            if old.len().saturating_add(more.len()) > limit_bytes {
                return Err(Denial::TooLarge { limit });
            }
            [old, more].concat().into()
        }
    };
    if new.len() > limit_bytes { Err(Denial::TooLarge { limit }) } else { Ok(new) }
}

fn invalid(reason: impl Into<String>) -> Denial {
    Denial::Patch { fault: PatchFault::Invalid, reason: reason.into() }
}

fn conflict(reason: impl Into<String>) -> Denial {
    Denial::Patch { fault: PatchFault::Conflict, reason: reason.into() }
}

fn document(old: Option<&Bytes>) -> Result<Json, Denial> {
    let Some(old) = old else { return Ok(Json::Null) };
    Json::parse(old).map_err(|error| conflict(format!("the value is no JSON: {error}")))
}

fn written(document: &Json, limit: u64) -> Result<Bytes, Denial> {
    if document.depth() > JSON_DEPTH_MAX {
        return Err(conflict("the result would be nested too deep"));
    }
    let mut out = Vec::with_capacity(document.bytes());
    document.write(&mut out);
    if u64::try_from(out.len()).unwrap_or(u64::MAX) > limit {
        return Err(Denial::TooLarge { limit });
    }
    Ok(out.into())
}

fn number(op: NumberOp, old: Option<&Bytes>) -> Result<Bytes, Denial> {
    let not = |fault| Denial::NotANumber { fault };
    let old = old.map_or(Ok(Decimal::ZERO), |text| Decimal::parse(text)).map_err(not)?;
    let new = match op {
        NumberOp::Add(by) => old.plus(by).map_err(not)?,
        NumberOp::Max(other) if other.compare(old) == Ordering::Greater => other,
        NumberOp::Min(other) if other.compare(old) == Ordering::Less => other,
        NumberOp::Max(_) | NumberOp::Min(_) => old,
    };
    Ok(new.to_string().into())
}

/// RFC 7396.
fn merge(target: &mut Json, patch: Json) {
    let Json::Object(changes) = patch else {
        *target = patch;
        return;
    };
    if !matches!(target, Json::Object(_)) {
        *target = Json::Object(Vec::new());
    }
    let Json::Object(members) = target else { return };
    // By name: large objects take no time that grows with the product of their sizes.
    let mut changes: BTreeMap<String, (usize, Json)> =
        changes.into_iter().enumerate().map(|(place, (name, to))| (name, (place, to))).collect();
    members.retain_mut(|(name, known)| match changes.remove(name) {
        None => true,
        Some((_, Json::Null)) => false,
        Some((_, change)) => {
            merge(known, change);
            true
        }
    });
    let mut more: Vec<_> = changes.into_iter().filter(|(_, (_, to))| *to != Json::Null).collect();
    more.sort_unstable_by_key(|(_, (place, _))| *place);
    members.extend(more.into_iter().map(|(name, (_, change))| {
        let mut made = Json::Null;
        merge(&mut made, change);
        (name, made)
    }));
}

/// A document while the steps of an RFC 6902 patch change it.
struct Work<'a> {
    document: Json,
    /// Bytes that steps may still copy.
    room: usize,
    limit: u64,
    budget: &'a mut Budget,
}

impl Work<'_> {
    fn run(&mut self, steps: &Json) -> Result<(), Denial> {
        let Json::Array(steps) = steps else {
            return Err(invalid("a JSON patch is an array of steps"));
        };
        if steps.len() > PATCH_STEPS_MAX {
            return Err(invalid(format!("a JSON patch has at most {PATCH_STEPS_MAX} steps")));
        }
        for (place, step) in steps.iter().enumerate() {
            self.step(step).map_err(|denial| match denial {
                Denial::Patch { fault, reason } => {
                    Denial::Patch { fault, reason: format!("step {place}: {reason}") }
                }
                other => other,
            })?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Json) -> Result<(), Denial> {
        let text = |name: &str| match step.member(name) {
            Some(Json::Text(text)) => Ok(text.as_str()),
            _ => Err(invalid(format!("\"{name}\" is missing or no text"))),
        };
        let value = || step.member("value").ok_or_else(|| invalid("\"value\" is missing"));
        let path = pointer(text("path")?)?;
        match text("op")? {
            "add" => self.add(&path, value()?.clone()),
            "remove" => self.remove(&path).map(drop),
            "replace" => {
                let value = value()?;
                self.fits(&path, value)?;
                *find_mut(&mut self.document, &path, self.budget)? = value.clone();
                Ok(())
            }
            "move" => {
                let from = pointer(text("from")?)?;
                if path.len() > from.len() && path.starts_with(&from) {
                    return Err(conflict("a value cannot be moved into itself"));
                }
                if path == from {
                    return find(&self.document, &from, self.budget).map(drop);
                }
                let value = self.remove(&from)?;
                self.budget.spend_on(&value)?;
                self.add(&path, value)
            }
            "copy" => {
                let value = find(&self.document, &pointer(text("from")?)?, self.budget)?;
                self.budget.spend_on(value)?;
                let left = self.room.checked_sub(value.bytes());
                self.room = left.ok_or(Denial::TooLarge { limit: self.limit })?;
                let value = value.clone();
                self.add(&path, value)
            }
            "test" => {
                let found = find(&self.document, &path, self.budget)?;
                let expected = value()?;
                self.budget.spend_on(found)?;
                self.budget.spend_on(expected)?;
                if found.means(expected) { Ok(()) } else { Err(conflict("the test failed")) }
            }
            _ => Err(invalid("\"op\" is none of add, remove, replace, move, copy, test")),
        }
    }

    /// Refuses what would be nested so deep that the next step could exhaust the stack.
    fn fits(&self, path: &[Cow<'_, str>], value: &Json) -> Result<(), Denial> {
        if path.len() + value.depth() > JSON_DEPTH_MAX {
            return Err(conflict("the result would be nested too deep"));
        }
        Ok(())
    }

    fn add(&mut self, path: &[Cow<'_, str>], value: Json) -> Result<(), Denial> {
        self.fits(path, &value)?;
        let Some((last, parent)) = path.split_last() else {
            self.document = value;
            return Ok(());
        };
        match find_mut(&mut self.document, parent, self.budget)? {
            Json::Object(members) => {
                let place = self.budget.place_of(members, last)?;
                match place.and_then(|place| members.get_mut(place)) {
                    Some((_, known)) => *known = value,
                    None => members.push(((**last).to_owned(), value)),
                }
            }
            Json::Array(items) => {
                let place = if last == "-" { items.len() } else { place(last)? };
                if place > items.len() {
                    return Err(missing());
                }
                self.budget.spend(items.len() - place)?;
                items.insert(place, value);
            }
            _ => return Err(missing()),
        }
        Ok(())
    }

    fn remove(&mut self, path: &[Cow<'_, str>]) -> Result<Json, Denial> {
        let Some((last, parent)) = path.split_last() else {
            return Err(conflict("the whole value cannot be removed: delete the key"));
        };
        match find_mut(&mut self.document, parent, self.budget)? {
            Json::Object(members) => {
                let place = self.budget.place_of(members, last)?.ok_or_else(missing)?;
                self.budget.spend(members.len() - place)?;
                Ok(members.remove(place).1)
            }
            Json::Array(items) => {
                let place = place(last)?;
                if place >= items.len() {
                    return Err(missing());
                }
                self.budget.spend(items.len() - place)?;
                Ok(items.remove(place))
            }
            _ => Err(missing()),
        }
    }
}

fn missing() -> Denial {
    conflict("there is nothing at the path")
}

/// RFC 6901: the parts of a path.
fn pointer(text: &str) -> Result<Vec<Cow<'_, str>>, Denial> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let rest = text.strip_prefix('/').ok_or_else(|| invalid("a path begins with /"))?;
    rest.split('/')
        .map(|part| {
            if !part.contains('~') {
                return Ok(Cow::Borrowed(part));
            }
            let bare = part.replace("~0", "").replace("~1", "");
            if bare.contains('~') {
                return Err(invalid("a ~ in a path is followed by 0 or 1"));
            }
            Ok(Cow::Owned(part.replace("~1", "/").replace("~0", "~")))
        })
        .collect()
}

/// A place in an array: digits, without zeros in front.
fn place(part: &str) -> Result<usize, Denial> {
    let digits = part.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (part == "0" || !part.starts_with('0'));
    part.parse().ok().filter(|_| plain).ok_or_else(missing)
}

fn find<'a>(
    document: &'a Json,
    path: &[Cow<'_, str>],
    budget: &mut Budget,
) -> Result<&'a Json, Denial> {
    let mut at = document;
    for part in path {
        at = match at {
            Json::Object(members) => budget
                .place_of(members, part)?
                .and_then(|place| members.get(place))
                .map(|(_, value)| value),
            Json::Array(items) => items.get(place(part)?),
            _ => None,
        }
        .ok_or_else(missing)?;
    }
    Ok(at)
}

fn find_mut<'a>(
    document: &'a mut Json,
    path: &[Cow<'_, str>],
    budget: &mut Budget,
) -> Result<&'a mut Json, Denial> {
    let mut at = document;
    for part in path {
        at = match at {
            Json::Object(members) => budget
                .place_of(members, part)?
                .and_then(|place| members.get_mut(place))
                .map(|(_, value)| value),
            Json::Array(items) => items.get_mut(place(part)?),
            _ => None,
        }
        .ok_or_else(missing)?;
    }
    Ok(at)
}

#[cfg(test)]
mod tests;
