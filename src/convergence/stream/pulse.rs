//! When a reader says how far it is, and when it takes silence for the end.
//!
//! Why it exists: a stream may be stuck while its connection lives, and an idle one is silent anyway.
//! So a reader says what it has every second while that changes and now and then when it does not, and
//! each time its source must say something. Promises: a stream that carries nothing any more is given
//! up within `STREAM_ASK_EVERY` and the bound of silence.

use std::time::Duration;

use crate::runtime::Moment;
use crate::runtime::limits::{STREAM_ASK_EVERY, VECTOR_EVERY};

/// The times of one stream, at its reader.
#[derive(Debug)]
pub(super) struct Pulse {
    silence_max: Duration,
    must_tell: bool,
    tell_at: Moment,
    ask_at: Moment,
    waits_since: Option<Moment>,
    ends_at: Option<Moment>,
}

impl Pulse {
    /// A stream was opened: its source must say something.
    pub(super) fn new(now: Moment, silence_max: Duration) -> Self {
        Self {
            silence_max,
            // The first time it says what the rows come to: the hello does not.
            must_tell: true,
            tell_at: now + VECTOR_EVERY,
            ask_at: now + STREAM_ASK_EVERY,
            waits_since: Some(now),
            ends_at: None,
        }
    }

    /// Something has changed here.
    pub(super) const fn changed(&mut self) {
        self.must_tell = true;
    }

    /// Whether a change is still to be told.
    pub(super) const fn must_tell(&self) -> bool {
        self.must_tell
    }

    /// The source has said something.
    pub(super) const fn heard(&mut self) {
        self.waits_since = None;
    }

    /// The source listens no more; what it said before may be on its way.
    pub(super) fn closed(&mut self, now: Moment) {
        self.ends_at.get_or_insert(now + VECTOR_EVERY);
    }

    /// Whether the source was already known to listen no more.
    pub(super) const fn is_closed(&self) -> bool {
        self.ends_at.is_some()
    }

    /// Whether the source is taken for gone.
    pub(super) fn is_over(&self, now: Moment) -> bool {
        let is_silent = self.waits_since.is_some_and(|since| now >= since + self.silence_max);
        is_silent || self.ends_at.is_some_and(|end| now >= end)
    }

    /// Whether it is time to say something, or to see after what is held; if so it counts as done.
    pub(super) fn is_due(&mut self, now: Moment, holds: bool) -> bool {
        let is_due = now >= self.ask_at || ((self.must_tell || holds) && now >= self.tell_at);
        if is_due {
            self.must_tell = false;
            self.tell_at = now + VECTOR_EVERY;
            self.ask_at = now + STREAM_ASK_EVERY;
            self.waits_since.get_or_insert(now);
        }
        is_due
    }

    /// How long nothing is due, if nothing happens.
    pub(super) fn rest(&self, now: Moment, holds: bool) -> Duration {
        let tell_at = (self.must_tell || holds).then_some(self.tell_at);
        let silent_at = self.waits_since.map(|since| since + self.silence_max);
        let next = [Some(self.ask_at), tell_at, silent_at, self.ends_at];
        next.into_iter().flatten().min().map_or(STREAM_ASK_EVERY, |next| next.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(10);

    #[test]
    fn changes_are_told_once_a_second_and_no_change_now_and_then() {
        let mut pulse = Pulse::new(Moment(0), SILENCE);
        assert!(!pulse.is_due(Moment(1), true));
        assert_eq!(pulse.rest(Moment(0), false), VECTOR_EVERY);
        let told = Moment(0) + VECTOR_EVERY;
        assert!(pulse.is_due(told, false) && !pulse.must_tell());
        pulse.heard();
        assert_eq!(pulse.rest(told, false), STREAM_ASK_EVERY);
        pulse.changed();
        assert!(!pulse.is_due(told, false) && pulse.is_due(told + VECTOR_EVERY, false));
        pulse.heard();
        assert!(pulse.is_due(told + VECTOR_EVERY + STREAM_ASK_EVERY, false));
    }

    #[test]
    fn a_source_that_does_not_answer_is_gone_and_one_that_is_idle_is_not() {
        let mut pulse = Pulse::new(Moment(0), SILENCE);
        assert!(!pulse.is_over(Moment(1)) && pulse.is_over(Moment(0) + SILENCE));
        pulse.heard();
        assert!(!pulse.is_over(Moment(u64::MAX)));
        assert!(pulse.is_due(Moment(0) + STREAM_ASK_EVERY, false));
        assert!(pulse.is_over(Moment(0) + STREAM_ASK_EVERY + SILENCE));
    }

    #[test]
    fn what_a_source_said_before_it_left_has_time_to_come() {
        let mut pulse = Pulse::new(Moment(0), SILENCE);
        pulse.heard();
        pulse.closed(Moment(0));
        assert!(pulse.is_closed() && !pulse.is_over(Moment(1)));
        assert!(pulse.is_over(Moment(0) + VECTOR_EVERY));
    }
}
