//! portforward: each connection of the client is one to the pod's own localhost, carried by the kubelet.
//!
//! A connection that cannot be made, or breaks, is told on the error half of its pair; the other connections go on.

use std::collections::HashMap;

use apimachinery::status::Status;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use proto::v1::{
    PodRef, PortForwardInput, PortForwardStart, port_forward_input::Kind as Input,
    streams_client::StreamsClient,
};
use tokio::{
    io::AsyncRead,
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::{
    DEPTH,
    output::Output,
    spdy::{self, Event, Headers, Session},
    until_closed,
    websocket::on_channel,
};
use crate::faces::rest::query::Query;

/// Connections and half-opened pairs of one client.
const MAX_PAIRS: usize = 4096;

/// The ports of a request: `ports=80&ports=443` or `ports=80,443`.
///
/// # Errors
/// Bad request for what is no port, and for more than the channels' numbers can name.
pub(super) fn ports(query: &Query) -> Result<Vec<u16>, Status> {
    let texts = query.all("ports").flat_map(|text| text.split(','));
    let ports: Vec<u16> = texts
        .map(|text| {
            text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
                Status::bad_request(format!("unable to parse {text:?} as a port, 1 to 65535"))
            })
        })
        .collect::<Result<_, _>>()?;
    match ports.len() {
        0 => Err(Status::bad_request("query parameter \"ports\" is required")),
        1..=100 => Ok(ports),
        _ => Err(Status::bad_request("at most 100 ports can be forwarded over one WebSocket")),
    }
}

/// The pod, and the way to its kubelet.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) pod: PodRef,
    pub(super) kubelet: Channel,
}

/// Where a connection's bytes go to.
struct Lane {
    queue: mpsc::Sender<Bytes>,
    framing: Framing,
    data: u32,
    error: u32,
}

#[derive(Clone, Copy)]
enum Framing {
    Spdy,
    Channels,
}

/// The client is not there any more.
struct Gone;

impl Lane {
    async fn put(&self, frame: Bytes) -> Result<(), Gone> {
        self.queue.send(frame).await.map_err(|_| Gone)
    }

    async fn say(&self, stream: u32, bytes: &[u8]) -> Result<(), Gone> {
        match self.framing {
            Framing::Spdy => {
                for frame in spdy::data(stream, bytes) {
                    self.put(frame).await?;
                }
                Ok(())
            }
            Framing::Channels => {
                let channel = u8::try_from(stream).expect("as many channels as a byte can name");
                self.put(on_channel(channel, bytes)).await
            }
        }
    }

    /// Both halves are over.
    async fn end(&self) -> Result<(), Gone> {
        if let Framing::Spdy = self.framing {
            self.put(spdy::end(self.data)).await?;
            self.put(spdy::end(self.error)).await?;
        }
        Ok(())
    }
}

/// Carries one connection to its end.
async fn carry(target: Target, port: u16, input: mpsc::Receiver<Bytes>, lane: Lane) {
    let relayed = relay(&target, port, input, &lane).await;
    if let Ok(Err(status)) = relayed {
        let PodRef { name, uid, .. } = &target.pod;
        let text = format!(
            "error forwarding port {port} to pod {name}, uid {uid}: {}",
            reason(&client::wire::from_tonic(&status))
        );
        // The client may be gone by now; then there is nobody to tell.
        let _ = lane.say(lane.error, text.as_bytes()).await;
    }
    let _ = lane.end().await;
}

/// What went wrong, without the words that say who says it.
fn reason(status: &Status) -> &str {
    status.message.trim_start_matches("Internal error occurred: ")
}

async fn relay(
    target: &Target,
    port: u16,
    input: mpsc::Receiver<Bytes>,
    lane: &Lane,
) -> Result<Result<(), tonic::Status>, Gone> {
    let start = PortForwardStart { pod: Some(target.pod.clone()), port: port.into() };
    let start = futures::stream::once(async { Input::Start(start) });
    let input = start.chain(ReceiverStream::new(input).map(Input::Data));
    let input = input.map(|kind| PortForwardInput { kind: Some(kind) });
    let mut output = match StreamsClient::new(target.kubelet.clone()).port_forward(input).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Ok(Err(status)),
    };
    while let Some(message) = output.next().await {
        match message {
            Ok(message) => lane.say(lane.data, &message.data).await?,
            Err(status) => return Ok(Err(status)),
        }
    }
    Ok(Ok(()))
}

