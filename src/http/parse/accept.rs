//! Which form of an answer the client wants: `Accept` and `Prefer` (RFC 9110 §12.5.1, RFC 7240).
//!
//! Promises: the most specific range decides about a type, then its weight; a weight that is none is
//! refused. Preferences that are not known are passed over, as their RFC asks.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};

use super::super::problem::Failure;
use super::is_token;

/// Thousandths.
type Weight = u16;

/// The ranges that a client accepts.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Accept {
    /// Type, subtype (each may be `*`) and weight; empty: anything.
    ranges: Vec<(String, String, Weight)>,
}

impl Accept {
    /// Reads the header; a missing one accepts everything.
    pub(in super::super) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let mut ranges = Vec::new();
        for value in headers.get_all(header::ACCEPT) {
            let text = value.to_str().map_err(|_unprintable| wrong())?;
            for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                ranges.push(range(part)?);
            }
        }
        Ok(Self { ranges })
    }

    /// The weight of a media type given without parameters; 0: not acceptable.
    fn weight(&self, essence: &str) -> Weight {
        if self.ranges.is_empty() {
            return 1000;
        }
        let (kind, sub) = essence.split_once('/').unwrap_or((essence, ""));
        let specific = |(k, s, weight): &(String, String, Weight)| match (k.as_str(), s.as_str()) {
            ("*", "*") => Some((0, *weight)),
            (k, "*") if k.eq_ignore_ascii_case(kind) => Some((1, *weight)),
            (k, s) if k.eq_ignore_ascii_case(kind) && s.eq_ignore_ascii_case(sub) => {
                Some((2, *weight))
            }
            _ => None,
        };
        self.ranges.iter().filter_map(specific).max().map_or(0, |(_, weight)| weight)
    }

    #[allow(dead_code, reason = "for scans and watches")]
    /// The offer that the client likes best, the earlier one of equals.
    pub(in super::super) fn best<'a>(&self, offers: &[&'a str]) -> Result<&'a str, Failure> {
        let mut best: Option<(&str, Weight)> = None;
        for offer in offers {
            let weight = self.weight(offer);
            if weight > best.map_or(0, |(_, weight)| weight) {
                best = Some((offer, weight));
            }
        }
        best.map(|(offer, _)| offer).ok_or_else(|| {
            let detail = format!("this resource comes as {}", offers.join(" or "));
            Failure::refused(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail)
        })
    }

    /// Whether a value of this type is wanted in an envelope: only who names `application/json`
    /// gets one, and not who likes the raw value better.
    pub(in super::super) fn wants_envelope(&self, stored: &str) -> bool {
        let json = |(kind, sub, weight): &(String, String, Weight)| {
            let named =
                kind.eq_ignore_ascii_case("application") && sub.eq_ignore_ascii_case("json");
            named.then_some(*weight)
        };
        let Some(wanted) = self.ranges.iter().filter_map(json).max().filter(|w| *w > 0) else {
            return false;
        };
        let essence = stored.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json") || wanted >= self.weight(essence)
    }
}

fn wrong() -> Failure {
    Failure::invalid("Accept is a list of media types, each with at most a weight such as ;q=0.5")
}

fn range(part: &str) -> Result<(String, String, Weight), Failure> {
    let mut pieces = part.split(';').map(str::trim);
    let (kind, sub) = pieces.next().and_then(|t| t.split_once('/')).ok_or_else(wrong)?;
    if !is_token(kind) || !is_token(sub) || (kind == "*" && sub != "*") {
        return Err(wrong());
    }
    let mut weight = 1000;
    for piece in pieces.filter(|piece| !piece.is_empty()) {
        let (name, value) = piece.split_once('=').ok_or_else(wrong)?;
        if name.trim().eq_ignore_ascii_case("q") {
            weight = thousandths(value.trim()).ok_or_else(wrong)?;
        }
    }
    Ok((kind.to_owned(), sub.to_owned(), weight))
}

/// `0`, `0.5`, `1.000`: at most three digits behind the point, at most 1.
fn thousandths(text: &str) -> Option<Weight> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    let whole: Weight = match whole {
        "0" => 0,
        "1" => 1000,
        _ => return None,
    };
    let part: Weight = format!("{part:0<3}").parse().ok().filter(|_| digits)?;
    Some(whole + part).filter(|weight| *weight <= 1000)
}

