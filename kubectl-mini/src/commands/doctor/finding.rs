//! What a check finds: one line of cause, the evidence, and the command that mends it.

use std::fmt::Write as _;

use serde::Serialize;

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// `Service`, `Pod`, ….
    pub kind: &'static str,
    /// Empty for what is in no namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Subject {
    /// Something in a namespace.
    pub fn new(kind: &'static str, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }

    /// Something of the cluster.
    pub fn cluster(kind: &'static str, name: impl Into<String>) -> Self {
        Self::new(kind, "", name)
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, namespace, name } = self;
        if namespace.is_empty() {
            write!(f, "{kind} {name}")
        } else {
            write!(f, "{kind} {namespace}/{name}")
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The check that found it.
    pub check: &'static str,
    /// What it is about.
    pub subject: Subject,
    /// The cause, in a line.
    pub cause: String,
    /// What shows it.
    pub evidence: Vec<String>,
    /// The command that mends it, or that shows more where only its owner knows what is meant.
    pub fix: String,
}

impl Finding {
    /// A finding without evidence yet.
    pub fn new(
        check: &'static str,
        subject: Subject,
        cause: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { check, subject, cause: cause.into(), evidence: Vec::new(), fix: fix.into() }
    }

    /// Adds what shows it.
    #[must_use]
    pub fn because(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    /// Whether another look has found the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.check, &self.subject) == (other.check, &other.subject)
    }
}

/// Prints findings.
#[must_use]
pub fn render(findings: &[Finding], looked_at: &str) -> String {
    let mut out = String::new();
    for finding in findings {
        let _ = writeln!(out, "{}: {}", finding.subject, finding.cause);
        for evidence in &finding.evidence {
            let _ = writeln!(out, "    {evidence}");
        }
        if !finding.fix.is_empty() {
            let _ = writeln!(out, "    mend: {}", finding.fix);
        }
    }
    match findings.len() {
        0 => {
            let _ = writeln!(out, "Nothing found: {looked_at}.");
        }
        1 => out.push_str("\n1 finding.\n"),
        count => {
            let _ = writeln!(out, "\n{count} findings.");
        }
    }
    out
}
