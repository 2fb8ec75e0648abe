//! What FIDELITY.md says of kinds, made from what is tried.

use std::fmt::Write as _;

use apimachinery::resource::{self, ResourceInfo};

use super::Sample;
use crate::support::project;

const BEGIN: &str = "<!-- kinds: written by the test of the same name -->\n";
const END: &str = "<!-- kinds: end -->\n";

/// Compares FIDELITY.md with what is tried, or writes it.
pub(super) fn check(kinds: &[(&'static ResourceInfo, Sample)]) {
    let file = project().join("FIDELITY.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, rest) =
        text.split_once(BEGIN).expect("FIDELITY.md has the mark where kinds begin");
    let (told, after) = rest.split_once(END).expect("FIDELITY.md has the mark where kinds end");
    let tried = table(kinds);
    if std::env::var_os("KUBE_MINI_BLESS").is_some() {
        std::fs::write(&file, format!("{before}{BEGIN}{tried}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(told, tried, "write it anew with KUBE_MINI_BLESS=1");
}

fn table(kinds: &[(&'static ResourceInfo, Sample)]) -> String {
    let mut text = String::from(
        "| kind | version | verbs | subresources | selects by, besides name and namespace |\n|---|---|---|---|---|\n",
    );
    for (info, sample) in kinds {
        let verbs = match info.verbs {
            verbs if verbs.len() == 8 => "all".to_owned(),
            verbs if verbs.len() == 7 => "all but deletecollection".to_owned(),
            verbs => verbs.join(", "),
        };
        let subresources: Vec<&str> = info.subresources.iter().map(|sub| sub.name).collect();
        let (kind, version) = (info.kind, info.api_version());
        let (subresources, fields) = (subresources.join(", "), sample.fields.join(", "));
        let _ = writeln!(text, "| {kind} | {version} | {verbs} | {subresources} | {fields} |");
    }
    let absent = resource::RESOURCES.iter().filter(|info| !info.served);
    let absent: Vec<String> = absent
        .map(|info| match info.version {
            "v1" => info.group_kind(),
            version => format!("{} ({version})", info.group_kind()),
        })
        .collect();
    let _ = writeln!(text, "\nNot served: {}.", absent.join(", "));
    text
}
