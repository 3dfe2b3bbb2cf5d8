//! The hall: namespace, slot, group, node; deadlines; at most one forward.
