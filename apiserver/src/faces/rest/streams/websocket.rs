//! WebSockets as Kubernetes uses them: every message begins with a byte that names its channel.
//!
//! | subprotocol | of | says |
//! |---|---|---|
//! | `v4.channel.k8s.io` | exec, attach | channels stdin, stdout, stderr, error (a Status at the end), resize |
//! | `v5.channel.k8s.io` | exec, attach | and 255: the channel named by the next byte is closed by its sender |
//! | `v4.channel.k8s.io` | portforward | for the n-th port 2n its data, 2n + 1 its error; each begins with the port |
//! | `SPDY/3.1+portforward.k8s.io` | portforward | the messages, one after the other, are a SPDY connection |

use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, Stream, StreamExt, stream::SplitSink};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncRead;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::io::StreamReader;

/// A longer message is refused.
const MAX_MESSAGE: usize = 4 << 20;

pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A connection whose handshake is done.
pub(super) async fn accept(io: Upgraded) -> Socket {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Server, Some(config)).await
}

/// What comes in: binary messages; text counts as binary. It ends with the connection.
pub(super) fn incoming(
    socket: impl Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>>,
) -> impl Stream<Item = Bytes> {
    socket
        .take_while(|message| {
            futures::future::ready(!matches!(message, Err(_) | Ok(Message::Close(_))))
        })
        .filter_map(|message| {
            futures::future::ready(match message {
                Ok(Message::Binary(data)) => Some(data),
                Ok(Message::Text(text)) => Some(Bytes::from(text)),
                _ => None,
            })
        })
}

/// The messages as one stream of bytes.
pub(super) fn reader(
    messages: impl Stream<Item = Bytes> + Unpin + Send,
) -> impl AsyncRead + Unpin + Send {
    StreamReader::new(messages.map(Ok::<_, std::io::Error>))
}

/// Says that all is well and over. The client may be gone before us.
pub(super) async fn close(socket: &mut SplitSink<Socket, Message>) {
    let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    let _ = socket.send(Message::Close(Some(frame))).await;
}

/// A message on a channel.
pub(super) fn on_channel(channel: u8, data: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(1 + data.len());
    message.put_u8(channel);
    message.put_slice(data);
    message.freeze()
}
