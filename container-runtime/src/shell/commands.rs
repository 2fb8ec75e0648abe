//! The commands of the userland: one table, one file per command or small group.

mod process;

use std::future::Future;
use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::program::{ContainerContext, ExitStatus, Program};

/// What a command gives: its exit code, or that its output has no reader any more.
pub(crate) type Outcome = io::Result<i32>;
type Run = fn(ContainerContext) -> BoxFuture<'static, Outcome>;

/// Every command by name.
pub(crate) const COMMANDS: &[(&str, Run)] = &[
    ("false", |c| boxed(process::false_(c))),
    ("sleep", |c| boxed(process::sleep(c))),
    ("true", |c| boxed(process::true_(c))),
];

fn boxed(future: impl Future<Output = Outcome> + Send + 'static) -> BoxFuture<'static, Outcome> {
    Box::pin(future)
}

/// A command as a Program.
struct Command(Run);

impl Program for Command {
    fn run(&self, context: ContainerContext) -> BoxFuture<'static, ExitStatus> {
        let future = (self.0)(context);
        Box::pin(async move {
            match future.await {
                Ok(code) => ExitStatus(code),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitStatus(141),
                Err(_) => ExitStatus(1),
            }
        })
    }
}

pub(super) fn find(name: &str) -> Option<Arc<dyn Program>> {
    let base = name.rsplit('/').next().unwrap_or(name);
    let (_, run) = COMMANDS.iter().find(|(known, _)| *known == base)?;
    Some(Arc::new(Command(*run)))
}
