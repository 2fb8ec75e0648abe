//! Clients that are not ours: Python's `kubernetes` and npm's `@kubernetes/client-node`, each by a program in
//! `tests/clients` that tries what such clients do. `make clients` installs the libraries below `target/clients`; where
//! they are missing, the test says so and passes.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tests::TestCluster;

use super::support::project;

/// Where `make clients` puts the libraries.
fn installed(what: &str) -> Option<PathBuf> {
    let path = project().join("target/clients").join(what);
    if path.exists() {
        return Some(path);
    }
    let notice = format!("SKIPPED: {} is missing: run `make clients`\n", path.display());
    // Past the capture of output, so that it is seen.
    let _ = std::io::stderr().write_all(notice.as_bytes());
    None
}

/// Runs a program against a cluster of its own; all that it says is shown if it fails.
async fn passes(program: &Path, script: &Path) {
    let cluster = TestCluster::builder().nodes(2).start().await.unwrap();
    let mut command = Command::new(program);
    command
        .arg(script)
        .env_clear()
        .env("HOME", cluster.folder())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("KUBECONFIG", cluster.kubeconfig())
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, failed) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}{failed}");
    assert!(said.lines().count() > 5, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pythons_client_works() {
    let Some(python) = installed("python/bin/python") else { return };
    passes(&python, &project().join("tests/clients/client.py")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_client_works() {
    let Some(folder) = installed("node") else { return };
    // Node looks for libraries beside the program.
    let script = folder.join("client.mjs");
    std::fs::copy(project().join("tests/clients/client.mjs"), &script).unwrap();
    passes(Path::new("node"), &script).await;
}
