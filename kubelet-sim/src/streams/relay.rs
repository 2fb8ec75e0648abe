//! A connection carried over a call: bytes both ways, each end told to the other side.

use apimachinery::status::Status;
use bytes::{Bytes, BytesMut};
use client::wire::to_tonic;
use futures::{Stream, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};

use super::{Answers, exec::driven};

const CHUNK: usize = 32 * 1024;
/// Chunks that may wait for the client.
const DEPTH: usize = 16;

/// Carries `stream` until it ends, or the client is gone; `input` ends where the client has no more to say.
pub(super) fn relay<T: Send + 'static>(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    input: impl Stream<Item = Bytes> + Send + 'static,
    message: fn(Bytes) -> T,
) -> Answers<T> {
    let (sender, receiver) = mpsc::channel(DEPTH);
    let carrying = async move {
        let (mut read, mut write) = tokio::io::split(stream);
        let upwards = async {
            let mut input = std::pin::pin!(input);
            while let Some(data) = input.next().await {
                if write.write_all(&data).await.is_err() {
                    return;
                }
            }
            // The pod sees the end of the stream.
            let _ = write.shutdown().await;
            std::future::pending::<()>().await;
        };
        let downwards = async {
            let mut buffer = BytesMut::with_capacity(CHUNK);
            loop {
                match read.read_buf(&mut buffer).await {
                    Ok(0) => return,
                    Ok(_) => {
                        let data = message(buffer.split().freeze());
                        if sender.send(Ok(data)).await.is_err() {
                            return;
                        }
                        buffer.reserve(CHUNK);
                    }
                    Err(error) => {
                        let status = Status::internal(crate::probes::go_error(&error));
                        // A client that is gone needs no reason.
                        let _ = sender.send(Err(to_tonic(&status))).await;
                        return;
                    }
                }
            }
        };
        tokio::select! {
            () = upwards => {}
            () = downwards => {}
        }
    };
    driven(carrying, receiver)
}
