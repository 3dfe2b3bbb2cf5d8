//! The oracle lets right answers pass and names wrong ones.

use super::{Counter, List, Pair, Register, Wrote};

fn put(value: &str) -> Wrote {
    Wrote { value: Some(value.to_owned()), follows: None }
}

/// A register with `a` at 3 and `b` at 7.
fn register() -> Register {
    let mut register = Register::default();
    for (value, place) in [("a", 3), ("b", 7)] {
        register.begin(&put(value));
        register.done(&put(value), place, 0).unwrap();
    }
    register
}

#[test]
fn right_reads_of_a_register_pass() {
    let mut register = register();
    register.read(Some(("b", 7)), 7, 7).unwrap();
    register.read(Some(("b", 7)), 9, 7).unwrap();
    // An older view that nobody called linearizable.
    register.look(Some(("a", 3)), 6).unwrap();
    let gone = Wrote { value: None, follows: None };
    register.begin(&gone);
    register.done(&gone, 12, 9).unwrap();
    register.read(None, 12, 12).unwrap();
    assert_eq!(register.floor(), 12);
    // A write at 13, then a deletion at 14 that was not answered yet: a read sees nothing before
    // either is known of.
    register.begin(&put("brief"));
    register.begin(&gone);
    register.read(None, 14, 12).unwrap();
    register.done(&put("brief"), 13, 12).unwrap();
}

#[test]
fn a_stale_read_of_a_register_is_named() {
    let wrong = register().read(Some(("a", 3)), 6, 7).unwrap_err();
    assert!(wrong.contains("7 was complete before"), "{wrong}");
    let wrong = register().read(Some(("a", 3)), 8, 7).unwrap_err();
    assert!(wrong.contains("missed 7"), "{wrong}");
    let wrong = register().read(None, 8, 7).unwrap_err();
    assert!(wrong.contains("showed nothing"), "{wrong}");
}

#[test]
fn a_write_that_turns_up_where_a_read_has_looked_is_named() {
    let mut register = register();
    register.begin(&put("late"));
    register.read(Some(("b", 7)), 9, 7).unwrap();
    let wrong = register.done(&put("late"), 8, 7).unwrap_err();
    assert!(wrong.contains("did not show the write at 8"), "{wrong}");
}

#[test]
fn a_write_in_the_past_and_a_refused_one_that_is_seen_are_named() {
    let mut register = register();
    register.begin(&put("c"));
    assert!(register.done(&put("c"), 5, 7).unwrap_err().contains("has place 5"));
    register.begin(&put("d"));
    register.not_done(&put("d")).unwrap();
    assert!(register.read(Some(("d", 9)), 9, 7).unwrap_err().contains("was refused"));
    assert!(register.read(Some(("made up", 9)), 9, 7).unwrap_err().contains("never written"));
}

#[test]
fn a_conditional_write_over_another_one_and_a_value_at_two_places_are_named() {
    let mut register = register();
    let on_a = Wrote { value: Some("c".to_owned()), follows: Some(3) };
    register.begin(&on_a);
    assert!(register.done(&on_a, 9, 7).unwrap_err().contains("but 7 is"));
    register.begin(&put("d"));
    register.look(Some(("d", 10)), 10).unwrap();
    let wrong = register.done(&put("d"), 11, 10).unwrap_err();
    assert!(wrong.contains("applied at 10 and at 11"), "{wrong}");
}

#[test]
fn lists_are_one_order_without_repeats_or_losses() {
    let mut list = List::default();
    for token in ["x", "y", "z"] {
        list.begin(token);
    }
    list.done("x", "x,").unwrap();
    let floor = list.floor();
    list.read("x,y,", &floor).unwrap();
    assert!(list.read("y,x,", &floor).unwrap_err().contains("not one order"));
    assert!(list.read("x,y,y,", &floor).unwrap_err().contains("twice"));
    assert!(list.read("x,w,", &floor).unwrap_err().contains("never appended"));
    let floor = list.floor();
    assert!(list.read("x,", &floor).unwrap_err().contains("1 tokens were shown after 2"));
    assert!(list.done("z", "x,y,").unwrap_err().contains("was answered by"));
}

#[test]
fn counters_are_bounded_always_and_exact_at_the_end() {
    let mut counter = Counter::default();
    counter.begin(3);
    counter.begin(2);
    counter.done(3, 3).unwrap();
    assert!(counter.read(2, counter.floor()).unwrap_err().contains("after 3"));
    assert!(counter.read(6, 3).unwrap_err().contains("applied twice"));
    counter.at_end(3).unwrap();
    counter.done(2, 5).unwrap();
    assert!(counter.at_end(3).unwrap_err().contains("5 was added"));
}

#[test]
fn halves_of_a_transaction_and_an_old_one_are_named() {
    let mut pair = Pair::default();
    for (value, place) in [("a", 3), ("b", 7)] {
        pair.begin(value);
        pair.done(value, place, 0).unwrap();
    }
    let both = |value, place| [Some((value, place)); 2];
    pair.read(both("b", 7), 8, 7).unwrap();
    let halves = [Some(("a", 3)), Some(("b", 7))];
    assert!(pair.read(halves, 8, 7).unwrap_err().contains("halves"));
    assert!(pair.read(both("a", 3), 8, 7).unwrap_err().contains("missed 7"));
    assert!(pair.read(both("b", 7), 6, 7).unwrap_err().contains("complete before"));
    assert!(pair.read([None, None], 9, 7).unwrap_err().contains("missed"));
}
