//! What the launcher prints: the one place that writes to the terminal.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the launcher speaks to its user here"
)]

/// A line of output.
pub fn line(text: &str) {
    println!("{text}");
}

/// Progress and remarks: not part of the output proper.
pub fn note(text: &str) {
    eprintln!("{text}");
}

/// What went wrong.
pub fn error(text: &str) {
    eprintln!("error: {text}");
}
