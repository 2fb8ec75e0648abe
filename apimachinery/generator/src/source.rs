//! Finds the source of the k8s-openapi crate and the folder that the output goes to.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// The Kubernetes version whose types are generated, as k8s-openapi names its module.
pub const VERSION: &str = "v1_36";

/// Returns the `apimachinery` folder.
#[must_use]
pub fn apimachinery() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Asks Cargo where the locked k8s-openapi lies and returns the folder of [`VERSION`]'s types.
///
/// # Errors
/// When Cargo cannot resolve it, for instance offline before the first download.
pub fn locate() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .output()
        .context("run cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let manifest = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "k8s-openapi")
        .and_then(|package| package["manifest_path"].as_str())
        .context("k8s-openapi is not in the dependency graph")?;
    let folder = Path::new(manifest).with_file_name("src").join(VERSION);
    ensure!(folder.is_dir(), "{} is missing", folder.display());
    Ok(folder)
}
