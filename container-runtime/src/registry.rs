//! What registries refuse: the images that cannot be pulled, and how a container runtime words it.
//!
//! The catalogue has an image for every name; a rule takes names away again, so that a failed pull can be seen. Names
//! below `.invalid`, which no registry can have (RFC 6761), are refused without a rule.

use crate::image::ImageReference;

/// Why an image cannot be pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullError {
    /// The registry has no such image.
    NotFound,
    /// The registry asks for credentials.
    Unauthorized,
    /// The registry does not answer.
    Unreachable,
}

impl PullError {
    /// The error as containerd gives it to a kubelet.
    #[must_use]
    pub fn message(self, reference: &ImageReference) -> String {
        let ImageReference { domain, path, .. } = reference;
        let (code, why) = match self {
            Self::NotFound => ("NotFound", format!("{reference}: not found")),
            Self::Unauthorized => (
                "Unknown",
                "pull access denied, repository does not exist or may require authorization: server message: \
                 insufficient_scope: authorization failed"
                    .to_owned(),
            ),
            Self::Unreachable => {
                let host = if domain == "docker.io" { "registry-1.docker.io" } else { domain };
                let tag = reference.digest.as_deref().or(reference.tag.as_deref());
                let name = host.split(':').next().unwrap_or(host);
                let url = format!("https://{host}/v2/{path}/manifests/{}", tag.unwrap_or("latest"));
                (
                    "Unknown",
                    format!(
                        "failed to do request: Head {url:?}: dial tcp: lookup {name}: no such host"
                    ),
                )
            }
        };
        format!(
            "rpc error: code = {code} desc = failed to pull and unpack image \"{reference}\": failed to resolve \
             reference \"{reference}\": {why}"
        )
    }
}

/// Names with `*` for any text, slashes included: `nginx:broken-*`, `registry.example.com/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePattern(String);

impl ImagePattern {
    /// A pattern as users write it.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }

    /// Whether it names this image, as written or in full.
    #[must_use]
    pub fn matches(&self, written: &str, reference: &ImageReference) -> bool {
        glob(&self.0, written) || glob(&self.0, &reference.to_string())
    }
}

/// Whether a text is as the pattern says.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    // Each part between two stars as early as possible; the last one at the end.
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// The images that cannot be pulled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals(Vec<(ImagePattern, PullError)>);

impl Refusals {
    pub(crate) fn add(&mut self, pattern: ImagePattern, error: PullError) {
        self.0.push((pattern, error));
    }

    pub(crate) fn find(&self, written: &str, reference: &ImageReference) -> Option<PullError> {
        let rule = self.0.iter().find(|(pattern, _)| pattern.matches(written, reference));
        let host = reference.domain.split(':').next().unwrap_or_default();
        let impossible = host.ends_with(".invalid").then_some(PullError::Unreachable);
        rule.map(|(_, error)| *error).or(impossible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_as_written_and_in_full() {
        let check = |pattern: &str, image: &str, expected: bool| {
            let reference = ImageReference::parse(image).unwrap();
            let matches = ImagePattern::new(pattern).matches(image, &reference);
            assert_eq!(matches, expected, "{pattern} {image}");
        };
        check("nginx", "nginx", true);
        check("nginx", "nginx:1.27", false);
        check("nginx:*", "nginx:1.27", true);
        check("nginx:*", "docker.io/library/nginx:1.27", false);
        check("*/nginx:latest", "nginx", true);
        check("docker.io/*", "nginx", true);
        check("*broken*", "registry.example.com/a/broken:v1", true);
        check("a*b*c", "a/b/x", false);
        check("quay.io/*:v*", "quay.io/acme/thing:v2", true);
        check("quay.io/*:v*", "quay.io/acme/thing:2", false);
        check("*", "anything", true);
    }

    #[test]
    fn errors_read_as_containerds() {
        let check = |error: PullError, image: &str, expected: &str| {
            let reference = ImageReference::parse(image).unwrap();
            assert_eq!(error.message(&reference), expected);
        };
        check(
            PullError::NotFound,
            "nginx:nope",
            "rpc error: code = NotFound desc = failed to pull and unpack image \"docker.io/library/nginx:nope\": \
             failed to resolve reference \"docker.io/library/nginx:nope\": docker.io/library/nginx:nope: not found",
        );
        check(
            PullError::Unauthorized,
            "acme/secret",
            "rpc error: code = Unknown desc = failed to pull and unpack image \"docker.io/acme/secret:latest\": \
             failed to resolve reference \"docker.io/acme/secret:latest\": pull access denied, repository does not \
             exist or may require authorization: server message: insufficient_scope: authorization failed",
        );
        check(
            PullError::Unreachable,
            "registry.invalid:5000/web:v1",
            "rpc error: code = Unknown desc = failed to pull and unpack image \"registry.invalid:5000/web:v1\": \
             failed to resolve reference \"registry.invalid:5000/web:v1\": failed to do request: Head \
             \"https://registry.invalid:5000/v2/web/manifests/v1\": dial tcp: lookup registry.invalid: no such host",
        );
    }
}
