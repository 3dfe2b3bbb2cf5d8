//! When a site link carries, and how much.
//!
//! Why it exists: a link may be slow, shared, or paid for by the byte, and its owner says so.
//! Promises: over any time a link carries what its rate allows and one message more. Hours are by
//! the wall clock, in UTC: nothing but the delay of writes depends on them.

use std::time::Duration;

use crate::runtime::Moment;

/// Spreads bytes over time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pacer {
    free_at: Moment,
}

impl Pacer {
    /// How long these bytes must wait at a rate until they may ask again. When that is not at all
    /// they count as sent: what is given up while it waits has cost nothing.
    pub(super) fn wait(&mut self, bytes: usize, bytes_per_s: u64, now: Moment) -> Duration {
        if bytes_per_s == 0 {
            return Duration::ZERO;
        }
        let wait = self.free_at.since(now);
        if wait.is_zero() {
            self.free_at = now + time_of(bytes, bytes_per_s);
        }
        wait
    }
}

/// How long bytes take at a rate; a rate of nothing is none.
pub(super) fn time_of(bytes: usize, bytes_per_s: u64) -> Duration {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_s.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

const HOUR_MS: u64 = 60 * 60 * 1000;
const DAY_HOURS: u64 = 24;

/// How long it is until the hours of a link begin, or, within them, until they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hours {
    /// It carries, and for so long.
    Open(Duration),
    /// It does not, and for so long.
    Shut(Duration),
}

/// Where the wall clock stands in a link's hours; over midnight when the second is the smaller one.
pub(super) fn hours(hours: Option<(u8, u8)>, wall_ms: u64) -> Hours {
    let Some((since, until)) = hours else { return Hours::Open(Duration::MAX) };
    let of_day = wall_ms % (DAY_HOURS * HOUR_MS);
    let to = |hour: u8| {
        let at = u64::from(hour) % DAY_HOURS * HOUR_MS;
        let ms = if at > of_day { at - of_day } else { at + DAY_HOURS * HOUR_MS - of_day };
        Duration::from_millis(ms)
    };
    let (opens, shuts) = (to(since), to(until));
    if shuts <= opens { Hours::Open(shuts) } else { Hours::Shut(opens) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_wait_for_those_before_them() {
        let mut pacer = Pacer::default();
        let half = Moment(0) + Duration::from_millis(500);
        assert_eq!(pacer.wait(500, 1_000, Moment(0)), Duration::ZERO);
        assert_eq!(pacer.wait(9_999, 1_000, Moment(0)), Duration::from_millis(500));
        assert_eq!(pacer.wait(500, 1_000, half), Duration::ZERO, "what was given up cost nothing");
        assert_eq!(pacer.wait(1, 1_000, half), Duration::from_millis(500));
        let late = Moment(9_000_000_000);
        assert_eq!(pacer.wait(1, 1_000, late), Duration::ZERO);
        assert_eq!(pacer.wait(1, 1_000, late), Duration::from_millis(1), "quiet time is not saved");
        assert_eq!(time_of(2_000, 1_000), Duration::from_secs(2));
    }

    #[test]
    fn hours_open_and_shut_also_over_midnight() {
        let at = |hour: u64| hour * HOUR_MS + 5 * DAY_HOURS * HOUR_MS;
        let long = |hours: u64| Duration::from_millis(hours * HOUR_MS);
        assert_eq!(hours(None, at(3)), Hours::Open(Duration::MAX));
        assert_eq!(hours(Some((8, 17)), at(7)), Hours::Shut(long(1)));
        assert_eq!(hours(Some((8, 17)), at(8)), Hours::Open(long(9)));
        assert_eq!(hours(Some((8, 17)), at(17)), Hours::Shut(long(15)));
        assert_eq!(hours(Some((22, 4)), at(23)), Hours::Open(long(5)));
        assert_eq!(hours(Some((22, 4)), at(4)), Hours::Shut(long(18)));
        assert_eq!(hours(Some((0, 24)), at(12)), Hours::Open(long(12)));
    }
}
