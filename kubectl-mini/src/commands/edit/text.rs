//! The text of an edit: its header of comments, and what counts as a change.

use std::fmt::Write;

use apimachinery::yaml;
use serde_json::Value;

use crate::resources::check_object;

/// The comments above the object: what to do, and why the last try failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    reasons: Vec<(String, Vec<String>)>,
}

const INTRODUCTION: &str = "\
# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit. If an error occurs while saving this file will be
# reopened with the relevant failures.
#
";

impl Header {
    pub(super) fn add(&mut self, head: String, causes: Vec<String>) {
        self.reasons.push((head, causes));
    }

    pub(super) fn render(&self) -> String {
        let mut text = INTRODUCTION.to_owned();
        for (head, causes) in &self.reasons {
            let colon = if causes.is_empty() { "" } else { ":" };
            let _ = writeln!(text, "# {}{colon}", commented(head));
            for cause in causes {
                let _ = writeln!(text, "# * {}", commented(cause));
            }
            text.push_str("#\n");
        }
        text
    }
}

/// Further lines are comments, too.
fn commented(text: &str) -> String {
    text.replace('\n', "\n# ")
}

/// The text less its lines of comments.
pub(super) fn without_comments(text: &str) -> String {
    let lines = text.split_inclusive('\n').filter(|line| {
        let line = line.trim();
        !line.starts_with('#') || line.starts_with("#!")
    });
    lines.collect()
}

/// Whether anything stands there but comments.
pub(super) fn has_lines(text: &str) -> bool {
    text.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with('#'))
}

/// What kubectl asks of a text before it looks for changes.
pub(super) fn check(text: &str) -> Result<(), String> {
    let documents = yaml::read_forgiving(text, "").map_err(|error| error.go_message())?;
    check_object(documents.first().map(|document| &document.value))
}

/// What two texts must have in common to mean the same.
#[derive(Debug, PartialEq)]
pub(super) enum Comparable {
    Objects(Vec<Value>),
    Text(String),
}

pub(super) fn comparable(text: &str) -> Comparable {
    match yaml::read_forgiving(text, "") {
        Ok(documents) => {
            Comparable::Objects(documents.into_iter().map(|document| document.value).collect())
        }
        Err(_) => Comparable::Text(without_comments(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_why_the_last_try_failed() {
        let mut header = Header::default();
        assert_eq!(header.render(), INTRODUCTION);
        header.add("pods \"x\" was not valid".to_owned(), vec!["a: b\nc".to_owned()]);
        header.add("one\ntwo".to_owned(), Vec::new());
        assert_eq!(
            header.render(),
            format!(
                "{INTRODUCTION}# pods \"x\" was not valid:\n# * a: b\n# c\n#\n# one\n# two\n#\n"
            )
        );
    }

    #[test]
    fn comments_do_not_count() {
        assert_eq!(without_comments("# a\nb: 1\n  # c\n#!d\n"), "b: 1\n#!d\n");
        assert!(!has_lines("# a\n\n  \n"));
        assert!(has_lines("# a\nb\n"));
        assert_eq!(check("kind: A\napiVersion: v1\n"), Ok(()));
        assert_eq!(check("a: b\n"), Err("[apiVersion not set, kind not set]".to_owned()));
        assert_eq!(check("# a\n"), Err("invalid object to validate".to_owned()));
        assert_eq!(comparable("# x\na: 1\n"), comparable("a:   1\n"));
        assert_ne!(comparable("a: 2\n"), comparable("a: 1\n"));
        assert_eq!(comparable("# x\na: [\n"), Comparable::Text("a: [\n".to_owned()));
    }
}
