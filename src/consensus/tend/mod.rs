//! What a leader does to its groups by itself: end leases, forget old records, purge what is doomed.
//!
//! One task per node looks after every group hosted here, ten times a second, and costs a group that
//! needs nothing next to nothing. It proposes [`Tend`] entries; the state machine checks indices and
//! knows no time.
//!
//! **No lease ends early.** Let a client's renewal be sent at `s` and applied here, at the leader, at
//! `a >= s`. The driver reads its clock after it has seen the renewal, so at `n1 >= a`, and has the
//! lease end when its time has moved on by the ttl, at `n2`. Its time (`awake`) never runs faster
//! than the monotonic clock, so `n2 - s >= n2 - n1 >= ttl`. No wall clock is asked, so none can
//! jump. It remains:
//! * *A renewal that is under way at `n2`.* The proposal names the renewal that it was decided by;
//!   entries have one order, and one that comes behind a newer renewal has no effect.
//! * *Another leader.* A renewal that the old leader acknowledged was held by a quorum before a quorum
//!   elected the new one; the new one gives every lease its full ttl from when it knows itself
//!   elected, which is later. What the old one still proposes can no longer be committed. Leading in
//!   two terms counts as two leaders, even if nobody saw the gap.
//! * *A node that stood still* and still leads: its clock went on, and renewals that were sent in
//!   time lie unread in its sockets. A look that comes late adds nothing to the driver's time, and
//!   the next one is a tick later, after the sockets were read.
//! * *Clocks that run at different speeds*: as everywhere in this wing, taken to be equal.
//!
//! **Every lease that is not renewed ends**, unless the group has no leader: deadlines are found
//! again by each leader, what was proposed in vain is proposed again, and `awake` always moves.
//!
//! **A doomed namespace goes for good**: first the group's epoch is raised, so that nothing routed by
//! an older catalog can write to it, then its rows go in portions; see `doomed`. A crash at any
//! point loses nothing but memory: the next leader reads epoch and rows and goes on.

pub mod awake;
pub mod charge;
pub mod deadlines;
pub mod doomed;
pub mod driver;
pub mod figures;
pub mod home;
pub mod samples;

pub use driver::run;
pub use home::{HomeSilent, Homes, LeaseHome};

#[cfg(doc)]
use crate::model::Tend;
