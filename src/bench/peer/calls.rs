//! Lanes to etcd: gRPC calls straight on HTTP/2 connections.
//!
//! Why it exists: the peer must not look slow because its client is costly. Here a call is one stream
//! of a shared connection, with no layers, queues or tasks of its own; what many callers send at the
//! same time travels in one write, as HTTP/2 is meant to be used.
//!
//! Promises: each lane belongs to one member, and the lanes of a connection to one thread; a call
//! without an answer is of unknown outcome. Relies on: [`super::etcd`] for the messages.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use prost::Message;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tonic::codegen::http::{HeaderMap, Method, Request, Uri, Version, header};

use super::etcd::{PUT, PutRequest, PutResponse, RANGE, RangeRequest, RangeResponse, failed};
use crate::bench::lanes::{Lane, Lanes, Patience};
use crate::bench::target::Failed;
use crate::runtime::Env;
use crate::runtime::limits::BENCH_PEER_CHANNELS;

/// Bytes that a member may send ahead: far more than its answers have.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// The prefix of a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// A connection that several lanes share, made when it is first needed and again when it was lost.
#[derive(Debug, Default)]
struct Shared {
    /// How often it was made, and its newest handle.
    made: Mutex<(u64, Option<SendRequest<Bytes>>)>,
}

/// Lanes to the members of an etcd.
#[derive(Debug)]
pub(super) struct Calls {
    env: Env,
    members: Vec<Arc<Member>>,
}

#[derive(Debug)]
struct Member {
    address: String,
    put: Uri,
    range: Uri,
    connections: Vec<Shared>,
}

impl Calls {
    /// Lanes to members at these base URLs.
    ///
    /// # Errors
    ///
    /// When an address is none.
    pub(super) fn new(urls: &[String], env: &Env) -> Result<Self, String> {
        let member = |url: &String| {
            let uri = |path: &str| {
                format!("{url}{path}").parse::<Uri>().map_err(|error| format!("{url}: {error}"))
            };
            Ok(Arc::new(Member {
                address: url.trim_start_matches("http://").to_owned(),
                put: uri(PUT)?,
                range: uri(RANGE)?,
                connections: (0..BENCH_PEER_CHANNELS).map(|_| Shared::default()).collect(),
            }))
        };
        let members = urls.iter().map(member).collect::<Result<_, String>>()?;
        Ok(Self { env: env.clone(), members })
    }
}

impl Lanes for Calls {
    fn sites(&self) -> u64 {
        u64::try_from(self.members.len()).unwrap_or(1)
    }

    fn lane(&self, number: u64) -> Box<dyn Lane> {
        let number = usize::try_from(number).unwrap_or(0);
        let member = self.members.get(number % self.members.len().max(1));
        let member = Arc::clone(member.expect("there is at least one member"));
        // Threads take the lanes in turn, and their number divides that of the connections.
        let connection = number % member.connections.len().max(1);
        Box::new(CallLane {
            env: self.env.clone(),
            member,
            connection,
            handle: None,
            message: BytesMut::new(),
            shown: Bytes::new(),
            patience: Patience::default(),
        })
    }
}

struct CallLane {
    env: Env,
    member: Arc<Member>,
    connection: usize,
    /// Of which making of the connection, and the handle.
    handle: Option<(u64, SendRequest<Bytes>)>,
    message: BytesMut,
    /// What was read last.
    shown: Bytes,
    patience: Patience,
}

fn unknown(error: impl std::fmt::Display) -> Failed {
    Failed::Unknown(error.to_string())
}

impl CallLane {
    /// A handle of the connection, which is made anew when this lane's was lost.
    async fn connect(&mut self) -> Result<(u64, SendRequest<Bytes>), Failed> {
        if let Some(handle) = self.handle.take() {
            return Ok(handle);
        }
        let shared = self.member.connections.get(self.connection);
        let mut made =
            shared.expect("a lane's connection is one of its member's").made.lock().await;
        if let (times, Some(handle)) = &*made {
            return Ok((*times, handle.clone()));
        }
        let refused = |error: &dyn std::fmt::Display| Failed::NotApplied(error.to_string());
        let stream =
            TcpStream::connect(&self.member.address).await.map_err(|error| refused(&error))?;
        stream.set_nodelay(true).map_err(|error| refused(&error))?;
        let builder = h2::client::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .handshake(stream)
            .await;
        let (handle, connection) = builder.map_err(|error| refused(&error))?;
        drop(self.env.tasks.spawn_to_end("bench-http2", async move {
            // Who has a call under way learns of its end by that call.
            drop(connection.await);
        }));
        made.0 += 1;
        made.1 = Some(handle.clone());
        Ok((made.0, handle))
    }

