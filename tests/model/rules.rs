//! The rules that can be broken, one at a time.
//!
//! Why it exists: a model that passes proves nothing until it fails where it must.

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Nothing: the design.
    Nothing,
    /// R1: the vector moves when a state sync begins.
    VectorEarly,
    /// R2: a stream does not ask whether its log reaches back.
    NoBaseCheck,
    /// R3: a write removes what its origin's vector does not cover.
    RemovesAboveVector,
    /// R4: operations are shipped before they are flushed.
    ShipsUnflushed,
    /// R4, and the actor goes on after an unclean stop.
    SameActor,
    /// R5: a write removes only what was shown.
    SweepsNothing,
    /// R6: a loss is final as soon as it is known.
    FinalEarly,
    /// R6: beats count whatever list of members they were written under.
    AnyMembers,
    /// R6: a write counts as seen what its client knows, however long ago that was swept.
    SeesLate,
    /// R7: during a state sync operations are applied that will come with it.
    StreamsIntoSync,
    /// Marks are merged as a plain union.
    MarksUnion,
    /// A state sync passes over buckets that are equal in what lives.
    NarrowsByLive,
}

/// All ways to break it.
pub const BROKEN: [Broken; 12] = [
    Broken::VectorEarly,
    Broken::NoBaseCheck,
    Broken::RemovesAboveVector,
    Broken::ShipsUnflushed,
    Broken::SameActor,
    Broken::SweepsNothing,
    Broken::FinalEarly,
    Broken::AnyMembers,
    Broken::SeesLate,
    Broken::StreamsIntoSync,
    Broken::MarksUnion,
    Broken::NarrowsByLive,
];

impl Broken {
    pub const fn ships_unflushed(self) -> bool {
        matches!(self, Self::ShipsUnflushed | Self::SameActor)
    }

    /// Where looking begins: a seed that is known to find it out, so that one history is enough.
    pub const fn first_seed(self) -> u64 {
        match self {
            Self::AnyMembers => 6_476,
            Self::StreamsIntoSync => 825,
            Self::SweepsNothing => 209,
            Self::RemovesAboveVector => 36,
            Self::ShipsUnflushed => 35,
            Self::NarrowsByLive => 32,
            Self::FinalEarly => 20,
            Self::MarksUnion => 4,
            Self::Nothing
            | Self::VectorEarly
            | Self::NoBaseCheck
            | Self::SameActor
            | Self::SeesLate => 0,
        }
    }

    /// Whether operations come up that remove what is not known yet.
    pub const fn takes_uncovered(self) -> bool {
        self.takes_gaps() || matches!(self, Self::RemovesAboveVector)
    }

    /// Whether gaps come up, which a replica of the design would refuse.
    pub const fn takes_gaps(self) -> bool {
        matches!(self, Self::NoBaseCheck | Self::ShipsUnflushed | Self::SameActor)
    }
}
