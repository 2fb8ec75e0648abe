//! Asking a server: one question over a datagram, again over a connection when the answer was cut.

use std::{io, net::SocketAddr, time::Duration};

use cni::network::{PodStream, PodUdpSocket, Sandbox};
use component_base::clock::Clock;
use hickory_proto::op::{Message, MessageType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::message::MAX_UDP;

/// Sends `query` to `server` from inside a pod, under an id of its own, and waits for the answer.
///
/// # Errors
/// `TimedOut`; `ConnectionRefused` when nobody listens there; what the network says.
pub async fn exchange(
    sandbox: &Sandbox,
    clock: &Clock,
    server: SocketAddr,
    mut query: Message,
    patience: Duration,
) -> io::Result<Message> {
    query.metadata.id = random_id(clock);
    let bytes = query.to_vec().map_err(io::Error::other)?;
    let asked = async {
        // A port of its own for each question, so that an answer cannot be guessed.
        let socket = sandbox.bind_udp(SocketAddr::new(sandbox.ip(), 0)).await?;
        socket.connect(server)?;
        socket.send(&bytes).await?;
        let answer = answer_of(&socket, &query).await?;
        if answer.metadata.truncation {
            let mut stream = sandbox.connect_tcp(server).await?;
            return ask_on(&mut stream, &query, &bytes).await;
        }
        Ok(answer)
    };
    clock.timeout(patience, asked).await.unwrap_or_else(|_| Err(cni::network::timed_out()))
}

async fn answer_of(socket: &PodUdpSocket, query: &Message) -> io::Result<Message> {
    let mut buffer = vec![0; usize::from(MAX_UDP)];
    loop {
        let count = socket.recv(&mut buffer).await?;
        // What is no answer to us may be anybody's: we go on waiting.
        if let Ok(message) = Message::from_vec(&buffer[..count])
            && answers(&message, query)
        {
            return Ok(message);
        }
    }
}

async fn ask_on(stream: &mut PodStream, query: &Message, bytes: &[u8]) -> io::Result<Message> {
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Message::from_vec(&answer)
        .ok()
        .filter(|message| answers(message, query))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an answer to the question"))
}

fn answers(message: &Message, query: &Message) -> bool {
    message.metadata.message_type == MessageType::Response
        && message.metadata.id == query.metadata.id
        && (message.queries == query.queries || message.queries.is_empty())
}

fn random_id(clock: &Clock) -> u16 {
    let [a, b, ..] = clock.random_u64().to_be_bytes();
    u16::from_be_bytes([a, b])
}
