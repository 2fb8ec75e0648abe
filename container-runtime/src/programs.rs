//! The images that the catalogue starts with. A new image is one file and one line of [`IMAGES`].

mod agnhost;
pub(crate) mod base;
mod echo;
mod http_echo;
mod httpd;
mod nginx;
mod pause;
mod redis;
mod userland;
mod whoami;

use std::sync::Arc;

use crate::catalogue::ImageDefinition;
use crate::program::Program;

type Definition = fn() -> ImageDefinition;

/// Repositories and what they hold.
pub(crate) const IMAGES: &[(&[&str], Definition)] = &[
    (&["nginx", "bitnami/nginx", "nginxinc/nginx-unprivileged"], nginx::image),
    (&["httpd"], httpd::image),
    (&["redis", "valkey/valkey", "bitnami/redis", "registry.k8s.io/redis"], redis::image),
    (&["traefik/whoami", "containous/whoami"], whoami::image),
    (&["hashicorp/http-echo"], http_echo::image),
    (
        &["registry.k8s.io/e2e-test-images/agnhost", "k8s.gcr.io/e2e-test-images/agnhost"],
        agnhost::image,
    ),
    (
        &[
            "registry.k8s.io/e2e-test-images/nginx",
            "registry.k8s.io/nginx-slim",
            "k8s.gcr.io/nginx-slim",
        ],
        nginx::image,
    ),
    (&["registry.k8s.io/e2e-test-images/httpd"], httpd::image),
    (
        &[
            "busybox",
            "registry.k8s.io/busybox",
            "registry.k8s.io/e2e-test-images/busybox",
            "gcr.io/google-containers/busybox",
        ],
        userland::busybox,
    ),
    (&["alpine", "bash"], userland::alpine),
    (&["debian", "registry.k8s.io/e2e-test-images/jessie-dnsutils"], userland::debian),
    (&["ubuntu", "centos", "fedora", "rockylinux", "almalinux"], userland::ubuntu),
    (&["curlimages/curl"], userland::curl),
    (&["nicolaka/netshoot"], userland::netshoot),
    (
        &["registry.k8s.io/pause", "k8s.gcr.io/pause", "gcr.io/google-containers/pause"],
        pause::image,
    ),
];

/// What an image is that nobody registered.
pub(crate) fn unknown() -> ImageDefinition {
    ImageDefinition::of(echo::run)
}

/// The Docker Hub repository that a well-known mirror copies.
pub(crate) fn mirrored(repository: &str) -> Option<String> {
    ["public.ecr.aws/docker/", "mirror.gcr.io/", "registry.hub.docker.com/"]
        .iter()
        .find_map(|mirror| repository.strip_prefix(mirror))
        .map(|path| format!("docker.io/{path}"))
}

/// A Program behind a pointer, as image definitions hold it.
fn program(program: impl Program) -> Arc<dyn Program> {
    Arc::new(program)
}

/// Content types by extension, from nginx' `mime.types`.
const TYPES: &[(&str, &str)] = &[
    ("html", "text/html"),
    ("htm", "text/html"),
    ("css", "text/css"),
    ("xml", "text/xml"),
    ("gif", "image/gif"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("js", "application/javascript"),
    ("txt", "text/plain"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("ico", "image/x-icon"),
    ("webp", "image/webp"),
    ("woff2", "font/woff2"),
    ("json", "application/json"),
    ("pdf", "application/pdf"),
    ("wasm", "application/wasm"),
    ("zip", "application/zip"),
];

/// Content type by the file's extension.
fn content_type(file: &str) -> &'static str {
    let extension = file.rsplit('/').next().and_then(|name| name.rsplit_once('.'));
    let extension = extension.map(|(_, extension)| extension.to_ascii_lowercase());
    TYPES
        .iter()
        .find(|(known, _)| extension.as_deref() == Some(known))
        .map_or("application/octet-stream", |(_, content_type)| content_type)
}

#[cfg(test)]
mod tests;
