//! The commands of the userland: one table, one file per command or small group.
//!
//! A command is a function from a context to an [`Outcome`]; its output goes to the context's streams,
//! its messages are busybox' (curl's own for `curl`). A write to a pipe that nobody reads ends it with
//! 141, as SIGPIPE would; SIGTERM and SIGINT end it with 143 and 130.

mod curl;
mod file;
mod http_client;
mod identity;
mod lines;
mod listing;
mod nc;
mod network;
mod ping;
pub(super) mod process;
mod search;
mod sed;
mod stream;
mod tar;
pub(super) mod text;
mod wget;

use std::future::Future;
use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::run;
use crate::program::{ContainerContext, ExitStatus, Program};

/// What a command gives: its exit code, or that its output has no reader any more.
pub(crate) type Outcome = io::Result<i32>;
type Run = fn(ContainerContext) -> BoxFuture<'static, Outcome>;

/// Every command by name.
pub(crate) const COMMANDS: &[(&str, Run)] = &[
    ("[", |c| boxed(process::test(c))),
    ("ash", |c| boxed(run::sh(c))),
    ("base64", |c| boxed(stream::base64(c))),
    ("basename", |c| boxed(file::basename(c))),
    ("bash", |c| boxed(run::sh(c))),
    ("cat", |c| boxed(stream::cat(c))),
    ("chmod", |c| boxed(file::chmod(c))),
    ("chown", |c| boxed(file::chown(c))),
    ("clear", |c| boxed(text::clear(c))),
    ("cp", |c| boxed(file::cp(c))),
    ("curl", |c| boxed(curl::curl(c))),
    ("cut", |c| boxed(lines::cut(c))),
    ("date", |c| boxed(identity::date(c))),
    ("dirname", |c| boxed(file::dirname(c))),
    ("echo", |c| boxed(text::echo(c))),
    ("egrep", |c| boxed(search::grep(c))),
    ("env", |c| boxed(process::env(c))),
    ("false", |c| boxed(process::false_(c))),
    ("fgrep", |c| boxed(search::grep(c))),
    ("find", |c| boxed(listing::find(c))),
    ("getent", |c| boxed(network::getent(c))),
    ("grep", |c| boxed(search::grep(c))),
    ("head", |c| boxed(stream::head(c))),
    ("hostname", |c| boxed(identity::hostname(c))),
    ("id", |c| boxed(identity::id(c))),
    ("ip", |c| boxed(network::ip(c))),
    ("kill", |c| boxed(process::kill(c))),
    ("ln", |c| boxed(file::ln(c))),
    ("ls", |c| boxed(listing::ls(c))),
    ("mkdir", |c| boxed(file::mkdir(c))),
    ("mktemp", |c| boxed(file::mktemp(c))),
    ("mv", |c| boxed(file::mv(c))),
    ("nc", |c| boxed(nc::nc(c))),
    ("nproc", |c| boxed(identity::nproc(c))),
    ("ping", |c| boxed(ping::ping(c))),
    ("printenv", |c| boxed(process::printenv(c))),
    ("printf", |c| boxed(text::printf(c))),
    ("ps", |c| boxed(process::ps(c))),
    ("pwd", |c| boxed(identity::pwd(c))),
    ("readlink", |c| boxed(file::readlink(c))),
    ("realpath", |c| boxed(file::realpath(c))),
    ("rm", |c| boxed(file::rm(c))),
    ("rmdir", |c| boxed(file::rmdir(c))),
    ("sed", |c| boxed(sed::sed(c))),
    ("seq", |c| boxed(text::seq(c))),
    ("sh", |c| boxed(run::sh(c))),
    ("sleep", |c| boxed(process::sleep(c))),
    ("sort", |c| boxed(lines::sort(c))),
    ("stat", |c| boxed(listing::stat(c))),
    ("sync", |c| boxed(process::true_(c))),
    ("tac", |c| boxed(lines::tac(c))),
    ("tail", |c| boxed(stream::tail(c))),
    ("tar", |c| boxed(tar::tar(c))),
    ("tee", |c| boxed(stream::tee(c))),
    ("test", |c| boxed(process::test(c))),
    ("timeout", |c| boxed(process::timeout(c))),
    ("touch", |c| boxed(file::touch(c))),
    ("tr", |c| boxed(lines::tr(c))),
    ("true", |c| boxed(process::true_(c))),
    ("uname", |c| boxed(identity::uname(c))),
    ("uniq", |c| boxed(lines::uniq(c))),
    ("wc", |c| boxed(lines::wc(c))),
    ("wget", |c| boxed(wget::wget(c))),
    ("which", |c| boxed(process::which(c))),
    ("whoami", |c| boxed(identity::whoami(c))),
    ("xargs", |c| boxed(process::xargs(c))),
    ("yes", |c| boxed(text::yes(c))),
];

