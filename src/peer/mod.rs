//! The corridor: framed connections between nodes. It does not know what a payload means.
