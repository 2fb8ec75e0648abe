//! The writing half of a stream's connection.

use bytes::Bytes;
use futures::{SinkExt, stream::SplitSink};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncWriteExt, WriteHalf},
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::Message;

use super::websocket::{self, Socket};

/// Where our side of a stream goes.
pub(super) enum Output {
    /// A message each.
    WebSocket(SplitSink<Socket, Message>),
    /// Bytes, one after the other.
    Bytes(WriteHalf<TokioIo<Upgraded>>),
}

impl Output {
    /// Puts everything on the wire that is queued, until nobody can queue more; then says that all is over.
    pub(super) async fn write(mut self, mut queue: mpsc::Receiver<Bytes>) {
        while let Some(bytes) = queue.recv().await {
            let sent = match &mut self {
                Self::WebSocket(socket) => socket.send(Message::Binary(bytes)).await.is_ok(),
                Self::Bytes(connection) => connection.write_all(&bytes).await.is_ok(),
            };
            // The client is gone: those who still queue hear it from the queue.
            if !sent {
                return;
            }
        }
        match &mut self {
            Self::WebSocket(socket) => websocket::close(socket).await,
            Self::Bytes(connection) => {
                // The client may be gone before us.
                let _ = connection.shutdown().await;
            }
        }
    }
}
