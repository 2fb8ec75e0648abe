//! Generates the API types of `apimachinery` from the source text of the k8s-openapi crate.
//!
//! Three things are made from one [`model::Model`]:
//! - the **typed views** (`apimachinery/src/api/*.rs`): plain serde structs of the kinds that our
//!   own components read ([`kinds::VIEWS`] and everything reachable from them);
//! - the **schema table** (`apimachinery/src/schema/table/*.rs`): every field of every stable
//!   built-in kind as static data.
//! - the **descriptions** (`apimachinery/src/schema/descriptions.zz`): what Kubernetes says of each.
//!
//! k8s-openapi itself is never compiled: [`source::locate`] asks Cargo where its source lies,
//! [`parse`] reads structs, JSON names and merge rules out of it. What that source cannot tell
//! (list-map keys of SSA, `retainKeys`, …) is in the reviewed [`overlay`]. The output is committed,
//! so that a build needs neither k8s-openapi nor this crate; `tests/committed.rs` compares.

pub mod descriptions;
pub mod format;
pub mod kinds;
pub mod model;
pub mod overlay;
pub mod parse;
pub mod source;
pub mod table;
pub mod views;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;

use crate::model::Model;

/// Generates all files: path relative to the `apimachinery` folder, and text.
///
/// # Errors
/// When the model is not shaped as expected.
pub fn generate(model: &Model) -> Result<BTreeMap<PathBuf, String>> {
    let mut files = views::emit(model)?;
    files.extend(table::emit(model)?);
    for text in files.values_mut() {
        *text = format::rustfmt(text)?;
    }
    Ok(files)
}
