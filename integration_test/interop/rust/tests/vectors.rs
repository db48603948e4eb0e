//! The codec against the project's test vectors.

#[test]
fn vectors() {
    let read = |path: &str| std::fs::read_to_string(format!("../../../{path}")).expect(path);
    let tried =
        quicpeer_interop::vectors::run(&read("session/testdata/frames.txt"), &read("datagram/testdata/vectors.txt"));
    assert!(tried.as_ref().is_ok_and(|&n| n > 100), "{tried:?}");
}
