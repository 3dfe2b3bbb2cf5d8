//! Long bodies (snapshots, repair), each on a connection of its own.
//!
//! Why it exists: a snapshot of gigabytes on the shared connection would delay everything behind it
//! or need a window of its own; TCP paces it for nothing.
//!
//! Promises: neither side holds more than a few chunks in memory; a body that was cut ends with an
//! error at the receiver and is never taken for a whole one; a body that does not move for
//! `PEER_BULK_STALL_MAX` is given up; a receiver that is gone is given up after `silence_max`,
//! however long one that is at work may take. Relies on: both ends having admitted each other.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::connection::{ReadHalf, WriteHalf, nothing_heard, silence};
use super::dispatch::refused;
use super::frame::{Frame, FrameError, FrameReader, HEADER_BYTES, Kind};
use super::handshake::Wire;
use super::{Channel, Inbox, Lane, PeerError, PeerOptions, Refused};
use crate::model::NodeId;
use crate::runtime::limits::{
    PEER_BULK_ANSWER_MAX, PEER_BULK_CHUNK_BYTES, PEER_BULK_QUEUE, PEER_BULK_STALL_MAX,
    PEER_FRAME_BYTES_MAX,
};

/// After an early answer the rest of the body is read and dropped for so long: closing at once would
/// reset the connection and could take the answer with it.
const DRAIN: Duration = Duration::from_secs(2);

/// Sends a body and waits for the answer.
pub(super) async fn send(
    wire: Wire,
    options: &PeerOptions,
    channel: Channel,
    header: Bytes,
    body: BoxStream<'static, io::Result<Bytes>>,
) -> Result<Bytes, PeerError> {
    if header.len() > PEER_FRAME_BYTES_MAX {
        return Err(PeerError::not_sent("the header of a long body is too long"));
    }
    let mut open = Frame::with(Kind::BulkOpen, Lane::Data, 0, header);
    open.channel = channel;
    let (reads, longest) = (wire.reader.reads(), options.silence_max);
    tokio::select! {
        biased;
        answer = exchange(wire, open, body) => answer,
        // A receiver without power answers never, and resets nothing while nothing is sent to it.
        () = silence(&reads, (options.ping_every, longest), || {}) => {
            Err(PeerError::unknown(nothing_heard(longest)))
        }
    }
}

async fn exchange(
    wire: Wire,
    open: Frame,
    body: BoxStream<'static, io::Result<Bytes>>,
) -> Result<Bytes, PeerError> {
    let Wire { mut reader, mut writer } = wire;
    let answer = last_frame(&mut reader);
    tokio::pin!(answer);
    let sent = tokio::select! {
        biased;
        // An answer before the end is one too: the receiver may refuse without reading on.
        answer = &mut answer => return answered(answer),
        sent = send_body(&mut writer, open, body) => sent,
    };
    // A receiver that answered early closes, so a failed write may hide an answer behind it.
    let patience = if sent.is_ok() { PEER_BULK_ANSWER_MAX } else { DRAIN };
    match (timeout(patience, answer).await, sent) {
        (Ok(Ok(Some(answer))), _) => answered(Ok(Some(answer))),
        (_, Err(reason)) => Err(PeerError::Unknown { reason }),
        (Ok(answer), Ok(())) => answered(answer),
        (Err(_), Ok(())) => Err(PeerError::unknown(format!("no answer within {patience:?}"))),
    }
}

/// The frame that ends it; signs of life come before.
async fn last_frame(reader: &mut FrameReader<ReadHalf>) -> Result<Option<Frame>, FrameError> {
    loop {
        let frame = reader.next().await?;
        if frame.as_ref().is_none_or(|frame| frame.kind != Kind::Pong) {
            return Ok(frame);
        }
    }
}

fn answered(answer: Result<Option<Frame>, FrameError>) -> Result<Bytes, PeerError> {
    match answer {
        Ok(Some(frame)) if frame.kind == Kind::Answer => Ok(frame.payload),
        Ok(Some(frame)) if frame.kind == Kind::Refused => {
            Err(PeerError::Refused { reason: String::from_utf8_lossy(&frame.payload).into_owned() })
        }
        Ok(Some(frame)) => {
            Err(PeerError::unknown(format!("the peer answered a long body with {:?}", frame.kind)))
        }
        Ok(None) => Err(PeerError::unknown("closed by the peer before it answered")),
        Err(error) => Err(PeerError::unknown(error.to_string())),
    }
}

async fn send_body(
    writer: &mut WriteHalf,
    open: Frame,
    mut body: BoxStream<'static, io::Result<Bytes>>,
) -> Result<(), String> {
    write(writer, &open).await?;
    while let Some(piece) = body.next().await {
        let mut piece = piece.map_err(|error| format!("the body's source failed: {error}"))?;
        while !piece.is_empty() {
            let chunk = piece.split_to(piece.len().min(PEER_BULK_CHUNK_BYTES));
            write(writer, &Frame::with(Kind::BulkData, Lane::Data, 0, chunk)).await?;
        }
    }
    write(writer, &Frame::bare(Kind::BulkEnd, Lane::Data, 0)).await
}

