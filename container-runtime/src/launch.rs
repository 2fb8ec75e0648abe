//! From the name of an executable to the Program it starts.

use std::sync::Arc;

use crate::files::{FileType, join};
use crate::program::{ContainerContext, Program};
use crate::shell;

/// Where names without a slash are looked for when `PATH` is not set.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why an executable cannot be run; displays as runc words it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// A name that is nowhere in the path.
    #[error("exec: \"{0}\": executable file not found in $PATH: unknown")]
    NotFound(String),
    /// A path where nothing is.
    #[error("exec: \"{0}\": stat {0}: no such file or directory: unknown")]
    NoSuchFile(String),
    /// A directory, or a file without the execute bit.
    #[error("exec: \"{0}\": permission denied: unknown")]
    PermissionDenied(String),
}

impl LaunchError {
    /// 126 for what is there but cannot run, 127 for what is not there.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::PermissionDenied(_) => 126,
            Self::NotFound(_) | Self::NoSuchFile(_) => 127,
        }
    }
}

/// Finds what a name starts in this container: a Program of the image, a command of the userland, or
/// a script of the container's files.
pub(crate) fn find(
    context: &ContainerContext,
    name: &str,
) -> Result<Arc<dyn Program>, LaunchError> {
    let command = || context.image.command(name);
    let files = &context.files;
    if name.contains('/') {
        let path = join(&context.working_dir, name);
        return match files.metadata(&path) {
            Ok(found) if found.kind == FileType::Executable => context
                .image
                .named_executable(name)
                .or_else(command)
                .or_else(|| context.image.any_executable())
                .ok_or_else(|| LaunchError::NoSuchFile(name.to_owned())),
            Ok(found) if found.kind == FileType::File && found.mode & 0o111 != 0 => {
                script(context, path).ok_or_else(|| LaunchError::NoSuchFile(name.to_owned()))
            }
            Ok(_) => Err(LaunchError::PermissionDenied(name.to_owned())),
            Err(_) => context
                .image
                .any_executable()
                .ok_or_else(|| LaunchError::NoSuchFile(name.to_owned())),
        };
    }
    if let Some(program) = context.image.named_executable(name).or_else(command) {
        return Ok(program);
    }
    let path = context.env("PATH").unwrap_or(DEFAULT_PATH);
    for directory in path.split(':').filter(|directory| !directory.is_empty()) {
        let path = join(directory, name);
        let found = files.metadata(&path);
        if found.is_ok_and(|found| found.kind == FileType::File && found.mode & 0o111 != 0)
            && let Some(program) = script(context, path)
        {
            return Ok(program);
        }
    }
    context.image.any_executable().ok_or_else(|| LaunchError::NotFound(name.to_owned()))
}

/// A file of the container with the execute bit is run by the shell, whatever its `#!` line says.
fn script(context: &ContainerContext, path: String) -> Option<Arc<dyn Program>> {
    context.image.userland.then(|| shell::script(path))
}

/// Where `which` finds what [`find`] found.
pub(crate) fn path_of(context: &ContainerContext, name: &str) -> String {
    if name.contains('/') {
        return name.to_owned();
    }
    let path = context.env("PATH").unwrap_or(DEFAULT_PATH);
    path.split(':')
        .map(|directory| join(directory, name))
        .find(|path| context.files.exists(path))
        .unwrap_or_else(|| name.to_owned())
}
