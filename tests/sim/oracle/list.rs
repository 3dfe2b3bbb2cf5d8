//! One key to which tokens are appended, each with an idempotency key and repeated until it is certain.
//!
//! Every list that is ever shown is a prefix of every longer one; every acknowledged token is in every
//! list shown afterwards; no token is in a list twice.

use std::collections::BTreeSet;

/// All that is known of a list.
#[derive(Debug, Default)]
pub struct List {
    /// The longest that was shown.
    longest: Vec<String>,
    /// Tokens that were acknowledged, and those that were asked for.
    acknowledged: BTreeSet<String>,
    asked: BTreeSet<String>,
    /// The longest list that any completed operation has shown.
    floor: usize,
}

impl List {
    /// What a read that begins now must show at least: so many tokens, and all acknowledged ones.
    pub fn floor(&self) -> (usize, BTreeSet<String>) {
        (self.floor, self.acknowledged.clone())
    }

    /// An append begins.
    pub fn begin(&mut self, token: &str) {
        self.asked.insert(token.to_owned());
    }

    /// An append was acknowledged with the list that it made.
    pub fn done(&mut self, token: &str, text: &str) -> Result<(), String> {
        let list = self.shown(text)?;
        if list.last().map(String::as_str) != Some(token) {
            return Err(format!("the append of {token} was answered by {text:?}"));
        }
        self.acknowledged.insert(token.to_owned());
        Ok(())
    }

    /// A linearizable read showed this list; `floor` was complete when it began.
    pub fn read(&mut self, text: &str, floor: &(usize, BTreeSet<String>)) -> Result<(), String> {
        let list = self.shown(text)?;
        if list.len() < floor.0 {
            return Err(format!("{} tokens were shown after {}", list.len(), floor.0));
        }
        let has: BTreeSet<&String> = list.iter().collect();
        match floor.1.iter().find(|token| !has.contains(token)) {
            Some(lost) => Err(format!("{lost} was acknowledged and is not in {text:?}")),
            None => Ok(()),
        }
    }

    fn shown(&mut self, text: &str) -> Result<Vec<String>, String> {
        let list: Vec<String> =
            text.split(',').filter(|token| !token.is_empty()).map(str::to_owned).collect();
        let mut seen = BTreeSet::new();
        for token in &list {
            if !seen.insert(token) {
                return Err(format!("no request applied twice: {token} is twice in {text:?}"));
            }
            if !self.asked.contains(token) {
                return Err(format!("{token} was never appended"));
            }
        }
        let shared = list.iter().zip(&self.longest).take_while(|(a, b)| a == b).count();
        if shared < list.len().min(self.longest.len()) {
            return Err(format!("{text:?} and {:?} are not one order", self.longest));
        }
        if list.len() > self.longest.len() {
            self.longest.clone_from(&list);
        }
        self.floor = self.floor.max(list.len());
        Ok(list)
    }
}
