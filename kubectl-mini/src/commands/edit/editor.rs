//! The user's editor, run on a temporary file.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use crate::{PROGRAM, context::Context, errors::CommandError};

/// A file as the editor left it.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Draft {
    /// Removes the file; where it cannot be, it is left lying.
    pub(super) fn remove(self) {
        let _ = fs::remove_file(self.path);
    }
}

/// Lets the user edit `contents`; the file stays until the draft is removed.
pub(super) async fn edit(
    context: &Context,
    contents: &str,
    extension: &str,
) -> Result<Draft, CommandError> {
    let unwritable =
        |error: &dyn std::fmt::Display| CommandError::message(format!("temporary file: {error}"));
    let file = tempfile::Builder::new()
        .prefix(&format!("{PROGRAM}-edit-"))
        .suffix(extension)
        .tempfile()
        .map_err(|error| unwritable(&error))?;
    let (_, path) = file.keep().map_err(|error| unwritable(&error))?;
    fs::write(&path, contents).map_err(|error| unwritable(&error))?;
    if let Err(error) = launch(context, &path).await {
        let _ = fs::remove_file(&path);
        return Err(error);
    }
    let text = fs::read_to_string(&path).map_err(|error| unwritable(&error))?;
    Ok(Draft { path, text })
}

/// How an editor is called: its words, and whether a shell is to read the last one.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    words: Vec<String>,
    by_shell: bool,
}

/// Reads what `KUBE_EDITOR` or `EDITOR` say: a program and its arguments, or, with quotes, a line for the shell.
fn call(editor: Option<&str>, shell: Option<&str>) -> Call {
    let editor = editor.filter(|editor| !editor.is_empty()).unwrap_or("vi");
    if editor.contains(['"', '\'', '\\']) && editor.contains(' ') {
        let shell = shell.filter(|shell| !shell.is_empty()).unwrap_or("/bin/bash");
        let words = vec![shell.to_owned(), "-c".to_owned(), editor.to_owned()];
        return Call { words, by_shell: true };
    }
    Call { words: editor.split(' ').map(ToOwned::to_owned).collect(), by_shell: false }
}

async fn launch(context: &Context, path: &Path) -> Result<(), CommandError> {
    let environment = &context.environment;
    let call = call(environment.editor.as_deref(), environment.shell.as_deref());
    let told = apimachinery::field::go_quote(&call.words.join(" "));
    let mut words = call.words;
    let file = path.display().to_string();
    match words.last_mut() {
        Some(last) if call.by_shell => *last = format!("{last} {file:?}"),
        _ => words.push(file),
    }
    let ended = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::inherit())
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit())
        .status()
        .await;
    match ended {
        Ok(status) if status.success() => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(CommandError::message(format!("unable to launch the editor {told}")))
        }
        _ => Err(CommandError::message(format!("there was a problem with the editor {told}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_are_programs_or_lines_for_the_shell() {
        let check = |editor: Option<&str>, words: &[&str], by_shell: bool| {
            let expected =
                Call { words: words.iter().map(|w| (*w).to_owned()).collect(), by_shell };
            assert_eq!(call(editor, Some("/bin/sh")), expected);
        };
        check(None, &["vi"], false);
        check(Some(""), &["vi"], false);
        check(Some("nano"), &["nano"], false);
        check(Some("code --wait"), &["code", "--wait"], false);
        check(Some("sh -c 'x y'"), &["/bin/sh", "-c", "sh -c 'x y'"], true);
    }
}
