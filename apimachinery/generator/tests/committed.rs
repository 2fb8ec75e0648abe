//! The committed files are what the generator writes.

use schema_generator::descriptions;

#[test]
fn the_committed_files_are_current() {
    let source = match schema_generator::source::locate() {
        Ok(source) => source,
        Err(error) => {
            eprintln!("SKIPPED: the source of k8s-openapi cannot be found: {error:#}");
            return;
        }
    };
    let root = schema_generator::source::apimachinery();
    let model = schema_generator::parse::parse(&source).unwrap();
    let said = std::fs::read(root.join(descriptions::PATH)).unwrap();
    let current = descriptions::expand(&said).unwrap() == descriptions::emit(&model).unwrap();
    assert!(current, "{} is stale: run `make generate`", descriptions::PATH);
    let files = schema_generator::generate(&model).unwrap();
    for (path, text) in &files {
        let committed = std::fs::read_to_string(root.join(path)).unwrap_or_default();
        assert!(committed == *text, "{} is stale: run `make generate`", path.display());
    }
    for folder in ["src/api", "src/schema/table"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let name = entry.unwrap().file_name();
            let path = std::path::Path::new(folder).join(&name);
            assert!(
                files.contains_key(&path) || name == "byte_string.rs",
                "{} is not generated any more: remove it",
                path.display()
            );
        }
    }
}
