//! The kubelet's own HTTP server, as `nodes/NAME/proxy` shows it.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz`, `/healthz/ping`, `/healthz/log`, `/healthz/syncloop` | `ok` |
//! | `/pods`, `/runningpods/` | the node's pods as a PodList; those with running containers |
//! | `/containerLogs/NAMESPACE/POD/CONTAINER` | a log, with the parameters of `pods/log` |
//! | `/metrics` | what is counted of the pods |
//!
//! Everything else is a kubelet's 404: nothing of it is here to be told of.

use std::{collections::HashMap, fmt::Write as _};

use apimachinery::{api::core::Pod, status::Status};
use axum::{
    Router,
    body::Body,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use client::wire::from_tonic;
use container_runtime::ContainerState;
use futures::TryStreamExt;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use proto::v1;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Served, Target, choose_container, logs};

/// Serves one connection to its end.
pub(super) async fn serve(io: impl AsyncRead + AsyncWrite + Unpin + Send, door: Served) {
    let service = TowerToHyperService::new(routes(door));
    let served = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(io), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the kubelet's server broke");
    }
}

fn routes(door: Served) -> Router {
    let healthy = || async { plain(StatusCode::OK, "ok") };
    Router::new()
        .route("/healthz", get(healthy))
        .route("/healthz/ping", get(healthy))
        .route("/healthz/log", get(healthy))
        .route("/healthz/syncloop", get(healthy))
        .route("/pods", get(pods))
        .route("/pods/", get(pods))
        .route("/runningpods", get(running_pods))
        .route("/runningpods/", get(running_pods))
        .route("/metrics", get(metrics))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(container_logs))
        .fallback(async || plain(StatusCode::NOT_FOUND, "404 page not found\n"))
        .with_state(door)
}

fn plain(code: StatusCode, text: impl Into<Body>) -> Response {
    (code, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text.into()).into_response()
}

fn list<'a>(pods: impl Iterator<Item = &'a Pod>) -> Response {
    let items: Vec<&Pod> = pods.collect();
    let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
    ([(header::CONTENT_TYPE, "application/json")], list.to_string()).into_response()
}

async fn pods(State(door): State<Served>) -> Response {
    let known = door.table.all();
    list(known.iter().map(|(pod, _)| &**pod))
}

/// How many of a pod's containers run.
fn running(shared: &super::SharedPod) -> usize {
    let shared = shared.read();
    let runs = |state| matches!(state, ContainerState::Running { .. });
    shared.containers.values().filter(|container| runs(container.state())).count()
}

async fn running_pods(State(door): State<Served>) -> Response {
    let known = door.table.all();
    list(known.iter().filter(|(_, shared)| running(shared) > 0).map(|(pod, _)| &**pod))
}

async fn metrics(State(door): State<Served>) -> Response {
    let counts: Vec<usize> = door.table.all().iter().map(|(_, shared)| running(shared)).collect();
    let mut text = String::new();
    let mut gauge = |name: &str, said: &str, labels: &str, value: usize| {
        // Writing to a String does not fail.
        let _ =
            write!(text, "# HELP {name} {said}\n# TYPE {name} gauge\n{name}{{{labels}}} {value}\n");
    };
    let node = format!("node={:?}", door.network.name());
    gauge("kubelet_node_name", "The node's name. The count is always 1.", &node, 1);
    gauge(
        "kubelet_running_containers",
        "Number of containers currently running",
        "container_state=\"running\"",
        counts.iter().sum(),
    );
    let pods = counts.iter().filter(|count| **count > 0).count();
    let said = "Number of pods that have a running pod sandbox";
    let _ = write!(
        text,
        "# HELP kubelet_running_pods {said}\n# TYPE kubelet_running_pods gauge\nkubelet_running_pods {pods}\n"
    );
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn container_logs(
    State(door): State<Served>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let Some((found, shared)) = door.table.find(&namespace, &pod, "") else {
        return plain(StatusCode::NOT_FOUND, format!("pod {pod:?} does not exist\n"));
    };
    if choose_container(&found, &container).is_err() {
        let text = format!("container {container:?} not found in pod {pod:?}\n");
        return plain(StatusCode::NOT_FOUND, text);
    }
    let target = Target { pod: found, shared, container };
    let answer = request(&query).and_then(|request| logs::read(&target, &request, &door.clock));
    match answer {
        Ok(stream) => {
            let chunks = stream.map_ok(|chunk| chunk.data).map_err(|e| from_tonic(&e));
            plain(StatusCode::OK, Body::from_stream(chunks))
        }
        Err(status) => {
            let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::BAD_REQUEST);
            plain(code, format!("{}\n", status.message))
        }
    }
}

fn request(query: &HashMap<String, String>) -> Result<v1::LogsRequest, Status> {
    let flag = |key: &str| query.get(key).is_some_and(|v| !matches!(v.as_str(), "0" | "false"));
    let number = |key: &str| {
        let text = query.get(key).filter(|text| !text.is_empty());
        let refused =
            || Status::bad_request(format!("{{\"message\": \"Invalid request: {key}\"}}"));
        text.map(|text| text.parse::<i64>().map_err(|_| refused())).transpose()
    };
    Ok(v1::LogsRequest {
        pod: None,
        follow: flag("follow"),
        previous: flag("previous"),
        timestamps: flag("timestamps"),
        tail_lines: number("tailLines")?.or(number("tail")?),
        since_seconds: number("sinceSeconds")?,
        since_time: query.get("sinceTime").cloned().unwrap_or_default(),
        limit_bytes: number("limitBytes")?,
    })
}
