//! From text to syntax tree.
//!
//! The parser recurses, and so does dropping its tree; text from a container must not overflow a
//! worker's stack. Text with few openers (`(`, `{`, `if`, …) cannot nest deeply and is parsed in
//! place; other text is parsed on a thread whose stack fits the worst case, and a tree that nests
//! past [`MAX_NESTING`] is refused and dropped there. It also tries `(`, `case` and expansions in
//! several ways, each time with everything inside, which takes exponential time in their depth when
//! the text is wrong; so these may nest [`MAX_BACKTRACKING`] deep only.

use brush_parser::ast::{
    AndOr, AndOrList, Command, CompoundCommand, CompoundList, Program, SubshellCommand,
};
use brush_parser::word::WordPieceWithSource;
use brush_parser::{
    ParseError, ParserOptions, SourceInfo, Token, parse_tokens, tokenize_str_with_options,
};

/// Longest script, as a kernel's limit on one argument.
const MAX_SCRIPT: usize = 1024 * 1024;
/// Deepest nesting of compound commands.
const MAX_NESTING: usize = 48;
/// Deepest nesting of what the parser backtracks over: a few milliseconds.
const MAX_BACKTRACKING: usize = 10;
/// Openers that are parsed in place.
const IN_PLACE: usize = 12;
/// Openers in all; bounds the thread's stack to 256 MiB of address space.
const MAX_OPENERS: usize = 4096;
/// Words that end a construct and cannot begin one.
const CLOSING: &[&str] = &["fi", "done", "esac", "then", "do", "else", "elif", "}"];
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
    on_stack(text, || parse_at(text, 1))
}

/// Parses a text that stands at this depth.
fn parse_at(text: &str, depth: usize) -> Result<Program, SyntaxError> {
    let options = options();
    let tokens = tokenize_str_with_options(text, &options.tokenizer_options())
        .map_err(|inner| explain(text, &ParseError::Tokenizing { inner, position: None }))?;
    if backtracking(&tokens) > MAX_BACKTRACKING {
        return Err(SyntaxError::Wrong("syntax error: nested too deeply".to_owned()));
    }
    let source = SourceInfo { source: String::new() };
    let mut program =
        parse_tokens(&tokens, &options, &source).map_err(|error| explain(text, &error))?;
    let chars: Vec<char> = text.chars().collect();
    for list in &mut program.complete_commands {
        check_list(list, &chars, depth)?;
    }
    Ok(program)
}

/// How deep `(` and `case` are inside each other.
fn backtracking(tokens: &[Token]) -> usize {
    const BEFORE_COMMANDS: &[&str] =
        &["then", "do", "else", "elif", "if", "while", "until", "!", "{", "time", "in"];
    let (mut open, mut deepest) = (Vec::new(), 0);
    let mut starts = true;
    for token in tokens {
        let text = token.to_str();
        let operator = matches!(token, Token::Operator(..));
        match text {
            "(" if operator => open.push('('),
            ")" if operator && open.last() == Some(&'(') => {
                open.pop();
            }
            "case" if starts => open.push('c'),
            "esac" if starts => {
                if let Some(index) = open.iter().rposition(|kind| *kind == 'c') {
                    open.truncate(index);
                }
            }
            _ => {}
        }
        deepest = deepest.max(open.len());
        starts = operator || BEFORE_COMMANDS.contains(&text);
    }
    deepest
}

/// Parses a word into its pieces.
pub(super) fn word(text: &str) -> Result<Vec<WordPieceWithSource>, String> {
    if expansion_depth(text) > MAX_BACKTRACKING {
        return Err("syntax error: nested too deeply".to_owned());
    }
    on_stack(text, || {
        brush_parser::word::parse(text, &options())
            .map_err(|_| SyntaxError::Wrong("syntax error: bad substitution".to_owned()))
    })
    .map_err(|error| error.message().to_owned())
}

/// How deep `$(…)` and `${…}` are inside each other, quotes not looked at.
fn expansion_depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut previous = 0;
    for byte in text.bytes() {
        match byte {
            b'(' | b'{' if depth > 0 || previous == b'$' => depth += 1,
            b')' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
        previous = byte;
    }
    deepest
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

fn explain(text: &str, error: &ParseError) -> SyntaxError {
    match error {
        ParseError::ParsingNearToken(token) => match token.to_str() {
            "\n" => SyntaxError::Wrong("syntax error: unexpected newline".to_owned()),
            token => SyntaxError::Wrong(format!("syntax error: unexpected \"{token}\"")),
        },
        ParseError::ParsingAtEndOfInput => {
            // The parser reports a closing word without its opening one at the end, too.
            let first = text.split_whitespace().next().unwrap_or_default().trim_end_matches(';');
            if CLOSING.contains(&first) {
                return SyntaxError::Wrong(format!("syntax error: unexpected \"{first}\""));
            }
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

/// Checks the nesting of a tree, and mends what the parser takes for arithmetic: `( (a) )`.
fn check_list(list: &mut CompoundList, source: &[char], depth: usize) -> Result<(), SyntaxError> {
    if depth > MAX_NESTING {
        return Err(SyntaxError::Wrong("syntax error: nested too deeply".to_owned()));
    }
    for item in &mut list.0 {
        let AndOrList { first, additional } = &mut item.0;
        let additional = additional.iter_mut().map(|item| match item {
            AndOr::And(pipeline) | AndOr::Or(pipeline) => pipeline,
        });
        for command in std::iter::once(first).chain(additional).flat_map(|line| &mut line.seq) {
            match command {
                Command::Compound(compound, _) => check_compound(compound, source, depth)?,
                Command::Function(function) => check_compound(&mut function.body.0, source, depth)?,
                Command::Simple(_) | Command::ExtendedTest(..) => {}
            }
        }
    }
    Ok(())
}

fn check_compound(
    compound: &mut CompoundCommand,
    source: &[char],
    depth: usize,
) -> Result<(), SyntaxError> {
    let mut below = |list: &mut CompoundList| check_list(list, source, depth + 1);
    match compound {
        CompoundCommand::Arithmetic(command) => {
            let (start, end) = (command.loc.start.index, command.loc.end.index);
            if source.get(start + 1) == Some(&'(') || end <= start + 1 || end > source.len() {
                return Ok(());
            }
            let inner: String = source[start + 1..end - 1].iter().collect();
            let program = parse_at(&inner, depth + 1)?;
            let lists = program.complete_commands.into_iter().flat_map(|list| list.0);
            *compound = CompoundCommand::Subshell(SubshellCommand {
                list: CompoundList(lists.collect()),
                loc: command.loc.clone(),
            });
            Ok(())
        }
        CompoundCommand::ArithmeticForClause(clause) => below(&mut clause.body.list),
        CompoundCommand::BraceGroup(group) => below(&mut group.list),
        CompoundCommand::Subshell(subshell) => below(&mut subshell.list),
        CompoundCommand::ForClause(clause) => below(&mut clause.body.list),
        CompoundCommand::CaseClause(clause) => {
            clause.cases.iter_mut().filter_map(|case| case.cmd.as_mut()).try_for_each(below)
        }
        CompoundCommand::IfClause(clause) => {
            below(&mut clause.condition)?;
            below(&mut clause.then)?;
            for part in clause.elses.iter_mut().flatten() {
                part.condition.iter_mut().try_for_each(&mut below)?;
                below(&mut part.body)?;
            }
            Ok(())
        }
        CompoundCommand::WhileClause(clause) | CompoundCommand::UntilClause(clause) => {
            below(&mut clause.0)?;
            below(&mut clause.1.list)
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
