//! Writes the generated files of `apimachinery` anew: `cargo run -p schema-generator`.

use anyhow::{Context as _, Result};

fn main() -> Result<()> {
    let source = schema_generator::source::locate()?;
    let root = schema_generator::source::apimachinery();
    for (path, text) in schema_generator::generate(&source)? {
        let path = root.join(path);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
