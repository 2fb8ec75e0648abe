//! What cobra says to a command that it does not know.

use std::fmt::Write;

use super::{PROGRAM, all_commands};
use crate::errors::CommandError;

/// kubectl's commands that are not here, so that they are no typing errors.
const MISSING: [&str; 5] = ["alpha", "autoscale", "debug", "kustomize", "plugin"];

pub(super) fn unknown_command(typed: &str) -> CommandError {
    let quoted = apimachinery::field::go_quote(typed);
    let mut text = format!("unknown command {quoted} for \"{PROGRAM}\"");
    if MISSING.contains(&typed) {
        text.push_str(": kubectl has it, this program does not");
        return CommandError::message(text);
    }
    let similar: Vec<&str> =
        all_commands().map(|spec| spec.name).filter(|name| resembles(typed, name)).collect();
    if !similar.is_empty() {
        text.push_str("\n\nDid you mean this?\n");
        for name in similar {
            let _ = writeln!(text, "\t{name}");
        }
    }
    CommandError::message(text)
}

fn resembles(typed: &str, name: &str) -> bool {
    let typed = typed.to_lowercase();
    name.starts_with(&typed) || distance(&typed, name) <= 2
}

/// Levenshtein's.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_commands_are_named() {
        let check = |typed: &str, expected: &str| {
            assert_eq!(unknown_command(typed).to_string(), expected);
        };
        check(
            "kustomize",
            "unknown command \"kustomize\" for \"kubectl-mini\": kubectl has it, this program does not",
        );
        check("xyzzyxyzzy", "unknown command \"xyzzyxyzzy\" for \"kubectl-mini\"");
        check(
            "descr",
            "unknown command \"descr\" for \"kubectl-mini\"\n\nDid you mean this?\n\tdescribe\n",
        );
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
