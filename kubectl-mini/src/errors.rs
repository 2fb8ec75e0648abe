//! Errors as kubectl words them.
//!
//! kubectl tells four families apart (`cmdutil.CheckErr`): what the server says (`Error from server (NotFound): …`),
//! what the server says of an invalid object (`The Pod "x" is invalid: …`), failures on the way to the server, and
//! everything else (`error: …`). [`report`] gives the text for stderr and the exit code.

use apimachinery::{
    field::go_quote,
    status::{Status, StatusDetails, StatusReason},
};
use client::wire::transport_failure;
use component_base::transport::Failure;

use crate::cli::FlagError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The API server's answer, or a failure on the way to it.
    #[error("{}", .0.message)]
    Api(Box<Status>),
    /// Anything else; printed after `error: `.
    #[error("{0}")]
    Message(String),
    /// Printed as it is.
    #[error("{0}")]
    Verbatim(String),
    /// The command line cannot be read.
    #[error("{error}")]
    Flag {
        /// What is wrong.
        error: FlagError,
        /// The command, as typed: `kubectl-mini get`.
        command: String,
    },
    /// The arguments make no sense together; followed by a hint to the help.
    #[error("{message}\nSee '{command} -h' for help and examples")]
    Usage {
        /// What is wrong.
        message: String,
        /// The command, as typed: `kubectl-mini get`.
        command: String,
    },
    /// The server has no such type.
    #[error("the server doesn't have a resource type {}", go_quote(.0))]
    NoResourceType(String),
    /// Several errors, one line each.
    #[error("{}", aggregate(.0))]
    Several(Vec<Self>),
    /// Goes behind output that was made before it came.
    #[error("{error}")]
    AfterOutput {
        /// For standard output.
        printed: String,
        /// What went wrong then.
        error: Box<Self>,
    },
    /// Ends with this code; the text, if any, goes to stderr as it is.
    #[error("{text}")]
    Exit {
        /// For stderr; empty: nothing.
        text: String,
        /// The exit code.
        code: u8,
    },
    /// The reader of our output is gone.
    #[error("broken pipe")]
    BrokenPipe,
}

impl From<Status> for CommandError {
    fn from(status: Status) -> Self {
        Self::Api(Box::new(status))
    }
}

impl CommandError {
    /// An error of our own, printed after `error: `.
    pub fn message(text: impl Into<String>) -> Self {
        Self::Message(text.into())
    }

    /// Wrong arguments of `command` (without the program's name).
    pub fn usage(command: &str, message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), command: format!("{} {command}", crate::PROGRAM) }
    }

    /// No error, the one error, or all of them.
    ///
    /// # Errors
    /// When there are any.
    pub fn gather(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }

    /// All errors as a list, even when there is one: then none gets the prefix `error: `, as in kubectl's commands that
    /// go on after errors.
    ///
    /// # Errors
    /// When there are any.
    pub fn list(errors: Vec<Self>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self::Several(errors)) }
    }

    /// The API server's word, where it is that.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Api(status) => Some(status),
            _ => None,
        }
    }

    /// Whether the API server does not know the object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(Status::is_not_found)
    }
}

/// Go's text of several errors: one stands for itself, and none is told twice.
fn aggregate(errors: &[CommandError]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in errors.iter().map(ToString::to_string) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [text] => text.clone(),
        texts => format!("[{}]", texts.join(", ")),
    }
}

/// The text for stderr and the exit code. `server` is the API server's `host:port`.
#[must_use]
pub fn report(error: &CommandError, server: &str) -> (String, u8) {
    let mut text = match error {
        CommandError::BrokenPipe => return (String::new(), 141),
        CommandError::Exit { text, code } => return (with_newline(text.clone()), *code),
        CommandError::AfterOutput { error, .. } => return report(error, server),
        CommandError::Api(status) if is_answer(status) && status.is_invalid() => invalid(status),
        CommandError::Several(errors) => {
            errors.iter().map(|error| one_of_several(error, server) + "\n").collect()
        }
        CommandError::Flag { error, command } => {
            format!("error: {error}\nSee '{command} --help' for usage.")
        }
        CommandError::Verbatim(text) => text.clone(),
        CommandError::Api(status) => from_server(status, server),
        CommandError::Message(_) | CommandError::Usage { .. } | CommandError::NoResourceType(_) => {
            let text = error.to_string();
            if text.starts_with("error: ") { text } else { format!("error: {text}") }
        }
    };
    text = with_newline(text);
    (text, 1)
}

