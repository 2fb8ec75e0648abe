//! Commands in pods, and their logs, by the API as `kubectl exec` and `kubectl logs` ask for them.

use apimachinery::status::Status;
use bytes::Bytes;
use client::{Client, wire};
use proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// A command to run.
#[derive(Clone, Debug, Default)]
pub struct ExecRequest {
    /// `name`, or `namespace/name`.
    pub pod: String,
    /// Empty: the default container.
    pub container: String,
    /// The argument vector.
    pub command: Vec<String>,
    /// What the command reads; None: it has no stdin.
    pub stdin: Option<Bytes>,
}

/// What a command left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecResult {
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Its exit code.
    pub code: i32,
}

impl ExecResult {
    /// The standard output of a command that must have succeeded.
    ///
    /// # Errors
    /// It did not.
    pub fn success(self) -> anyhow::Result<String> {
        anyhow::ensure!(self.code == 0, "exit code {}: {}{}", self.code, self.stdout, self.stderr);
        Ok(self.stdout)
    }
}

/// `namespace/name`, or a name in `default`.
pub(crate) fn split_name(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or(("default", name))
}

/// Runs a command in a pod and waits for its end.
///
/// # Errors
/// The API's: no such pod, not allowed, the container does not run.
pub async fn exec(client: &Client, request: ExecRequest) -> Result<ExecResult, Status> {
    use v1::exec_input::Kind as Input;
    use v1::exec_output::Kind as Output;

    let (namespace, name) = split_name(&request.pod);
    let start = v1::ExecStart {
        pod: Some(v1::PodRef {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            container: request.container,
            uid: String::new(),
        }),
        command: request.command,
        stdin: request.stdin.is_some(),
        stdout: true,
        stderr: true,
        tty: false,
    };
    let mut inputs = vec![Input::Start(start)];
    if let Some(stdin) = request.stdin {
        inputs.push(Input::Stdin(stdin));
        inputs.push(Input::StdinClosed(true));
    }
    let (sender, receiver) = mpsc::channel(inputs.len());
    for kind in inputs {
        sender.try_send(v1::ExecInput { kind: Some(kind) }).expect("the channel has room for all");
    }
    // The sender stays: its end would be the caller's going away.
    let failed = |status| wire::from_tonic(&status);
    let mut answers =
        client.streams().exec(ReceiverStream::new(receiver)).await.map_err(failed)?.into_inner();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(answer) = answers.message().await.map_err(failed)? {
        match answer.kind {
            Some(Output::Stdout(bytes)) => stdout.extend_from_slice(&bytes),
            Some(Output::Stderr(bytes)) => stderr.extend_from_slice(&bytes),
            Some(Output::Status(json)) => {
                drop(sender);
                let code = exit_code(&json)?;
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                return Ok(ExecResult { stdout: text(&stdout), stderr: text(&stderr), code });
            }
            None => {}
        }
    }
    Err(Status::internal("the exec stream ended without a status"))
}

/// 0, or the code of the cause `ExitCode`; any other failure is the API's.
fn exit_code(json: &[u8]) -> Result<i32, Status> {
    let status: serde_json::Value = serde_json::from_slice(json)
        .map_err(|error| Status::internal(format!("no status: {error}")))?;
    if status["status"] == "Success" {
        return Ok(0);
    }
    let causes = status["details"]["causes"].as_array();
    let code = causes
        .into_iter()
        .flatten()
        .find(|cause| cause["reason"] == "ExitCode")
        .and_then(|cause| cause["message"].as_str()?.parse().ok());
    code.ok_or_else(|| {
        Status::internal(status["message"].as_str().unwrap_or("a failure without words").to_owned())
    })
}

/// Reads the log of a container; of its run before, with `previous`.
///
/// # Errors
/// The API's.
pub async fn logs(
    client: &Client,
    pod: &str,
    container: &str,
    previous: bool,
) -> Result<String, Status> {
    let (namespace, name) = split_name(pod);
    let request = v1::LogsRequest {
        pod: Some(v1::PodRef {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            container: container.to_owned(),
            uid: String::new(),
        }),
        previous,
        ..v1::LogsRequest::default()
    };
    let failed = |status| wire::from_tonic(&status);
    let mut chunks = client.streams().logs(request).await.map_err(failed)?.into_inner();
    let mut log = Vec::new();
    while let Some(chunk) = chunks.message().await.map_err(failed)? {
        log.extend_from_slice(&chunk.data);
    }
    Ok(String::from_utf8_lossy(&log).into_owned())
}
