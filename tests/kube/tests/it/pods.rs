//! Pods: commands, attaching, forwarded ports, logs, eviction, ephemeral containers.

use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::{
    api::{core::v1::Pod, policy::v1::PodDisruptionBudget},
    apimachinery::pkg::apis::meta::v1::Status,
};
use kube::{
    Api, Client,
    api::{
        AttachParams, AttachedProcess, DeleteParams, EvictParams, LogParams, Patch, PatchParams,
        PostParams, TerminalSize,
    },
    runtime::wait::conditions,
};
use serde_json::json;
use tests::TestCluster;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::support::{client, config, refusal, running, soon, wait};

async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut text = String::new();
    soon("the end of a stream", stream.unwrap().read_to_string(&mut text)).await.unwrap();
    text
}

/// How a process ended.
async fn end(mut process: AttachedProcess) -> Status {
    let status = soon("a status", process.take_status().unwrap()).await.unwrap();
    soon("the end of a session", process.join()).await.unwrap();
    status
}

fn succeeded(status: &Status) -> bool {
    status.status.as_deref() == Some("Success")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_run_with_all_their_streams() {
    let cluster = TestCluster::builder().start().await.unwrap();
    let client = client(&cluster).await;
    let shell = json!({"name": "shell", "image": "busybox", "command": ["sleep", "infinity"]});
    let pods = running(&client, "shell", shell).await;

    let both = AttachParams::default();
    let mut process =
        pods.exec("shell", ["sh", "-c", "echo out; echo err >&2"], &both).await.unwrap();
    assert_eq!(read(process.stdout()).await, "out\n");
    assert_eq!(read(process.stderr()).await, "err\n");
    assert!(succeeded(&end(process).await));

    let mut process = pods.exec("shell", ["sh", "-c", "exit 3"], &both).await.unwrap();
    _ = read(process.stdout()).await;
    let status = end(process).await;
    assert!(
        !succeeded(&status) && status.reason.as_deref() == Some("NonZeroExitCode"),
        "{status:?}"
    );
    let cause = status.details.unwrap().causes.unwrap().remove(0);
    assert_eq!(
        (cause.reason.unwrap().as_str(), cause.message.unwrap().as_str()),
        ("ExitCode", "3")
    );

    let all = AttachParams::default().stdin(true).container("shell");
    let mut process = pods.exec("shell", ["cat"], &all).await.unwrap();
    let mut stdin = process.stdin().unwrap();
    let long = "0123456789".repeat(20_000);
    let (text, ()) = tokio::join!(read(process.stdout()), async {
        stdin.write_all(long.as_bytes()).await.unwrap();
        stdin.shutdown().await.unwrap();
        drop(stdin);
    });
    assert_eq!(text.len(), long.len());
    assert!(text == long && succeeded(&end(process).await));

    let mut process = pods.exec("shell", ["sh"], &AttachParams::interactive_tty()).await.unwrap();
    let mut size = process.terminal_size().unwrap();
    size.try_send(TerminalSize { width: 91, height: 17 }).unwrap();
    let mut stdin = process.stdin().unwrap();
    stdin.write_all(b"echo a $((40 + 2)) terminal\nexit\n").await.unwrap();
    assert!(read(process.stdout()).await.contains("a 42 terminal"));
    assert!(succeeded(&end(process).await));

    let wrong = AttachParams::default().container("other");
    let refused = refusal(pods.exec("shell", ["ls"], &wrong).await.map(drop));
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (400, "container other is not valid for pod shell")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_process_is_attached_to() {
    let cluster = TestCluster::builder().start().await.unwrap();
    let client = client(&cluster).await;
    let echo = "while read line; do echo got $line; done; echo over";
    let container = json!({
        "name": "echo", "image": "busybox", "command": ["sh", "-c", echo],
        "stdin": true, "stdinOnce": true,
    });
    let pods = running(&client, "echo", container).await;
    let mut process = pods.attach("echo", &AttachParams::default().stdin(true)).await.unwrap();
    let mut stdin = process.stdin().unwrap();
    stdin.write_all(b"one\ntwo\n").await.unwrap();
    stdin.shutdown().await.unwrap();
    drop(stdin);
    assert_eq!(read(process.stdout()).await, "got one\ngot two\nover\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_are_forwarded() {
    let cluster = TestCluster::builder().start().await.unwrap();
    let client = client(&cluster).await;
    let web = json!({"name": "web", "image": "nginx", "ports": [{"containerPort": 80}]});
    let pods = running(&client, "web", web).await;
    let mut forward = pods.portforward("web", &[80, 81]).await.unwrap();
    let mut stream = forward.take_stream(80).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(read(Some(stream)).await.contains("Welcome to nginx!"));
    let error = forward.take_error(81).unwrap().await.unwrap();
    assert!(error.contains("81") && error.contains("refused"), "{error}");

    let log = LogParams { tail_lines: Some(5), ..LogParams::default() };
    cluster
        .eventually("the request is in the log", async || {
            let text = pods.logs("web", &log).await.map_err(|error| error.to_string())?;
            if text.contains("GET / HTTP/1.1") { Ok(()) } else { Err(text) }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_followed_to_their_end() {
    let cluster = TestCluster::builder().start().await.unwrap();
    let client = client(&cluster).await;
    let count = "for i in 1 2 3; do echo line $i; done; read end; echo end; exit 0";
    let container = json!({
        "name": "count", "image": "busybox", "command": ["sh", "-c", count],
        "stdin": true, "stdinOnce": true,
    });
    let pods = running(&client, "count", container).await;
    let follow = LogParams { follow: true, timestamps: true, ..LogParams::default() };
    let mut lines = pods.log_stream("count", &follow).await.unwrap().lines();
    for number in 1..=3 {
        let line = soon("a line", lines.try_next()).await.unwrap().unwrap();
        let (time, text) = line.split_once(' ').unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{line}");
        assert_eq!(text, format!("line {number}"));
    }
    // What the log says next is only said now.
    let mut process = pods.attach("count", &AttachParams::default().stdin(true)).await.unwrap();
    let mut stdin = process.stdin().unwrap();
    stdin.write_all(b"\n").await.unwrap();
    assert!(soon("a line", lines.try_next()).await.unwrap().unwrap().ends_with(" end"));
    // The pod's restart policy starts it again; this stream was of its first run.
    assert_eq!(soon("a line", lines.try_next()).await.unwrap(), None);
    drop(process);
    let limited = LogParams { tail_lines: Some(1), previous: true, ..LogParams::default() };
    cluster
        .eventually("the log of the run before", async || {
            let text = pods.logs("count", &limited).await.map_err(|error| error.to_string())?;
            if text == "end\n" { Ok(()) } else { Err(text) }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_evicted_and_get_ephemeral_containers() {
    let cluster = TestCluster::builder().start().await.unwrap();
    let client = client(&cluster).await;
    let web = json!({"name": "web", "image": "nginx"});
    let pods = running(&client, "web", web).await;
    let debugger = json!({"spec": {"ephemeralContainers": [
        {"name": "debug", "image": "busybox", "command": ["sleep", "infinity"]},
    ]}});
    let params = PatchParams::default();
    pods.patch_ephemeral_containers("web", &params, &Patch::Strategic(debugger)).await.unwrap();
    let runs = |pod: Option<&Pod>| {
        let statuses =
            pod.and_then(|pod| pod.status.as_ref()?.ephemeral_container_statuses.as_ref());
        statuses.is_some_and(|all| {
            all.iter().any(|one| one.state.as_ref().is_some_and(|state| state.running.is_some()))
        })
    };
    wait(&pods, "web", runs).await;
    let params = AttachParams::default().container("debug").stderr(false);
    let mut process = pods.exec("web", ["hostname"], &params).await.unwrap();
    assert_eq!(read(process.stdout()).await, "web\n");

    let budgets: Api<PodDisruptionBudget> = Api::default_namespaced(client.clone());
    let budget = serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    }));
    budgets.create(&PostParams::default(), &budget.unwrap()).await.unwrap();
    let counted = |budget: Option<&PodDisruptionBudget>| {
        budget
            .and_then(|b| b.status.as_ref())
            .is_some_and(|status| status.current_healthy == Some(1))
    };
    wait(&budgets, "web", counted).await;
    // The crate's own client would ask again for minutes.
    let mut config = config(&cluster).await;
    config.default_retry = false;
    let impatient: Api<Pod> = Api::default_namespaced(Client::try_from(config).unwrap());
    let refused = refusal(impatient.evict("web", &EvictParams::default()).await);
    assert_eq!((refused.code, refused.reason.as_str()), (429, "TooManyRequests"));
    assert_eq!(
        refused.message,
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    budgets.delete("web", &DeleteParams::default()).await.unwrap();
    let uid = pods.get("web").await.unwrap().metadata.uid.unwrap();
    let told = pods.evict("web", &EvictParams::default()).await.unwrap();
    assert!(told.is_success());
    wait(&pods, "web", conditions::is_deleted(&uid)).await;
}
