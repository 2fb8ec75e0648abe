//! pflag's grammar over clap's definitions.
//!
//! What differs from clap: a flag takes whatever word follows as its value, even `--x`; `--flag=false` turns booleans
//! off; `-f=x` means `x`; `-abc` may mix booleans and one value; a repeated flag overrides itself. Errors are worded as
//! pflag words them. The result is a normal form for clap: every flag as one word with `=`, then `--`, then the
//! arguments.

use clap::{Arg, ArgAction, Command, builder::ValueParser, error::ContextKind};

use super::values::parse_bool;

/// Why a command line cannot be read, in pflag's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// `--foo`.
    #[error("unknown flag: --{0}")]
    Unknown(String),
    /// `-z`, in the word's rest.
    #[error("unknown shorthand flag: '{0}' in -{1}")]
    UnknownShorthand(char, String),
    /// `--=x`, `---x`.
    #[error("bad flag syntax: {0}")]
    BadSyntax(String),
    /// A long flag is the last word.
    #[error("flag needs an argument: --{0}")]
    NeedsArgument(String),
    /// A short flag is the last word.
    #[error("flag needs an argument: '{0}' in -{1}")]
    ShorthandNeedsArgument(char, String),
    /// The value does not fit the flag's type.
    #[error(
        "invalid argument {} for \"{flag}\" flag: {problem}",
        apimachinery::field::go_quote(value)
    )]
    Invalid {
        /// What was typed.
        value: String,
        /// `-A, --all-namespaces`.
        flag: String,
        /// What is wrong.
        problem: String,
    },
    /// clap found what the grammar does not know.
    #[error("{0}")]
    Other(String),
}

/// What the words say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// `-h` or `--help` is among them.
    Help,
    /// In clap's normal form.
    Arguments(Vec<String>),
}

/// How a flag takes its value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A boolean that clap knows as a switch.
    Switch,
    /// A boolean with a value.
    Boolean,
    /// A value that may be left out.
    Optional,
    /// A value.
    Value,
}

pub(super) fn kind(arg: &Arg) -> Kind {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        Kind::Switch
    } else if arg.get_value_parser().type_id() == ValueParser::bool().type_id() {
        Kind::Boolean
    } else if arg.get_num_args().is_some_and(|range| range.min_values() == 0) {
        Kind::Optional
    } else {
        Kind::Value
    }
}

pub(super) fn by_long<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| {
        arg.get_long() == Some(name)
            || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
    })
}

pub(super) fn by_short(command: &Command, name: char) -> Option<&Arg> {
    command.get_arguments().find(|arg| arg.get_short() == Some(name))
}

/// `-A, --all-namespaces`.
fn display(arg: &Arg) -> String {
    let long = arg.get_long().unwrap_or_default();
    match arg.get_short() {
        Some(short) => format!("-{short}, --{long}"),
        None => format!("--{long}"),
    }
}

/// Where the first word is that is neither a flag nor a flag's value, as cobra looks for a command.
pub(super) fn first_word(command: &Command, words: &[String]) -> Option<usize> {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if word == "--" {
            return None;
        }
        let takes_next = if let Some(name) = word.strip_prefix("--") {
            !name.contains('=') && by_long(command, name).is_none_or(|arg| kind(arg) == Kind::Value)
        } else if let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) {
            let mut letters = name.chars();
            match (letters.next(), letters.next()) {
                (Some(letter), None) => {
                    by_short(command, letter).is_none_or(|arg| kind(arg) == Kind::Value)
                }
                _ => false,
            }
        } else {
            return Some(at);
        };
        at += if takes_next { 2 } else { 1 };
    }
    None
}

/// Reads the words as pflag does.
pub(super) fn scan(command: &Command, words: &[String]) -> Result<Scan, FlagError> {
    let mut scanner = Scanner { command, flags: Vec::new(), switches: Vec::new(), help: false };
    let mut before = Vec::new();
    let mut after = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            after.extend(rest.by_ref().cloned());
        } else if let Some(long) = word.strip_prefix("--") {
            scanner.long(word, long, &mut rest)?;
        } else if let Some(short) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
            scanner.shorts(short, &mut rest)?;
        } else {
            before.push(word.clone());
        }
        if scanner.help {
            return Ok(Scan::Help);
        }
    }
    let mut arguments = scanner.flags;
    arguments.extend(
        scanner.switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| format!("--{name}")),
    );
    // Where the command tells the two apart, the dashes stay between them.
    let splits = command.get_positionals().any(Arg::is_last_set);
    if !splits {
        arguments.push("--".to_owned());
    }
    arguments.append(&mut before);
    if splits {
        arguments.push("--".to_owned());
    }
    arguments.append(&mut after);
    Ok(Scan::Arguments(arguments))
}

struct Scanner<'a> {
    command: &'a Command,
    flags: Vec<String>,
    /// clap's switches cannot be turned off, so that only the last word on each counts.
    switches: Vec<(String, bool)>,
    help: bool,
}

