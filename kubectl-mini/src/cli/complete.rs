//! `__complete`: what may stand where the cursor is, as the shells' completion functions ask for it.
//!
//! The protocol is cobra's: the words typed so far, the last one unfinished; the answer is a candidate per line, with a
//! tab and its description where it has one, then `:` and a sum of directives. This part finds out what kind of word is
//! due (flag, flag's value, command, argument); [`values`] knows the values.

mod values;

use clap::{Arg, ArgAction, Command as Definition};

use self::values::Values;
use super::{
    GlobalFlags, PROGRAM, Spec, all_commands, definition,
    flags::{Kind, Scan, by_long, by_short, kind, scan},
};
use crate::{context::Context, errors::CommandError};

/// What the shell is to do besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Directive {
    /// No space after the word.
    no_space: bool,
    /// No files' names where there are no candidates.
    no_files: bool,
    /// The candidates are extensions of files.
    extensions: bool,
}

impl Directive {
    const NO_FILES: Self = Self { no_space: false, no_files: true, extensions: false };
    const DEFAULT: Self = Self { no_space: false, no_files: false, extensions: false };

    fn sum(self) -> u8 {
        u8::from(self.no_space) * 2 + u8::from(self.no_files) * 4 + u8::from(self.extensions) * 8
    }

    fn names(self) -> String {
        let names = [
            (self.no_space, "ShellCompDirectiveNoSpace"),
            (self.no_files, "ShellCompDirectiveNoFileComp"),
            (self.extensions, "ShellCompDirectiveFilterFileExt"),
        ];
        let names: Vec<&str> = names.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        if names.is_empty() { "ShellCompDirectiveDefault".to_owned() } else { names.join(", ") }
    }
}

/// A word that may stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    word: String,
    description: String,
}

impl Candidate {
    fn plain(word: impl Into<String>) -> Self {
        Self { word: word.into(), description: String::new() }
    }

    fn described(word: impl Into<String>, description: impl Into<String>) -> Self {
        Self { word: word.into(), description: description.into() }
    }
}

/// What is due at the end of the words.
#[derive(Debug, PartialEq, Eq)]
enum Due<'a> {
    /// A flag's name.
    Flag,
    /// The value of this flag; its beginning.
    Value(String, &'a str),
    /// A command or an argument.
    Argument,
}

/// Answers `__complete WORD…`.
pub(super) async fn run(
    words: &[String],
    context: &mut Context,
    descriptions: bool,
) -> Result<(), CommandError> {
    let Some((last, before)) = words.split_last() else {
        return Err(CommandError::message("requires at least 1 arg(s), only received 0"));
    };
    let (candidates, directive) = candidates(before, last, context).await;
    let mut text = String::new();
    for Candidate { word, description } in candidates {
        text += &word;
        if descriptions && !description.is_empty() {
            text += "\t";
            text += description.lines().next().unwrap_or_default();
        }
        text += "\n";
    }
    context.print(&format!("{text}:{}\n", directive.sum()))?;
    context.print_err(&format!("Completion ended with directive: {}\n", directive.names()))
}

