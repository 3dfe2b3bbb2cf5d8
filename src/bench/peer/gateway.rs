//! etcd as a [`Target`], through its JSON gateway: what plain HTTP clients use.
//!
//! Promises: as those of [`super::etcd`]; keys and values travel in base64, as the gateway wants them.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::bench::target::{Acked, Change, Failed, Over, Seen, Shown, Target};
use crate::runtime::limits::BENCH_OP_MAX;

/// Members of an etcd, each a site.
#[derive(Debug)]
pub struct Gateway {
    urls: Vec<String>,
    http: reqwest::Client,
}

impl Gateway {
    /// Members at these base URLs.
    ///
    /// # Errors
    ///
    /// When there can be no HTTP client.
    pub fn new(urls: &[String]) -> Result<Self, String> {
        let http = reqwest::Client::builder().timeout(BENCH_OP_MAX).tcp_nodelay(true).build();
        let http = http.map_err(|error| error.to_string())?;
        Ok(Self { urls: urls.to_vec(), http })
    }

    async fn post(&self, site: u64, path: &str, body: &Value) -> Result<Value, Failed> {
        let at = usize::try_from(site.saturating_sub(1)).unwrap_or(usize::MAX);
        let url = self.urls.get(at).expect("a site has the number of one of the members");
        let sent = self.http.post(format!("{url}/v3/kv/{path}")).json(body).send().await;
        let unknown = |error: reqwest::Error| match error.is_connect() {
            true => Failed::NotApplied(error.to_string()),
            false => Failed::Unknown(error.to_string()),
        };
        let answer = sent.map_err(unknown)?;
        let status = answer.status();
        if status.is_success() {
            return answer.json().await.map_err(unknown);
        }
        let text = format!("{status}: {}", answer.text().await.unwrap_or_default());
        // 400 and 429 are refusals; 503 and 504 may come after the proposal.
        Err(if status.is_client_error() { Failed::NotApplied(text) } else { Failed::Unknown(text) })
    }
}

fn acked(answer: &Value) -> Acked {
    // 64-bit numbers are texts in the gateway's JSON.
    let revision = answer.pointer("/header/revision").and_then(Value::as_str);
    Acked { order: revision.and_then(|text| text.parse().ok()), ..Acked::default() }
}

fn put(key: &str, value: &Bytes) -> Value {
    json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) })
}

fn seen(answer: &Value) -> Seen {
    let found = answer.pointer("/kvs/0");
    let text = |name: &str| found.and_then(|kv| kv.get(name)).and_then(Value::as_str);
    // An empty value is left out, as all that is empty.
    let value = text("value").and_then(|value| STANDARD.decode(value).ok()).unwrap_or_default();
    let shown = found.map(|_| Shown { value: value.into(), name: None });
    Seen { values: shown.into_iter().collect(), token: text("mod_revision").map(str::to_owned) }
}

#[async_trait]
impl Target for Gateway {
    fn sites(&self) -> u64 {
        u64::try_from(self.urls.len()).unwrap_or(u64::MAX)
    }

    async fn read(&self, site: u64, key: &str) -> Result<Seen, Failed> {
        let answer = self.post(site, "range", &json!({ "key": STANDARD.encode(key) })).await;
        match answer {
            Ok(answer) => Ok(seen(&answer)),
            // A read has no effect, whatever became of it.
            Err(Failed::Unknown(text)) => Err(Failed::NotApplied(text)),
            Err(failed) => Err(failed),
        }
    }

    async fn write(
        &self,
        site: u64,
        key: &str,
        value: Bytes,
        over: Over<'_>,
    ) -> Result<Acked, Failed> {
        let put = put(key, &value);
        let Over::Seen(seen) = over else {
            return self.post(site, "put", &put).await.map(|answer| acked(&answer));
        };
        let revision = seen.token.as_deref().unwrap_or("0");
        let still =
            json!({ "key": STANDARD.encode(key), "target": "MOD", "mod_revision": revision });
        let ask = json!({ "compare": [still], "success": [{ "request_put": put }] });
        let answer = self.post(site, "txn", &ask).await?;
        match answer.get("succeeded") {
            Some(Value::Bool(true)) => Ok(acked(&answer)),
            _ => Err(Failed::Unmet),
        }
    }

    async fn change(&self, _site: u64, _key: &str, _change: &Change) -> Result<Acked, Failed> {
        Err(Failed::NotApplied("etcd changes nothing by itself".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_gateway_are_read_with_what_they_leave_out() {
        let full = json!({ "header": { "revision": "7" }, "kvs": [{ "key": "aw==", "mod_revision": "4", "value": "dg==" }], "count": "1" });
        let found = seen(&full);
        assert_eq!(
            (found.values[0].value.as_ref(), found.token.as_deref()),
            (&b"v"[..], Some("4"))
        );
        assert_eq!(acked(&full).order, Some(7));
        let empty = json!({ "kvs": [{ "key": "aw==", "mod_revision": "4" }] });
        assert_eq!(seen(&empty).values, [Shown::default()]);
        assert_eq!(seen(&json!({ "header": { "revision": "7" } })), Seen::default());
    }
}
