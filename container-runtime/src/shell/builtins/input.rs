//! `read` and `getopts`: variables from the input and from the arguments.

use super::usage;
use crate::shell::commands::process::duration;
use crate::shell::state::{Eval, Shell};

pub(super) async fn read(shell: &mut Shell, args: Vec<String>) -> Eval {
    let (mut raw, mut timeout, mut prompt, mut number) = (false, None, None, 0);
    let mut names = Vec::new();
    let mut words = args[1..].iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-r" => raw = true,
            "-s" => {}
            "-p" => prompt = words.next(),
            "-t" => {
                timeout = words.next().and_then(|word| duration(word));
            }
            "-u" => number = words.next().and_then(|word| word.parse().ok()).unwrap_or(0),
            word if word.starts_with('-') && word.len() > 1 => {
                return usage(shell, format!("read: illegal option {word}")).await;
            }
            word => names.push(word),
        }
    }
    if let Some(prompt) = prompt {
        // Nobody may be reading.
        let _ = shell.streams.stderr().write_all(prompt).await;
    }
    let Some(input) = shell.streams.input(number) else { return Ok(1) };
    let clock = shell.context.clock.clone();
    let lines = read_logical_line(&input, raw);
    let line = match timeout {
        Some(timeout) => match clock.timeout(timeout, lines).await {
            Ok(line) => line,
            Err(_) => return Ok(142),
        },
        None => lines.await,
    };
    let (text, ended) = line;
    if names.is_empty() {
        names.push("REPLY");
    }
    let separators = shell.get("IFS").unwrap_or(" \t\n").to_owned();
    for (name, value) in names.iter().zip(split_read(&text, &separators, names.len())) {
        if let Err(message) = shell.set(name, value) {
            return usage(shell, format!("read: {message}")).await;
        }
    }
    Ok(i32::from(!ended))
}

/// A line without its line feed, backslashes resolved unless `raw`; and whether it had a line feed.
async fn read_logical_line(input: &crate::stdio::Input, raw: bool) -> (String, bool) {
    let mut text = String::new();
    while let Some(line) = input.read_line().await {
        let line = String::from_utf8_lossy(&line).into_owned();
        let (line, ended) = match line.strip_suffix('\n') {
            Some(line) => (line, true),
            None => (line.as_str(), false),
        };
        if raw {
            return (line.to_owned(), ended);
        }
        let mut chars = line.chars();
        let mut continued = false;
        while let Some(char) = chars.next() {
            match char {
                '\\' => match chars.next() {
                    Some(char) => text.push(char),
                    None => continued = ended,
                },
                char => text.push(char),
            }
        }
        if !continued {
            return (text, ended);
        }
    }
    (text, false)
}

/// Splits a line into `count` values; the last takes the rest.
fn split_read(text: &str, separators: &str, count: usize) -> Vec<String> {
    let space = |char: char| char.is_ascii_whitespace() && separators.contains(char);
    let mut rest = text.trim_start_matches(space);
    let mut values = Vec::new();
    while values.len() + 1 < count {
        let end = rest.find(|char| separators.contains(char)).unwrap_or(rest.len());
        values.push(rest[..end].to_owned());
        rest = rest[end..].trim_start_matches(space);
        if let Some(char) = rest.chars().next().filter(|char| separators.contains(*char)) {
            rest = rest[char.len_utf8()..].trim_start_matches(space);
        }
    }
    values.push(rest.trim_end_matches(space).to_owned());
    values
}

pub(super) async fn getopts(shell: &mut Shell, args: Vec<String>) -> Eval {
    let (Some(options), Some(name)) = (args.get(1).cloned(), args.get(2).cloned()) else {
        return usage(shell, "getopts: usage: getopts OPTSTRING NAME [ARG...]".into()).await;
    };
    let words = if args.len() > 3 { args[3..].to_vec() } else { shell.parameters.clone() };
    let mut index: usize =
        shell.get("OPTIND").and_then(|text| text.parse().ok()).unwrap_or(1).max(1);
    let silent = options.starts_with(':');
    let mut argument = None;
    let word = words.get(index - 1).filter(|word| word.starts_with('-') && word.len() > 1);
    let letter = match word {
        Some(word) if word != "--" => {
            let position = shell.getopts_offset.max(1);
            let letter = word[position..].chars().next();
            if let Some(letter) = letter {
                let rest = &word[position + letter.len_utf8()..];
                let takes =
                    options.split_once(letter).is_some_and(|(_, after)| after.starts_with(':'));
                if takes {
                    shell.getopts_offset = 0;
                    index += 1;
                    if rest.is_empty() {
                        argument = words.get(index - 1).cloned();
                        index += 1;
                    } else {
                        argument = Some(rest.to_owned());
                    }
                } else if rest.is_empty() {
                    shell.getopts_offset = 0;
                    index += 1;
                } else {
                    shell.getopts_offset = position + letter.len_utf8();
                }
                let known = letter != ':' && options.contains(letter);
                match (known, takes, &argument) {
                    (true, true, None) => {
                        if !silent {
                            shell
                                .complain(&format!("option requires an argument -- {letter}"))
                                .await;
                        }
                        argument = silent.then(|| letter.to_string());
                        Some(if silent { ':' } else { '?' })
                    }
                    (true, ..) => Some(letter),
                    (false, ..) => {
                        if !silent {
                            shell.complain(&format!("Illegal option -{letter}")).await;
                        }
                        argument = silent.then(|| letter.to_string());
                        Some('?')
                    }
                }
            } else {
                None
            }
        }
        Some(_) => {
            index += 1;
            None
        }
        None => None,
    };
    let result = shell
        .set("OPTIND", index.to_string())
        .and_then(|()| shell.set(&name, letter.unwrap_or('?').to_string()))
        .and_then(|()| match argument {
            Some(argument) => shell.set("OPTARG", argument),
            None => shell.unset("OPTARG"),
        });
    if let Err(message) = result {
        return usage(shell, format!("getopts: {message}")).await;
    }
    if letter.is_none() {
        shell.getopts_offset = 0;
    }
    Ok(i32::from(letter.is_none()))
}
