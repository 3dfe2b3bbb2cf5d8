//! One direction of one connection.
//!
//! A reader takes bytes as they come and notes when each piece is due; a writer delivers them in
//! order, none before it is due, none while the link is blocked, and no faster than the link allows.
//! What waits between the two is bounded; then the reader reads no more, as a full window would do.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::cluster::links::{Block, Link, Links};

/// Bytes that are read at a time: the "packet" that chance decides about.
pub(super) const PIECE: usize = 16 * 1024;
/// Pieces under way in one direction: together a large socket buffer.
const PIECES_MAX: usize = 64;
/// What a lost packet costs: Linux's shortest retransmission timeout.
const RETRANSMISSION: Duration = Duration::from_millis(200);

/// Which links a connection uses: from the node that made it, if it was one, to the node it is for.
#[derive(Clone, Debug)]
pub(super) struct Hops {
    pub(super) links: Links,
    pub(super) from: Option<u32>,
    pub(super) to: u32,
}

impl Hops {
    pub(super) fn there(&self) -> Option<&Link> {
        self.links.get(self.from?, self.to)
    }

    pub(super) fn back(&self) -> Option<&Link> {
        self.links.get(self.to, self.from?)
    }
}

/// The other side is to see a reset, not an end.
#[derive(Debug)]
pub(super) struct Reset;

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    End,
    Reset,
}

/// Carries bytes until their source ends, or what they go to takes none any more.
pub(super) async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    link: Option<&Link>,
    prelude: Vec<u8>,
) -> Result<(), Reset> {
    let (queue, mut due) = mpsc::channel::<(Instant, Piece)>(PIECES_MAX);
    let read = async move {
        let mut last = Instant::now();
        let mut next = (!prelude.is_empty()).then_some(Piece::Bytes(prelude));
        loop {
            let piece = match next.take() {
                Some(piece) => piece,
                None => take(&mut from).await,
            };
            let is_last = !matches!(piece, Piece::Bytes(_));
            // TCP delivers in order, whatever happens to single packets.
            last = last.max(Instant::now() + lateness(link, &piece));
            if queue.send((last, piece)).await.is_err() || is_last {
                return;
            }
        }
    };
    let write = async move {
        while let Some((at, piece)) = due.recv().await {
            sleep_until(at).await;
            passage(link, &piece).await;
            match piece {
                Piece::Reset => return Err(Reset),
                Piece::End => {
                    drop(to.shutdown().await);
                    return Ok(());
                }
                Piece::Bytes(bytes) => {
                    if deliver(&mut to, link, &bytes).await.is_err() {
                        // The other direction sees why and passes it on, when its link lets it.
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    };
    together(read, write).await
}

/// Runs both until the writer is done; the reader's end alone is not the end.
async fn together(
    read: impl Future<Output = ()>,
    write: impl Future<Output = Result<(), Reset>>,
) -> Result<(), Reset> {
    tokio::pin!(write);
    tokio::select! {
        ended = &mut write => ended,
        () = read => write.await,
    }
}

async fn take(from: &mut ReadHalf<'_>) -> Piece {
    let mut bytes = vec![0; PIECE];
    match from.read(&mut bytes).await {
        Ok(0) => Piece::End,
        Err(_) => Piece::Reset,
        Ok(read) => {
            bytes.truncate(read);
            Piece::Bytes(bytes)
        }
    }
}

/// How late a piece is to be, by the link's shape.
fn lateness(link: Option<&Link>, piece: &Piece) -> Duration {
    let (Some(link), Piece::Bytes(bytes)) = (link, piece) else { return Duration::ZERO };
    let settings = link.settings();
    if settings.block != Block::Open {
        link.count_withheld(bytes.len());
    }
    if link.is_plain() {
        return Duration::ZERO;
    }
    let fate = link.fate();
    let late = fate.delay + if fate.lost { RETRANSMISSION } else { Duration::ZERO };
    // How long the cable is counts as no treatment.
    if !settings.shape.is_plain() && (!late.is_zero() || settings.shape.bytes_per_second.is_some())
    {
        link.count_treated(bytes.len());
    }
    late
}

/// Waits while the link is blocked. A cut ends the connection elsewhere.
async fn passage(link: Option<&Link>, piece: &Piece) {
    let Some(link) = link else { return };
    if link.settings().block == Block::Open {
        return;
    }
    if let Piece::Bytes(bytes) = piece {
        link.count_withheld(bytes.len());
    }
    link.until(|block| block == Block::Open).await;
}

async fn deliver(to: &mut WriteHalf<'_>, link: Option<&Link>, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    let Some(link) = link else { return Ok(()) };
    link.count_passed(bytes.len());
    if let Some(rate) = link.settings().shape.bytes_per_second {
        let bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let micros = bytes.saturating_mul(1_000_000) / rate.max(1);
        sleep(Duration::from_micros(micros)).await;
    }
    Ok(())
}
