//! Sockets as this data plane wants them: non-blocking and closed on exec.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, socketpair, sockopt,
};

use self::flags::{FLAGS, accept_prepared, prepare};

/// What the kernel allows to wait for `accept`; it cuts this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Makes the two ends of a connection.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (a, b) = socketpair(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
    Ok((prepare(a)?, prepare(b)?))
}

/// Whether others may open the same address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    Alone,
    /// The nodes of a cluster, which run as one user: the kernel spreads what arrives.
    WithOtherNodes,
}

/// Makes a TCP socket that holds `address` but refuses connections until [`start_listening`].
pub(super) fn reserve_tcp(address: SocketAddr, sharing: Sharing) -> io::Result<OwnedFd> {
    let socket = prepare(socket_with(family(address), SocketType::STREAM, FLAGS, None)?)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, sharing == Sharing::WithOtherNodes)?;
    bind(&socket, &address)?;
    Ok(socket)
}

/// Makes a datagram socket at `address`.
pub(super) fn bind_udp(address: SocketAddr, sharing: Sharing) -> io::Result<OwnedFd> {
    let socket = prepare(socket_with(family(address), SocketType::DGRAM, FLAGS, None)?)?;
    sockopt::set_socket_reuseport(&socket, sharing == Sharing::WithOtherNodes)?;
    bind(&socket, &address)?;
    Ok(socket)
}

/// Has the end of a connection be a reset: its client must not take it for an empty answer.
pub(super) fn reset(connection: &OwnedFd) {
    let _ = sockopt::set_socket_linger(connection, Some(std::time::Duration::ZERO));
}

/// Makes a reserved socket answer.
pub(super) fn start_listening(socket: &OwnedFd) -> io::Result<()> {
    Ok(listen(socket, BACKLOG)?)
}

/// Takes the next connection of a listening socket, and who connected.
pub(super) fn accept(socket: &OwnedFd) -> io::Result<(OwnedFd, SocketAddr)> {
    let connection = accept_prepared(socket)?;
    let peer = rustix::net::getpeername(&connection)?
        .and_then(|address| SocketAddr::try_from(address).ok())
        .ok_or(rustix::io::Errno::NOTCONN)?;
    // A relay must not add waits of its own; whoever serves sets what it likes.
    let _ = sockopt::set_tcp_nodelay(&connection, true);
    Ok((connection, canonical(peer)))
}

fn family(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

/// Writes IPv4-mapped addresses as IPv4, `::1` as 127.0.0.1 and `::` as 0.0.0.0: the pod network is IPv4, and
/// programs that listen on or dial the IPv6 forms mean the same.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip().to_canonical() {
        IpAddr::V6(v6) if v6.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv4Addr::UNSPECIFIED.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(not(target_vendor = "apple"))]
mod flags {
    use super::{OwnedFd, SocketFlags, io};

    pub(super) const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    pub(super) fn prepare(socket: OwnedFd) -> io::Result<OwnedFd> {
        Ok(socket)
    }

    pub(super) fn accept_prepared(socket: &OwnedFd) -> io::Result<OwnedFd> {
        Ok(rustix::net::accept_with(socket, FLAGS)?)
    }
}

/// Where the system takes no flags, they are set right after.
#[cfg(target_vendor = "apple")]
mod flags {
    use super::{OwnedFd, SocketFlags, io};

    pub(super) const FLAGS: SocketFlags = SocketFlags::empty();

    pub(super) fn prepare(socket: OwnedFd) -> io::Result<OwnedFd> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        Ok(socket)
    }

    pub(super) fn accept_prepared(socket: &OwnedFd) -> io::Result<OwnedFd> {
        prepare(rustix::net::accept(socket)?)
    }
}