/// Serves a client that has a pair of channels for each of its ports.
pub(super) async fn over_channels(
    incoming: impl Stream<Item = Bytes>,
    output: Output,
    ports: Vec<u16>,
    target: Target,
) {
    let (queue, queued) = mpsc::channel(DEPTH);
    let mut connections = JoinSet::new();
    let mut inputs = Vec::new();
    for (number, port) in (0u32..).zip(ports) {
        let lane = Lane {
            queue: queue.clone(),
            framing: Framing::Channels,
            data: 2 * number,
            error: 2 * number + 1,
        };
        let (sender, input) = mpsc::channel(DEPTH);
        inputs.push(sender);
        let target = target.clone();
        connections.spawn(async move {
            // The port comes first on both channels, least byte first.
            for stream in [lane.data, lane.error] {
                if lane.say(stream, &port.to_le_bytes()).await.is_err() {
                    return;
                }
            }
            carry(target, port, input, lane).await;
        });
    }
    drop(queue);
    let upwards = async {
        let mut incoming = std::pin::pin!(incoming);
        while let Some(message) = incoming.next().await {
            let Some(channel) = message.first().map(|channel| usize::from(*channel)) else {
                continue;
            };
            // Data channels are the even ones.
            if channel % 2 == 0
                && let Some(input) = inputs.get(channel / 2)
            {
                // A connection that has ended takes no more.
                let _ = input.send(message.slice(1..)).await;
            }
        }
    };
    // The end of all connections ends the queue, and so the writing.
    until_closed(upwards, output.write(queued)).await;
}

/// A pair of streams that belong together by their `requestID`.
#[derive(Default)]
struct Pair {
    data: Option<u32>,
    error: Option<u32>,
}

/// A connection that is carried.
struct Connection {
    input: Option<mpsc::Sender<Bytes>>,
    task: AbortHandle,
}

/// Serves a client that opens a pair of SPDY streams for each of its connections.
pub(super) async fn over_spdy<R: AsyncRead + Unpin>(input: R, output: Output, target: Target) {
    let (queue, queued) = mpsc::channel(DEPTH);
    let mut session = Session::new(input, queue.clone());
    let working = async {
        let mut pairs = Pairs { queue, target, opening: HashMap::new(), open: HashMap::new() };
        // Dropped with this future, which ends the connections.
        let mut tasks = JoinSet::new();
        while let Some(event) = session.next().await {
            pairs.apply(event, &mut tasks).await;
            while tasks.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        () = working => {}
        () = output.write(queued) => {}
    }
}

struct Pairs {
    queue: mpsc::Sender<Bytes>,
    target: Target,
    /// By `requestID`.
    opening: HashMap<String, Pair>,
    /// By the data stream.
    open: HashMap<u32, Connection>,
}

impl Pairs {
    async fn apply(&mut self, event: Event, tasks: &mut JoinSet<()>) {
        match event {
            Event::Opened { id, headers } => {
                if self.opened(id, &headers, tasks).is_none() {
                    // A client that is gone needs no answer.
                    let _ = self.queue.send(spdy::reset(id)).await;
                }
            }
            Event::Data { id, data } => {
                let input = self.open.get(&id).and_then(|connection| connection.input.as_ref());
                if let Some(input) = input {
                    // A connection that has ended takes no more.
                    let _ = input.send(data).await;
                }
            }
            // The pod sees the end of the stream.
            Event::Finished { id } => {
                if let Some(connection) = self.open.get_mut(&id) {
                    connection.input = None;
                }
            }
            Event::Reset { id } => {
                if let Some(connection) = self.open.remove(&id) {
                    connection.task.abort();
                }
            }
        }
        self.open.retain(|_, connection| !connection.task.is_finished());
    }

    /// Notes a stream, and starts the connection when its pair is whole; None: not a stream of ours.
    fn opened(&mut self, id: u32, headers: &Headers, tasks: &mut JoinSet<()>) -> Option<()> {
        let port = headers.get("port").parse::<u16>().ok().filter(|port| *port > 0)?;
        if self.opening.len() + self.open.len() >= MAX_PAIRS {
            return None;
        }
        let request = headers.get("requestid");
        let pair = self.opening.entry(request.to_owned()).or_default();
        match headers.get("streamtype") {
            "data" => pair.data = Some(id),
            "error" => pair.error = Some(id),
            _ => return None,
        }
        if let Pair { data: Some(data), error: Some(error) } = *pair {
            self.opening.remove(request);
            let lane = Lane { queue: self.queue.clone(), framing: Framing::Spdy, data, error };
            let (sender, input) = mpsc::channel(DEPTH);
            let task = tasks.spawn(carry(self.target.clone(), port, input, lane));
            self.open.insert(data, Connection { input: Some(sender), task });
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_come_in_both_spellings() {
        let check = |query: &str, expected: Result<&[u16], &str>| {
            let found = ports(&Query::parse(Some(query)).unwrap()).map_err(|status| status.message);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{query}");
        };
        check("ports=80&ports=443", Ok(&[80, 443]));
        check("ports=80,443", Ok(&[80, 443]));
        check("", Err("query parameter \"ports\" is required"));
        check("ports=0", Err("unable to parse \"0\" as a port, 1 to 65535"));
        check("ports=http", Err("unable to parse \"http\" as a port, 1 to 65535"));
    }
}
