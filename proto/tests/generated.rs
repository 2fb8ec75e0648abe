//! The committed code is what the `.proto` files say.

#[path = "../examples/generate.rs"]
mod generate;

use std::{fs, path::Path};

#[test]
fn committed_code_is_current() {
    let fresh = tempfile::tempdir().unwrap();
    generate::generate(fresh.path()).unwrap();
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gen");
    let names = |dir: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(fresh.path()), names(&committed));
    for name in names(&committed) {
        let same =
            fs::read(fresh.path().join(&name)).unwrap() == fs::read(committed.join(&name)).unwrap();
        assert!(same, "{name:?} is stale: run `cargo run -p proto --example generate`");
    }
}
