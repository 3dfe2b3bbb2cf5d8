//! The format of a checkpoint, read back and refused.

use super::*;

#[test]
fn a_tally_is_the_same_in_any_order_and_counts_out_what_it_counted_in() {
    let (mut a, mut b) = (Tally::default(), Tally::default());
    a.add(b"k1", b"v1");
    a.add(b"k2", b"v2");
    b.add(b"k2", b"v2");
    b.add(b"k1", b"v1");
    assert_eq!(a, b);
    a.subtract(b"k2", b"v2");
    b.subtract(b"k1", b"v1");
    assert_ne!(a.digest, b.digest);
    b.subtract(b"k2", b"v2");
    assert_eq!(b, Tally::default());
}
