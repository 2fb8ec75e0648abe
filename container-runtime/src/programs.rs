//! The images that the catalogue starts with. A new image is one file and one line of [`IMAGES`].

pub(crate) mod base;
mod echo;
mod nginx;
mod pause;

use std::sync::Arc;

use crate::catalogue::ImageDefinition;
use crate::program::Program;

type Definition = fn() -> ImageDefinition;

/// Repositories and what they hold.
pub(crate) const IMAGES: &[(&[&str], Definition)] = &[
    (&["nginx", "bitnami/nginx", "nginxinc/nginx-unprivileged"], nginx::image),
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
