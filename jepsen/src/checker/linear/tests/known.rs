//! Histories whose verdicts are known, through the front door.