fn boxed(future: impl Future<Output = Outcome> + Send + 'static) -> BoxFuture<'static, Outcome> {
    Box::pin(future)
}

/// A command as a Program.
struct Command {
    name: &'static str,
    run: Run,
}

impl Program for Command {
    fn run(&self, context: ContainerContext) -> BoxFuture<'static, ExitStatus> {
        let name = self.name;
        // The shell sees to signals itself; SIGTERM ends everything else.
        let shell = matches!(name, "sh" | "ash" | "bash");
        let signals = context.signals.clone();
        let stderr = context.stderr.clone();
        let future = (self.run)(context);
        Box::pin(async move {
            let outcome = tokio::select! {
                biased;
                () = signals.terminated(), if !shell => return ExitStatus::TERMINATED,
                () = signals.interrupted(), if !shell => return ExitStatus(130),
                outcome = future => outcome,
            };
            match outcome {
                Ok(code) => ExitStatus(code),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitStatus(141),
                Err(error) => {
                    // The streams may be what failed.
                    let line = format!("{name}: write error: {}\n", io_text(&error));
                    let _ = stderr.write_all(line).await;
                    ExitStatus(1)
                }
            }
        })
    }
}

pub(super) fn find(name: &str) -> Option<Arc<dyn Program>> {
    let base = name.rsplit('/').next().unwrap_or(name);
    let index = COMMANDS.binary_search_by(|(known, _)| (*known).cmp(base)).ok()?;
    let (name, run) = COMMANDS[index];
    Some(Arc::new(Command { name, run }))
}

/// `strerror` of an error of the network or the files.
pub(super) fn io_text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::OutOfMemory => "Out of memory".to_owned(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or(&text).to_owned()
        }
    }
}

/// Prints a message and gives the exit code.
async fn fail(context: &ContainerContext, code: i32, message: impl std::fmt::Display) -> Outcome {
    context.stderr.write_all(format!("{message}\n")).await?;
    Ok(code)
}

/// Options and operands of a command line.
struct Parsed {
    options: Vec<(char, String)>,
    operands: Vec<String>,
}

impl Parsed {
    fn has(&self, option: char) -> bool {
        self.options.iter().any(|(known, _)| *known == option)
    }

    fn value(&self, option: char) -> Option<&str> {
        let found = self.options.iter().rev().find(|(known, _)| *known == option);
        found.map(|(_, value)| value.as_str())
    }

    fn values(&self, option: char) -> impl Iterator<Item = &str> {
        let found = self.options.iter().filter(move |(known, _)| *known == option);
        found.map(|(_, value)| value.as_str())
    }
}

/// Parses options as `getopt` does: `spec` lists letters, `:` after those with a value; `long` gives
/// the letter of a long option. Everything from `--` on is an operand; so are words without a dash.
fn getopt(context: &ContainerContext, spec: &str, long: &[(&str, char)]) -> Result<Parsed, String> {
    let name = context.args[0].rsplit('/').next().unwrap_or_default();
    let mut parsed = Parsed { options: Vec::new(), operands: Vec::new() };
    let mut words = context.args[1..].iter();
    let takes = |letter: char| spec.split_once(letter).map(|(_, after)| after.starts_with(':'));
    while let Some(word) = words.next() {
        if word == "--" {
            parsed.operands.extend(words.cloned());
            break;
        }
        if let Some(option) = word.strip_prefix("--") {
            let (option, value) = match option.split_once('=') {
                Some((option, value)) => (option, Some(value.to_owned())),
                None => (option, None),
            };
            let letter = long.iter().find(|(known, _)| *known == option).map(|(_, letter)| *letter);
            let letter = letter.ok_or_else(|| format!("{name}: unrecognized option: {option}"))?;
            let value = match (takes(letter), value) {
                (Some(true), None) => words.next().cloned(),
                (Some(true), value) => value,
                _ => Some(String::new()),
            };
            let value =
                value.ok_or_else(|| format!("{name}: option requires an argument: {option}"))?;
            parsed.options.push((letter, value));
            continue;
        }
        let Some(cluster) = word.strip_prefix('-').filter(|cluster| !cluster.is_empty()) else {
            parsed.operands.push(word.clone());
            continue;
        };
        for (index, letter) in cluster.char_indices() {
            match (letter != ':').then(|| takes(letter)).flatten() {
                None => return Err(format!("{name}: unrecognized option: {letter}")),
                Some(false) => parsed.options.push((letter, String::new())),
                Some(true) => {
                    let rest = &cluster[index + letter.len_utf8()..];
                    let value =
                        if rest.is_empty() { words.next().cloned() } else { Some(rest.to_owned()) };
                    let value = value
                        .ok_or_else(|| format!("{name}: option requires an argument: {letter}"))?;
                    parsed.options.push((letter, value));
                    break;
                }
            }
        }
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::COMMANDS;

    #[test]
    fn the_table_is_sorted() {
        assert!(COMMANDS.is_sorted_by(|(a, _), (b, _)| a < b));
    }
}
