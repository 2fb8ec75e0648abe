//! `sed` with `s`, `d`, `p`, `q`, `=` and addresses; other commands are refused by name.

use regex_lite::{Captures, Regex};

use super::search::regex;
use super::stream::{WHOLE_LIMIT, open, operands};
use super::{Outcome, fail, getopt};
use crate::files::join;
use crate::program::ContainerContext;

struct Command {
    from: Option<Address>,
    to: Option<Address>,
    negated: bool,
    action: Action,
}

enum Address {
    Line(usize),
    Last,
    Match(Regex),
}

enum Action {
    Substitute { regex: Regex, with: String, all: bool, nth: usize, print: bool },
    Delete,
    Print,
    Number,
    Quit,
}

pub(super) async fn sed(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "nie:Er", &[("quiet", 'n'), ("in-place", 'i')]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let extended = parsed.has('E') || parsed.has('r');
    let mut names = parsed.operands.clone();
    let mut script: Vec<String> = parsed.values('e').map(str::to_owned).collect();
    if script.is_empty() {
        if names.is_empty() {
            return fail(&context, 1, "sed: usage: sed [-i] [-n] [-E] [-e CMD]... [FILE]...").await;
        }
        script.push(names.remove(0));
    }
    let commands = match parse(&script.join("\n"), extended) {
        Ok(commands) => commands,
        Err(message) => return fail(&context, 1, format!("sed: {message}")).await,
    };
    let mut status = 0;
    let mut text = String::new();
    for name in operands(&names) {
        let content = match open(&context, &name) {
            Ok(input) => input.read_to_end(WHOLE_LIMIT).await?,
            Err(error) => {
                status = fail(&context, 1, format!("sed: {name}: {error}")).await?;
                continue;
            }
        };
        let content = String::from_utf8_lossy(&content).into_owned();
        if !parsed.has('i') {
            text.push_str(&content);
            continue;
        }
        let edited = apply(&commands, &content, parsed.has('n'));
        if let Err(error) = context.files.write(&join(&context.working_dir, &name), edited) {
            status = fail(&context, 1, format!("sed: {name}: {error}")).await?;
        }
    }
    if !parsed.has('i') {
        context.stdout.write_all(apply(&commands, &text, parsed.has('n'))).await?;
    }
    Ok(status)
}

fn parse(script: &str, extended: bool) -> Result<Vec<Command>, String> {
    let mut commands = Vec::new();
    let mut rest = script;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', ';']);
        if rest.is_empty() {
            return Ok(commands);
        }
        let from = address(&mut rest, extended)?;
        let mut to = None;
        if from.is_some() && rest.starts_with(',') {
            rest = &rest[1..];
            to = address(&mut rest, extended)?;
        }
        rest = rest.trim_start();
        let negated = rest.starts_with('!');
        rest = rest.trim_start_matches(['!', ' ']);
        let name = rest.chars().next().ok_or("missing command")?;
        rest = &rest[name.len_utf8()..];
        let action = match name {
            's' => substitute(&mut rest, extended)?,
            'd' => Action::Delete,
            'p' => Action::Print,
            'q' => Action::Quit,
            '=' => Action::Number,
            other => return Err(format!("unsupported command {other}")),
        };
        commands.push(Command { from, to, negated, action });
    }
}

fn address(rest: &mut &str, extended: bool) -> Result<Option<Address>, String> {
    if let Some(after) = rest.strip_prefix('$') {
        *rest = after;
        return Ok(Some(Address::Last));
    }
    if let Some(after) = rest.strip_prefix('/') {
        let (pattern, after) = until(after, '/').ok_or("no address after comma")?;
        *rest = after;
        return Ok(Some(Address::Match(regex(&pattern, extended, false)?)));
    }
    let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
    if end == 0 {
        return Ok(None);
    }
    let line = rest[..end].parse().map_err(|_| "bad line number".to_owned())?;
    *rest = &rest[end..];
    Ok(Some(Address::Line(line)))
}

/// Text up to an unescaped delimiter, and what follows it.
fn until(text: &str, delimiter: char) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut chars = text.char_indices();
    while let Some((index, char)) = chars.next() {
        match char {
            '\\' => {
                let (_, next) = chars.next()?;
                if next != delimiter {
                    part.push('\\');
                }
                part.push(next);
            }
            char if char == delimiter => return Some((part, &text[index + char.len_utf8()..])),
            char => part.push(char),
        }
    }
    None
}

