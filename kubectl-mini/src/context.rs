//! What a command runs in: streams, clock, kubeconfig and client.
//!
//! The kubeconfig is read and the client made when first asked for, so that a command that needs neither works without
//! a cluster, and a usage error wins over a missing file. Requests go through [`Context::request`], which keeps
//! `--request-timeout`.

mod kubeconfig;

use std::{
    cell::{Cell, OnceCell, RefCell},
    ffi::OsString,
    future::Future,
    io::{self, Read, Write},
    path::PathBuf,
};

use apimachinery::{resource::ResourceInfo, status::Status};
use client::Client;
use component_base::{
    clock::Clock,
    kubeconfig::{Kubeconfig, Resolved},
};

use jiff::tz::TimeZone;
use tracing::debug;

pub use self::kubeconfig::{UNSET_SERVER, load_paths};
use crate::{cli::GlobalFlags, errors::CommandError};

/// What the library reads of its environment.
#[derive(Clone, Debug)]
pub struct Environment {
    /// `KUBECONFIG`.
    pub kubeconfig: Option<OsString>,
    /// The home directory.
    pub home: Option<PathBuf>,
    /// In which times of day are told.
    pub time_zone: TimeZone,
    /// `KUBE_EDITOR`, else `EDITOR`.
    pub editor: Option<String>,
    /// `SHELL`.
    pub shell: Option<String>,
    /// `KUBECTL_EXTERNAL_DIFF`.
    pub diff_program: Option<String>,
}

impl Default for Environment {
    /// Nothing around, and the time of Greenwich.
    fn default() -> Self {
        Self {
            kubeconfig: None,
            home: None,
            time_zone: TimeZone::UTC,
            editor: None,
            shell: None,
            diff_program: None,
        }
    }
}

/// Where a command reads and prints.
pub struct Streams {
    /// Standard input.
    pub stdin: Box<dyn Read + Send>,
    /// Whether somebody types there.
    pub stdin_is_terminal: bool,
    /// Standard output.
    pub stdout: Box<dyn Write>,
    /// Standard error.
    pub stderr: Box<dyn Write>,
}

/// One call of the program.
pub struct Invocation {
    /// The words after the program's name.
    pub arguments: Vec<String>,
    /// What is around.
    pub environment: Environment,
    /// Where to read and print.
    pub streams: Streams,
    /// What time it is.
    pub clock: Clock,
}

/// What a command runs in.
pub struct Context {
    /// The flags of every command.
    pub global: GlobalFlags,
    /// What is around.
    pub environment: Environment,
    /// What time it is.
    pub clock: Clock,
    /// Whether somebody types on standard input.
    pub stdin_is_terminal: bool,
    stdin: RefCell<Option<Box<dyn Read + Send>>>,
    stdout: RefCell<Box<dyn Write>>,
    stderr: RefCell<Box<dyn Write>>,
    kubeconfig: OnceCell<Kubeconfig>,
    resolved: OnceCell<Resolved>,
    client: OnceCell<Client>,
    discovered: OnceCell<Vec<&'static ResourceInfo>>,
    warnings: Cell<usize>,
}

impl Context {
    pub(crate) fn new(environment: Environment, streams: Streams, clock: Clock) -> Self {
        let Streams { stdin, stdin_is_terminal, stdout, stderr } = streams;
        Self {
            global: GlobalFlags::default(),
            environment,
            clock,
            stdin_is_terminal,
            stdin: RefCell::new(Some(stdin)),
            stdout: RefCell::new(stdout),
            stderr: RefCell::new(stderr),
            kubeconfig: OnceCell::new(),
            resolved: OnceCell::new(),
            client: OnceCell::new(),
            discovered: OnceCell::new(),
            warnings: Cell::new(0),
        }
    }

    /// What the server is known to serve, if it was asked.
    #[must_use]
    pub fn discovered(&self) -> Option<&[&'static ResourceInfo]> {
        self.discovered.get().map(Vec::as_slice)
    }

    /// Notes what the server serves; the first answer counts.
    pub(crate) fn learn(&self, served: Vec<&'static ResourceInfo>) {
        self.discovered.get_or_init(|| served);
    }

    /// Prints on standard output.
    ///
    /// # Errors
    /// When nobody reads it any more, or it cannot be written.
    pub fn print(&self, text: &str) -> Result<(), CommandError> {
        self.print_bytes(text.as_bytes())
    }

    /// Prints bytes on standard output, at once.
    ///
    /// # Errors
    /// When nobody reads it any more, or it cannot be written.
    pub fn print_bytes(&self, bytes: &[u8]) -> Result<(), CommandError> {
        write(&mut *self.stdout.borrow_mut(), bytes)
    }

    /// Prints on standard error.
    ///
    /// # Errors
    /// When nobody reads it any more, or it cannot be written.
    pub fn print_err(&self, text: &str) -> Result<(), CommandError> {
        self.print_err_bytes(text.as_bytes())
    }

    /// Prints bytes on standard error.
    ///
    /// # Errors
    /// When nobody reads it any more, or it cannot be written.
    pub fn print_err_bytes(&self, bytes: &[u8]) -> Result<(), CommandError> {
        write(&mut *self.stderr.borrow_mut(), bytes)
    }