fn with_newline(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn is_answer(status: &Status) -> bool {
    transport_failure(status).is_none()
}

fn one_of_several(error: &CommandError, server: &str) -> String {
    match error {
        CommandError::Api(status) => from_server(status, server),
        other => other.to_string(),
    }
}

/// kubectl's `StandardErrorMessage`.
fn from_server(status: &Status, server: &str) -> String {
    match transport_failure(status) {
        Some((Failure::Refused, _)) => connection_refused(server),
        Some((Failure::UnknownAuthority, words)) => unknown_authority(words),
        Some((Failure::TimedOut, _)) => {
            format!("Unable to connect to the server: dial tcp {server}: i/o timeout")
        }
        Some((Failure::Tls | Failure::Lost, words)) => {
            format!("Unable to connect to the server: {words}")
        }
        None => match &status.reason {
            StatusReason::Unauthorized => {
                format!("error: You must be logged in to the server ({})", status.message)
            }
            StatusReason::Unknown => format!("Error from server: {}", status.message),
            reason => format!("Error from server ({}): {}", reason.as_str(), status.message),
        },
    }
}

/// All clusters' authorities bear one name, so that another cluster's certificate looks like a forgery, and Go says so.
fn unknown_authority(words: &str) -> String {
    const TEXT: &str = "Unable to connect to the server: tls: failed to verify certificate: x509: certificate signed by unknown authority";
    const FORGED: &str = " (possibly because of \"x509: ECDSA verification failure\" while trying to verify candidate authority certificate \"kubernetes\")";
    let hint = if words.contains("BadSignature") { FORGED } else { "" };
    format!("{TEXT}{hint}")
}

/// What kubectl says when nobody listens at `server`.
#[must_use]
pub fn connection_refused(server: &str) -> String {
    format!(
        "The connection to the server {server} was refused - did you specify the right host or port?"
    )
}

/// The server found an object's fields wrong.
fn invalid(status: &Status) -> String {
    let start = "The request is invalid";
    let Some(details) = &status.details else {
        return if status.message.is_empty() {
            start.to_owned()
        } else {
            format!("{start}: {}", status.message)
        };
    };
    let start = if !details.kind.is_empty() || !details.name.is_empty() {
        format!("The {} {} is invalid", details.kind, go_quote(&details.name))
    } else if !status.message.is_empty() && details.causes.is_empty() {
        format!("{start}: {}", status.message)
    } else {
        start.to_owned()
    };
    match causes(details).as_slice() {
        [] => start,
        [cause] => format!("{start}: {cause}"),
        causes => {
            let lines: Vec<String> = causes.iter().map(|cause| format!("* {cause}\n")).collect();
            format!("{start}: \n{}", lines.concat())
        }
    }
}

fn causes(details: &StatusDetails) -> Vec<String> {
    let mut causes = Vec::new();
    for cause in &details.causes {
        let text = format!("{}: {}", cause.field, cause.message);
        if !causes.contains(&text) {
            causes.push(text);
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use apimachinery::{
        field::{FieldError, Path},
        resource,
    };

    use super::*;

    #[test]
    fn errors_read_as_kubectls() {
        let check = |error: CommandError, expected: &str| {
            assert_eq!(report(&error, "127.0.0.1:6443"), (expected.to_owned(), 1));
        };
        let not_found = || CommandError::from(Status::not_found(&resource::PODS, "x"));
        check(not_found(), "Error from server (NotFound): pods \"x\" not found\n");
        check(CommandError::message("what"), "error: what\n");
        check(
            CommandError::NoResourceType("foo".to_owned()),
            "error: the server doesn't have a resource type \"foo\"\n",
        );
        check(
            CommandError::Several(vec![not_found(), CommandError::message("what")]),
            "Error from server (NotFound): pods \"x\" not found\nwhat\n",
        );
        check(
            CommandError::usage("logs", "what"),
            "error: what\nSee 'kubectl-mini logs -h' for help and examples\n",
        );
        check(
            Status::unauthorized().into(),
            "error: You must be logged in to the server (Unauthorized)\n",
        );
    }

    #[test]
    fn invalid_objects_list_their_causes() {
        let port = Path::new("spec").child("ports").index(0).child("port");
        let error = FieldError::invalid(&port, 0, "must be between 1 and 65535, inclusive");
        let other = FieldError::required(&Path::new("spec").child("type"), "");
        let check = |errors: Vec<FieldError>, expected: &str| {
            let status = Status::invalid(&resource::SERVICES, "web", errors);
            assert_eq!(report(&status.into(), "").0, expected);
        };
        check(
            vec![error.clone()],
            "The Service \"web\" is invalid: spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive\n",
        );
        check(
            vec![error.clone(), error, other],
            "The Service \"web\" is invalid: \n* spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive\n* spec.type: Required value\n",
        );
    }
}
