//! From a TCP connection to two nodes that have admitted each other.
//!
//! Why HTTP/1.1 `Upgrade`: nodes need one port only, and whatever stands between them and speaks
//! HTTP lets the connection through or says why not.
//!
//! Promises: no frame is served before both ends have admitted the other; every step together ends
//! within the caller's timeout. Relies on: hyper for the upgrade, a `Doorkeeper` for the judgement.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::Empty;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use super::connection::{ReadHalf, WriteHalf};
use super::frame::{Frame, FrameError, FrameReader, Kind};
use super::hello::{Hello, HelloError, PROTOCOL, Refusal};
use super::peers::PEER_PATH;
use super::{Doorkeeper, Lab, Lane, PeerOptions};
use crate::model::NodeId;
use crate::runtime::Tasks;

/// The protocol's name in the `Upgrade` header.
pub(super) const UPGRADE: &str = "tetrarch-peer";

/// The header that says what the connection is for.
pub(super) const PURPOSE: &str = "tetrarch-purpose";

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Calls and streams, for as long as both nodes live.
    Frames,
    /// One long body.
    Bulk,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Bulk => "bulk",
        }
    }

    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        [Self::Frames, Self::Bulk].into_iter().find(|p| p.name().as_bytes() == name)
    }
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("no address is known")]
    NoAddress,
    #[error("cannot connect to {address}: {source}")]
    Tcp { address: String, source: io::Error },
    #[error("no upgrade: {0}")]
    Http(#[from] hyper::Error),
    #[error("no upgrade: {0} answered {1}")]
    Status(String, StatusCode),
    #[error("greeting failed: {0}")]
    Frame(#[from] FrameError),
    #[error("greeting failed: {0}")]
    Hello(#[from] HelloError),
    #[error("greeting failed: {0}")]
    Write(io::Error),
    #[error("greeting failed: unexpected {0:?}")]
    Unexpected(Option<Kind>),
    #[error("node {found} answers at the address of node {wanted}")]
    WrongNode { wanted: NodeId, found: NodeId },
    #[error("refused by the peer: {0}")]
    Refused(Refusal),
    #[error("the peer is not admitted: {0}")]
    NotAdmitted(Refusal),
    #[error("timed out")]
    TimedOut,
}

/// A connection after the upgrade.
pub(super) struct Wire {
    pub(super) reader: FrameReader<ReadHalf>,
    pub(super) writer: WriteHalf,
}

impl Wire {
    fn of_tcp(stream: TcpStream, already_read: &[u8]) -> Self {
        // Without this, answers would wait for the acknowledgement of earlier ones. A socket that
        // cannot do it still works.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::warn!(%error, "TCP_NODELAY cannot be set");
        }
        let (read, write) = stream.into_split();
        Self { reader: FrameReader::new(Box::new(read), already_read), writer: Box::new(write) }
    }

    /// Takes the socket out of hyper's hands; whatever else carries the connection is used as it is.
    pub(super) fn of_upgraded(upgraded: Upgraded) -> Self {
        let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => return Self::of_tcp(parts.io.into_inner(), &parts.read_buf),
            Err(upgraded) => upgraded,
        };
        match hyper_util::server::conn::auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(parts) => Self::of_tcp(parts.io.into_inner(), &parts.read_buf),
            Err(upgraded) => {
                let (read, write) = tokio::io::split(TokioIo::new(upgraded));
                let reader = FrameReader::new(Box::new(read) as ReadHalf, &[]);
                Self { reader, writer: Box::new(write) }
            }
        }
    }

    /// Leads what is written here through a line of the laboratory, if there is one; returns where to
    /// name the node at its end.
    pub(super) fn lengthen(
        &mut self,
        lab: Option<&Arc<Lab>>,
        tasks: &Tasks,
    ) -> Option<Arc<OnceLock<NodeId>>> {
        let lab = lab?;
        let short = std::mem::replace(&mut self.writer, Box::new(tokio::io::sink()));
        let (long, end) = lab.line(tasks, short);
        self.writer = long;
        Some(end)
    }

    pub(super) async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let mut out = BytesMut::with_capacity(frame.wire_bytes());
        frame.put(&mut out);
        self.writer.write_all(&out).await?;
        self.writer.flush().await
    }

    async fn greet(&mut self, kind: Kind, payload: Bytes) -> Result<(), ConnectError> {
        self.send(&Frame::with(kind, Lane::Control, 0, payload)).await.map_err(ConnectError::Write)
    }

    async fn greeting(&mut self) -> Result<Frame, ConnectError> {
        let frame = self.reader.next().await?;
        match frame {
            Some(frame) if matches!(frame.kind, Kind::Hello | Kind::Refusal) => Ok(frame),
            other => Err(ConnectError::Unexpected(other.map(|f| f.kind))),
        }
    }
}

