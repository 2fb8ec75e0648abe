//! `nc`: bytes between the streams and a TCP or UDP port.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use cni::network::PodStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::network::hint;
use super::{Outcome, Parsed, fail, getopt, io_text};
use crate::program::ContainerContext;

const BUFFER: usize = 16 * 1024;

pub(super) async fn nc(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "zvlukw:p:nN", &[]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let wait = parsed.value('w').and_then(|text| text.parse().ok()).map(Duration::from_secs);
    if parsed.has('l') {
        return listen(&context, &parsed, wait).await;
    }
    let [host, ports] = parsed.operands.as_slice() else {
        return fail(&context, 1, "nc: usage: nc [-lzvu] [-w SEC] [-p PORT] HOST PORT").await;
    };
    let Some((first, last)) = port_range(ports) else {
        return fail(&context, 1, format!("nc: bad port '{ports}'")).await;
    };
    let address = match context.network.resolve(host).await {
        Ok(addresses) if !addresses.is_empty() => addresses[0],
        Ok(_) => return fail(&context, 1, format!("nc: bad address '{host}'")).await,
        Err(error) => {
            return fail(&context, 1, format!("nc: bad address '{host}'{}", hint(&error))).await;
        }
    };
    let mut status = 0;
    for port in first..=last {
        let target = SocketAddr::new(address, port);
        if parsed.has('u') {
            return udp(&context, target, parsed.has('z'), wait).await;
        }
        let connect = context.network.connect_tcp(target);
        let connected = match wait {
            Some(wait) => context
                .clock
                .timeout(wait, connect)
                .await
                .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut))),
            None => connect.await,
        };
        match connected {
            Ok(stream) => {
                if parsed.has('v') {
                    let line = format!("{host} ({target}) open\n");
                    context.stderr.write_all(line).await?;
                }
                if !parsed.has('z') {
                    return converse(&context, stream, wait).await;
                }
            }
            Err(error) => {
                status = 1;
                let silent = parsed.has('z') && !parsed.has('v');
                let line = match (error.kind(), wait) {
                    (io::ErrorKind::TimedOut, Some(_)) => {
                        format!("nc: {host} ({target}): Operation timed out")
                    }
                    _ => {
                        format!("nc: can't connect to remote host ({address}): {}", io_text(&error))
                    }
                };
                if !silent {
                    fail(&context, 1, line).await?;
                }
            }
        }
    }
    Ok(status)
}

fn port_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some((first, last))
}

/// Copies both ways: the input's end closes the sending half, and the peer's end ends the command.
async fn converse(
    context: &ContainerContext,
    stream: PodStream,
    idle: Option<Duration>,
) -> Outcome {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let stdin = context.stdin.clone();
    let send = async {
        while let Some(chunk) = stdin.read(BUFFER).await {
            if writer.write_all(&chunk).await.is_err() {
                return;
            }
        }
        // A peer that is gone needs no end of the input.
        let _ = writer.shutdown().await;
    };
    let receive = async {
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = reader.read(&mut buffer);
            let count = match idle {
                Some(idle) => match context.clock.timeout(idle, read).await {
                    Ok(count) => count,
                    Err(_) => return Ok(1),
                },
                None => read.await,
            };
            match count {
                Ok(0) => return Ok(0),
                Ok(count) => context.stdout.write_all(&buffer[..count]).await?,
                Err(error) => {
                    return fail(context, 1, format!("nc: read: {}", io_text(&error))).await;
                }
            }
        }
    };
    let mut receive = std::pin::pin!(receive);
    tokio::select! {
        status = receive.as_mut() => status,
        () = send => receive.await,
    }
}

async fn listen(context: &ContainerContext, parsed: &Parsed, wait: Option<Duration>) -> Outcome {
    let port = parsed.value('p').or_else(|| parsed.operands.last().map(String::as_str));
    let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) else {
        return fail(context, 1, "nc: usage: nc -l -p PORT").await;
    };
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    if parsed.has('u') {
        return listen_udp(context, address).await;
    }
    let listener = match context.network.listen_tcp(address).await {
        Ok(listener) => listener,
        Err(error) => return fail(context, 1, format!("nc: bind: {}", io_text(&error))).await,
    };
    if parsed.has('v') {
        let line = format!("listening on [::]:{} ...\n", listener.local_addr().port());
        context.stderr.write_all(line).await?;
    }
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                return fail(context, 1, format!("nc: accept: {}", io_text(&error))).await;
            }
        };
        if parsed.has('v') {
            context.stderr.write_all(format!("connect to {port} from {peer}\n")).await?;
        }
        let status = converse(context, stream, wait).await?;
        if !parsed.has('k') {
            return Ok(status);
        }
    }
}

async fn udp(
    context: &ContainerContext,
    target: SocketAddr,
    probe: bool,
    wait: Option<Duration>,
) -> Outcome {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let socket = match context.network.bind_udp(any).await {
        Ok(socket) => socket,
        Err(error) => return fail(context, 1, format!("nc: bind: {}", io_text(&error))).await,
    };
    if probe {
        return match socket.send_to(b"\n", target).await {
            Ok(_) => Ok(0),
            Err(error) => fail(context, 1, format!("nc: {target}: {}", io_text(&error))).await,
        };
    }
    let send = async {
        while let Some(chunk) = context.stdin.read(BUFFER).await {
            if let Err(error) = socket.send_to(&chunk, target).await {
                fail(context, 1, format!("nc: {target}: {}", io_text(&error))).await?;
            }
        }
        io::Result::Ok(())
    };
    let receive = async {
        let mut buffer = vec![0; 65_536];
        loop {
            let (count, _) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    return fail(context, 1, format!("nc: read: {}", io_text(&error))).await;
                }
            };
            context.stdout.write_all(&buffer[..count]).await?;
        }
    };
    let mut receive = std::pin::pin!(receive);
    tokio::select! {
        status = receive.as_mut() => return status,
        sent = send => sent?,
    }
    // UDP has no end: without -w the answer is waited for until someone ends the command.
    match wait {
        Some(wait) => context.clock.timeout(wait, receive).await.unwrap_or(Ok(0)),
        None => receive.await,
    }
}

async fn listen_udp(context: &ContainerContext, address: SocketAddr) -> Outcome {
    let socket = match context.network.bind_udp(address).await {
        Ok(socket) => socket,
        Err(error) => return fail(context, 1, format!("nc: bind: {}", io_text(&error))).await,
    };
    let mut buffer = vec![0; 65_536];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((count, _)) => context.stdout.write_all(&buffer[..count]).await?,
            Err(error) => return fail(context, 1, format!("nc: read: {}", io_text(&error))).await,
        }
    }
}
