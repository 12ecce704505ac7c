//! The text of topology files.

use wharf::Topology;

/// Any bytes: an error that says where, or a value that prints to a text of the same value.
pub fn topology(bytes: &[u8]) {
    let parsed = match Topology::parse(bytes, "some.toml") {
        Ok(parsed) => parsed,
        Err(error) => {
            assert!(!error.faults().is_empty());
            assert!(error.to_string().starts_with("some.toml"));
            return;
        }
    };
    let text = parsed.to_toml();
    match Topology::parse(&text, "printed.toml") {
        Ok(again) => assert_eq!(again, parsed, "{text}"),
        Err(error) => panic!("{error}\nof\n{text}"),
    }
    // What can be loaded can be shown, whatever machine it is for.
    for cores in [1, 64] {
        assert!(!parsed.thread_map(cores).to_string().is_empty());
    }
}
