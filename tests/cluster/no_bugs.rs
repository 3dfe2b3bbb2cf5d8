//! The ordinary binary has none of the bugs that are planted for the harness's self-test.

/// What only a binary with the feature `planted-bugs` has in it.
const TRACES: [&str; 4] =
    ["TETRARCH_PLANTED_BUG", "PLANTED BUGS", "lose-last-of-group-commit", "swapped-answers"];

#[test]
fn the_ordinary_binary_has_no_trace_of_a_planted_bug() {
    let binary = std::fs::read(env!("CARGO_BIN_EXE_tetrarch")).unwrap();
    for trace in TRACES {
        let found = binary.windows(trace.len()).any(|bytes| bytes == trace.as_bytes());
        assert_eq!(found, cfg!(feature = "planted-bugs"), "{trace} in the binary");
    }
}
