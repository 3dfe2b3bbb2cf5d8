//! Figures as people read them.
//!
//! Promises: no more digits than mean something; a figure that is absent is a dash.

/// Where a figure would be.
pub(super) const NONE: &str = "–";

/// Milliseconds, in the unit that fits.
pub(super) fn ms(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{} s", digits(value / 1_000.0))
    } else if value >= 0.1 || value == 0.0 {
        format!("{} ms", digits(value))
    } else {
        format!("{} µs", digits(value * 1_000.0))
    }
}

/// A share in percent.
pub(super) fn share(value: f64) -> String {
    let percent = value * 100.0;
    if percent == 0.0 || percent >= 99.995 || percent.abs() >= 10.0 {
        let text = format!("{percent:.1}");
        return format!("{} %", text.strip_suffix(".0").unwrap_or(&text));
    }
    format!("{} %", digits(percent))
}

/// A share on an axis.
pub(super) fn axis_share(value: f64) -> String {
    let text = format!("{:.1}", value * 100.0);
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

/// Milliseconds on an axis.
pub(super) fn axis_ms(value: f64) -> String {
    if value >= 1_000.0 {
        format!("{} s", short(value / 1_000.0))
    } else {
        format!("{} ms", short(value))
    }
}

/// Seconds on an axis.
pub(super) fn axis_s(value: f64) -> String {
    format!("{} s", short(value))
}

/// A rate on an axis.
pub(super) fn axis_rate(value: f64) -> String {
    format!("{}/s", short(value))
}

fn short(value: f64) -> String {
    // Powers of ten come out of a logarithm: with an error in the last place.
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Three digits that count.
pub(super) fn digits(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 || size == 0.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// Bytes, in the unit that fits.
pub(super) fn bytes(value: f64) -> String {
    const KIB: f64 = 1024.0;
    if value >= KIB * KIB * KIB {
        format!("{} GiB", digits(value / KIB / KIB / KIB))
    } else if value >= KIB * KIB {
        format!("{} MiB", digits(value / KIB / KIB))
    } else if value >= KIB * 10.0 {
        format!("{} KiB", digits(value / KIB))
    } else {
        format!("{value:.0} B")
    }
}

/// A figure, or a dash.
pub(super) fn or_dash(value: Option<f64>, words: fn(f64) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), words)
}

/// A count as a figure.
#[allow(clippy::cast_precision_loss, reason = "a figure for display needs no more digits")]
pub(super) fn count(value: u64) -> f64 {
    value as f64
}

/// A share of a count.
pub(super) fn part(value: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { count(value) / count(of) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_that_mean_something() {
        assert_eq!(
            (ms(0.0421), ms(3.2359), ms(12_345.0)),
            ("42.1 µs".into(), "3.24 ms".into(), "12.3 s".into())
        );
        assert_eq!(
            (share(0.0), share(0.0123), share(0.5), share(1.0)),
            ("0 %".into(), "1.23 %".into(), "50 %".into(), "100 %".into())
        );
        assert_eq!((bytes(512.0), bytes(1024.0 * 1024.0)), ("512 B".into(), "1.00 MiB".into()));
        assert_eq!(
            (axis_ms(0.1), axis_ms(1_000.0), axis_rate(30.0)),
            ("0.1 ms".into(), "1 s".into(), "30/s".into())
        );
        assert_eq!(or_dash(None, ms), NONE);
    }
}
