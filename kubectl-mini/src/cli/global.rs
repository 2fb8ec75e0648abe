//! The flags of every command.

use std::time::Duration;

use clap::{ArgMatches, Args, FromArgMatches};

use super::values::{parse_duration, parse_i32};
use crate::errors::CommandError;

/// kubectl's global flags, those that are acted on; any other is unknown.
#[derive(Args, Clone, Debug, Default)]
pub struct GlobalFlags {
    /// Username to impersonate for the operation. User could be a regular user or a service account in a namespace.
    #[arg(long = "as")]
    pub r#as: Option<String>,
    /// Group to impersonate for the operation, this flag can be repeated to specify multiple groups.
    #[arg(long)]
    pub as_group: Vec<String>,
    /// Path to a cert file for the certificate authority
    #[arg(long)]
    pub certificate_authority: Option<String>,
    /// Path to a client certificate file for TLS
    #[arg(long)]
    pub client_certificate: Option<String>,
    /// Path to a client key file for TLS
    #[arg(long)]
    pub client_key: Option<String>,
    /// The name of the kubeconfig cluster to use
    #[arg(long)]
    pub cluster: Option<String>,
    /// The name of the kubeconfig context to use
    #[arg(long)]
    pub context: Option<String>,
    /// Path to the kubeconfig file to use for CLI requests.
    #[arg(long)]
    pub kubeconfig: Option<String>,
    /// If present, the namespace scope for this CLI request
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// The length of time to wait before giving up on a single server request. Non-zero values should contain a
    /// corresponding time unit (e.g. 1s, 2m, 3h). A value of zero means don't timeout requests.
    #[arg(long)]
    pub request_timeout: Option<String>,
    /// The address and port of the Kubernetes API server
    #[arg(long, short)]
    pub server: Option<String>,
    /// Server name to use for server certificate validation. If it is not provided, the hostname used to contact the
    /// server is used
    #[arg(long)]
    pub tls_server_name: Option<String>,
    /// Bearer token for authentication to the API server
    #[arg(long)]
    pub token: Option<String>,
    /// The name of the kubeconfig user to use
    #[arg(long)]
    pub user: Option<String>,
    /// number for the log level verbosity
    #[arg(long = "v", short = 'v', value_parser = parse_i32)]
    pub v: Option<i32>,
    /// Treat warnings received from the server as errors and exit with a non-zero exit code
    #[arg(long)]
    pub warnings_as_errors: bool,
}

impl GlobalFlags {
    pub(super) fn definition() -> clap::Command {
        Self::augment_args(clap::Command::new(crate::PROGRAM))
    }

    /// Reads them from a command's matches. A command may define a flag of the same name and type: it then means
    /// both.
    pub(super) fn of(matches: &ArgMatches) -> Self {
        Self::from_arg_matches(matches).unwrap_or_default()
    }

    /// Drops the values of flags that the command defines itself: there they mean something else
    /// (`create rolebinding --user`).
    pub(super) fn forget(&mut self, is_own: impl Fn(&str) -> bool) {
        let flags = [
            ("cluster", &mut self.cluster),
            ("user", &mut self.user),
            ("server", &mut self.server),
            ("token", &mut self.token),
            ("certificate-authority", &mut self.certificate_authority),
            ("client-certificate", &mut self.client_certificate),
            ("client-key", &mut self.client_key),
            ("tls-server-name", &mut self.tls_server_name),
        ];
        for (name, value) in flags {
            if is_own(name) {
                *value = None;
            }
        }
    }

    /// The flag's meaning; `None`: no limit.
    ///
    /// # Errors
    /// kubectl's message.
    pub fn timeout(&self) -> Result<Option<Duration>, CommandError> {
        let Some(text) = self.request_timeout.as_deref() else { return Ok(None) };
        let parsed = match text.parse::<u64>() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => parse_duration(text).ok().filter(|d| !d.negative).map(|d| d.magnitude),
        };
        let timeout = parsed.ok_or_else(|| {
            CommandError::message(
                "Invalid timeout value. Timeout must be a single integer in seconds, or an integer followed by a corresponding time unit (e.g. 1s | 2m | 3h)",
            )
        })?;
        Ok(Some(timeout).filter(|timeout| !timeout.is_zero()))
    }
}