fn substitute(rest: &mut &str, extended: bool) -> Result<Action, String> {
    let delimiter = rest.chars().next().ok_or("unmatched 's'")?;
    let after = &rest[delimiter.len_utf8()..];
    let (pattern, after) = until(after, delimiter).ok_or("unmatched 's'")?;
    let (with, mut after) = until(after, delimiter).ok_or("unmatched 's'")?;
    let (mut all, mut ignore_case, mut print, mut nth) = (false, false, false, 1);
    while let Some(flag) = after.chars().next() {
        match flag {
            'g' => all = true,
            'i' | 'I' => ignore_case = true,
            'p' => print = true,
            '1'..='9' => nth = flag.to_digit(10).map_or(1, |digit| digit as usize),
            ';' | '\n' | ' ' | '}' => break,
            other => return Err(format!("unknown option to s command: {other}")),
        }
        after = &after[1..];
    }
    *rest = after;
    let regex = regex(&pattern, extended, ignore_case)?;
    Ok(Action::Substitute { regex, with, all, nth, print })
}

fn apply(commands: &[Command], text: &str, quiet: bool) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut inside = vec![false; commands.len()];
    let mut out = String::new();
    'lines: for (index, line) in lines.iter().enumerate() {
        let (number, last) = (index + 1, index + 1 == lines.len());
        let mut line = (*line).to_owned();
        let mut quit = false;
        for (command, inside) in commands.iter().zip(&mut inside) {
            if selects(command, inside, &line, number, last) == command.negated {
                continue;
            }
            match &command.action {
                Action::Delete => continue 'lines,
                Action::Print => {
                    out.push_str(&line);
                    out.push('\n');
                }
                Action::Number => out.push_str(&format!("{number}\n")),
                Action::Quit => {
                    quit = true;
                    break;
                }
                Action::Substitute { regex, with, all, nth, print } => {
                    let (changed, text) = replace(regex, &line, with, *all, *nth);
                    line = text;
                    if changed && *print {
                        out.push_str(&line);
                        out.push('\n');
                    }
                }
            }
        }
        if !quiet {
            out.push_str(&line);
            out.push('\n');
        }
        if quit {
            return out;
        }
    }
    if !text.is_empty() && !text.ends_with('\n') && out.ends_with('\n') {
        out.pop();
    }
    out
}

fn selects(command: &Command, inside: &mut bool, line: &str, number: usize, last: bool) -> bool {
    let hit = |address: &Address| match address {
        Address::Line(wanted) => *wanted == number,
        Address::Last => last,
        Address::Match(regex) => regex.is_match(line),
    };
    match (&command.from, &command.to) {
        (None, _) => true,
        (Some(from), None) => hit(from),
        (Some(from), Some(to)) => {
            if *inside {
                *inside = !hit(to);
                true
            } else {
                let start = hit(from);
                *inside = start && !matches!(to, Address::Line(end) if *end <= number);
                start
            }
        }
    }
}

fn replace(regex: &Regex, line: &str, with: &str, all: bool, nth: usize) -> (bool, String) {
    let mut out = String::new();
    let mut end = 0;
    let mut changed = false;
    for (index, captures) in regex.captures_iter(line).enumerate() {
        let Some(whole) = captures.get(0) else { break };
        if index + 1 < nth {
            continue;
        }
        changed = true;
        out.push_str(&line[end..whole.start()]);
        expand(with, &captures, &mut out);
        end = whole.end();
        if !all {
            break;
        }
    }
    out.push_str(&line[end..]);
    (changed, out)
}

fn expand(with: &str, captures: &Captures<'_>, out: &mut String) {
    let group = |index: usize| captures.get(index).map_or("", |group| group.as_str());
    let mut chars = with.chars();
    while let Some(char) = chars.next() {
        match char {
            '&' => out.push_str(group(0)),
            '\\' => match chars.next() {
                Some(digit @ '0'..='9') => {
                    out.push_str(group(digit.to_digit(10).map_or(0, |digit| digit as usize)));
                }
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            other => out.push(other),
        }
    }
}