async fn candidates(
    before: &[String],
    last: &str,
    context: &mut Context,
) -> (Vec<Candidate>, Directive) {
    let (path, rest) = super::descend(before);
    let definition =
        path.last().map_or_else(GlobalFlags::definition, |spec: &&Spec| definition(spec));
    // What was typed so far may name another cluster or namespace.
    let read = if matches!(due(&definition, &rest, last), Due::Value(..)) && !last.contains('=') {
        &rest[..rest.len() - 1]
    } else {
        &rest
    };
    let mut arguments = Vec::new();
    if let Ok(Scan::Arguments(normal)) = scan(&definition, read) {
        if let Ok(matches) = definition.clone().try_get_matches_from(&normal) {
            context.global = GlobalFlags::of(&matches);
        }
        // Flags come first, as one word each; the dashes stand before the arguments or behind them.
        let words = normal.iter().filter(|word| !word.starts_with("--"));
        arguments.extend(words.cloned());
    }
    let own = |name: &str| path.last().is_some_and(|spec| super::has_own(spec, name));
    context.global.forget(own);
    let command: Vec<&str> = path.iter().map(|spec| spec.name).collect();
    let values = Values { context, command: command.join(" "), arguments: &arguments };
    let (mut found, directive) = match due(&definition, &rest, last) {
        Due::Value(flag, start) => {
            let (found, directive) = values.of_flag(&flag, start).await;
            return (found, directive);
        }
        Due::Flag => (flag_names(&path, &definition, &rest), Directive::NO_FILES),
        Due::Argument => {
            let subcommands = subcommands(&path, &arguments);
            let command_of_container = definition.get_positionals().any(Arg::is_last_set)
                && rest.iter().any(|word| word == "--");
            if command_of_container {
                return (Vec::new(), Directive::NO_FILES);
            }
            if subcommands.is_empty() {
                let (mut found, directive) = values.of_argument(last).await;
                let required = required_flags(&values.command, &rest);
                found.splice(0..0, required.filter(|flag| flag.word.starts_with(last)));
                return (found, directive);
            }
            (subcommands, Directive::NO_FILES)
        }
    };
    found.retain(|candidate| candidate.word.starts_with(last));
    (found, directive)
}

fn due<'a>(definition: &Definition, before: &[String], last: &'a str) -> Due<'a> {
    if before.iter().any(|word| word == "--") {
        return Due::Argument;
    }
    if let Some(flag) = before.last().and_then(|word| awaits_value(definition, word)) {
        return Due::Value(flag, last);
    }
    if let Some((flag, start)) = last.strip_prefix("--").and_then(|rest| rest.split_once('=')) {
        return Due::Value(flag.to_owned(), start);
    }
    if last.starts_with('-') { Due::Flag } else { Due::Argument }
}

/// The flag, if the word is one that takes the next word as its value.
fn awaits_value(definition: &Definition, word: &str) -> Option<String> {
    let arg = if let Some(long) = word.strip_prefix("--") {
        by_long(definition, long)?
    } else {
        let letter = word.strip_prefix('-')?.chars().last()?;
        by_short(definition, letter)?
    };
    (kind(arg) == Kind::Value).then(|| arg.get_long().unwrap_or_default().to_owned())
}

/// The names of the flags that are not given yet: those of every command first.
fn flag_names(path: &[&Spec], definition: &Definition, before: &[String]) -> Vec<Candidate> {
    let globals = GlobalFlags::definition();
    let is_global = |arg: &Arg| {
        let name = arg.get_long().unwrap_or_default();
        by_long(&globals, name).is_some()
            && path.last().is_none_or(|spec| !super::has_own(spec, name))
    };
    let mut args: Vec<&Arg> = definition
        .get_arguments()
        .filter(|arg| arg.get_long().is_some() && !arg.is_hide_set())
        .filter(|arg| matches!(arg.get_action(), ArgAction::Append) || !is_given(arg, before))
        .collect();
    args.sort_by_key(|arg| (!is_global(arg), arg.get_long()));
    let program = path.last().map_or(PROGRAM, |spec| spec.name);
    let help = (format!("help for {program}"), "help", Some('h'));
    let mut named: Vec<(bool, String, &str, Option<char>)> = args
        .iter()
        .map(|arg| {
            let text = arg.get_help().map(ToString::to_string).unwrap_or_default();
            (!is_global(arg), text, arg.get_long().unwrap_or_default(), arg.get_short())
        })
        .collect();
    named.push((true, help.0, help.1, help.2));
    named.sort_by(|a, b| (a.0, a.2).cmp(&(b.0, b.2)));
    let mut found = Vec::new();
    for (_, text, long, short) in named {
        found.push(Candidate::described(format!("--{long}"), &text));
        found.extend(short.map(|short| Candidate::described(format!("-{short}"), &text)));
    }
    found
}

