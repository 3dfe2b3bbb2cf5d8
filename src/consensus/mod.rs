//! The linearizable wing: agree, then answer. The only room that knows openraft.