async fn write(writer: &mut WriteHalf, frame: &Frame) -> Result<(), String> {
    let mut header = BytesMut::with_capacity(HEADER_BYTES);
    frame.put_header(&mut header);
    let written = async {
        writer.write_all(&header).await?;
        writer.write_all(&frame.payload).await?;
        writer.flush().await
    };
    match timeout(PEER_BULK_STALL_MAX, written).await {
        Ok(result) => result.map_err(|error| format!("write failed: {error}")),
        Err(_) => Err(format!("the peer took nothing for {PEER_BULK_STALL_MAX:?}")),
    }
}

/// Takes a body that a peer sends, and answers it. Without a permit it is refused. `Err` says why
/// the body did not become whole.
pub(super) async fn receive(
    wire: Wire,
    options: &PeerOptions,
    from: NodeId,
    inbox: Arc<dyn Inbox>,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<(), String> {
    let Wire { mut reader, mut writer } = wire;
    let open = next(&mut reader).await?;
    if open.kind != Kind::BulkOpen {
        return Err(format!("the peer began a long body with {:?}", open.kind));
    }
    let answer = match &permit {
        Some(_) => {
            let done = CancellationToken::new();
            let work = async {
                let _done = done.clone().drop_guard();
                take_in(&mut reader, from, &open, &*inbox).await
            };
            let signs = show_life(&mut writer, &done, options.ping_every);
            let (answer, signs) = tokio::join!(work, signs);
            let answer = answer?;
            signs?;
            answer
        }
        None => Err(Refused::new("overloaded: too many long bodies are being received")),
    };
    let frame = match answer {
        Ok(answer) if answer.len() <= PEER_FRAME_BYTES_MAX => {
            Frame::with(Kind::Answer, Lane::Data, 0, answer)
        }
        Ok(answer) => return Err(format!("an answer of {} bytes is too long", answer.len())),
        Err(Refused { reason }) => refused(&open, &reason),
    };
    write(&mut writer, &frame).await?;
    // Nothing of the receiver is in use any more, only the socket.
    drop(permit);
    // Ends early when the sender has read the answer and closes; the time is a bound, not a wait.
    drop(timeout(DRAIN, reader.discard()).await);
    Ok(())
}

/// Tells the sender that this end lives, for as long as the work takes.
async fn show_life(
    writer: &mut WriteHalf,
    done: &CancellationToken,
    every: Duration,
) -> Result<(), String> {
    let sign = Frame::bare(Kind::Pong, Lane::Control, 0);
    // Stops between two signs only: half a frame would garble the answer behind it.
    while done.run_until_cancelled(sleep(every)).await.is_some() {
        write(writer, &sign).await?;
    }
    Ok(())
}

/// Feeds the inbox until it answers. The outer error: the body was cut.
async fn take_in(
    reader: &mut FrameReader<ReadHalf>,
    from: NodeId,
    open: &Frame,
    inbox: &dyn Inbox,
) -> Result<Result<Bytes, Refused>, String> {
    let (deliver, body) = mpsc::channel(PEER_BULK_QUEUE);
    let work = inbox.bulk(from, open.channel, open.payload.clone(), body);
    tokio::pin!(work);
    let fed = tokio::select! {
        biased;
        answer = &mut work => return Ok(answer),
        fed = feed(reader, deliver) => fed,
    };
    let answer = timeout(PEER_BULK_ANSWER_MAX, work).await;
    fed?;
    answer.map_err(|_elapsed| format!("the inbox did not answer within {PEER_BULK_ANSWER_MAX:?}"))
}

/// Passes chunks on until the end; on a cut the inbox gets the error as its last item.
async fn feed(
    reader: &mut FrameReader<ReadHalf>,
    deliver: mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), String> {
    loop {
        let (item, end) = match next(reader).await {
            Ok(frame) if frame.kind == Kind::BulkData => (Ok(frame.payload), None),
            Ok(frame) if frame.kind == Kind::BulkEnd => return Ok(()),
            Ok(frame) => cut(format!("the peer sent {:?} inside a long body", frame.kind)),
            Err(reason) => cut(reason),
        };
        // An inbox that dropped the receiver is about to answer: the rest is of no use.
        if deliver.send(item).await.is_err() {
            return end.map_or_else(|| Ok(()), Err);
        }
        if let Some(reason) = end {
            return Err(reason);
        }
    }
}

fn cut(reason: String) -> (io::Result<Bytes>, Option<String>) {
    let error = io::Error::new(io::ErrorKind::UnexpectedEof, reason.clone());
    (Err(error), Some(reason))
}

async fn next(reader: &mut FrameReader<ReadHalf>) -> Result<Frame, String> {
    match timeout(PEER_BULK_STALL_MAX, reader.next()).await {
        Ok(Ok(Some(frame))) => Ok(frame),
        Ok(Ok(None)) => Err("the connection ended inside a long body".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("the peer sent nothing for {PEER_BULK_STALL_MAX:?}")),
    }
}
