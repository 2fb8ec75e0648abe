//! Image names and images.
//!
//! Names are normalised as container runtimes do (the grammar of `distribution/reference`):
//! `nginx` is `docker.io/library/nginx:latest`. An [`Image`] is what a registry's config blob would
//! say (entrypoint, command, environment, working directory, files) plus the Programs that stand for
//! its executables.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::catalogue::Commands;
use crate::files::ImageFiles;
use crate::program::Program;
use crate::shell;

/// A parsed and normalised image name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageReference {
    /// Registry host, `docker.io` by default.
    pub domain: String,
    /// Repository path, with `library/` in front of a bare name on docker.io.
    pub path: String,
    /// Tag; `latest` where neither tag nor digest was given.
    pub tag: Option<String>,
    /// `sha256:…`
    pub digest: Option<String>,
}

/// Why a string is no image name; the words of `distribution/reference`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageNameError {
    /// Not of the grammar.
    #[error("invalid reference format")]
    Format,
    /// Upper-case letters in the repository.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// More than 255 characters of repository name.
    #[error("repository name must not be more than 255 characters")]
    TooLong,
}

impl ImageReference {
    /// Parses and normalises a name as users write it.
    ///
    /// # Errors
    /// [`ImageNameError`] with the text that a kubelet shows under `InvalidImageName`.
    pub fn parse(name: &str) -> Result<Self, ImageNameError> {
        let (rest, digest) = match name.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (name, None),
        };
        let (domain, remainder) = match rest.split_once('/') {
            Some((first, remainder))
                if first.contains(['.', ':']) || first == "localhost" || has_upper(first) =>
            {
                (first, remainder.to_owned())
            }
            _ => ("docker.io", rest.to_owned()),
        };
        let domain = if domain == "index.docker.io" { "docker.io" } else { domain };
        let (path, tag) = match remainder.rsplit_once(':') {
            Some((path, tag)) => (path.to_owned(), Some(tag.to_owned())),
            None => (remainder, None),
        };
        let path = match domain == "docker.io" && !path.contains('/') && !path.is_empty() {
            true => format!("library/{path}"),
            false => path,
        };
        if has_upper(&path) && is_path(&path.to_lowercase()) {
            return Err(ImageNameError::Uppercase(path));
        }
        let fits = is_domain(domain)
            && is_path(&path)
            && tag.as_deref().is_none_or(is_tag)
            && digest.is_none_or(is_digest);
        if !fits {
            return Err(ImageNameError::Format);
        }
        if domain.len() + 1 + path.len() > 255 {
            return Err(ImageNameError::TooLong);
        }
        let digest = digest.map(str::to_owned);
        let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self { domain: domain.to_owned(), path, tag, digest })
    }

    /// Domain and path without tag and digest: what the catalogue is keyed by.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn has_upper(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (domain, None),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(label)
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// `component (/ component)*`; a component is alphanumerics with single `.`, `_`, `__` or dashes between.
fn is_path(path: &str) -> bool {
    path.split('/').all(|component| {
        let inner = component.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-')
        });
        let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let separators = ["..", "___", "._", "_.", ".-", "-.", "_-", "-_"];
        inner
            && ends(component.bytes().next())
            && ends(component.bytes().last())
            && !separators.iter().any(|pair| component.contains(pair))
    })
}

fn is_tag(tag: &str) -> bool {
    let first = tag.bytes().next();
    tag.len() <= 128
        && first.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_digest(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// Which executables an image has besides the userland.
#[derive(Clone)]
pub enum Executables {
    /// Any command starts this Program: images known by their function alone.
    Any(Arc<dyn Program>),
    /// Programs by the file name of their executable.
    Named(BTreeMap<String, Arc<dyn Program>>),
}

/// An image: configuration, files and executables.
#[derive(Clone)]
pub struct Image {
    /// Normalised name.
    pub reference: ImageReference,
    /// Content hash as a container status shows it (`sha256:…`).
    pub digest: String,
    /// ENTRYPOINT.
    pub entrypoint: Vec<String>,
    /// CMD.
    pub cmd: Vec<String>,
    /// ENV in order.
    pub env: Vec<(String, String)>,
    /// WORKDIR.
    pub working_dir: String,
    /// Whether the image has a shell and the usual commands.
    pub userland: bool,
    /// Its Programs.
    pub executables: Executables,
    /// Commands beside the userland's own.
    pub(crate) commands: Arc<Commands>,
    /// Files of the root filesystem, shared by all containers of the image.
    pub files: Arc<ImageFiles>,
    /// Size that a node reports for the image, in bytes.
    pub size_bytes: i64,
}

impl Image {
    /// `docker.io/library/nginx@sha256:…`, the `imageID` of a container status.
    pub fn id(&self) -> String {
        format!("{}@{}", self.reference.repository(), self.digest)
    }

    /// The argument vector of a container, by Docker's rules: `command` replaces ENTRYPOINT and drops
    /// CMD; `args` replaces CMD.
    pub fn argv(&self, command: &[String], args: &[String]) -> Vec<String> {
        let (entry, rest) = match (command.is_empty(), args.is_empty()) {
            (true, true) => (self.entrypoint.as_slice(), self.cmd.as_slice()),
            (true, false) => (self.entrypoint.as_slice(), args),
            (false, _) => (command, args),
        };
        entry.iter().chain(rest).cloned().collect()
    }

    /// The userland's command of this name or path, if the image has a userland and that the command.
    pub(crate) fn command(&self, name: &str) -> Option<Arc<dyn Program>> {
        let base = name.rsplit('/').next().unwrap_or(name);
        let added = || self.commands.get(base).cloned();
        self.userland.then(|| added().or_else(|| shell::command(name))).flatten()
    }

    /// The Program that the image has under this executable's name or path.
    pub(crate) fn named_executable(&self, name: &str) -> Option<Arc<dyn Program>> {
        match &self.executables {
            Executables::Any(_) => None,
            Executables::Named(programs) => {
                let base = name.rsplit('/').next().unwrap_or(name);
                programs.get(base).cloned()
            }
        }
    }

    /// The Program that stands for whatever executable the image has.
    pub(crate) fn any_executable(&self) -> Option<Arc<dyn Program>> {
        match &self.executables {
            Executables::Any(program) => Some(program.clone()),
            Executables::Named(_) => None,
        }
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image").field("reference", &self.reference.to_string()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let check = |name: &str, expected: &str| {
            let parsed = ImageReference::parse(name).map(|reference| reference.to_string());
            assert_eq!(
                parsed.unwrap_or_else(|error| format!("error: {error}")),
                expected,
                "{name}"
            );
        };
        check("nginx", "docker.io/library/nginx:latest");
        check("nginx:1.27", "docker.io/library/nginx:1.27");
        check("docker.io/nginx", "docker.io/library/nginx:latest");
        check("index.docker.io/library/nginx", "docker.io/library/nginx:latest");
        check("traefik/whoami", "docker.io/traefik/whoami:latest");
        check("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10");
        check("localhost/x", "localhost/x:latest");
        check("localhost:5000/a/b:v1", "localhost:5000/a/b:v1");
        check(&format!("nginx@{digest}"), &format!("docker.io/library/nginx@{digest}"));
        check(&format!("nginx:1@{digest}"), &format!("docker.io/library/nginx:1@{digest}"));
        let format = "error: invalid reference format";
        for name in
            ["", "nginx:", ":x", "a//b", "a..b", "nginx@sha256:12", "-a", "a b", "http://x/y"]
        {
            check(name, format);
        }
        check(
            "Nginx",
            "error: invalid reference format: repository name (library/Nginx) must be lowercase",
        );
    }
}
