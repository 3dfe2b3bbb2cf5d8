//! Entity tags and the conditions made of them (RFC 9110 §8.8.3, §13.1).
//!
//! Promises: `If-Match` compares strongly (a weak tag matches nothing), `If-None-Match` weakly; a tag
//! that is well formed and not one of ours matches nothing; what is not well formed is refused.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::model::GroupId;
use crate::runtime::limits::ETAGS_MAX;
use crate::service::{Condition, EntityTag};

use super::super::problem::Failure;

/// The value of `If-Match` or `If-None-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Tags {
    /// `*`: whatever there is.
    Any,
    /// These; tags that can match nothing are left out.
    List(Vec<EntityTag>),
}

impl Tags {
    /// Whether the row with this tag is meant.
    pub(in super::super) fn matches(&self, tag: EntityTag) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => tags.contains(&tag),
        }
    }
}

/// How two tags are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Comparison {
    Strong,
    Weak,
}

/// Strong: it names one write of one group's order.
pub(in super::super) fn text(tag: EntityTag) -> String {
    format!("\"{}-{}\"", tag.group, tag.at)
}

/// The same as a header.
pub(in super::super) fn header_value(tag: EntityTag) -> HeaderValue {
    HeaderValue::try_from(text(tag)).expect("digits and quotes are a header value")
}

/// The condition of a write, from its headers.
pub(in super::super) fn condition(headers: &HeaderMap) -> Result<Condition, Failure> {
    let wanted = listed(headers, &header::IF_MATCH, Comparison::Strong)?;
    let unwanted = listed(headers, &header::IF_NONE_MATCH, Comparison::Weak)?;
    joined(wanted, unwanted)
}

/// The condition of a line of a batch.
pub(in super::super) fn line_condition(
    wanted: Option<&str>,
    unwanted: Option<&str>,
) -> Result<Condition, Failure> {
    let read = |text: Option<&str>, comparison| {
        text.map(|text| tags("if_match or if_none_match", text.as_bytes(), comparison)).transpose()
    };
    joined(read(wanted, Comparison::Strong)?, read(unwanted, Comparison::Weak)?)
}

fn joined(wanted: Option<Tags>, unwanted: Option<Tags>) -> Result<Condition, Failure> {
    match (wanted, unwanted) {
        (None, None) => Ok(Condition::None),
        (Some(Tags::Any), None) => Ok(Condition::Exists),
        (Some(Tags::List(tags)), None) => Ok(Condition::Any(tags)),
        (None, Some(Tags::Any)) => Ok(Condition::Missing),
        (None, Some(Tags::List(tags))) => Ok(Condition::NoneOf(tags)),
        (Some(_), Some(_)) => {
            Err(Failure::invalid("a write takes If-Match or If-None-Match, not both"))
        }
    }
}

/// The tags of a header, which may stand several times.
pub(in super::super) fn listed(
    headers: &HeaderMap,
    name: &HeaderName,
    comparison: Comparison,
) -> Result<Option<Tags>, Failure> {
    let values: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    if values.is_empty() {
        return Ok(None);
    }
    tags(name.as_str(), &values.join(&b", "[..]), comparison).map(Some)
}

/// One tag of our own form, as JSON bodies carry it.
pub(in super::super) fn single(text: &str) -> Result<EntityTag, Failure> {
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.and_then(|inner| ours(inner.as_bytes())).ok_or_else(|| {
        Failure::invalid(format!(
            "{text:?} is not an ETag of this store, such as \"3-17\" in quotes"
        ))
    })
}

fn tags(name: &str, text: &[u8], comparison: Comparison) -> Result<Tags, Failure> {
    let wrong = || {
        Failure::invalid(format!("{name} is * or a list of ETags in quotes, separated by commas"))
    };
    if text.trim_ascii() == b"*" {
        return Ok(Tags::Any);
    }
    let mut rest = text.trim_ascii();
    let (mut found, mut count) = (Vec::new(), 0usize);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(b",") {
            rest = after.trim_ascii_start();
            continue;
        }
        let (weak, quoted) = match rest.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let inner = quoted.strip_prefix(b"\"").ok_or_else(wrong)?;
        let end = inner.iter().position(|byte| *byte == b'"').ok_or_else(wrong)?;
        let (opaque, after) = inner.split_at(end);
        if opaque.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
            return Err(wrong());
        }
        count += 1;
        if count > ETAGS_MAX {
            return Err(Failure::invalid(format!("{name} has more than {ETAGS_MAX} ETags")));
        }
        if !weak || comparison == Comparison::Weak {
            found.extend(ours(opaque));
        }
        rest = after.get(1..).unwrap_or_default().trim_ascii_start();
        if !rest.is_empty() && !rest.starts_with(b",") {
            return Err(wrong());
        }
    }
    if count == 0 { Err(wrong()) } else { Ok(Tags::List(found)) }
}

