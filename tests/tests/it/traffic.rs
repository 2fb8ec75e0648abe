//! Who reaches whom, and as whom.

use apimachinery::api::core::{Pod, Service};
use container_runtime::ContainerContext;
use tests::{ExecRequest, Runner, TestCluster};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{answers, field, ip, name, node, shell, wait_for_url, whoami};

const SIDECAR: &str = "
apiVersion: v1
kind: Pod
metadata: {name: pair}
spec:
  containers:
  - {name: server, image: nginx}
  - {name: side, image: busybox, command: [sleep, infinity]}
";

async fn three_replicas_on_three_nodes(runner: Runner) {
    let cluster = TestCluster::builder().runner(runner).nodes(3).start().await.unwrap();
    cluster.apply(&whoami("web", 3, None)).await.unwrap();
    cluster.apply(&shell("client", "node-1")).await.unwrap();
    cluster.apply(SIDECAR).await.unwrap();
    cluster.wait_ready("web").await;
    let client = cluster.wait_pod_ready("client").await;
    cluster.wait_pod_ready("pair").await;

    let pods = cluster.ready_pods("default", "app=web").await.unwrap();
    let mut nodes: Vec<&str> = pods.iter().map(node).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["node-1", "node-2", "node-3"], "one replica on each node");

    requests_reach_all(&cluster, &pods).await;
    pods_see_each_other(&cluster, &client, &pods).await;

    // One localhost in the pod, of its own.
    let request = ExecRequest {
        pod: "pair".to_owned(),
        container: "side".to_owned(),
        command: ["wget", "-qO-", "http://localhost"].map(str::to_owned).to_vec(),
        stdin: None,
    };
    let page = cluster.exec_with(request).await.unwrap().success().unwrap();
    assert!(page.contains("Welcome to nginx!"), "{page}");
    let elsewhere = cluster.sh("client", "wget -qO- http://localhost").await.unwrap();
    assert_ne!(elsewhere.code, 0, "the client's own localhost has no server");

    let service: Service = cluster.client().get("default", "web").await.unwrap();
    let url = format!("http://{}", service.spec.cluster_ip.unwrap());
    let script = format!("wget -qO- {url}");
    let answer = cluster
        .eventually("the Service by ClusterIP", async || {
            cluster.sh("client", &script).await.map_err(anyhow::Error::from)?.success()
        })
        .await;
    assert!(pods.iter().any(|pod| name(pod) == field(&answer, "Hostname")), "{answer}");
}

/// 300 requests through a node port, at each node in turn.
async fn requests_reach_all(cluster: &TestCluster, pods: &[Pod]) {
    let port = cluster.node_port("web").await.unwrap();
    for number in 1..=3 {
        let url = format!("http://{}:{port}", cluster.node_address(number));
        wait_for_url(cluster, &url).await;
        cluster
            .eventually("rules with all endpoints", async || match answers(&url, 20).await.len() {
                3 => Ok(()),
                seen => Err(format!("{seen} of 3 answer at node {number}")),
            })
            .await;
        let counts = answers(&url, 100).await;
        for pod in pods {
            let count = counts.get(name(pod)).copied().unwrap_or(0);
            assert!(count >= 10, "of 100 requests {} got {count}: {counts:?}", name(pod));
        }
    }
}

/// By IP, on the same node and on others; the server sees the client's own IP.
async fn pods_see_each_other(cluster: &TestCluster, client: &Pod, pods: &[Pod]) {
    for pod in pods {
        let place = if node(pod) == node(client) { "same node" } else { "other node" };
        let answer = cluster.sh("client", &format!("wget -qO- http://{}", ip(pod))).await;
        let answer = answer.unwrap().success().unwrap_or_else(|e| panic!("{place}: {e:#}"));
        assert_eq!(field(&answer, "Hostname"), name(pod), "{place}");
        let remote = field(&answer, "RemoteAddr");
        assert_eq!(remote.rsplit_once(':').unwrap().0, ip(client), "{place}");
        // What is written before EOF comes to the server, what it answers after EOF comes back whole.
        let script = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc {} 80", ip(pod));
        let answer = cluster.sh("client", &script).await.unwrap().success().unwrap();
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{place}: {answer}");
        assert_eq!(field(&answer, "Hostname"), name(pod), "{place}");
        let refused = cluster.sh("client", &format!("nc {} 81 </dev/null", ip(pod))).await.unwrap();
        assert_ne!(refused.code, 0, "{place}: nobody listens on 81");
    }
}

#[tokio::test]
async fn three_replicas_on_three_nodes_in_process() {
    three_replicas_on_three_nodes(Runner::InProcess).await;
}

#[tokio::test]
async fn three_replicas_on_three_nodes_as_processes() {
    three_replicas_on_three_nodes(Runner::Process).await;
}

/// Answers only after its client's EOF, with more than any buffer holds.
async fn after_eof(context: ContainerContext) {
    let any = "0.0.0.0:7000".parse().unwrap();
    let listener = context.network.listen_tcp(any).await.unwrap();
    while let Ok((mut stream, _)) = listener.accept().await {
        context.spawn(async move {
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            let answer = text.to_uppercase().repeat(1 << 20);
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        });
    }
}

#[tokio::test]
async fn an_answer_after_eof_comes_whole() {
    let cluster = TestCluster::builder()
        .nodes(2)
        .register_image("example.com/after-eof", after_eof)
        .unwrap()
        .start()
        .await
        .unwrap();
    cluster.apply(&shell("client", "node-1")).await.unwrap();
    cluster.wait_pod_ready("client").await;
    for (pod, on) in [("near", "node-1"), ("far", "node-2")] {
        let manifest = shell(pod, on)
            .replace("image: busybox", "image: example.com/after-eof")
            .replace("command: [sleep, infinity]", "");
        cluster.apply(&manifest).await.unwrap();
        let server = cluster.wait_pod_ready(pod).await;
        let script = format!("printf x | nc {} 7000 | wc -c", ip(&server));
        let count = cluster
            .eventually("an answer", async || {
                cluster
                    .sh("client", &script)
                    .await
                    .unwrap()
                    .success()?
                    .trim()
                    .parse::<usize>()
                    .map_err(anyhow::Error::from)
                    .and_then(
                        |count| if count > 0 { Ok(count) } else { anyhow::bail!("nothing yet") },
                    )
            })
            .await;
        assert_eq!(count, 1 << 20, "{pod}");
    }
}
