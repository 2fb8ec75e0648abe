//! The command line.
//!
//! Each command is a clap `Args` with a [`Command`] impl in its own file; [`crate::commands::COMMANDS`] is the table of
//! them. clap keeps the definitions and the typed values; the grammar and its errors are pflag's and cobra's, which
//! clap's are not, so that [`flags`] reads the words first and hands clap a normal form that it cannot misunderstand.

mod complete;
pub mod flags;
pub mod global;
mod help;
mod suggest;
pub mod values;

use std::future::Future;

use clap::ArgMatches;
use futures::future::LocalBoxFuture;

pub(crate) use self::suggest::distance;
pub use self::{flags::FlagError, global::GlobalFlags};
use self::{
    flags::{Scan, scan},
    help::Page,
};
use crate::{
    PROGRAM,
    commands::{COMMANDS, Group},
    context::{Context, Invocation},
    errors::{CommandError, report},
};

/// One command: its flags are the type, its words are here.
///
/// Flags are clap's, with three conventions that pflag's grammar asks for: booleans that are false by default are plain
/// `bool`; those that are true by default say `action = ArgAction::Set, default_value_t = true`; a flag whose value may
/// be left out says `num_args = 0..=1, default_missing_value = "…"`. Positional arguments are one `Vec<String>` which
/// the command checks in kubectl's words; one more with `last = true` takes what follows `--`.
pub trait Command: clap::Args {
    /// `get`.
    const NAME: &'static str;
    /// The line in the list of commands.
    const ABOUT: &'static str;
    /// After the program's name: `get [flags] (TYPE …)`.
    const USAGE: &'static str;
    /// What the help says first; the line of the list, where this is empty.
    const HELP: &'static str = "";
    /// The examples of the help, unindented.
    const EXAMPLES: &'static str = "";

    /// Does it.
    fn run(self, context: &Context) -> impl Future<Output = Result<(), CommandError>>;
}

/// One line of the table of commands.
pub struct Spec {
    /// `get`.
    pub name: &'static str,
    /// Other names that it answers to.
    aliases: &'static [&'static str],
    about: &'static str,
    usage: &'static str,
    help: &'static str,
    examples: &'static str,
    define: fn(clap::Command) -> clap::Command,
    run: Option<Run>,
    subcommands: &'static [Self],
}

type Run = for<'a> fn(&'a ArgMatches, &'a Context) -> LocalBoxFuture<'a, Result<(), CommandError>>;

/// The line of a command.
#[must_use]
pub const fn leaf<C: Command>() -> Spec {
    Spec {
        name: C::NAME,
        aliases: &[],
        about: C::ABOUT,
        usage: C::USAGE,
        help: C::HELP,
        examples: C::EXAMPLES,
        define: C::augment_args,
        run: Some(run_command::<C>),
        subcommands: &[],
    }
}

/// The line of a command that only has subcommands.
#[must_use]
pub const fn group(
    name: &'static str,
    about: &'static str,
    usage: &'static str,
    subcommands: &'static [Spec],
) -> Spec {
    Spec {
        name,
        aliases: &[],
        about,
        usage,
        help: "",
        examples: "",
        define: |command| command,
        run: None,
        subcommands,
    }
}

impl Spec {
    /// The same command under other names too.
    #[must_use]
    pub const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    fn is_called(&self, word: &str) -> bool {
        self.name == word || self.aliases.contains(&word)
    }

    /// The same command with subcommands besides.
    #[must_use]
    pub const fn with(mut self, subcommands: &'static [Self]) -> Self {
        self.subcommands = subcommands;
        self
    }
}

fn run_command<'a, C: Command>(
    matches: &'a ArgMatches,
    context: &'a Context,
) -> LocalBoxFuture<'a, Result<(), CommandError>> {
    Box::pin(async move {
        let command = C::from_arg_matches(matches)
            .map_err(|error| CommandError::message(error.kind().to_string()))?;
        Box::pin(command.run(context)).await
    })
}

/// The flags of every command, as their help shows them.
#[must_use]
pub fn global_options() -> String {
    help::options(&GlobalFlags::definition())
}

/// Runs one command line; gives the exit code.
pub async fn run(invocation: Invocation) -> u8 {
    let Invocation { arguments, environment, streams, clock } = invocation;
    let context = Context::new(environment, streams, clock);
    let outcome = dispatch(&arguments, context).await;
    let (context, result) = outcome;
    let result = result.and_then(|()| context.check_warnings());
    match result {
        Ok(()) => 0,
        Err(error) => {
            if let CommandError::AfterOutput { printed, .. } = &error {
                let _ = context.print(printed);
            }
            let (text, code) = report(&error, &context.server_for_messages());
            // Where nobody reads errors, only the code is left to tell.
            let _ = context.print_err(&text);
            code
        }
    }
}

