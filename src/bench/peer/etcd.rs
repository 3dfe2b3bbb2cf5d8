//! etcd as a [`Target`], through gRPC: its best interface.
//!
//! Why it exists: who compares with another store must ask it in the way that suits it best. The few
//! messages that are needed are written out here, by the field numbers of etcd's `rpc.proto`, so that
//! nothing but this program is needed to build it.
//!
//! Promises: what is asked at a site is asked of its member alone; reads are linearizable, as etcd's are
//! unless asked otherwise. A write without an answer is of unknown outcome; nothing is repeated here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::bench::target::{Acked, Change, Failed, Over, Seen, Shown, Target};
use crate::runtime::limits::{BENCH_OP_MAX, BENCH_PEER_CHANNELS};

pub(super) const PUT: &str = "/etcdserverpb.KV/Put";
pub(super) const RANGE: &str = "/etcdserverpb.KV/Range";
const TXN: &str = "/etcdserverpb.KV/Txn";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";

/// `Compare.CompareTarget`: the revision of the last change.
const MOD: i32 = 2;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Header {
    #[prost(uint64, tag = "2")]
    member_id: u64,
    #[prost(int64, tag = "3")]
    revision: i64,
}

/// The answer to a put; that to a transaction begins in the same way.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PutResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<Header>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct KeyValue {
    #[prost(int64, tag = "3")]
    mod_revision: i64,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    pub(super) kvs: Vec<KeyValue>,
}

/// A condition; its result is the first of the enumeration, `EQUAL`, when it is left out.
#[derive(Clone, PartialEq, prost::Message)]
struct Compare {
    #[prost(int32, tag = "2")]
    target: i32,
    #[prost(bytes = "bytes", tag = "3")]
    key: Bytes,
    /// One of several members: its presence counts, also when it is zero.
    #[prost(int64, optional, tag = "6")]
    mod_revision: Option<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RequestOp {
    #[prost(message, optional, tag = "2")]
    put: Option<PutRequest>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TxnRequest {
    #[prost(message, repeated, tag = "1")]
    compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    success: Vec<RequestOp>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TxnResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(bool, tag = "2")]
    succeeded: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

/// How a member sees itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its release.
    pub version: String,
    /// Whether it leads.
    pub leads: bool,
    /// Whether it knows a leader.
    pub led: bool,
}

/// Members of an etcd, each a site.
#[derive(Debug)]
pub struct Etcd {
    /// Of each member several connections: one alone is a queue of its own under many callers.
    members: Vec<Vec<Channel>>,
    turn: AtomicUsize,
}

impl Etcd {
    /// Members at these base URLs; connections are made when they are needed.
    ///
    /// # Errors
    ///
    /// When an address is none.
    pub fn new(urls: &[String]) -> Result<Self, String> {
        let channels = |url: &String| {
            let endpoint = Endpoint::from_shared(url.clone())
                .map_err(|error| format!("{url}: {error}"))?
                .tcp_nodelay(true)
                .connect_timeout(BENCH_OP_MAX);
            Ok((0..BENCH_PEER_CHANNELS).map(|_| endpoint.connect_lazy()).collect())
        };
        let members = urls.iter().map(channels).collect::<Result<_, String>>()?;
        Ok(Self { members, turn: AtomicUsize::new(0) })
    }

    fn channel(&self, site: u64) -> Channel {
        let at = usize::try_from(site.saturating_sub(1)).unwrap_or(usize::MAX);
        let channels = self.members.get(at).expect("a site has the number of one of the members");
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % channels.len().max(1);
        channels.get(turn).cloned().expect("a member has at least one connection")
    }

    async fn call<Q, A>(&self, site: u64, path: &'static str, ask: Q) -> Result<A, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut grpc = Grpc::new(self.channel(site));
        let asked = async {
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let path = PathAndQuery::from_static(path);
            let codec = ProstCodec::<Q, A>::default();
            grpc.unary(Request::new(ask), path, codec).await.map(tonic::Response::into_inner)
        };
        match tokio::time::timeout(BENCH_OP_MAX, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::deadline_exceeded("no answer in time")),
        }
    }

    /// How a member sees itself.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn standing(&self, site: u64) -> Result<Standing, String> {
        let status: Result<StatusResponse, Status> =
            self.call(site, STATUS, StatusRequest {}).await;
        let status = status.map_err(|status| status.to_string())?;
        let own = status.header.map(|header| header.member_id);
        Ok(Standing {
            version: status.version,
            leads: own == Some(status.leader),
            led: status.leader != 0,
        })
    }
}

pub(super) fn failed(status: &Status) -> Failed {
    let text = format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        // Refused before anything was proposed.
        Code::InvalidArgument | Code::ResourceExhausted | Code::NotFound | Code::Unimplemented => {
            Failed::NotApplied(text)
        }
        _ => Failed::Unknown(text),
    }
}

