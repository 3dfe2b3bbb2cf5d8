//! The unit on the wire: a header of 20 bytes and a payload.
//!
//! Promises: arbitrary bytes never panic, and never make the reader hold more than one frame of
//! `PEER_FRAME_BYTES_MAX` besides its buffer. There is no checksum of our own: TCP carries one, and
//! whatever is stored durably is checksummed where it is stored. Relies on: the bytes arriving in
//! order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Channel, Lane};
use crate::runtime::limits::PEER_FRAME_BYTES_MAX;

/// The version of the frame format, carried by every frame.
const FORMAT: u8 = 1;

/// Bytes of a frame's header: length u32, format u8, kind u8, channel u8, lane u8, id u64, word u32.
pub const HEADER_BYTES: usize = 20;

/// What the reader asks the socket for at once.
const READ_BYTES: usize = 64 * 1024;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The greeting.
    Hello = 1,
    /// The other side is not admitted; the connection ends.
    Refusal = 2,
    /// A question; the word is the time for it in milliseconds.
    Call = 3,
    /// The answer to a call or a long body.
    Answer = 4,
    /// The call or long body was refused before anything was done; the payload says why.
    Refused = 5,
    /// Opens a stream; the payload is its header.
    StreamOpen = 6,
    /// A message of a stream.
    StreamData = 7,
    /// The sender will send no more on this stream.
    StreamEnd = 8,
    /// The sender will read no more on this stream.
    StreamStop = 9,
    /// The sender has consumed so much of the window; the word is the cost.
    StreamCredit = 10,
    /// Asks for a sign of life.
    Ping = 11,
    /// The sign of life.
    Pong = 12,
    /// Opens a long body; the payload is its header.
    BulkOpen = 13,
    /// A chunk of a long body.
    BulkData = 14,
    /// The long body is whole.
    BulkEnd = 15,
}

impl Kind {
    const ALL: [Self; 15] = [
        Self::Hello,
        Self::Refusal,
        Self::Call,
        Self::Answer,
        Self::Refused,
        Self::StreamOpen,
        Self::StreamData,
        Self::StreamEnd,
        Self::StreamStop,
        Self::StreamCredit,
        Self::Ping,
        Self::Pong,
        Self::BulkOpen,
        Self::BulkData,
        Self::BulkEnd,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte).checked_sub(1)?).copied()
    }
}

/// One message on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// For whom, where that matters.
    pub channel: Channel,
    /// The queue that it waits in, here and for the answer there.
    pub lane: Lane,
    /// Which call or stream it belongs to; chosen by the side that connected.
    pub id: u64,
    /// A number whose meaning depends on the kind.
    pub word: u32,
    /// What it carries.
    pub payload: Bytes,
}

/// Bytes that are no frame of ours.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Another format.
    #[error("frame of unknown format {0}")]
    Format(u8),
    /// A kind that this build does not know.
    #[error("frame of unknown kind {0}")]
    Kind(u8),
    /// Neither lane.
    #[error("frame on unknown lane {0}")]
    Lane(u8),
    /// Longer than allowed.
    #[error("frame of {0} bytes, allowed are {PEER_FRAME_BYTES_MAX}")]
    TooLong(u32),
    /// The connection ended inside a frame.
    #[error("connection ended inside a frame")]
    Cut,
    /// The socket failed.
    #[error("read failed: {0}")]
    Io(#[from] std::io::Error),
}

impl Frame {
    /// A frame without channel, number or payload.
    pub const fn bare(kind: Kind, lane: Lane, id: u64) -> Self {
        Self { kind, channel: Channel(0), lane, id, word: 0, payload: Bytes::new() }
    }

    /// The same with a payload.
    pub const fn with(kind: Kind, lane: Lane, id: u64, payload: Bytes) -> Self {
        Self { kind, channel: Channel(0), lane, id, word: 0, payload }
    }

    /// Bytes on the wire.
    pub fn wire_bytes(&self) -> usize {
        HEADER_BYTES.saturating_add(self.payload.len())
    }

    /// Writes the header.
    ///
    /// # Panics
    ///
    /// When the payload is longer than a frame may be: senders check before they queue.
    pub fn put_header(&self, out: &mut BytesMut) {
        assert!(
            self.payload.len() <= PEER_FRAME_BYTES_MAX,
            "a frame of {} bytes must not reach the writer",
            self.payload.len()
        );
        let length = u32::try_from(self.payload.len()).expect("the bound on frames fits 32 bits");
        out.put_u32_le(length);
        out.put_u8(FORMAT);
        out.put_u8(self.kind as u8);
        out.put_u8(self.channel.0);
        out.put_u8(match self.lane {
            Lane::Control => 0,
            Lane::Data => 1,
        });
        out.put_u64_le(self.id);
        out.put_u32_le(self.word);
    }

    /// Writes the whole frame.
    pub fn put(&self, out: &mut BytesMut) {
        self.put_header(out);
        out.put_slice(&self.payload);
    }
}

