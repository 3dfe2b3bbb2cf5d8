//! What a power cut leaves of changes that were not synced.
//!
//! Why it exists: drives write in whatever order suits them, so of the sectors that were not synced
//! any may be there and any not; a log that holds only under tidy losses holds by luck. Promises: the
//! same seed leaves the same bytes.

/// Size of the unit that a power cut does not tear.
pub(super) const SECTOR_BYTES: usize = 512;

#[derive(Default)]
pub(super) struct Content {
    pub(super) seen: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) unsynced: Vec<Change>,
}

pub(super) enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

/// How much a power cut leaves of a row of changes that were not synced.
pub(super) enum Loss {
    /// The first so many, and nothing after.
    Prefix(usize),
    /// Each with this chance in a hundred.
    Scattered(u8),
}

impl Loss {
    pub(super) fn by(chance: &mut fastrand::Rng, changes: usize) -> Self {
        match chance.u8(0..4) {
            0 => Self::Prefix(0),
            1 => Self::Prefix(chance.usize(0..=changes)),
            2 => Self::Scattered(50),
            _ => Self::Scattered(chance.u8(5..=100)),
        }
    }

    pub(super) fn keeps(&self, at: usize, chance: &mut fastrand::Rng) -> bool {
        match self {
            Self::Prefix(kept) => at < *kept,
            Self::Scattered(percent) => chance.u8(0..100) < *percent,
        }
    }
}

impl Change {
    pub(super) fn run(&self, image: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => put(image, *offset, bytes),
            Self::Length(len) => image.resize(*len, 0),
        }
    }

    /// The change in pieces that a power cut leaves whole.
    fn pieces(self) -> Vec<Self> {
        let Self::Write(offset, bytes) = self else { return vec![self] };
        let mut pieces = Vec::new();
        let (mut at, mut rest) = (offset, bytes.as_slice());
        while !rest.is_empty() {
            // Sectors are counted from the start of the file, so the first piece may be shorter.
            let len = (SECTOR_BYTES - at % SECTOR_BYTES).min(rest.len());
            let (piece, after) = rest.split_at(len);
            pieces.push(Self::Write(at, piece.to_vec()));
            (at, rest) = (at + len, after);
        }
        pieces
    }
}

fn put(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    if let Some(target) = image.get_mut(offset..end) {
        target.copy_from_slice(bytes);
    }
}

impl Content {
    pub(super) fn lose(&mut self, chance: &mut fastrand::Rng) {
        let changes = std::mem::take(&mut self.unsynced);
        let pieces: Vec<Change> = changes.into_iter().flat_map(Change::pieces).collect();
        let loss = Loss::by(chance, pieces.len());
        for (at, piece) in pieces.into_iter().enumerate() {
            if loss.keeps(at, chance) {
                piece.run(&mut self.durable);
            }
        }
        self.seen = self.durable.clone();
    }
}
