//! Semantic versions.

use std::cmp::Ordering;

/// `major.minor.patch-pre+build`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Semver {
    pub(super) major: u64,
    pub(super) minor: u64,
    pub(super) patch: u64,
    /// What follows a hyphen: words with dots between.
    pre: String,
}

impl Semver {
    /// Reads a version; `normalize` takes `v1.2`, too.
    pub(super) fn parse(text: &str, normalize: bool) -> Option<Self> {
        let text = if normalize { text.strip_prefix('v').unwrap_or(text) } else { text };
        let (text, build) = text.split_once('+').map_or((text, None), |(t, b)| (t, Some(b)));
        let (core, pre) = text.split_once('-').map_or((text, None), |(t, p)| (t, Some(p)));
        let mut numbers: Vec<&str> = core.split('.').collect();
        if normalize {
            numbers.resize(numbers.len().max(3), "0");
        }
        let number = |text: &str| -> Option<u64> {
            let text =
                if normalize && text.len() > 1 { text.trim_start_matches('0') } else { text };
            let text = if text.is_empty() && normalize { "0" } else { text };
            let good = !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_digit())
                && (text.len() == 1 || !text.starts_with('0'));
            good.then(|| text.parse().ok()).flatten()
        };
        let [major, minor, patch] = numbers.as_slice() else { return None };
        let words = |text: Option<&str>| -> Option<String> {
            let Some(text) = text else { return Some(String::new()) };
            let good = |word: &str| {
                !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            };
            text.split('.').all(good).then(|| text.to_owned())
        };
        words(build)?;
        Some(Self {
            major: number(major)?,
            minor: number(minor)?,
            patch: number(patch)?,
            pre: words(pre)?,
        })
    }

    /// How long what is told by words is, in bytes.
    pub(super) fn size(&self) -> usize {
        self.pre.len()
    }

    /// Which one comes first.
    pub(super) fn cmp(&self, other: &Self) -> Ordering {
        let numbers = |v: &Self| (v.major, v.minor, v.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| {
            match (self.pre.as_str(), other.pre.as_str()) {
                ("", "") => Ordering::Equal,
                ("", _) => Ordering::Greater,
                (_, "") => Ordering::Less,
                (a, b) => {
                    let word = |a: &str, b: &str| match (a.parse::<u64>(), b.parse::<u64>()) {
                        (Ok(a), Ok(b)) => a.cmp(&b),
                        (Ok(_), Err(_)) => Ordering::Less,
                        (Err(_), Ok(_)) => Ordering::Greater,
                        (Err(_), Err(_)) => a.cmp(b),
                    };
                    let pairs = a.split('.').zip(b.split('.'));
                    let first = pairs.map(|(a, b)| word(a, b)).find(|order| order.is_ne());
                    first.unwrap_or_else(|| a.split('.').count().cmp(&b.split('.').count()))
                }
            }
        })
    }
}
