//! A connection into the cluster, made by a kubelet: bytes over a call.

use apimachinery::status::Status;
use client::wire::from_tonic;
use futures::StreamExt;
use proto::v1::{DialInput, DialStart, dial_input::Kind as Input, kubelet_client::KubeletClient};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// Bytes under way, each way.
const BUFFER: usize = 64 * 1024;
/// Chunks that may wait for the kubelet.
const DEPTH: usize = 16;

/// Has the kubelet connect. The future carries the bytes; it ends with the connection.
pub(super) async fn open(
    kubelet: Channel,
    start: DialStart,
) -> Result<(DuplexStream, impl Future<Output = ()> + Send + use<>), Status> {
    let (sender, queued) = mpsc::channel(DEPTH);
    let start = futures::stream::once(async { Input::Start(start) });
    let input = start.chain(ReceiverStream::new(queued).map(Input::Data));
    let input = input.map(|kind| DialInput { kind: Some(kind) });
    let answer = KubeletClient::new(kubelet).dial(input).await;
    let mut output = answer.map_err(|status| from_tonic(&status))?.into_inner();
    let (near, far) = duplex(BUFFER);
    let carrying = async move {
        let (mut read, mut write) = tokio::io::split(far);
        let upwards = async move {
            let mut buffer = bytes::BytesMut::with_capacity(BUFFER);
            while let Ok(count) = read.read_buf(&mut buffer).await {
                if count == 0 || sender.send(buffer.split().freeze()).await.is_err() {
                    break;
                }
                buffer.reserve(BUFFER);
            }
        };
        let downwards = async move {
            while let Some(Ok(chunk)) = output.next().await {
                if write.write_all(&chunk.data).await.is_err() {
                    return;
                }
            }
            // An end and a break look alike to who speaks HTTP: the answer is whole, or it is not.
            let _ = write.shutdown().await;
        };
        let mut upwards = std::pin::pin!(upwards);
        let mut downwards = std::pin::pin!(downwards);
        tokio::select! {
            () = downwards.as_mut() => {}
            () = upwards.as_mut() => downwards.await,
        }
    };
    Ok((near, carrying))
}