/// Reads a header; the frame has no payload yet, and its length is returned beside it.
fn parse_header(mut header: &[u8]) -> Result<(Frame, usize), FrameError> {
    let length = header.get_u32_le();
    let format = header.get_u8();
    let kind = header.get_u8();
    let channel = Channel(header.get_u8());
    let lane = header.get_u8();
    let id = header.get_u64_le();
    let word = header.get_u32_le();
    if format != FORMAT {
        return Err(FrameError::Format(format));
    }
    let kind = Kind::from_byte(kind).ok_or(FrameError::Kind(kind))?;
    let lane = match lane {
        0 => Lane::Control,
        1 => Lane::Data,
        other => return Err(FrameError::Lane(other)),
    };
    let bytes = usize::try_from(length).unwrap_or(usize::MAX);
    if bytes > PEER_FRAME_BYTES_MAX {
        return Err(FrameError::TooLong(length));
    }
    Ok((Frame { kind, channel, lane, id, word, payload: Bytes::new() }, bytes))
}

/// Reads frames from a byte stream.
#[derive(Debug)]
pub struct FrameReader<R> {
    io: R,
    buffer: BytesMut,
    reads: Arc<AtomicU64>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from `io`, after the bytes that were read from it already.
    pub fn new(io: R, already_read: &[u8]) -> Self {
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        buffer.extend_from_slice(already_read);
        Self { io, buffer, reads: Arc::default() }
    }

    /// Grows with every read that brought something: a sign of life also inside a long frame.
    pub fn reads(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.reads)
    }

    /// The next frame; `None` when the stream ended between two frames. Not cancel safe.
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        while self.buffer.len() < HEADER_BYTES {
            if self.fill().await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(FrameError::Cut) };
            }
        }
        let (mut frame, length) = parse_header(&self.buffer.split_to(HEADER_BYTES))?;
        frame.payload = self.payload(length).await?;
        Ok(Some(frame))
    }

    /// Payloads are copied out: a slice of the read buffer would keep all of it alive for as long
    /// as the room above keeps a small message.
    async fn payload(&mut self, length: usize) -> Result<Bytes, FrameError> {
        if let Some(whole) = self.buffer.get(..length) {
            let payload = Bytes::copy_from_slice(whole);
            self.buffer.advance(length);
            return Ok(payload);
        }
        let mut payload = BytesMut::with_capacity(length);
        payload.extend_from_slice(&self.buffer);
        self.buffer.clear();
        while payload.len() < length {
            let missing = length.saturating_sub(payload.len());
            if (&mut self.io).take(missing as u64).read_buf(&mut payload).await? == 0 {
                return Err(FrameError::Cut);
            }
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
        Ok(payload.freeze())
    }

    /// Reads and drops everything to the end of the stream.
    pub async fn discard(&mut self) -> Result<(), FrameError> {
        loop {
            self.buffer.clear();
            if self.fill().await? == 0 {
                return Ok(());
            }
        }
    }

    async fn fill(&mut self) -> Result<usize, FrameError> {
        self.buffer.reserve(READ_BYTES);
        let bytes = self.io.read_buf(&mut self.buffer).await?;
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Frame> {
        let payload = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            (70_000usize..200_000).prop_map(|n| vec![7; n]),
        ];
        (1u8..=15, any::<u8>(), any::<bool>(), any::<u64>(), any::<u32>(), payload).prop_map(
            |(kind, channel, control, id, word, payload)| Frame {
                kind: Kind::from_byte(kind).unwrap(),
                channel: Channel(channel),
                lane: if control { Lane::Control } else { Lane::Data },
                id,
                word,
                payload: Bytes::from(payload),
            },
        )
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    async fn read_all(bytes: &[u8], ahead: usize) -> (Vec<Frame>, Option<FrameError>) {
        let ahead = ahead.min(bytes.len());
        let mut reader = FrameReader::new(&bytes[ahead..], &bytes[..ahead]);
        let mut read = Vec::new();
        loop {
            match reader.next().await {
                Ok(Some(frame)) => read.push(frame),
                Ok(None) => return (read, None),
                Err(error) => return (read, Some(error)),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn frames_come_back_as_they_were(
            sent in proptest::collection::vec(frames(), 0..8),
            ahead in 0usize..100_000,
            lost in 0usize..400,
        ) {
            let mut wire = BytesMut::new();
            sent.iter().for_each(|frame| frame.put(&mut wire));
            let (read, error) = block_on(read_all(&wire, ahead));
            prop_assert!(error.is_none());
            prop_assert_eq!(&read, &sent);
            // A cut stream yields a prefix of what was sent, and never a frame of its own making.
            wire.truncate(wire.len().saturating_sub(lost));
            let (read, _) = block_on(read_all(&wire, ahead));
            prop_assert_eq!(&read[..], &sent[..read.len()]);
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..2_000),
            plausible in any::<bool>(),
        ) {
            let mut bytes = bytes;
            if plausible && bytes.len() > 6 {
                bytes[2..6].copy_from_slice(&[0, 0, FORMAT, 3]);
            }
            block_on(read_all(&bytes, 0));
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_it_is_read() {
        let mut wire = BytesMut::new();
        Frame::bare(Kind::Call, Lane::Data, 1).put(&mut wire);
        wire[..4].copy_from_slice(&(8 * 1024 * 1024 + 1u32).to_le_bytes());
        let (read, error) = block_on(read_all(&wire, 0));
        assert!(read.is_empty());
        assert!(matches!(error, Some(FrameError::TooLong(8_388_609))));
    }
}
