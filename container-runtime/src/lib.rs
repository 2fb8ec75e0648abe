//! The container runtime of a simulated node: containers without a container engine.
//!
//! A container is a [`Program`], an asynchronous function with arguments, environment, files, log,
//! clock and the pod's network; an image maps names to Programs. No process is started, no host file
//! and no host port is reachable from a container.
//!
//! | module | holds |
//! |---|---|
//! | [`program`] | [`Program`] and its [`ContainerContext`] |
//! | [`image`], [`catalogue`] | image names, images, and which image a name is |
//! | [`registry`] | the images that cannot be pulled |
//! | [`runtime`] | containers: create, start, stop, exec, attach, logs |
//! | [`files`], [`volumes`] | a container's files; writing ConfigMap and Secret volumes |
//! | [`logs`] | CRI log files: write, rotate, read, follow |
//! | [`stdio`], [`processes`] | streams and the process table of a container |
//! | `programs`, `shell` | the images' Programs; the exec shell and its commands |
//!
//! # In a few lines
//! ```text
//! let mut catalogue = ImageCatalogue::new();
//! catalogue.register("example.com/mine:v1", async |ctx: ContainerContext| { … })?;
//! let container = Runtime::new(clock).create(ContainerSpec { image: catalogue.resolve("nginx")?, … })?;
//! container.start()?;
//! container.stop(Duration::from_secs(30)).await;
//! ```
//!
//! **Invariant:** this crate knows no API object, no kubelet and no data plane: it is given an image,
//! mounts and a [`cni::network::Sandbox`], and what happens in a container stays within them.

pub mod catalogue;
pub mod files;
pub mod image;
mod launch;
pub mod logs;
pub mod processes;
pub mod program;
mod programs;
pub mod registry;
pub mod runtime;
mod shell;
pub mod stdio;
mod terminal;
#[cfg(test)]
mod testing;
pub mod volumes;
mod web;

pub use catalogue::{ImageCatalogue, ImageDefinition};
pub use image::{Image, ImageNameError, ImageReference};
pub use launch::LaunchError;
pub use program::{ContainerContext, DeclaredPort, ExitStatus, Program, Protocol, Signals};
pub use registry::{ImagePattern, PullError};
pub use runtime::{
    AttachSession, Container, ContainerId, ContainerSpec, ContainerState, CreateError, ExecError,
    ExecOutput, ExecRequest, ExecSession, Exit, Runtime, StartError,
};
