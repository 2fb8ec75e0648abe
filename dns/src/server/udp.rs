//! Datagrams.

use std::{io, sync::Arc, time::Duration};

use cni::network::PodUdpSocket;
use tokio::task::JoinSet;

use super::{Shared, Step};
use crate::message::{MAX_UDP, Transport};

/// After a failure that is not the end.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) async fn serve(shared: Arc<Shared>, socket: Arc<PodUdpSocket>) {
    let mut buffer = vec![0; usize::from(MAX_UDP)];
    let mut forwarded = JoinSet::new();
    loop {
        let (count, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::NetworkDown => return,
            Err(error) => {
                tracing::debug!(%error, "failed to receive a datagram");
                shared.clock.sleep(PAUSE).await;
                continue;
            }
        };
        while forwarded.try_join_next().is_some() {}
        let step = match shared.step(&buffer[..count], Transport::Udp) {
            Step::Forward(pending) if forwarded.len() >= shared.limits.forwarded => {
                shared.give_up(*pending)
            }
            step => step,
        };
        match step {
            Step::Nothing => {}
            // Datagrams may be lost; who asked will ask again.
            Step::Reply(reply) => drop(socket.send_to(&reply, from).await),
            Step::Forward(pending) => {
                let (shared, socket) = (Arc::clone(&shared), Arc::clone(&socket));
                forwarded.spawn(async move {
                    if let Some(reply) = shared.complete(*pending).await {
                        drop(socket.send_to(&reply, from).await);
                    }
                });
            }
        }
    }
}