fn acked(header: Option<&Header>) -> Acked {
    let order = header.and_then(|header| u64::try_from(header.revision).ok());
    Acked { order, ..Acked::default() }
}

#[async_trait]
impl Target for Etcd {
    fn sites(&self) -> u64 {
        u64::try_from(self.members.len()).unwrap_or(u64::MAX)
    }

    async fn read(&self, site: u64, key: &str) -> Result<Seen, Failed> {
        let ask = RangeRequest { key: Bytes::copy_from_slice(key.as_bytes()) };
        let answer: Result<RangeResponse, Status> = self.call(site, RANGE, ask).await;
        // A read has no effect, whatever became of it.
        let answer = answer.map_err(|status| Failed::NotApplied(status.to_string()))?;
        let token = answer.kvs.first().map(|found| found.mod_revision.to_string());
        let shown = |found: KeyValue| Shown { value: found.value, name: None };
        Ok(Seen { values: answer.kvs.into_iter().map(shown).collect(), token })
    }

    async fn write(
        &self,
        site: u64,
        key: &str,
        value: Bytes,
        over: Over<'_>,
    ) -> Result<Acked, Failed> {
        let put = PutRequest { key: Bytes::copy_from_slice(key.as_bytes()), value };
        let Over::Seen(seen) = over else {
            let answer: Result<PutResponse, Status> = self.call(site, PUT, put).await;
            return answer.map(|put| acked(put.header.as_ref())).map_err(|status| failed(&status));
        };
        // A key that is not there has revision 0.
        let revision = seen.token.as_deref().and_then(|token| token.parse().ok()).unwrap_or(0);
        let still = Compare { target: MOD, key: put.key.clone(), mod_revision: Some(revision) };
        let ask = TxnRequest { compare: vec![still], success: vec![RequestOp { put: Some(put) }] };
        let answer: Result<TxnResponse, Status> = self.call(site, TXN, ask).await;
        let answer = answer.map_err(|status| failed(&status))?;
        if answer.succeeded { Ok(acked(answer.header.as_ref())) } else { Err(Failed::Unmet) }
    }

    async fn change(&self, _site: u64, _key: &str, _change: &Change) -> Result<Acked, Failed> {
        Err(Failed::NotApplied("etcd changes nothing by itself".to_owned()))
    }
}

/// The members of a running etcd, when they all know a leader.
///
/// # Errors
///
/// When an address is none, or a member does not answer.
pub async fn reach(urls: &[String]) -> Result<(Arc<Etcd>, String), String> {
    let etcd = Arc::new(Etcd::new(urls)?);
    let mut version = String::new();
    for site in 1..=etcd.sites() {
        let standing = etcd.standing(site).await?;
        if !standing.led {
            return Err(format!("member {site} knows no leader"));
        }
        version = standing.version;
    }
    Ok((etcd, version))
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn messages_have_the_bytes_that_etcd_expects() {
        let put = PutRequest { key: "k".into(), value: "v".into() };
        assert_eq!(put.encode_to_vec(), b"\x0a\x01k\x12\x01v");
        // A condition on revision 0 must not lose its zero: it says that the key is not there.
        let still = Compare { target: MOD, key: "k".into(), mod_revision: Some(0) };
        assert_eq!(still.encode_to_vec(), b"\x10\x02\x1a\x01k\x30\x00");
        let ask = TxnRequest { compare: vec![still], success: vec![RequestOp { put: Some(put) }] };
        let bytes = ask.encode_to_vec();
        assert_eq!(bytes, b"\x0a\x07\x10\x02\x1a\x01k\x30\x00\x12\x08\x12\x06\x0a\x01k\x12\x01v");
    }

    #[test]
    fn answers_are_read_and_what_is_not_needed_is_passed_over() {
        // header{cluster 1, member 2, revision 5, term 9}, kvs[{key k, create 3, mod 4, version 1, value v}], count 1
        let bytes = b"\x0a\x08\x08\x01\x10\x02\x18\x05\x20\x09\x12\x0c\x0a\x01k\x10\x03\x18\x04\x20\x01\x2a\x01v\x20\x01";
        let answer = RangeResponse::decode(bytes.as_slice()).unwrap();
        assert_eq!(answer.kvs, [KeyValue { mod_revision: 4, value: "v".into() }]);
        let put =
            PutResponse::decode(b"\x0a\x08\x08\x01\x10\x02\x18\x05\x20\x09".as_slice()).unwrap();
        assert_eq!(acked(put.header.as_ref()).order, Some(5));
    }

    #[test]
    fn a_write_without_a_clear_answer_is_of_unknown_outcome() {
        assert!(matches!(failed(&Status::unavailable("x")), Failed::Unknown(_)));
        assert!(matches!(failed(&Status::deadline_exceeded("x")), Failed::Unknown(_)));
        assert!(matches!(failed(&Status::resource_exhausted("x")), Failed::NotApplied(_)));
    }
}
