//! What stands in the way of a switch, before anything is done.
//!
//! Promises: names the first keys and counts all that it has met within its time; says whether it came
//! to the end. Writes go on meanwhile, so the copy looks at every key again. Relies on `forms` for what
//! fits.

use bytes::Bytes;

use crate::model::eventual::Actor;
use crate::placement::{Mode, NamespaceEntry, SwitchTo};
use crate::runtime::limits::SWITCH_NAMED_MAX;
use crate::service::error::{ErrorKind, ServiceError};
use crate::service::{Context, Service};

use super::copy::fits;
use super::forms::{Planting, flat};
use super::pages::{Found, Pages};

/// A key that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The key.
    pub key: Bytes,
    /// Why.
    pub why: String,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Keys that were looked at.
    pub keys: u64,
    /// Keys in the way.
    pub obstacles: u64,
    /// The first of them.
    pub named: Vec<Obstacle>,
    /// Whether all keys were looked at in time.
    pub is_complete: bool,
}

impl Service {
    /// Looks at the keys of a namespace for half of the time that there is.
    ///
    /// # Errors
    ///
    /// When there is no such namespace, or it cannot be read.
    pub async fn survey_switch(
        &self,
        name: &str,
        to: &SwitchTo,
        context: &Context,
    ) -> Result<Survey, ServiceError> {
        let map = self.newest_map(context).await?;
        let entry = map.catalog.namespace(name);
        let entry = entry.ok_or_else(|| ErrorKind::NamespaceNotFound { name: name.to_owned() })?;
        let mut survey = Survey::default();
        if entry.mode == to.mode || entry.active_switch().is_some() {
            // The catalog says what is to be said of that.
            return Ok(survey);
        }
        let clock = &self.hall.env.clock;
        let end = clock.now() + context.deadline.since(clock.now()) / 2;
        let mut pages = Pages::of(self, &map.catalog, (name, entry)).await?;
        while clock.now() < end {
            let page = pages.next(self).await?;
            if page.is_empty() {
                survey.is_complete = true;
                break;
            }
            for (key, found) in page {
                survey.keys += 1;
                if let Err(why) = fit(entry, to, &key, found) {
                    survey.obstacles += 1;
                    if survey.named.len() < SWITCH_NAMED_MAX {
                        survey.named.push(Obstacle { key, why });
                    }
                }
            }
        }
        Ok(survey)
    }
}

/// Whether a key can go to the other side.
fn fit(from: &NamespaceEntry, to: &SwitchTo, key: &Bytes, found: Found) -> Result<(), String> {
    match (found, to.mode, to.data_type) {
        (Found::Shown(shown), Mode::Linearizable, _) => match flat(shown, to.siblings)? {
            Some(flat) => fits(from, key, &flat),
            None => Ok(()),
        },
        (Found::Row(row), Mode::Eventual, Some(data_type)) => {
            let value_bytes_max = from.limits.value_bytes_max;
            let actor = Actor::default();
            let planting = Planting { actor, data_type, value_bytes_max, began_ms: to.began_ms };
            planting.op(1, key.clone(), row).map(drop)
        }
        _ => Ok(()),
    }
}
