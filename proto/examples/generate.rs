//! Regenerates `src/gen/` from the `.proto` files: `cargo run -p proto --example generate`.

use std::path::Path;

/// The `.proto` files below this crate's root, in the order of their first use.
const SOURCES: [&str; 6] = [
    "kubemini/v1/api.proto",
    "kubemini/v1/streams.proto",
    "kubemini/v1/kubelet.proto",
    "kubemini/v1/node.proto",
    "kubemini/v1/scheduling.proto",
    "kubemini/v1/inspection.proto",
];

/// Writes the Rust code of all packages into `out_dir`.
pub(crate) fn generate(out_dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile(SOURCES, [root])?;
    tonic_prost_build::configure()
        .bytes(".")
        .out_dir(out_dir)
        .emit_rerun_if_changed(false)
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}

#[allow(dead_code, reason = "the test `generated` takes this file as a module")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    generate(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gen"))
}
