//! Descriptors under the eyes of the runtime: the one module of this crate with unsafe code.
#![allow(unsafe_code, reason = "two calls without a safe form; each says why it is sound")]

use std::{io, os::fd::OwnedFd};

use rustix::net::{RecvFlags, recv};
use tokio::io::{ReadBuf, unix::AsyncFd};

/// Has the runtime watch a non-blocking descriptor.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: `register` asks that the value names the same open descriptor for as long as it is watched. An
    // `OwnedFd` owns its descriptor, never changes it, and closes it only when it is dropped, which `AsyncFd` does
    // after it has stopped watching.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

/// Receives at most `wanted` bytes into the free part of a buffer, without clearing it first.
pub(crate) fn receive(fd: &OwnedFd, buffer: &mut ReadBuf<'_>, wanted: usize) -> io::Result<usize> {
    // SAFETY: nothing uninitialised is written to the free part: it is only handed to `recv`, which fills it.
    let free = unsafe { buffer.unfilled_mut() };
    let wanted = wanted.min(free.len());
    let ((received, _), _) = recv(fd, &mut free[..wanted], RecvFlags::empty())?;
    let count = received.len();
    // SAFETY: `recv` returned the bytes that it has initialised, from the start of the free part.
    unsafe { buffer.assume_init(count) };
    buffer.advance(count);
    Ok(count)
}

/// Writing to a closed connection is an error, not a signal. (Elsewhere Rust's runtime ignores the signal.)
#[cfg(not(target_vendor = "apple"))]
pub(crate) const SEND_FLAGS: rustix::net::SendFlags = rustix::net::SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
pub(crate) const SEND_FLAGS: rustix::net::SendFlags = rustix::net::SendFlags::empty();
