//! A try from the host itself: this program makes the connection.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use cni::{
    probe::{ConnectSpec, ConnectStatus, HttpAnswer, HttpGet},
    rules::Protocol,
    trace::Outcome,
};
use component_base::clock::Clock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

/// As long as a node tries.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of an answer is looked at.
const MAX_ANSWER: u64 = 16 * 1024;

/// Connects.
pub(super) async fn from_host(clock: &Clock, wanted: &ConnectSpec) -> ConnectStatus {
    let started = clock.monotonic();
    let attempt = async {
        match wanted.protocol {
            Protocol::Tcp => match &wanted.http_get {
                None => connect(wanted.address).await.map(|_| None),
                Some(get) => get_page(wanted.address, get).await.map(Some),
            },
            Protocol::Udp => exchange(wanted.address).await.map(|()| None),
        }
    };
    let attempt = clock.timeout(PATIENCE, attempt).await;
    let took = clock.monotonic().saturating_sub(started);
    let (outcome, error, http) = match attempt {
        Err(_elapsed) => (Outcome::TimedOut, Some("nothing has answered".to_owned()), None),
        Ok(Err(error)) => (outcome_of(&error), Some(error.to_string()), None),
        Ok(Ok(http)) => (Outcome::Delivered, None, http),
    };
    let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    ConnectStatus { outcome, endpoint: None, microseconds, error, http }
}

/// A reset is a refusal: the host has completed the handshake before an endpoint was asked. It shows with the first
/// byte.
async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(to).await
}

async fn get_page(to: SocketAddr, get: &HttpGet) -> io::Result<HttpAnswer> {
    let mut stream = connect(to).await?;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: kube-mini-trace\r\nConnection: close\r\n\r\n",
        get.path, get.host
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    Ok(match status {
        Some(status) => HttpAnswer { status, body: body.to_owned(), error: None },
        None => HttpAnswer {
            error: Some("the connection was closed without an answer".to_owned()),
            ..HttpAnswer::default()
        },
    })
}

async fn exchange(to: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(to).await?;
    socket.send(&[]).await?;
    socket.recv(&mut [0; 512]).await.map(drop)
}

fn outcome_of(error: &io::Error) -> Outcome {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable};
    match error.kind() {
        ConnectionRefused | ConnectionReset => Outcome::Refused,
        io::ErrorKind::TimedOut => Outcome::TimedOut,
        HostUnreachable | NetworkUnreachable => Outcome::NoRoute,
        _ => Outcome::Unknown,
    }
}
