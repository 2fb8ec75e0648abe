//! `grep`, and the regular expressions of `grep` and `sed`.

use regex_lite::{Regex, RegexBuilder};

use super::stream::{WHOLE_LIMIT, open};
use super::{Outcome, Parsed, fail, getopt};
use crate::files::join;
use crate::program::ContainerContext;

const LONG: &[(&str, char)] = &[
    ("color", 'y'),
    ("colour", 'y'),
    ("count", 'c'),
    ("extended-regexp", 'E'),
    ("fixed-strings", 'F'),
    ("ignore-case", 'i'),
    ("invert-match", 'v'),
    ("line-number", 'n'),
    ("only-matching", 'o'),
    ("quiet", 'q'),
    ("recursive", 'r'),
];

/// Translates a POSIX expression to the crate's dialect. Basic ones swap the meaning of `\(` and `(`.
pub(super) fn regex(pattern: &str, extended: bool, ignore_case: bool) -> Result<Regex, String> {
    let translated = if extended { bracket_safe(pattern) } else { basic(pattern) };
    RegexBuilder::new(&translated)
        .case_insensitive(ignore_case)
        .size_limit(1 << 20)
        .build()
        .map_err(|error| error.to_string())
}

/// Copies an expression; a backslash in brackets is an ordinary character in POSIX.
fn bracket_safe(pattern: &str) -> String {
    let mut out = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' => {
                out.push('\\');
                match chars.next() {
                    Some('<' | '>') => out.push('b'),
                    Some(next) => out.push(next),
                    None => out.push('\\'),
                }
            }
            '[' => bracket(&mut chars, &mut out),
            other => out.push(other),
        }
    }
    out
}

fn basic(pattern: &str) -> String {
    let mut out = String::new();
    let mut chars = pattern.chars().peekable();
    let mut start = true;
    while let Some(char) = chars.next() {
        let at_start = std::mem::replace(&mut start, false);
        match char {
            '\\' => match chars.next() {
                Some('(') => {
                    out.push('(');
                    start = true;
                }
                Some(special @ (')' | '{' | '}' | '|' | '+' | '?')) => out.push(special),
                Some('<' | '>') => out.push_str("\\b"),
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
                None => out.push_str("\\\\"),
            },
            '(' | ')' | '{' | '}' | '|' | '+' | '?' => {
                out.push('\\');
                out.push(char);
            }
            '*' if at_start => out.push_str("\\*"),
            '^' => {
                start = at_start;
                out.push_str(if at_start { "^" } else { "\\^" });
            }
            '$' if chars.peek().is_some_and(|next| *next != '\\') => out.push_str("\\$"),
            '[' => bracket(&mut chars, &mut out),
            other => out.push(other),
        }
    }
    out
}

/// Copies the rest of a bracket expression after its `[`.
fn bracket(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    out.push('[');
    if chars.peek() == Some(&'^') {
        out.extend(chars.next());
    }
    let mut first = true;
    while let Some(char) = chars.next() {
        match char {
            ']' if !first => {
                out.push(']');
                return;
            }
            '[' if chars.peek() == Some(&':') => {
                out.push('[');
                for inner in chars.by_ref() {
                    out.push(inner);
                    if inner == ']' {
                        break;
                    }
                }
            }
            '\\' | '[' | ']' | '&' | '~' => {
                out.push('\\');
                out.push(char);
            }
            other => out.push(other),
        }
        first = false;
    }
}

pub(super) async fn grep(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "EFGiwxvncoqlLhHrRse:m:A:B:C:ya", LONG) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 2, message).await,
    };
    let mut operands = parsed.operands.clone();
    let mut patterns: Vec<String> = parsed.values('e').map(str::to_owned).collect();
    if patterns.is_empty() {
        if operands.is_empty() {
            return fail(&context, 2, "grep: usage: grep [OPTIONS] PATTERN [FILE]...").await;
        }
        patterns.push(operands.remove(0));
    }
    let name = context.args[0].rsplit('/').next().unwrap_or_default();
    let fixed = parsed.has('F') || name == "fgrep";
    let extended = parsed.has('E') || name == "egrep";
    let mut matchers = Vec::new();
    for pattern in patterns.iter().flat_map(|pattern| pattern.split('\n')) {
        let mut text = match fixed {
            true => regex_lite::escape(pattern),
            false if extended => bracket_safe(pattern),
            false => basic(pattern),
        };
        if parsed.has('w') {
            text = format!("\\b(?:{text})\\b");
        }
        if parsed.has('x') {
            text = format!("^(?:{text})$");
        }
        let built = RegexBuilder::new(&text)
            .case_insensitive(parsed.has('i') || parsed.has('y'))
            .size_limit(1 << 20)
            .build();
        match built {
            Ok(matcher) => matchers.push(matcher),
            Err(_) => return fail(&context, 2, format!("grep: bad regex '{pattern}'")).await,
        }
    }
    let recursive = parsed.has('r') || parsed.has('R');
    let mut names = Vec::new();
    match (operands.is_empty(), recursive) {
        (true, true) => walk(&context, ".", &mut names),
        (true, false) => names.push("-".to_owned()),
        (false, _) => {
            for operand in &operands {
                match recursive && context.files.is_dir(&join(&context.working_dir, operand)) {
                    true => walk(&context, operand, &mut names),
                    false => names.push(operand.clone()),
                }
            }
        }
    }
    let label = !parsed.has('h') && (parsed.has('H') || names.len() > 1 || recursive);
    let mut found = false;
    let mut failed = false;
    for name in names {
        let input = match open(&context, &name) {
            Ok(input) => input,
            Err(error) => {
                failed = true;
                if !parsed.has('s') {
                    fail(&context, 2, format!("grep: {name}: {error}")).await?;
                }
                continue;
            }
        };
        let prefix = if label { format!("{name}:") } else { String::new() };
        let search = Search { parsed: &parsed, matchers: &matchers, prefix };
        let matched = search.input(&context, &name, input).await?;
        found |= matched;
        if found && parsed.has('q') {
            return Ok(0);
        }
    }
    Ok(if failed { 2 } else { i32::from(!found) })
}

