//! Formats generated text with the toolchain's rustfmt, so that `cargo fmt` leaves it alone.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// Formats one file's text by the workspace's `rustfmt.toml`.
///
/// # Errors
/// When rustfmt is missing or refuses the text.
pub fn rustfmt(text: &str) -> Result<String> {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(crate::source::apimachinery().join(".."))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start rustfmt")?;
    let mut stdin = child.stdin.take().context("rustfmt has no stdin")?;
    let input = text.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().context("run rustfmt")?;
    ensure!(output.status.success(), "rustfmt refused the generated text");
    writer.join().ok().context("rustfmt's writer panicked")?.context("write to rustfmt")?;
    String::from_utf8(output.stdout).context("rustfmt's output is not UTF-8")
}
