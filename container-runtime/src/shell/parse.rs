//! From text to syntax tree.
//!
//! The parser recurses, and so does dropping its tree; text from a container must not overflow a
//! worker's stack. Text with few openers (`(`, `{`, `if`, …) cannot nest deeply and is parsed in
//! place; other text is parsed on a thread whose stack fits the worst case, and a tree that nests
//! past [`MAX_NESTING`] is refused and dropped there.

use std::io::Cursor;

use brush_parser::ast::{AndOr, AndOrList, Command, CompoundCommand, CompoundList, Program};
use brush_parser::word::WordPieceWithSource;
use brush_parser::{ParseError, Parser, ParserOptions, SourceInfo};

/// Longest script, as a kernel's limit on one argument.
const MAX_SCRIPT: usize = 1024 * 1024;
/// Deepest nesting of compound commands.
const MAX_NESTING: usize = 48;
/// Openers that are parsed in place.
const IN_PLACE: usize = 12;
/// Openers in all; bounds the thread's stack to 256 MiB of address space.
const MAX_OPENERS: usize = 4096;
/// Stack that one level of nesting may take.
const LEVEL_BYTES: usize = 64 * 1024;

/// Why a script cannot be parsed; the words of busybox ash.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SyntaxError {
    /// The text ends inside a construct: an interactive shell reads on.
    Incomplete(String),
    /// It is wrong.
    Wrong(String),
}

impl SyntaxError {
    pub(super) fn message(&self) -> &str {
        match self {
            Self::Incomplete(message) | Self::Wrong(message) => message,
        }
    }
}

fn options() -> ParserOptions {
    ParserOptions { enable_extended_globbing: false, ..ParserOptions::default() }
}

/// Parses a script.
pub(super) fn program(text: &str) -> Result<Program, SyntaxError> {
    if text.len() > MAX_SCRIPT {
        return Err(SyntaxError::Wrong("script too long".to_owned()));
    }
    on_stack(text, || {
        let source = SourceInfo { source: String::new() };
        let mut parser = Parser::new(Cursor::new(text), &options(), &source);
        let program = parser.parse_program().map_err(|error| explain(&error))?;
        let nesting = program.complete_commands.iter().map(nesting).max().unwrap_or(0);
        if nesting > MAX_NESTING {
            return Err(SyntaxError::Wrong("syntax error: nested too deeply".to_owned()));
        }
        Ok(program)
    })
}

/// Parses a word into its pieces.
pub(super) fn word(text: &str) -> Result<Vec<WordPieceWithSource>, String> {
    on_stack(text, || {
        brush_parser::word::parse(text, &options())
            .map_err(|_| SyntaxError::Wrong("syntax error: bad substitution".to_owned()))
    })
    .map_err(|error| error.message().to_owned())
}

/// Parses an arithmetic expression.
pub(super) fn arithmetic(text: &str) -> Result<brush_parser::ast::ArithmeticExpr, String> {
    if text.matches(['(', '?', '-', '+', '!', '~']).count() > 256 {
        return Err("arithmetic expression nested too deeply".to_owned());
    }
    on_stack(text, || {
        brush_parser::arithmetic::parse(text)
            .map_err(|_| SyntaxError::Wrong("arithmetic syntax error".to_owned()))
    })
    .map_err(|error| error.message().to_owned())
}

/// Runs a parser with a stack that fits the text.
fn on_stack<T: Send>(
    text: &str,
    parse: impl FnOnce() -> Result<T, SyntaxError> + Send,
) -> Result<T, SyntaxError> {
    let openers = openers(text);
    if openers <= IN_PLACE {
        return parse();
    }
    if openers > MAX_OPENERS {
        return Err(SyntaxError::Wrong("syntax error: nested too deeply".to_owned()));
    }
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size((openers + 16) * LEVEL_BYTES)
            .spawn_scoped(scope, parse)
            .map_err(|error| SyntaxError::Wrong(format!("can't fork: {error}")))?
            .join()
            .unwrap_or_else(|_| Err(SyntaxError::Wrong("syntax error".to_owned())))
    })
}

/// An upper bound of the nesting.
fn openers(text: &str) -> usize {
    let words = ["if", "while", "until", "for", "case"];
    let signs = text.bytes().filter(|byte| matches!(byte, b'(' | b'{' | b'`')).count();
    signs + words.iter().map(|word| text.matches(word).count()).sum::<usize>()
}