fn walk(context: &ContainerContext, base: &str, names: &mut Vec<String>) {
    let mut todo = vec![base.to_owned()];
    while let Some(directory) = todo.pop() {
        let entries = context.files.read_dir(&join(&context.working_dir, &directory));
        for entry in entries.unwrap_or_default() {
            let path = format!("{}/{}", directory.trim_end_matches('/'), entry.name);
            match entry.kind {
                crate::files::FileType::Directory => todo.push(path),
                crate::files::FileType::File => names.push(path),
                _ => {}
            }
        }
    }
    names.sort();
}

struct Search<'a> {
    parsed: &'a Parsed,
    matchers: &'a [Regex],
    prefix: String,
}

impl Search<'_> {
    async fn input(
        &self,
        context: &ContainerContext,
        name: &str,
        input: crate::stdio::Input,
    ) -> std::io::Result<bool> {
        let parsed = self.parsed;
        let number = |option| parsed.value(option).and_then(|value| value.parse::<usize>().ok());
        let most = number('m').unwrap_or(usize::MAX);
        let after = number('A').or(number('C')).unwrap_or(0);
        let before = number('B').or(number('C')).unwrap_or(0);
        let quiet = parsed.has('q') || parsed.has('c') || parsed.has('l') || parsed.has('L');
        let mut count = 0;
        let mut line_number = 0;
        let mut pending = 0;
        let mut recent: std::collections::VecDeque<(usize, String)> = Default::default();
        let mut read = 0;
        while count < most {
            let Some(line) = input.read_line().await else { break };
            read += line.len();
            if read > WHOLE_LIMIT {
                break;
            }
            line_number += 1;
            let text = String::from_utf8_lossy(&line);
            let text = text.strip_suffix('\n').unwrap_or(&text);
            let matches = self.matchers.iter().any(|matcher| matcher.is_match(text));
            if matches != parsed.has('v') {
                count += 1;
                if parsed.has('q') {
                    return Ok(true);
                }
                if !quiet {
                    for (number, line) in recent.drain(..) {
                        self.print(context, number, '-', &line).await?;
                    }
                    self.print_match(context, line_number, text).await?;
                }
                pending = after;
            } else if pending > 0 && !quiet {
                pending -= 1;
                self.print(context, line_number, '-', text).await?;
            } else if before > 0 {
                recent.push_back((line_number, text.to_owned()));
                if recent.len() > before {
                    recent.pop_front();
                }
            }
        }
        if parsed.has('c') {
            context.stdout.write_all(format!("{}{count}\n", self.prefix)).await?;
        }
        if (parsed.has('l') && count > 0) || (parsed.has('L') && count == 0) {
            context.stdout.write_all(format!("{name}\n")).await?;
        }
        Ok(count > 0)
    }

    async fn print_match(
        &self,
        context: &ContainerContext,
        number: usize,
        text: &str,
    ) -> std::io::Result<()> {
        if !self.parsed.has('o') || self.parsed.has('v') {
            return self.print(context, number, ':', text).await;
        }
        let matcher = self.matchers.iter().find(|matcher| matcher.is_match(text));
        for part in matcher.into_iter().flat_map(|matcher| matcher.find_iter(text)) {
            if !part.as_str().is_empty() {
                self.print(context, number, ':', part.as_str()).await?;
            }
        }
        Ok(())
    }

    async fn print(
        &self,
        context: &ContainerContext,
        number: usize,
        mark: char,
        text: &str,
    ) -> std::io::Result<()> {
        let number = if self.parsed.has('n') { format!("{number}{mark}") } else { String::new() };
        context.stdout.write_all(format!("{}{number}{text}\n", self.prefix)).await
    }
}
