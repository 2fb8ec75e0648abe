//! A container's log, read and followed.

use std::path::PathBuf;

use apimachinery::status::Status;
use component_base::clock::Clock;
use container_runtime::logs::{LogOptions, LogReader};
use jiff::{SignedDuration, Timestamp};
use proto::v1;

use super::{Answers, Target};

pub(super) fn read(
    target: &Target,
    request: &v1::LogsRequest,
    clock: &Clock,
) -> Result<Answers<v1::LogsChunk>, Status> {
    let options = options(request, clock)?;
    let pod = target.pod.metadata.name.as_deref().unwrap_or_default();
    let container = &target.container;
    let (running, paths) = {
        let shared = target.shared.read();
        (shared.containers.get(container).cloned(), shared.logs.get(container).cloned())
    };
    let missing = |path: Option<PathBuf>| {
        path.ok_or_else(|| {
            Status::bad_request(format!(
                "previous terminated container {container:?} in pod {pod:?} not found"
            ))
        })
    };
    let reader = if request.previous {
        let previous = missing(paths.and_then(|(_, previous)| previous))?;
        LogReader::open(&previous, LogOptions { follow: false, ..options }, None)
    } else if let Some(running) = running {
        running.logs(options)
    } else if let Some((path, _)) = paths {
        // Of a run before the node's reboot.
        LogReader::open(&path, LogOptions { follow: false, ..options }, None)
    } else {
        return Err(Status::bad_request(waiting_message(target, pod)));
    };
    let reader = reader.map_err(|e| Status::internal(e.to_string()))?;
    Ok(Box::pin(futures::stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next_chunk().await {
            Ok(Some(data)) => Some((Ok(v1::LogsChunk { data }), Some(reader))),
            Ok(None) => None,
            Err(e) => Some((Err(tonic::Status::internal(e.to_string())), None)),
        }
    })))
}

/// Why a container that has not started has no log, in the kubelet's words.
fn waiting_message(target: &Target, pod: &str) -> String {
    let status = &target.pod.status;
    let reason = status
        .container_statuses
        .iter()
        .chain(&status.init_container_statuses)
        .chain(&status.ephemeral_container_statuses)
        .find(|c| c.name == target.container)
        .and_then(|c| c.state.as_ref())
        .and_then(|s| s.waiting.as_ref())
        .and_then(|w| w.reason.as_deref())
        .unwrap_or("ContainerCreating");
    format!("container {:?} in pod {pod:?} is waiting to start: {reason}", target.container)
}

fn options(request: &v1::LogsRequest, clock: &Clock) -> Result<LogOptions, Status> {
    let count = |value: Option<i64>| value.and_then(|n| u64::try_from(n).ok());
    let since = match (request.since_seconds, request.since_time.as_str()) {
        (Some(seconds), _) => Some(clock.now() - SignedDuration::from_secs(seconds)),
        (None, "") => None,
        (None, text) => Some(
            text.parse::<Timestamp>()
                .map_err(|e| Status::bad_request(format!("sinceTime {text:?}: {e}")))?,
        ),
    };
    Ok(LogOptions {
        follow: request.follow,
        tail_lines: count(request.tail_lines),
        since,
        timestamps: request.timestamps,
        limit_bytes: count(request.limit_bytes),
        stream: None,
    })
}
