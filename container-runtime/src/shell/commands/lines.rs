//! `wc`, `sort`, `uniq`, `cut`, `tr`, `tac`: commands on lines and fields.

use std::cmp::Ordering;

use super::stream::{WHOLE_LIMIT, open, operands};
use super::{Outcome, Parsed, fail, getopt};
use crate::program::ContainerContext;
use crate::shell::pattern::in_class;

/// Reads all operands as one text; prints what cannot be opened.
async fn whole(
    context: &ContainerContext,
    who: &str,
    names: &[String],
) -> std::io::Result<Result<String, i32>> {
    let mut all = Vec::new();
    for name in operands(names) {
        match open(context, &name) {
            Ok(input) => all.extend_from_slice(&input.read_to_end(WHOLE_LIMIT).await?),
            Err(error) => {
                return Ok(Err(fail(context, 1, format!("{who}: {name}: {error}")).await?));
            }
        }
        if all.last().is_some_and(|byte| *byte != b'\n') && names.len() > 1 {
            all.push(b'\n');
        }
    }
    Ok(Ok(String::from_utf8_lossy(&all).into_owned()))
}

pub(super) async fn wc(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "lwcm", &[("lines", 'l'), ("words", 'w'), ("bytes", 'c')]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let mut chosen: Vec<char> = "lwmc".chars().filter(|flag| parsed.has(*flag)).collect();
    if chosen.is_empty() {
        chosen = vec!['l', 'w', 'c'];
    }
    let names = operands(&parsed.operands);
    let mut totals = vec![0; chosen.len()];
    let mut status = 0;
    let print = |counts: &[usize], name: &str| {
        let mut line = match counts {
            [one] => one.to_string(),
            many => many.iter().map(|count| format!("{count:>9}")).collect::<String>(),
        };
        if name != "-" {
            line = format!("{line} {name}");
        }
        line + "\n"
    };
    for name in &names {
        let content = match open(&context, name) {
            Ok(input) => input.read_to_end(WHOLE_LIMIT).await?,
            Err(error) => {
                status = fail(&context, 1, format!("wc: {name}: {error}")).await?;
                continue;
            }
        };
        let text = String::from_utf8_lossy(&content);
        let counts: Vec<usize> = chosen
            .iter()
            .map(|flag| match flag {
                'l' => content.iter().filter(|byte| **byte == b'\n').count(),
                'w' => text.split_whitespace().count(),
                'm' => text.chars().count(),
                _ => content.len(),
            })
            .collect();
        totals.iter_mut().zip(&counts).for_each(|(total, count)| *total += count);
        context.stdout.write_all(print(&counts, name)).await?;
    }
    if names.len() > 1 {
        context.stdout.write_all(print(&totals, "total")).await?;
    }
    Ok(status)
}