    /// The connection of this making is of no use any more.
    async fn lose(&mut self, times: u64) {
        if let Some(shared) = self.member.connections.get(self.connection) {
            let mut made = shared.made.lock().await;
            if made.0 == times {
                made.1 = None;
            }
        }
    }

    /// One call.
    async fn call<Q: Message, A: Message + Default>(
        &mut self,
        to: fn(&Member) -> &Uri,
        ask: &Q,
    ) -> Result<A, Failed> {
        let mut patience = std::mem::take(&mut self.patience);
        let message = self.framed(ask);
        let asked = patience.wait(async {
            let (times, handle) = self.connect().await?;
            let mut handle = match handle.ready().await {
                Ok(handle) => handle,
                Err(error) => {
                    self.lose(times).await;
                    return Err(Failed::NotApplied(error.to_string()));
                }
            };
            let answer = exchange(&mut handle, to(&self.member).clone(), message).await;
            match answer {
                Err((failed, true)) => {
                    self.lose(times).await;
                    Err(failed)
                }
                Err((failed, false)) => {
                    self.handle = Some((times, handle));
                    Err(failed)
                }
                Ok(answer) => {
                    self.handle = Some((times, handle));
                    Ok(answer)
                }
            }
        });
        let answer = asked.await.unwrap_or_else(|| Err(unknown("no answer in time")));
        self.patience = patience;
        let mut answer = answer?;
        let body = answer.split_off(PREFIX_BYTES.min(answer.len()));
        A::decode(body).map_err(unknown)
    }

    /// A message with its prefix.
    fn framed<Q: Message>(&mut self, ask: &Q) -> Bytes {
        let length = ask.encoded_len();
        self.message.reserve(PREFIX_BYTES + length);
        self.message.put_u8(0);
        self.message.put_u32(u32::try_from(length).expect("a value has a bound far below this"));
        ask.encode(&mut self.message).expect("there is room for it");
        self.message.split().freeze()
    }
}

/// Sends a message on a stream of its own and reads what comes back, with its prefix. A failure says
/// whether it is the connection's.
async fn exchange(
    handle: &mut SendRequest<Bytes>,
    to: Uri,
    message: Bytes,
) -> Result<Bytes, (Failed, bool)> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = to;
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.insert(header::TE, header::HeaderValue::from_static("trailers"));
    let kind = header::HeaderValue::from_static("application/grpc");
    headers.insert(header::CONTENT_TYPE, kind);
    let lost = |error: h2::Error| {
        let whole = error.is_io() || error.is_go_away();
        (unknown(error), whole)
    };
    let (answer, mut stream) = handle.send_request(request, false).map_err(lost)?;
    stream.send_data(message, true).map_err(lost)?;
    let answer = answer.await.map_err(lost)?;
    // Refused at once: then the status is where the headers are.
    status(answer.headers()).map_err(|failed| (failed, false))?;
    let mut body = answer.into_body();
    let mut all = Bytes::new();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(lost)?;
        body.flow_control().release_capacity(piece.len()).map_err(lost)?;
        all = match all.is_empty() {
            true => piece,
            false => [all, piece].concat().into(),
        };
    }
    match body.trailers().await.map_err(lost)? {
        Some(trailers) if trailers.contains_key("grpc-status") => {
            status(&trailers).map_err(|failed| (failed, false))?;
            Ok(all)
        }
        _ => Err((unknown("the answer has no status"), false)),
    }
}

/// The status of a call, when these headers have one.
fn status(headers: &HeaderMap) -> Result<(), Failed> {
    match headers.get("grpc-status") {
        None => Ok(()),
        Some(code) if code == "0" => Ok(()),
        Some(_) => Err(failed(
            &tonic::Status::from_header_map(headers)
                .unwrap_or_else(|| tonic::Status::unknown("its status is none")),
        )),
    }
}

#[async_trait]
impl Lane for CallLane {
    async fn put(&mut self, key: &str, value: &[u8]) -> Result<(), Failed> {
        let key = Bytes::copy_from_slice(key.as_bytes());
        let ask = PutRequest { key, value: Bytes::copy_from_slice(value) };
        let done: PutResponse = self.call(|member| &member.put, &ask).await?;
        match done.header {
            Some(_) => Ok(()),
            None => Err(unknown("the answer has no header")),
        }
    }

    async fn get(&mut self, key: &str) -> Result<Option<&[u8]>, Failed> {
        let ask = RangeRequest { key: Bytes::copy_from_slice(key.as_bytes()) };
        let done: Result<RangeResponse, _> = self.call(|member| &member.range, &ask).await;
        // A read has no effect, whatever became of it.
        let done = done.map_err(|failed| Failed::NotApplied(failed.to_string()))?;
        let Some(found) = done.kvs.into_iter().next() else { return Ok(None) };
        self.shown = found.value;
        Ok(Some(&self.shown))
    }
}