/// What a client would like beside what it asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Prefer {
    /// `return=representation`.
    pub(in super::super) representation: bool,
    /// `wait=30`, in seconds.
    pub(in super::super) wait: Option<Duration>,
}

impl Prefer {
    /// Reads the header. Of a preference that stands twice the first counts.
    pub(in super::super) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let (mut returns, mut wait) = (None, None);
        for value in headers.get_all("prefer") {
            let text = value.to_str().unwrap_or_default();
            for part in text.split(',') {
                let part = part.split(';').next().unwrap_or_default();
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                let value = value.trim().trim_matches('"');
                match name.trim().to_ascii_lowercase().as_str() {
                    "return" => returns = returns.or(Some(value == "representation")),
                    "wait" => {
                        // What is left out or passed over would be waited for, or not.
                        let seconds = super::whole(value).ok_or_else(|| {
                            let said = "Prefer: wait= is whole seconds, not";
                            Failure::invalid(format!("{said} {value:?}"))
                        })?;
                        wait = wait.or(Some(Duration::from_secs(seconds)));
                    }
                    _ => {}
                }
            }
        }
        Ok(Self { representation: returns.unwrap_or(false), wait })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn accept(text: &[u8]) -> Result<Accept, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_bytes(text).unwrap());
        Accept::of(&headers)
    }

    #[test]
    fn an_envelope_is_for_who_names_json() {
        assert!(!Accept::of(&HeaderMap::new()).unwrap().wants_envelope("text/plain"));
        for (text, stored, wanted) in [
            ("*/*", "text/plain", false),
            ("application/*", "application/json", false),
            ("application/json", "text/plain", true),
            ("application/json", "application/json", true),
            ("Application/JSON", "image/png", true),
            ("application/json;q=0", "text/plain", false),
            ("application/json, text/plain, */*", "text/plain", true),
            ("application/json;q=0.5, text/plain", "text/plain; charset=utf-8", false),
            ("application/json;q=0.5, text/*;q=0.4", "text/plain", true),
            ("text/html, application/json;q=0.9, */*;q=0.8", "text/plain", true),
            ("text/plain", "image/png", false),
        ] {
            let accept = accept(text.as_bytes()).unwrap();
            assert_eq!(accept.wants_envelope(stored), wanted, "{text} for {stored}");
        }
    }

    #[test]
    fn the_best_offer_wins_and_none_is_406() {
        let offers = ["application/json", "application/x-ndjson"];
        for (text, best) in [
            ("*/*", Some(offers[0])),
            ("application/x-ndjson", Some(offers[1])),
            ("application/json;q=0.1, application/*;q=0.2", Some(offers[1])),
            ("application/json;q=0, */*", Some(offers[1])),
            ("text/html", None),
        ] {
            assert_eq!(accept(text.as_bytes()).unwrap().best(&offers).ok(), best, "{text}");
        }
        assert_eq!(accept(b"a/b").unwrap().best(&offers).unwrap_err().status.as_u16(), 406);
    }

    #[test]
    fn what_is_no_accept_is_refused() {
        for text in [
            "text",
            "text/",
            "/x",
            "*/x",
            "a/b;q=2",
            "a/b;q=1.001",
            "a/b;q=0.1234",
            "a b/c",
            "a/b;q=-1",
            "a/b;q",
            "a/b;q=.5",
            "a/b;q=0.x",
        ] {
            assert_eq!(accept(text.as_bytes()).unwrap_err().status.as_u16(), 400, "{text}");
        }
        assert!(accept(b"a/b\xff").is_err());
    }

    #[test]
    fn preferences_are_found_among_others() {
        for (text, representation, wait) in [
            ("return=representation", true, None),
            ("respond-async, Return=\"representation\"; x=1", true, None),
            ("return=minimal, return=representation", false, None),
            ("wait=30", false, Some(30)),
            ("handling=lenient", false, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", HeaderValue::from_str(text).unwrap());
            let wait = wait.map(Duration::from_secs);
            let found = Prefer::of(&headers).unwrap();
            assert_eq!(found, Prefer { representation, wait }, "{text}");
        }
        for text in ["wait=-1", "wait=soon", "wait"] {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", HeaderValue::from_str(text).unwrap());
            assert!(Prefer::of(&headers).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_accept_or_an_error(text in "[ -~]{0,80}") {
            if let Ok(accept) = accept(text.as_bytes()) {
                drop(accept.best(&["application/json"]));
                accept.wants_envelope("text/plain");
            }
        }
    }
}