async fn dispatch(
    arguments: &[String],
    mut context: Context,
) -> (Context, Result<(), CommandError>) {
    if let [word @ ("__complete" | "__completeNoDesc"), words @ ..] =
        arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice()
    {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let result = complete::run(&words, &mut context, *word == "__complete").await;
        return (context, result);
    }
    let (path, words) = match find(arguments) {
        Ok(found) => found,
        Err(error) => return (context, Err(error)),
    };
    let Some(spec) = path.last() else {
        let result = bare_program(&words, &context);
        return (context, result);
    };
    let definition = definition(spec);
    let command = words_of(&path);
    let scanned = match scan(&definition, &words) {
        Ok(scanned) => scanned,
        Err(error) => return (context, Err(CommandError::Flag { error, command })),
    };
    let arguments = match scanned {
        Scan::Help => {
            let text = page(spec, &path, &definition).render();
            let result = context.print(&text);
            return (context, result);
        }
        Scan::Arguments(arguments) => arguments,
    };
    if spec.run.is_none() {
        let result = group_alone(spec, &path, &definition, &words, &context);
        return (context, result);
    }
    let matches = match definition.clone().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            let error = FlagError::of_clap(&error, &definition);
            return (context, Err(CommandError::Flag { error, command }));
        }
    };
    context.global = GlobalFlags::of(&matches);
    context.global.forget(|name| has_own(spec, name));
    if let Some(verbosity) = context.global.v.and_then(|v| u8::try_from(v).ok()).filter(|v| *v > 0)
    {
        // In a process that runs several commands, the first one decides.
        let _ = component_base::logs::init(PROGRAM, verbosity);
    }
    let result = match spec.run {
        Some(run) => run(&matches, &context).await,
        None => Ok(()),
    };
    (context, result)
}

/// The command that the words name, and the words that are left. `help COMMAND` is `COMMAND --help`.
fn find(arguments: &[String]) -> Result<(Vec<&'static Spec>, Vec<String>), CommandError> {
    let (path, mut words) = descend(arguments);
    if !path.is_empty() {
        return Ok((path, words));
    }
    let Some(at) = flags::first_word(&GlobalFlags::definition(), &words) else {
        return Ok((path, words));
    };
    if words[at] != "help" {
        return Err(suggest::unknown_command(&words[at]));
    }
    words.remove(at);
    let (path, mut words) = descend(&words);
    if let Some(unknown) = words.first().filter(|word| path.is_empty() && !word.starts_with('-')) {
        return Err(help::unknown_topic(unknown));
    }
    words.push("--help".to_owned());
    Ok((path, words))
}

/// The command that the words lead to, as far as they lead to any, and the words that are left.
fn descend(arguments: &[String]) -> (Vec<&'static Spec>, Vec<String>) {
    let globals = GlobalFlags::definition();
    let mut words = arguments.to_vec();
    let mut path: Vec<&'static Spec> = Vec::new();
    loop {
        let definition = path.last().map_or_else(|| globals.clone(), |spec| definition(spec));
        let Some(at) = flags::first_word(&definition, &words) else { return (path, words) };
        let found = match path.last() {
            Some(spec) => spec.subcommands.iter().find(|spec| spec.is_called(&words[at])),
            None => all_commands().find(|spec| spec.is_called(&words[at])),
        };
        match found {
            Some(spec) => {
                words.remove(at);
                path.push(spec);
            }
            None => return (path, words),
        }
    }
}

fn all_commands() -> impl Iterator<Item = &'static Spec> {
    COMMANDS.iter().flat_map(|Group { commands, .. }| commands.iter())
}

fn words_of(path: &[&Spec]) -> String {
    path.iter().fold(PROGRAM.to_owned(), |words, spec| words + " " + spec.name)
}

/// The command's own flags, and those of the program that it does not define itself.
fn definition(spec: &Spec) -> clap::Command {
    let own = (spec.define)(clap::Command::new(spec.name));
    let globals = GlobalFlags::definition();
    let taken: Vec<String> = own.get_arguments().map(|arg| arg.get_id().to_string()).collect();
    let shorts: Vec<char> = own.get_arguments().filter_map(clap::Arg::get_short).collect();
    let missing = globals
        .get_arguments()
        .filter(|arg| !taken.iter().any(|id| id == arg.get_id().as_str()))
        .cloned()
        .map(|arg| match arg.get_short() {
            Some(short) if shorts.contains(&short) => arg.short(None),
            _ => arg,
        });
    own.args(missing.collect::<Vec<_>>())
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .args_override_self(true)
        .no_binary_name(true)
}

/// Whether the command itself defines a flag of this name.
fn has_own(spec: &Spec, name: &str) -> bool {
    let own = (spec.define)(clap::Command::new(spec.name));
    own.get_arguments().any(|arg| arg.get_long() == Some(name))
}

fn page<'a>(spec: &'a Spec, path: &[&Spec], definition: &'a clap::Command) -> Page<'a> {
    Page { spec, words: words_of(path), definition }
}

/// No command was named.
fn bare_program(words: &[String], context: &Context) -> Result<(), CommandError> {
    let flag = |error| CommandError::Flag { error, command: PROGRAM.to_owned() };
    scan(&GlobalFlags::definition(), words).map_err(flag)?;
    context.print(&help::overview())
}

/// A command that only has subcommands was named alone, or with a subcommand that it has not.
fn group_alone(
    spec: &Spec,
    path: &[&Spec],
    definition: &clap::Command,
    words: &[String],
    context: &Context,
) -> Result<(), CommandError> {
    if flags::first_word(definition, words).is_none() {
        context.print_err(&page(spec, path, definition).render())?;
        return Err(CommandError::Exit { text: String::new(), code: 1 });
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let message = format!("unknown command {}", apimachinery::field::go_quote(&words.join(" ")));
    Err(CommandError::Usage { message, command: words_of(path) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_is_sound() {
        fn check(spec: &Spec) {
            definition(spec).debug_assert();
            assert!(!spec.about.is_empty() && spec.usage.starts_with(spec.name), "{}", spec.name);
            spec.subcommands.iter().for_each(check);
        }
        all_commands().for_each(check);
    }
}