fn is_given(arg: &Arg, before: &[String]) -> bool {
    let long = format!("--{}", arg.get_long().unwrap_or_default());
    before.iter().any(|word| {
        word == &long
            || word.starts_with(&format!("{long}="))
            || arg.get_short().is_some_and(|short| word == &format!("-{short}"))
    })
}

/// The commands that may follow.
fn subcommands(path: &[&Spec], arguments: &[String]) -> Vec<Candidate> {
    if !arguments.is_empty() {
        return Vec::new();
    }
    let mut specs: Vec<&Spec> = match path.last() {
        Some(spec) => spec.subcommands.iter().collect(),
        None => all_commands().collect(),
    };
    specs.sort_by_key(|spec| spec.name);
    let mut found: Vec<Candidate> =
        specs.iter().map(|spec| Candidate::described(spec.name, spec.about)).collect();
    if path.is_empty() {
        let help = Candidate::described("help", "Help about any command");
        let at = found.partition_point(|candidate| candidate.word < help.word);
        found.insert(at, help);
    }
    found
}

/// Flags without which a command does nothing.
const REQUIRED: &[(&str, &str)] =
    &[("scale", "replicas"), ("create deployment", "image"), ("run", "image")];

fn required_flags<'a>(command: &str, before: &'a [String]) -> impl Iterator<Item = Candidate> + 'a {
    let flags: Vec<(Candidate, String)> = REQUIRED
        .iter()
        .filter(|(name, _)| *name == command)
        .filter_map(|(name, flag)| {
            let words: Vec<String> = name.split(' ').map(ToOwned::to_owned).collect();
            let (path, _) = super::descend(&words);
            let definition = definition(path.last()?);
            let text = by_long(&definition, flag)?.get_help()?.to_string();
            let word = format!("--{flag}");
            Some((Candidate::described(&word, text), word))
        })
        .collect();
    flags.into_iter().filter_map(|(candidate, word)| {
        let given =
            before.iter().any(|typed| *typed == word || typed.starts_with(&format!("{word}=")));
        (!given).then_some(candidate)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn what_is_due_is_seen_from_the_words() {
        let (path, _) = super::super::descend(&words("get"));
        let definition = definition(path[0]);
        let check = |before: &str, last: &str, expected: Due<'_>| {
            assert_eq!(due(&definition, &words(before), last), expected, "{before} | {last}");
        };
        check("", "po", Due::Argument);
        check("pods", "", Due::Argument);
        check("pods", "-", Due::Flag);
        check("pods", "--wa", Due::Flag);
        check("pods -n", "ku", Due::Value("namespace".to_owned(), "ku"));
        check("pods --namespace", "", Due::Value("namespace".to_owned(), ""));
        check("pods", "--namespace=ku", Due::Value("namespace".to_owned(), "ku"));
        check("pods -wn", "x", Due::Value("namespace".to_owned(), "x"));
        check("pods -w", "x", Due::Argument);
        check("pods --", "-x", Due::Argument);
    }

    #[test]
    fn flags_are_named_once() {
        let (path, _) = super::super::descend(&words("get"));
        let definition = definition(path[0]);
        let found = flag_names(&path, &definition, &words("pods -w --output=x"));
        let has = |word: &str| found.iter().any(|candidate| candidate.word == word);
        assert!(has("--namespace") && has("-n") && has("--help") && has("--label-columns"));
        assert!(!has("--watch") && !has("-w") && !has("--output"));
    }

    #[test]
    fn directives_add_up() {
        assert_eq!(Directive::DEFAULT.sum(), 0);
        assert_eq!(Directive::NO_FILES.names(), "ShellCompDirectiveNoFileComp");
        let both = Directive { no_space: true, ..Directive::NO_FILES };
        assert_eq!((both.sum(), both.names().len()), (6, 55));
    }
}
