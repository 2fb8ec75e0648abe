//! Streams by number, and the redirections that change them.

use std::collections::BTreeMap;
use std::io;

use brush_parser::ast::{IoFileRedirectKind, IoFileRedirectTarget, IoHereDocument, IoRedirect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::expand::{Expanded, Failure};
use super::state::Shell;
use crate::files::{Device, FileType};
use crate::program::ContainerContext;
use crate::stdio::{Input, Output, pipe};

/// What a file descriptor of the shell is.
#[derive(Clone)]
pub(super) enum Stream {
    In(Input),
    Out(Output),
    /// A connection: both.
    Both(Input, Output),
}

/// File descriptors of a shell; a number that is not there is closed.
#[derive(Clone)]
pub(super) struct Streams(BTreeMap<i32, Stream>);

impl Streams {
    pub(super) fn new(context: &ContainerContext) -> Self {
        Self(BTreeMap::from([
            (0, Stream::In(context.stdin.clone())),
            (1, Stream::Out(context.stdout.clone())),
            (2, Stream::Out(context.stderr.clone())),
        ]))
    }

    pub(super) fn set(&mut self, number: i32, stream: Stream) {
        self.0.insert(number, stream);
    }

    pub(super) fn get(&self, number: i32) -> Option<&Stream> {
        self.0.get(&number)
    }

    pub(super) fn input(&self, number: i32) -> Option<Input> {
        match self.0.get(&number)? {
            Stream::In(input) | Stream::Both(input, _) => Some(input.clone()),
            Stream::Out(_) => None,
        }
    }

    fn output(&self, number: i32) -> Option<Output> {
        match self.0.get(&number)? {
            Stream::Out(output) | Stream::Both(_, output) => Some(output.clone()),
            Stream::In(_) => None,
        }
    }

    pub(super) fn stdin(&self) -> Input {
        self.input(0).unwrap_or_else(Input::empty)
    }

    pub(super) fn stdout(&self) -> Output {
        self.output(1).unwrap_or_else(Output::null)
    }

    pub(super) fn stderr(&self) -> Output {
        self.output(2).unwrap_or_else(Output::null)
    }
}

impl Shell {
    /// Applies redirections to this shell's streams.
    pub(super) async fn redirect(&mut self, redirects: &[&IoRedirect]) -> Expanded<()> {
        for redirect in redirects {
            self.redirect_one(redirect).await?;
        }
        Ok(())
    }

    async fn redirect_one(&mut self, redirect: &IoRedirect) -> Expanded<()> {
        match redirect {
            IoRedirect::File(number, kind, target) => {
                self.redirect_file(*number, kind, target).await
            }
            IoRedirect::HereDocument(number, document) => {
                let text = self.document(document).await?;
                self.streams.set(number.unwrap_or(0), Stream::In(Input::bytes(text)));
                Ok(())
            }
            IoRedirect::HereString(number, word) => {
                let text = self.text(&word.value).await? + "\n";
                self.streams.set(number.unwrap_or(0), Stream::In(Input::bytes(text)));
                Ok(())
            }
            IoRedirect::OutputAndError(word, append) => {
                let path = self.text(&word.value).await?;
                let output = self.open_output(&path, !append).await?;
                self.streams.set(1, Stream::Out(output.clone()));
                self.streams.set(2, Stream::Out(output));
                Ok(())
            }
        }
    }

    async fn document(&mut self, document: &IoHereDocument) -> Expanded<String> {
        let text = match document.remove_tabs {
            true => {
                let lines = document.doc.value.split_inclusive('\n');
                lines.map(|line| line.trim_start_matches('\t')).collect()
            }
            false => document.doc.value.clone(),
        };
        if document.requires_expansion { self.here_document(&text).await } else { Ok(text) }
    }

    async fn redirect_file(
        &mut self,
        number: Option<i32>,
        kind: &IoFileRedirectKind,
        target: &IoFileRedirectTarget,
    ) -> Expanded<()> {
        use IoFileRedirectKind as Kind;
        let default = match kind {
            Kind::Read | Kind::ReadAndWrite | Kind::DuplicateInput => 0,
            Kind::Write | Kind::Append | Kind::Clobber | Kind::DuplicateOutput => 1,
        };
        let number = number.unwrap_or(default);
        let word = match target {
            IoFileRedirectTarget::Filename(word) | IoFileRedirectTarget::Duplicate(word) => {
                self.text(&word.value).await?
            }
            IoFileRedirectTarget::Fd(other) => other.to_string(),
            IoFileRedirectTarget::ProcessSubstitution(..) => {
                return Err("syntax error: process substitution is not supported".into());
            }
        };
        if matches!(kind, Kind::DuplicateInput | Kind::DuplicateOutput) {
            return self.duplicate(number, &word).await;
        }
        let stream = match kind {
            Kind::Read => Stream::In(self.open_input(&word).await?),
            Kind::ReadAndWrite => match self.connection(&word).await? {
                Some((input, output)) => Stream::Both(input, output),
                None => {
                    let output = self.open_output(&word, false).await?;
                    Stream::Both(self.open_input(&word).await?, output)
                }
            },
            _ => Stream::Out(self.open_output(&word, !matches!(kind, Kind::Append)).await?),
        };
        self.streams.set(number, stream);
        Ok(())
    }

    async fn duplicate(&mut self, number: i32, word: &str) -> Expanded<()> {
        if word == "-" {
            self.streams.0.remove(&number);
            return Ok(());
        }
        let Ok(other) = word.parse::<i32>() else {
            // `>&file` of bash.
            let output = self.open_output(word, true).await?;
            self.streams.set(1, Stream::Out(output.clone()));
            self.streams.set(2, Stream::Out(output));
            return Ok(());
        };
        let Some(stream) = self.streams.get(other).cloned() else {
            return Err(format!("{other}: Bad file descriptor").into());
        };
        self.streams.set(number, stream);
        Ok(())
    }

    async fn open_input(&self, path: &str) -> Expanded<Input> {
        if let Some((input, _)) = self.connection(path).await? {
            return Ok(input);
        }
        let stdin = self.streams.stdin();
        open_input(&self.context, &stdin, &self.path(path))
            .map_err(|error| Failure::Message(format!("can't open {path}: {}", lower(&error))))
    }

    async fn open_output(&self, path: &str, truncate: bool) -> Expanded<Output> {
        if let Some((_, output)) = self.connection(path).await? {
            return Ok(output);
        }
        let full = self.path(path);
        let files = &self.context.files;
        if let Ok(found) = files.metadata(&full)
            && let FileType::Device(device) = found.kind
        {
            return Ok(match device {
                Device::Stdout => self.streams.stdout(),
                Device::Stderr => self.streams.stderr(),
                _ => Output::null(),
            });
        }
        match full.as_str() {
            "/proc/1/fd/1" | "/proc/self/fd/1" | "/dev/tty" => return Ok(self.streams.stdout()),
            "/proc/1/fd/2" | "/proc/self/fd/2" => return Ok(self.streams.stderr()),
            _ => {}
        }
        let opened = files.open(&full, truncate);
        opened
            .map(Output::file)
            .map_err(|error| Failure::Message(format!("can't create {path}: {}", create(&error))))
    }

    /// bash's `/dev/tcp/host/port`.
    async fn connection(&self, path: &str) -> Expanded<Option<(Input, Output)>> {
        let Some((host, port)) =
            path.strip_prefix("/dev/tcp/").and_then(|rest| rest.split_once('/'))
        else {
            return Ok(None);
        };
        let network = &self.context.network;
        let connect = async {
            let port = port.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            let addresses = network.resolve(host).await?;
            let address = addresses.first().ok_or(io::ErrorKind::NotFound)?;
            network.connect_tcp((*address, port).into()).await
        };
        let stream = connect.await.map_err(|error| {
            Failure::Message(format!("{path}: {}", super::commands::io_text(&error)))
        })?;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let (to_shell, input) = pipe();
        let (output, from_shell) = pipe();
        self.context.spawn(async move {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(count) = reader.read(&mut buffer).await {
                if count == 0 || to_shell.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
            }
        });
        self.context.spawn(async move {
            while let Some(chunk) = from_shell.read(usize::MAX).await {
                if writer.write_all(&chunk).await.is_err() {
                    return;
                }
            }
            // The peer may be gone already.
            let _ = writer.shutdown().await;
        });
        Ok(Some((input, output)))
    }
}

/// Opens a file of the container for reading; devices are endless or the standard input.
pub(super) fn open_input(
    context: &ContainerContext,
    stdin: &Input,
    path: &str,
) -> Result<Input, crate::files::FsError> {
    if path == "/proc/self/fd/0" {
        return Ok(stdin.clone());
    }
    let FileType::Device(device) = context.files.metadata(path)?.kind else {
        return Ok(Input::bytes(context.files.read(path)?));
    };
    let random = match device {
        Device::Stdin => return Ok(stdin.clone()),
        Device::Null | Device::Stdout | Device::Stderr => return Ok(Input::empty()),
        Device::Zero => false,
        Device::Random => true,
    };
    let (output, input) = pipe();
    let clock = context.clock.clone();
    context.spawn(async move {
        loop {
            let chunk: Vec<u8> = match random {
                true => (0..512).flat_map(|_| clock.random_u64().to_ne_bytes()).collect(),
                false => vec![0; 4096],
            };
            if output.write_all(chunk).await.is_err() {
                return;
            }
        }
    });
    Ok(input)
}

/// ash words some errors of redirections its own way.
fn lower(error: &crate::files::FsError) -> String {
    if error.is_not_found() { "no such file".to_owned() } else { error.to_string() }
}

fn create(error: &crate::files::FsError) -> String {
    if error.is_not_found() { "nonexistent directory".to_owned() } else { error.to_string() }
}
