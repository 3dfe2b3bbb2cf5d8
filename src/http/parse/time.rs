//! Times as text: `250ms`, `30s`, `5m`, `2h`; RFC 3339; the dates of HTTP.
//!
//! Promises: a duration has digits and one unit, and nothing else; instants are for people, so one
//! that is out of range is shown as the end of the range.

use std::time::{Duration, UNIX_EPOCH};

use super::super::problem::Failure;
use super::whole;

/// The last second of the year 9999: four digits are all that the formats have.
const LAST_SECOND: u64 = 253_402_300_799;

/// A duration, if the text is one.
pub(in super::super) fn duration(text: &str) -> Option<Duration> {
    let seconds =
        |digits: &str, each: u64| Some(Duration::from_secs(whole(digits)?.checked_mul(each)?));
    if let Some(digits) = text.strip_suffix("ms") {
        return Some(Duration::from_millis(whole(digits)?));
    }
    if let Some(digits) = text.strip_suffix('s') {
        return seconds(digits, 1);
    }
    if let Some(digits) = text.strip_suffix('m') {
        return seconds(digits, 60);
    }
    seconds(text.strip_suffix('h')?, 3600)
}

/// A duration, or a refusal that names where it should stand.
pub(in super::super) fn duration_of(name: &str, text: &str) -> Result<Duration, Failure> {
    duration(text).ok_or_else(|| {
        Failure::invalid(format!("{name} is a time such as 250ms, 30s, 5m or 2h, not {text:?}"))
    })
}

/// The shortest text of a duration, in the largest unit that divides it.
pub(in super::super) fn duration_text(time: Duration) -> String {
    let ms = time.as_millis();
    for (each, unit) in [(3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if ms >= each && ms.is_multiple_of(each) {
            return format!("{}{unit}", ms / each);
        }
    }
    if ms == 0 { "0s".to_owned() } else { format!("{ms}ms") }
}

/// Milliseconds since 1970 as RFC 3339.
pub(in super::super) fn rfc3339(ms: u64) -> String {
    let ms = ms.min(LAST_SECOND * 1000 + 999);
    let (seconds, part) = (ms / 1000, ms % 1000);
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{part:03}Z")
}

/// Year, month and day of a day since 1970: years are counted from March, so that the leap day is
/// a year's last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// Milliseconds since 1970 as a date of HTTP, which knows whole seconds only.
pub(in super::super) fn http_date(ms: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs((ms / 1000).min(LAST_SECOND)))
}

/// Seconds since 1970 of a date of HTTP, if the text is one.
pub(in super::super) fn http_seconds(text: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_digits_and_one_unit() {
        for (text, ms) in [
            ("250ms", Some(250)),
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("2h", Some(7_200_000)),
            ("0s", Some(0)),
            ("5", None),
            ("", None),
            ("s", None),
            ("+5s", None),
            ("-5s", None),
            ("1.5s", None),
            ("5 s", None),
            ("5S", None),
            ("99999999999999999999s", None),
            ("9999999999999999999h", None),
        ] {
            assert_eq!(duration(text), ms.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn instants_are_what_calendars_say() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_210_096_789, "2024-02-29T12:34:56.789Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
        }
        assert_eq!(http_date(784_111_777_900), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_seconds("yesterday"), None);
        assert!(http_date(u64::MAX).contains("9999"));
    }

    proptest! {
        #[test]
        fn a_duration_reads_back_as_written(ms in 0u64..1 << 50) {
            let time = Duration::from_millis(ms);
            prop_assert_eq!(duration(&duration_text(time)), Some(time));
        }

        #[test]
        fn any_text_is_a_duration_or_none(text: String) {
            let _either = (duration(&text), http_seconds(&text));
        }

        #[test]
        fn the_two_formats_name_the_same_day(seconds in 0..LAST_SECOND) {
            let day = |text: &str| text.to_owned();
            let rfc = rfc3339(seconds * 1000);
            let http = http_date(seconds * 1000);
            prop_assert_eq!(&rfc[..4], &day(&http)[12..16]);
            prop_assert_eq!(&rfc[8..10], &http[5..7]);
            prop_assert_eq!(&rfc[11..19], &http[17..25]);
        }
    }
}
