//! What a checker says.
//!
//! Promises: verdicts combine by the worst: `invalid` over `unknown` over `valid`.

use serde::{Deserialize, Serialize};

/// The three answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Validity {
    /// Proved for this history.
    Valid,
    /// Neither proved nor refuted; not a pass.
    Unknown,
    /// Refuted, with an anomaly to show.
    Invalid,
}

/// Something that must not have happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// A name to group by, such as `stale-read`, `G1c`, `lost-element`.
    pub kind: String,
    /// What happened, in sentences; names operations by their index in the history.
    pub words: String,
    /// Indices of the smallest set of events (invocations and completions) that shows it.
    pub events: Vec<u64>,
}

/// What one checker found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which checker.
    pub checker: String,
    /// Its answer.
    pub validity: Validity,
    /// One sentence that says why.
    pub reason: String,
    /// What it found; at most a few, the smallest first.
    pub anomalies: Vec<Anomaly>,
    /// Figures: counts, times, rates. An object.
    pub figures: serde_json::Value,
}

impl Verdict {
    /// A pass.
    pub fn valid(checker: &str, reason: impl Into<String>) -> Self {
        Self::new(checker, Validity::Valid, reason)
    }

    /// Not a pass, and no anomaly.
    pub fn unknown(checker: &str, reason: impl Into<String>) -> Self {
        Self::new(checker, Validity::Unknown, reason)
    }

    /// A failure with what shows it.
    pub fn invalid(checker: &str, reason: impl Into<String>, anomalies: Vec<Anomaly>) -> Self {
        let verdict = Self::new(checker, Validity::Invalid, reason);
        Self { anomalies, ..verdict }
    }

    /// The same verdict with figures.
    #[must_use]
    pub fn with_figures(self, figures: serde_json::Value) -> Self {
        Self { figures, ..self }
    }

    fn new(checker: &str, validity: Validity, reason: impl Into<String>) -> Self {
        Self {
            checker: checker.to_owned(),
            validity,
            reason: reason.into(),
            anomalies: Vec::new(),
            figures: serde_json::json!({}),
        }
    }
}
