//! `pause`: waits for SIGTERM.

use super::program;
use crate::catalogue::ImageDefinition;
use crate::program::{ContainerContext, ExitStatus};

pub(super) fn image() -> ImageDefinition {
    ImageDefinition::named(&[("pause", program(run))])
        .entrypoint(&["/pause"])
        .without_userland()
        .megabytes(1)
}

pub(crate) async fn run(context: ContainerContext) -> ExitStatus {
    context.signals.terminated().await;
    // The exit code is no matter; the line is what the real one prints.
    let _ = context.stderr.write_all("Shutting down, got signal: Terminated\n").await;
    ExitStatus::SUCCESS
}