fn explain(error: &ParseError) -> SyntaxError {
    match error {
        ParseError::ParsingNearToken(token) => match token.to_str() {
            "\n" => SyntaxError::Wrong("syntax error: unexpected newline".to_owned()),
            token => SyntaxError::Wrong(format!("syntax error: unexpected \"{token}\"")),
        },
        ParseError::ParsingAtEndOfInput => {
            SyntaxError::Incomplete("syntax error: unexpected end of file".to_owned())
        }
        ParseError::Tokenizing { inner, .. } if inner.is_incomplete() => {
            let text = inner.to_string();
            let message = match text.contains("quote") {
                true => "syntax error: unterminated quoted string",
                false => "syntax error: unexpected end of file",
            };
            SyntaxError::Incomplete(message.to_owned())
        }
        ParseError::Tokenizing { inner, .. } => {
            SyntaxError::Wrong(format!("syntax error: {inner}"))
        }
    }
}

fn nesting(list: &CompoundList) -> usize {
    1 + list.0.iter().map(|item| and_or(&item.0)).max().unwrap_or(0)
}

fn and_or(list: &AndOrList) -> usize {
    let additional = list.additional.iter().map(|item| match item {
        AndOr::And(pipeline) | AndOr::Or(pipeline) => pipeline,
    });
    std::iter::once(&list.first)
        .chain(additional)
        .flat_map(|pipeline| &pipeline.seq)
        .map(|command| match command {
            Command::Compound(compound, _) => compound_nesting(compound),
            Command::Function(function) => compound_nesting(&function.body.0),
            Command::Simple(_) | Command::ExtendedTest(_) => 0,
        })
        .max()
        .unwrap_or(0)
}

fn compound_nesting(compound: &CompoundCommand) -> usize {
    match compound {
        CompoundCommand::Arithmetic(_) => 0,
        CompoundCommand::ArithmeticForClause(clause) => nesting(&clause.body.list),
        CompoundCommand::BraceGroup(group) => nesting(&group.list),
        CompoundCommand::Subshell(subshell) => nesting(&subshell.list),
        CompoundCommand::ForClause(clause) => nesting(&clause.body.list),
        CompoundCommand::CaseClause(clause) => {
            clause.cases.iter().filter_map(|case| case.cmd.as_ref()).map(nesting).max().unwrap_or(0)
        }
        CompoundCommand::IfClause(clause) => {
            let elses = clause.elses.iter().flatten();
            let elses = elses.flat_map(|part| part.condition.iter().chain([&part.body]));
            let all = [&clause.condition, &clause.then].into_iter().chain(elses);
            all.map(nesting).max().unwrap_or(0)
        }
        CompoundCommand::WhileClause(clause) | CompoundCommand::UntilClause(clause) => {
            nesting(&clause.0).max(nesting(&clause.1.list))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_refused() {
        for text in [
            "(".repeat(100_000),
            format!("{}:{}", "( ".repeat(200), " )".repeat(200)),
            format!("{}:;{}", "{ ".repeat(3000), " };".repeat(3000)),
            format!("{}:;{}", "if :; then ".repeat(500), "fi;".repeat(500)),
            format!("{}:", "( ')' ".repeat(1000)),
            "x".repeat(MAX_SCRIPT + 1),
        ] {
            assert!(program(&text).is_err(), "{}", &text[..20]);
        }
        for text in ["${a:-".repeat(1000), "$(".repeat(2000), "\"$(".repeat(2000)] {
            assert!(word(&text).is_err());
        }
        assert!(arithmetic(&"(".repeat(100_000)).is_err());
        assert!(arithmetic(&"- ".repeat(100_000)).is_err());
    }

    #[test]
    fn errors_speak_ash() {
        let check = |text: &str, expected: Result<(), &str>| {
            let parsed = program(text).map(|_| ());
            let expected = expected.map_err(str::to_owned);
            assert_eq!(parsed.map_err(|error| error.message().to_owned()), expected, "{text}");
        };
        check("echo hi", Ok(()));
        check("if true; then", Err("syntax error: unexpected end of file"));
        check("echo 'x", Err("syntax error: unterminated quoted string"));
        check("fi", Err("syntax error: unexpected \"fi\""));
        check("echo )", Err("syntax error: unexpected \")\""));
    }
}
