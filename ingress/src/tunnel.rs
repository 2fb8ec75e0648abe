//! What follows an upgrade: bytes both ways, until both sides have ended, or nothing moves any more.

use std::pin::pin;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::activity::Exchange;

/// Bytes carried at once.
const CHUNK: usize = 8 << 10;

/// Carries what follows an upgrade. When one side has ended the other has its say, without long pauses.
pub(crate) async fn join(ours: OnUpgrade, theirs: OnUpgrade, exchange: Exchange) {
    let limits = exchange.limits();
    let upgraded = async { futures::future::try_join(ours, theirs).await.ok() };
    let ends = tokio::select! {
        ends = upgraded => ends,
        () = exchange.silent_for(limits.silence) => None,
    };
    let Some((ours, theirs)) = ends else { return };
    let (from_client, to_client) = tokio::io::split(TokioIo::new(ours));
    let (from_endpoint, to_endpoint) = tokio::io::split(TokioIo::new(theirs));
    let mut there = pin!(carry(from_client, to_endpoint, &exchange));
    let mut back = pin!(carry(from_endpoint, to_client, &exchange));
    let client_ended = tokio::select! {
        () = &mut there => true,
        () = &mut back => false,
        () = exchange.silent_for(limits.silence) => return,
    };
    let other = async { if client_ended { back.await } else { there.await } };
    tokio::select! { () = other => {}, () = exchange.silent_for(limits.closing) => {} }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    exchange: &Exchange,
) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        exchange.touch();
        if to.write_all(&chunk[..count]).await.is_err() {
            break;
        }
        exchange.touch();
    }
    // The end is passed on; where nobody is any more there is nobody to tell.
    let _ = to.shutdown().await;
}