fn judge(doorkeeper: &dyn Doorkeeper, theirs: &Hello) -> Result<(), Refusal> {
    if theirs.protocol != PROTOCOL {
        return Err(Refusal::Version { ours: PROTOCOL, theirs: theirs.protocol });
    }
    doorkeeper.admit(theirs)
}

/// Connects, upgrades and greets; the caller bounds the time.
pub(super) async fn connect(
    tasks: &Tasks,
    doorkeeper: &Arc<dyn Doorkeeper>,
    to: NodeId,
    purpose: Purpose,
    options: &PeerOptions,
) -> Result<Wire, ConnectError> {
    if let Some(lab) = &options.lab {
        lab.whole(to).await;
    }
    let address = doorkeeper.address(to).ok_or(ConnectError::NoAddress)?;
    let stream = dial(&address, options.source)
        .await
        .map_err(|source| ConnectError::Tcp { address: address.clone(), source })?;
    let mut wire = upgrade(tasks, stream, &address, purpose).await?;
    if let Some(end) = wire.lengthen(options.lab.as_ref(), tasks) {
        end.get_or_init(|| to);
    }
    let hello = Hello { wanted: Some(to), ..doorkeeper.hello() };
    wire.greet(Kind::Hello, hello.encode()).await?;
    let frame = wire.greeting().await?;
    if frame.kind == Kind::Refusal {
        let refusal = Refusal::decode(&frame.payload)?;
        doorkeeper.refused(to, &refusal);
        return Err(ConnectError::Refused(refusal));
    }
    let theirs = Hello::decode(&frame.payload)?;
    if theirs.node != to {
        return Err(ConnectError::WrongNode { wanted: to, found: theirs.node });
    }
    if let Err(refusal) = judge(&**doorkeeper, &theirs) {
        wire.greet(Kind::Refusal, refusal.encode()).await?;
        return Err(ConnectError::NotAdmitted(refusal));
    }
    Ok(wire)
}

/// Connects, from `source` where one is set; names are tried address by address.
async fn dial(address: &str, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(address).await };
    let family = io::Error::new(
        io::ErrorKind::AddrNotAvailable,
        format!("it has no address that can be reached from {source}"),
    );
    let mut failure = family;
    for to in lookup_host(address).await?.filter(|to| to.is_ipv4() == source.is_ipv4()) {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind((source, 0).into())?;
        match socket.connect(to).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn upgrade(
    tasks: &Tasks,
    stream: TcpStream,
    address: &str,
    purpose: Purpose,
) -> Result<Wire, ConnectError> {
    let (mut sender, driver) =
        hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await?;
    tasks.spawn("peer-upgrade", async move {
        if let Err(error) = driver.with_upgrades().await {
            tracing::debug!(%error, "upgrade of a peer connection failed");
        }
    });
    let request = Request::builder()
        .method(Method::GET)
        .uri(PEER_PATH)
        .header(
            header::HOST,
            HeaderValue::from_str(address).unwrap_or(HeaderValue::from_static("")),
        )
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, UPGRADE)
        .header(PURPOSE, purpose.name())
        .body(Empty::new())
        .expect("every part of the request is a valid constant");
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(ConnectError::Status(address.to_owned(), response.status()));
    }
    Ok(Wire::of_upgraded(hyper::upgrade::on(response).await?))
}

/// Greets as the side that was connected to; the caller bounds the time.
pub(super) async fn welcome(
    wire: &mut Wire,
    doorkeeper: &dyn Doorkeeper,
) -> Result<NodeId, ConnectError> {
    let frame = wire.greeting().await?;
    if frame.kind != Kind::Hello {
        return Err(ConnectError::Unexpected(Some(frame.kind)));
    }
    let theirs = Hello::decode(&frame.payload)?;
    let ours = doorkeeper.hello().node;
    let judged = match theirs.wanted.filter(|wanted| *wanted != ours) {
        Some(wanted) => Err(Refusal::WrongNode { ours, wanted }),
        None => judge(doorkeeper, &theirs),
    };
    if let Err(refusal) = judged {
        wire.greet(Kind::Refusal, refusal.encode()).await?;
        return Err(ConnectError::NotAdmitted(refusal));
    }
    wire.greet(Kind::Hello, doorkeeper.hello().encode()).await?;
    Ok(theirs.node)
}