impl Scanner<'_> {
    fn long<'a>(
        &mut self,
        word: &str,
        text: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), FlagError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(FlagError::BadSyntax(word.to_owned()));
        }
        let Some(arg) = by_long(self.command, name) else {
            if name == "help" {
                self.help = true;
                return Ok(());
            }
            return Err(FlagError::Unknown(name.to_owned()));
        };
        let value = match value {
            Some(value) => Some(value.to_owned()),
            None if kind(arg) == Kind::Value => Some(
                rest.next().cloned().ok_or_else(|| FlagError::NeedsArgument(name.to_owned()))?,
            ),
            None => None,
        };
        self.take(arg, value)
    }

    fn shorts<'a>(
        &mut self,
        mut text: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), FlagError> {
        while let Some(letter) = text.chars().next() {
            let after = &text[letter.len_utf8()..];
            let Some(arg) = by_short(self.command, letter) else {
                if letter == 'h' {
                    self.help = true;
                    return Ok(());
                }
                return Err(FlagError::UnknownShorthand(letter, text.to_owned()));
            };
            if let Some(value) = after.strip_prefix('=').filter(|value| !value.is_empty()) {
                return self.take(arg, Some(value.to_owned()));
            }
            if kind(arg) == Kind::Value {
                let value = if after.is_empty() {
                    rest.next()
                        .cloned()
                        .ok_or_else(|| FlagError::ShorthandNeedsArgument(letter, text.to_owned()))?
                } else {
                    after.to_owned()
                };
                return self.take(arg, Some(value));
            }
            self.take(arg, None)?;
            text = after;
        }
        Ok(())
    }

    fn take(&mut self, arg: &Arg, value: Option<String>) -> Result<(), FlagError> {
        let name = arg.get_long().expect("every flag has a long name");
        let boolean = |value: Option<String>| match value {
            None => Ok(true),
            Some(value) => parse_bool(&value).map_err(|problem| FlagError::Invalid {
                value,
                flag: display(arg),
                problem,
            }),
        };
        match kind(arg) {
            Kind::Switch => {
                let on = boolean(value)?;
                self.switches.retain(|(switch, _)| switch != name);
                self.switches.push((name.to_owned(), on));
            }
            Kind::Boolean => self.flags.push(format!("--{name}={}", boolean(value)?)),
            Kind::Optional | Kind::Value => self.flags.push(match value {
                Some(value) => format!("--{name}={value}"),
                None => format!("--{name}"),
            }),
        }
        Ok(())
    }
}

impl FlagError {
    /// clap's refusal of a value, in pflag's words.
    pub(super) fn of_clap(error: &clap::Error, command: &Command) -> Self {
        let text = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
        let given = text(ContextKind::InvalidArg);
        let long = given.trim_start_matches('-');
        let long = &long[..long.find([' ', '=', '[']).unwrap_or(long.len())];
        match (by_long(command, long), std::error::Error::source(error)) {
            (Some(arg), Some(problem)) => Self::Invalid {
                value: text(ContextKind::InvalidValue),
                flag: display(arg),
                problem: problem.to_string(),
            },
            _ => Self::Other(error.to_string().lines().next().unwrap_or_default().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let value = |name: &'static str, short| Arg::new(name).long(name).short(short);
        Command::new("get")
            .arg(value("namespace", 'n'))
            .arg(value("output", 'o'))
            .arg(value("watch", 'w').action(ArgAction::SetTrue))
            .arg(value("stdin", 'i').action(ArgAction::SetTrue))
            .arg(
                Arg::new("show-events")
                    .long("show-events")
                    .action(ArgAction::Set)
                    .value_parser(ValueParser::bool()),
            )
            .arg(Arg::new("dry-run").long("dry-run").num_args(0..=1).default_missing_value("x"))
            .arg(Arg::new("args").num_args(0..))
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn words_are_read_as_pflag_reads_them() {
        let check = |text: &str, expected: &str| {
            let scanned = scan(&command(), &words(text));
            assert_eq!(scanned, Ok(Scan::Arguments(words(expected))), "{text}");
        };
        check("pods", "-- pods");
        check("pods -n x -w", "--namespace=x --watch -- pods");
        check("-nx pods -o=yaml", "--namespace=x --output=yaml -- pods");
        check("-wi a", "--watch --stdin -- a");
        check("-wnx a", "--namespace=x --watch -- a");
        check("-n --watch a", "--namespace=--watch -- a");
        check("-w --watch=false", "--");
        check("--watch=false -w", "--watch --");
        check("--show-events=F", "--show-events=false --");
        check("--show-events", "--show-events=true --");
        check("--dry-run a", "--dry-run -- a");
        check("--dry-run=client a", "--dry-run=client -- a");
        check("a -- -n b", "-- a -n b");
        check("- a", "-- - a");
        assert_eq!(scan(&command(), &words("a -h --foo")), Ok(Scan::Help));
    }

    #[test]
    fn errors_are_pflags() {
        let check = |text: &str, expected: &str| {
            let error = scan(&command(), &words(text)).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check("--foo", "unknown flag: --foo");
        check("-zfoo", "unknown shorthand flag: 'z' in -zfoo");
        check("-wz", "unknown shorthand flag: 'z' in -z");
        check("-n", "flag needs an argument: 'n' in -n");
        check("--namespace", "flag needs an argument: --namespace");
        check("--=x", "bad flag syntax: --=x");
        check("---x", "bad flag syntax: ---x");
        check(
            "-w=x",
            "invalid argument \"x\" for \"-w, --watch\" flag: strconv.ParseBool: parsing \"x\": invalid syntax",
        );
    }

    #[test]
    fn a_command_is_found_behind_flags() {
        let check = |text: &str, expected: Option<usize>| {
            assert_eq!(first_word(&command(), &words(text)), expected, "{text}");
        };
        check("get pods", Some(0));
        check("-n x get", Some(2));
        check("-nx get", Some(1));
        check("--namespace=x get", Some(1));
        check("-w get", Some(1));
        check("--foo bar get", Some(2));
        check("-- get", None);
    }
}
