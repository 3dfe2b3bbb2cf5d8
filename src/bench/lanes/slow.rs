//! Lanes over any [`Target`]: for stores whose own lanes nobody has built.
//!
//! Promises: what the target promises; it costs what the target costs.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Lane, Lanes};
use crate::bench::target::{Failed, Over, Target};

/// Lanes over a target.
#[derive(Debug)]
pub struct OverTarget(pub Arc<dyn Target>);

impl Lanes for OverTarget {
    fn sites(&self) -> u64 {
        self.0.sites()
    }

    fn lane(&self, number: u64) -> Box<dyn Lane> {
        let site = 1 + number % self.0.sites().max(1);
        Box::new(Slow { target: Arc::clone(&self.0), site, shown: Bytes::new() })
    }
}

struct Slow {
    target: Arc<dyn Target>,
    site: u64,
    /// What was read last.
    shown: Bytes,
}

#[async_trait]
impl Lane for Slow {
    async fn put(&mut self, key: &str, value: &[u8]) -> Result<(), Failed> {
        let value = Bytes::copy_from_slice(value);
        self.target.write(self.site, key, value, Over::Anything).await.map(drop)
    }

    async fn get(&mut self, key: &str) -> Result<Option<&[u8]>, Failed> {
        let seen = self.target.read(self.site, key).await?;
        let Some(shown) = seen.values.into_iter().next() else { return Ok(None) };
        self.shown = shown.value;
        Ok(Some(&self.shown))
    }
}
