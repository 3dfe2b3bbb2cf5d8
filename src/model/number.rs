//! Decimal numbers as users write them, added without loss.
//!
//! Promises: what is accepted is kept exactly (up to 38 digits, of which up to 18 stand behind the
//! point); a sum that does not fit is an error, never a rounded number. The sum has as many digits
//! behind the point as the finer of the two. No exponents: `1e3` is refused, so that a counter never
//! changes its way of being written.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most digits behind the point.
const SCALE_MAX: u8 = 18;

/// A decimal number: `units / 10^scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(i128, u8)", into = "(i128, u8)")]
pub struct Decimal {
    units: i128,
    scale: u8,
}

/// Why a text is no number that can be counted with, or a sum cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum NumberFault {
    /// Not `[-]digits[.digits]`.
    #[error("it is not a decimal number such as -12 or 3.50")]
    Malformed,
    /// More digits than are kept.
    #[error("it has more than 38 digits, or more than 18 behind the point")]
    TooLong,
}

impl Decimal {
    /// Nothing, which a missing key counts as.
    pub const ZERO: Self = Self { units: 0, scale: 0 };

    /// Reads the text of a value.
    ///
    /// # Errors
    ///
    /// See [`NumberFault`].
    pub fn parse(text: &[u8]) -> Result<Self, NumberFault> {
        let (negative, digits) = match text.split_first() {
            Some((b'-', rest)) => (true, rest),
            _ => (false, text),
        };
        let (mut units, mut scale, mut point, mut last) = (0_i128, 0_u8, false, b'.');
        for &byte in digits {
            match byte {
                b'0'..=b'9' => {
                    let next =
                        units.checked_mul(10).and_then(|u| u.checked_add((byte - b'0').into()));
                    units = next.ok_or(NumberFault::TooLong)?;
                    scale += u8::from(point);
                    if scale > SCALE_MAX {
                        return Err(NumberFault::TooLong);
                    }
                }
                b'.' if !point && last != b'.' => point = true,
                _ => return Err(NumberFault::Malformed),
            }
            last = byte;
        }
        // Nothing at all, or a point with nothing behind it.
        if last == b'.' {
            return Err(NumberFault::Malformed);
        }
        Ok(Self { units: if negative { -units } else { units }, scale })
    }

    /// The sum.
    ///
    /// # Errors
    ///
    /// When it has too many digits.
    pub fn plus(self, other: Self) -> Result<Self, NumberFault> {
        let scale = self.scale.max(other.scale);
        let (a, b) = (self.at_scale(scale), other.at_scale(scale));
        let sum = a.zip(b).and_then(|(a, b)| a.checked_add(b));
        // Negation and writing must not fail on the one number without a counterpart.
        let units = sum.filter(|units| *units != i128::MIN).ok_or(NumberFault::TooLong)?;
        Ok(Self { units, scale })
    }

    /// Which of the two is larger, whatever their digits behind the point.
    pub fn compare(self, other: Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        match (self.at_scale(scale), other.at_scale(scale)) {
            (Some(a), Some(b)) => a.cmp(&b),
            // Only the coarser of the two is widened, and it is beyond all that the finer can be.
            (None, _) => self.units.cmp(&0),
            (_, None) => 0.cmp(&other.units),
        }
    }

    fn at_scale(self, scale: u8) -> Option<i128> {
        let factor = 10_i128.checked_pow(u32::from(scale.checked_sub(self.scale)?))?;
        self.units.checked_mul(factor)
    }
}

impl FromStr for Decimal {
    type Err = NumberFault;

    fn from_str(text: &str) -> Result<Self, NumberFault> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.units < 0 { "-" } else { "" };
        let one = 10_u128.pow(u32::from(self.scale));
        let (whole, part) = (self.units.unsigned_abs() / one, self.units.unsigned_abs() % one);
        if self.scale == 0 {
            write!(f, "{sign}{whole}")
        } else {
            write!(f, "{sign}{whole}.{part:0width$}", width = usize::from(self.scale))
        }
    }
}

impl From<Decimal> for (i128, u8) {
    fn from(number: Decimal) -> Self {
        (number.units, number.scale)
    }
}

impl TryFrom<(i128, u8)> for Decimal {
    type Error = NumberFault;

    fn try_from((units, scale): (i128, u8)) -> Result<Self, NumberFault> {
        if scale > SCALE_MAX || units == i128::MIN {
            return Err(NumberFault::TooLong);
        }
        Ok(Self { units, scale })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_are_written_as_they_were_read() {
        for text in ["0", "7", "-7", "3.50", "-0.05", "170141183460469231731687303715884105727"] {
            assert_eq!(number(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_plain_number_is_refused() {
        for text in ["", "-", ".5", "5.", "1e3", "+1", " 1", "1 ", "0x1", "--1", "1.2.3", "-.5"] {
            assert_eq!(text.parse::<Decimal>(), Err(NumberFault::Malformed), "{text}");
        }
        for text in ["999999999999999999999999999999999999999", "0.1234567890123456789"] {
            assert_eq!(text.parse::<Decimal>(), Err(NumberFault::TooLong), "{text}");
        }
    }

    #[test]
    fn sums_keep_the_finer_digits_and_never_round() {
        let sum = |a: &str, b: &str| number(a).plus(number(b)).map(|sum| sum.to_string());
        assert_eq!(sum("1.50", "0.5"), Ok("2.00".to_owned()));
        assert_eq!(sum("0.1", "0.2"), Ok("0.3".to_owned()));
        assert_eq!(sum("5", "-7"), Ok("-2".to_owned()));
        let most = "170141183460469231731687303715884105727";
        assert_eq!(sum(most, "1"), Err(NumberFault::TooLong));
        assert_eq!(sum(most, "0.1"), Err(NumberFault::TooLong));
        assert_eq!(sum(&format!("-{most}"), "-1"), Err(NumberFault::TooLong));
    }

    #[test]
    fn numbers_compare_by_value_even_where_they_cannot_be_widened() {
        let most = number("170141183460469231731687303715884105727");
        let least = number("-170141183460469231731687303715884105727");
        let fine = number("0.000000000000000001");
        assert_eq!(most.compare(fine), Ordering::Greater);
        assert_eq!(fine.compare(most), Ordering::Less);
        assert_eq!(least.compare(fine), Ordering::Less);
        assert_eq!(fine.compare(least), Ordering::Greater);
        assert_eq!(number("1.0").compare(number("1")), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn integers_add_and_compare_as_integers_do(a: i64, b: i64) {
            let (x, y) = (number(&a.to_string()), number(&b.to_string()));
            let sum = i128::from(a) + i128::from(b);
            prop_assert_eq!(x.plus(y).unwrap().to_string(), sum.to_string());
            prop_assert_eq!(x.compare(y), a.cmp(&b));
        }

        #[test]
        fn any_bytes_are_a_number_or_none(bytes: Vec<u8>, units: i128, scale: u8) {
            drop(Decimal::parse(&bytes));
            if let Ok(number) = Decimal::try_from((units, scale)) {
                drop(number.plus(number));
                prop_assert_eq!(number.to_string().parse(), Ok(number));
            }
        }
    }
}