pub(super) async fn sort(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "rnuk:t:fs", &[("reverse", 'r'), ("unique", 'u')]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let text = match whole(&context, "sort", &parsed.operands).await? {
        Ok(text) => text,
        Err(status) => return Ok(status),
    };
    let key = parsed.value('k').unwrap_or_default();
    let first: usize = key
        .split(['.', ','])
        .next()
        .unwrap_or_default()
        .trim_end_matches(|char: char| char.is_ascii_alphabetic())
        .parse()
        .unwrap_or(0);
    let last = key.split_once(',').and_then(|(_, last)| {
        last.trim_end_matches(|char: char| char.is_ascii_alphabetic()).parse::<usize>().ok()
    });
    let numeric = parsed.has('n') || key.contains('n');
    let reverse = parsed.has('r') || key.contains('r');
    let separator = parsed.value('t').and_then(|text| text.chars().next());
    let fold = parsed.has('f');
    let key_of = |line: &str| -> String {
        if first == 0 {
            return line.to_owned();
        }
        let fields: Vec<&str> = match separator {
            Some(separator) => line.split(separator).collect(),
            None => line.split_whitespace().collect(),
        };
        let end = last.unwrap_or(fields.len()).min(fields.len());
        fields.get(first - 1..end.max(first - 1)).map(|part| part.join(" ")).unwrap_or_default()
    };
    let compare = |left: &str, right: &str| -> Ordering {
        let (a, b) = (key_of(left), key_of(right));
        let ordering = if numeric {
            leading_number(&a).total_cmp(&leading_number(&b))
        } else if fold {
            a.to_lowercase().cmp(&b.to_lowercase())
        } else {
            a.cmp(&b)
        };
        if reverse { ordering.reverse() } else { ordering }
    };
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_by(|left, right| {
        compare(left, right).then_with(|| {
            if parsed.has('s') || parsed.has('u') { Ordering::Equal } else { left.cmp(right) }
        })
    });
    if parsed.has('u') {
        lines.dedup_by(|left, right| compare(left, right) == Ordering::Equal);
    }
    let sorted: String = lines.iter().flat_map(|line| [*line, "\n"]).collect();
    context.stdout.write_all(sorted).await?;
    Ok(0)
}

fn leading_number(text: &str) -> f64 {
    let text = text.trim_start();
    let end = text
        .char_indices()
        .find(|(index, char)| {
            !(char.is_ascii_digit() || *char == '.' || (*index == 0 && *char == '-'))
        })
        .map_or(text.len(), |(index, _)| index);
    text[..end].parse().unwrap_or(0.0)
}

pub(super) async fn uniq(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "cdui", &[("count", 'c'), ("repeated", 'd')]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let text = match whole(&context, "uniq", &parsed.operands).await? {
        Ok(text) => text,
        Err(status) => return Ok(status),
    };
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for line in text.lines() {
        match groups.last_mut() {
            Some((known, count))
                if *known == line || (parsed.has('i') && known.eq_ignore_ascii_case(line)) =>
            {
                *count += 1;
            }
            _ => groups.push((line, 1)),
        }
    }
    let mut lines = String::new();
    for (line, count) in groups {
        if (parsed.has('d') && count == 1) || (parsed.has('u') && count > 1) {
            continue;
        }
        if parsed.has('c') {
            lines.push_str(&format!("{count:>7} "));
        }
        lines.push_str(line);
        lines.push('\n');
    }
    context.stdout.write_all(lines).await?;
    Ok(0)
}

pub(super) async fn tac(context: ContainerContext) -> Outcome {
    let text = match whole(&context, "tac", &context.args[1..]).await? {
        Ok(text) => text,
        Err(status) => return Ok(status),
    };
    let lines: String = text.lines().rev().flat_map(|line| [line, "\n"]).collect();
    context.stdout.write_all(lines).await?;
    Ok(0)
}

pub(super) async fn cut(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "d:f:c:b:s", &[("delimiter", 'd'), ("fields", 'f')]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let list = parsed.value('f').or(parsed.value('c')).or(parsed.value('b'));
    let Some(ranges) = list.and_then(ranges) else {
        return fail(&context, 1, "cut: expected a list of bytes, characters, or fields").await;
    };
    let text = match whole(&context, "cut", &parsed.operands).await? {
        Ok(text) => text,
        Err(status) => return Ok(status),
    };
    let mut lines = String::new();
    for line in text.lines() {
        cut_line(line, &ranges, &parsed, &mut lines);
    }
    context.stdout.write_all(lines).await?;
    Ok(0)
}