/// What stands between the quotes, if it is a tag that this store could have made. Only the one
/// way of writing it counts: tags are compared letter by letter.
fn ours(opaque: &[u8]) -> Option<EntityTag> {
    let (group, at) = std::str::from_utf8(opaque).ok()?.split_once('-')?;
    let whole = |text: &str| text.parse::<u64>().ok().filter(|number| number.to_string() == text);
    Some(EntityTag { group: GroupId(whole(group)?), at: whole(at)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tag(group: u64, at: u64) -> EntityTag {
        EntityTag { group: GroupId(group), at }
    }

    #[test]
    fn lists_are_read_as_the_rfc_says() {
        use Comparison::{Strong, Weak};
        let list = |tags: &[EntityTag]| Some(Tags::List(tags.to_vec()));
        for (text, comparison, wanted) in [
            ("*", Strong, Some(Tags::Any)),
            (" * ", Weak, Some(Tags::Any)),
            ("\"1-2\"", Strong, list(&[tag(1, 2)])),
            ("\"1-2\" , \"3-4\"", Strong, list(&[tag(1, 2), tag(3, 4)])),
            (",, \"1-2\",", Strong, list(&[tag(1, 2)])),
            ("W/\"1-2\"", Strong, list(&[])),
            ("W/\"1-2\"", Weak, list(&[tag(1, 2)])),
            ("\"\"", Strong, list(&[])),
            ("\"a,b\"", Strong, list(&[])),
            ("\"01-2\"", Strong, list(&[])),
            ("\"+1-2\"", Strong, list(&[])),
            ("\"1-2-3\"", Strong, list(&[])),
            ("\"99999999999999999999-1\"", Strong, list(&[])),
            ("", Strong, None),
            (",", Strong, None),
            ("1-2", Strong, None),
            ("\"1-2", Strong, None),
            ("w/\"1-2\"", Weak, None),
            ("\"1-2\" \"3-4\"", Strong, None),
            ("\"1-2\"; x", Strong, None),
            ("*, \"1-2\"", Strong, None),
            ("\"1-2\", *", Strong, None),
            ("\"a b\"", Strong, None),
        ] {
            assert_eq!(tags("x", text.as_bytes(), comparison).ok(), wanted, "{text}");
        }
        let many = vec!["\"1-2\""; ETAGS_MAX + 1].join(",");
        assert!(tags("x", many.as_bytes(), Strong).is_err());
    }

    #[test]
    fn a_header_that_stands_twice_is_one_list_and_both_kinds_are_refused() {
        let mut headers = HeaderMap::new();
        assert_eq!(condition(&headers).unwrap(), Condition::None);
        headers.append(header::IF_MATCH, HeaderValue::from_static("\"1-2\""));
        headers.append(header::IF_MATCH, HeaderValue::from_static("\"3-4\""));
        assert_eq!(condition(&headers).unwrap(), Condition::Any(vec![tag(1, 2), tag(3, 4)]));
        headers.append(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        assert_eq!(condition(&headers).unwrap_err().status.as_u16(), 400);
        headers.remove(header::IF_MATCH);
        assert_eq!(condition(&headers).unwrap(), Condition::Missing);
    }

    proptest! {
        #[test]
        fn any_bytes_are_tags_or_an_error(text: Vec<u8>, weak: bool) {
            let comparison = if weak { Comparison::Weak } else { Comparison::Strong };
            drop(tags("x", &text, comparison));
        }

        #[test]
        fn a_tag_reads_back_as_written(group: u64, at: u64) {
            prop_assert_eq!(single(&text(tag(group, at))).unwrap(), tag(group, at));
        }
    }
}