    /// Tells what the server, or this program, warns of: `Warning: …`.
    ///
    /// # Errors
    /// When standard error cannot be written.
    pub fn warn<T: AsRef<str>>(&self, warnings: &[T]) -> Result<(), CommandError> {
        self.warnings.set(self.warnings.get() + warnings.len());
        warnings
            .iter()
            .try_for_each(|text| self.print_err(&format!("Warning: {}\n", text.as_ref())))
    }

    /// `--warnings-as-errors`.
    pub(crate) fn check_warnings(&self) -> Result<(), CommandError> {
        match self.warnings.get() {
            count if count > 0 && self.global.warnings_as_errors => {
                let plural = if count == 1 { "" } else { "s" };
                Err(CommandError::message(format!("{count} warning{plural} received")))
            }
            _ => Ok(()),
        }
    }

    /// Reads all of standard input. A second call gets nothing.
    ///
    /// # Errors
    /// When it cannot be read or is no text.
    pub fn read_stdin(&self) -> Result<String, CommandError> {
        let mut text = String::new();
        if let Some(mut stdin) = self.take_stdin() {
            stdin
                .read_to_string(&mut text)
                .map_err(|error| CommandError::message(format!("error reading stdin: {error}")))?;
        }
        Ok(text)
    }

    /// Takes standard input, to be read elsewhere.
    pub fn take_stdin(&self) -> Option<Box<dyn Read + Send>> {
        self.stdin.borrow_mut().take()
    }

    /// The kubeconfig files, merged.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn kubeconfig(&self) -> Result<&Kubeconfig, CommandError> {
        if let Some(config) = self.kubeconfig.get() {
            return Ok(config);
        }
        let config = kubeconfig::load(&self.global, &self.environment)?;
        Ok(self.kubeconfig.get_or_init(|| config))
    }

    /// The context that requests go to.
    ///
    /// # Errors
    /// When it leads nowhere.
    pub fn resolved(&self) -> Result<&Resolved, CommandError> {
        if let Some(resolved) = self.resolved.get() {
            return Ok(resolved);
        }
        self.global.timeout()?;
        let resolved = kubeconfig::resolve(self.kubeconfig()?, &self.global)?;
        Ok(self.resolved.get_or_init(|| resolved))
    }

    /// The namespace that requests are about; works without a cluster.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read.
    pub fn namespace(&self) -> Result<String, CommandError> {
        kubeconfig::namespace(self.kubeconfig()?, &self.global)
    }

    /// Whether the namespace was given on the command line: then objects of another are refused.
    #[must_use]
    pub fn namespace_is_enforced(&self) -> bool {
        self.global.namespace.as_deref().is_some_and(|namespace| !namespace.is_empty())
    }

    /// The client; nothing is connected before the first request.
    ///
    /// # Errors
    /// When the kubeconfig leads nowhere.
    pub fn client(&self) -> Result<&Client, CommandError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let mut client = Client::new(&self.resolved()?.endpoint)?.with_field_manager(FIELD_MANAGER);
        if let Some(user) = &self.global.r#as {
            client = client.impersonating(user, &self.global.as_group)?;
        } else if !self.global.as_group.is_empty() {
            return Err(CommandError::message(
                "requesting groups for user \"\" without impersonating a user",
            ));
        }
        Ok(self.client.get_or_init(|| client))
    }

    /// Waits for a request, as long as `--request-timeout` lets it.
    ///
    /// # Errors
    /// The request's, or that it took too long.
    pub async fn request<T>(
        &self,
        request: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, CommandError> {
        let started = self.clock.monotonic();
        let answered = |result: &Result<T, Status>| {
            let milliseconds = (self.clock.monotonic() - started).as_millis() as u64;
            let server = self.server_for_messages();
            match result {
                Ok(_) => debug!(server, milliseconds, "request succeeded"),
                Err(status) => {
                    debug!(server, milliseconds, reason = status.reason.as_str(), "request failed");
                }
            }
        };
        match self.global.timeout()? {
            None => {
                let result = request.await;
                answered(&result);
                Ok(result?)
            },
            Some(timeout) => match self.clock.timeout(timeout, request).await {
                Ok(result) => {
                    answered(&result);
                    Ok(result?)
                }
                Err(_) => Err(CommandError::Verbatim(
                    "Unable to connect to the server: net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)".to_owned(),
                )),
            },
        }
    }

    /// The API server's `host:port`, as messages name it.
    pub(crate) fn server_for_messages(&self) -> String {
        self.resolved.get().map_or_else(
            || UNSET_SERVER.to_owned(),
            |resolved| kubeconfig::host(&resolved.server).to_owned(),
        )
    }
}

/// kubectl's own name among the managers of fields.
const FIELD_MANAGER: &str = "kubectl";

fn write(to: &mut dyn Write, bytes: &[u8]) -> Result<(), CommandError> {
    to.write_all(bytes).and_then(|()| to.flush()).map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            CommandError::BrokenPipe
        } else {
            CommandError::message(format!("write output: {error}"))
        }
    })
}