fn cut_line(line: &str, ranges: &[(usize, usize)], parsed: &Parsed, out: &mut String) {
    let wanted =
        |position: usize| ranges.iter().any(|(first, last)| (*first..=*last).contains(&position));
    if parsed.has('f') {
        let delimiter = parsed.value('d').filter(|text| !text.is_empty()).unwrap_or("\t");
        if !line.contains(delimiter) {
            if !parsed.has('s') {
                out.push_str(line);
                out.push('\n');
            }
            return;
        }
        let fields: Vec<&str> = line
            .split(delimiter)
            .enumerate()
            .filter(|(index, _)| wanted(index + 1))
            .map(|(_, field)| field)
            .collect();
        out.push_str(&fields.join(delimiter));
    } else {
        out.extend(line.chars().enumerate().filter(|(index, _)| wanted(index + 1)).map(|(_, c)| c));
    }
    out.push('\n');
}

/// `1,3-5,7-`
fn ranges(list: &str) -> Option<Vec<(usize, usize)>> {
    list.split(',')
        .map(|part| match part.split_once('-') {
            None => part.parse().ok().map(|number| (number, number)),
            Some(("", last)) => Some((1, last.parse().ok()?)),
            Some((first, "")) => Some((first.parse().ok()?, usize::MAX)),
            Some((first, last)) => Some((first.parse().ok()?, last.parse().ok()?)),
        })
        .collect()
}

pub(super) async fn tr(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "dscC", &[]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let Some(first) = parsed.operands.first() else {
        return fail(&context, 1, "tr: usage: tr [-cds] STRING1 [STRING2]").await;
    };
    let complement = parsed.has('c') || parsed.has('C');
    let from = tr_set(first);
    let to = parsed.operands.get(1).map(|set| tr_set(set)).unwrap_or_default();
    let inside = |char: char| from.contains(char) != complement;
    let squeezed = if to.chars.is_empty() || parsed.has('d') && parsed.operands.len() > 1 {
        if to.chars.is_empty() { &from } else { &to }
    } else {
        &to
    };
    let delete = parsed.has('d');
    let input = context.stdin.read_to_end(WHOLE_LIMIT).await?;
    let mut out = String::with_capacity(input.len());
    let mut previous = None;
    for char in String::from_utf8_lossy(&input).chars() {
        let mut result = char;
        if inside(char) {
            if delete {
                continue;
            }
            if !to.chars.is_empty() {
                result = match complement {
                    true => to.chars.last().copied(),
                    false => from.position(char).and_then(|index| to.at(index)),
                }
                .unwrap_or(char);
            }
        }
        if parsed.has('s') && previous == Some(result) && squeezed.contains(result) {
            continue;
        }
        previous = Some(result);
        out.push(result);
    }
    context.stdout.write_all(out).await?;
    Ok(0)
}

#[derive(Default)]
struct TrSet {
    chars: Vec<char>,
    classes: Vec<String>,
}

impl TrSet {
    fn contains(&self, char: char) -> bool {
        self.chars.contains(&char) || self.classes.iter().any(|class| in_class(class, char))
    }

    fn position(&self, char: char) -> Option<usize> {
        self.chars.iter().position(|known| *known == char)
    }

    /// The last character stands for all further ones.
    fn at(&self, index: usize) -> Option<char> {
        self.chars.get(index).or(self.chars.last()).copied()
    }
}

fn tr_set(text: &str) -> TrSet {
    let (text, _) = super::text::unescape(text, false);
    let mut set = TrSet::default();
    let mut rest = text.as_str();
    while let Some(char) = rest.chars().next() {
        if let Some(class) = rest.strip_prefix("[:").and_then(|class| class.split_once(":]")) {
            match class.0 {
                "upper" => set.chars.extend('A'..='Z'),
                "lower" => set.chars.extend('a'..='z'),
                "digit" => set.chars.extend('0'..='9'),
                other => set.classes.push(other.to_owned()),
            }
            rest = class.1;
            continue;
        }
        rest = &rest[char.len_utf8()..];
        let mut after = rest.chars();
        match (after.next(), after.next()) {
            (Some('-'), Some(end)) if end >= char => {
                set.chars.extend((char..=end).take(65_536));
                rest = after.as_str();
            }
            _ => set.chars.push(char),
        }
    }
    set
}
