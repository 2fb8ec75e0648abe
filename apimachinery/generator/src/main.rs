//! Writes the generated files of `apimachinery` anew: `cargo run -p schema-generator`.

use anyhow::{Context as _, Result};
use schema_generator::descriptions;

fn main() -> Result<()> {
    let source = schema_generator::source::locate()?;
    let root = schema_generator::source::apimachinery();
    let model = schema_generator::parse::parse(&source)?;
    let said = descriptions::compress(&descriptions::emit(&model)?)?;
    std::fs::write(root.join(descriptions::PATH), said).context("write the descriptions")?;
    for (path, text) in schema_generator::generate(&model)? {
        let path = root.join(path);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
