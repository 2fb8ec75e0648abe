//! What Kubernetes says of its types and fields: one text for OpenAPI, compressed at rest.
//!
//! A line per type, `TYPE<TAB>description`, followed by one per field that has something to say,
//! `<TAB>field<TAB>type<TAB>values<TAB>description`. The type is there for fields that are no structs to the table
//! (`FieldsV1`), the values for enumerations, separated by commas. Line breaks, tabs and backslashes are escaped.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};

use anyhow::{Context as _, Result};
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};

use crate::model::{Model, Type};
use crate::{overlay, table};

/// Where the text is put, below the `apimachinery` folder.
pub const PATH: &str = "src/schema/descriptions.zz";

/// The name that OpenAPI gives to a type: `api::core::v1::Pod` is `io.k8s.api.core.v1.Pod`.
#[must_use]
pub fn definition(path: &str) -> String {
    format!("io.k8s.{}", path.replace("::", ".").replace('_', "-"))
}

/// Writes the text.
///
/// # Errors
/// When an enumeration's type is used nowhere.
pub fn emit(model: &Model) -> Result<String> {
    let (go_types, enums) = (overlay::go_types(), overlay::enums());
    let mut unused: BTreeSet<&str> = enums.keys().copied().collect();
    let reachable = table::reachable(model);
    let mut opaque = BTreeSet::new();
    let mut blocks = Vec::new();
    for path in reachable {
        let strukt = &model.structs[path];
        let mut block = format!("{}\t{}\n", definition(path), escape(&strukt.description));
        for (name, said) in strukt.identity.iter().filter(|_| strukt.kind.is_some()) {
            writeln!(block, "\t{name}\t\t\t{}", escape(said))?;
        }
        let version = path.rsplit("::").nth(1).unwrap_or_default();
        let mut fields: Vec<_> = strukt.fields.iter().collect();
        fields.sort_by(|a, b| a.json.cmp(&b.json));
        for field in fields {
            opaque.extend(field.opaque.as_deref());
            let place = format!("{version}.{}.{}", strukt.name, field.json);
            let go_type = go_types.get(place.as_str()).copied().unwrap_or("");
            let go_type = go_type.trim_start_matches("[]");
            let values = enums.get(go_type).copied().unwrap_or("");
            unused.remove(go_type);
            let raw = matches!(innermost(&field.ty), Type::Raw);
            let raw = field.opaque.as_deref().filter(|_| raw).map(definition).unwrap_or_default();
            let said = escape(&field.description);
            writeln!(block, "\t{}\t{raw}\t{values}\t{said}", field.json)?;
        }
        blocks.push(block);
    }
    anyhow::ensure!(unused.is_empty(), "no field has the enumerations {unused:?}");
    for path in opaque {
        let said = model.opaque.get(path).with_context(|| format!("nothing is said of {path}"))?;
        blocks.push(format!("{}\t{}\n", definition(path), escape(said)));
    }
    blocks.sort();
    Ok(blocks.concat())
}

fn innermost(ty: &Type) -> &Type {
    match ty {
        Type::List(inner) | Type::Map(inner) => innermost(inner),
        other => other,
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t")
}

/// Compresses the text.
///
/// # Errors
/// Never, in memory.
pub fn compress(text: &str) -> Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes())?;
    Ok(encoder.finish()?)
}

/// Reads what [`compress`] wrote.
///
/// # Errors
/// When it is damaged.
pub fn expand(bytes: &[u8]) -> Result<String> {
    let mut text = String::new();
    ZlibDecoder::new(bytes).read_to_string(&mut text).context("expand the descriptions")?;
    Ok(text)
}
