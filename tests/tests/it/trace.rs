//! `trace` and `node rules` of kubectl-mini, against what really happens.

use std::process::Output;

use apimachinery::api::core::{Pod, Service};
use serde_json::Value;
use tests::{Runner, TestCluster};

use crate::{
    alike::{Call, kubectl_mini, run},
    support::{shell, whoami},
};

/// Runs kubectl-mini on a cluster.
pub(crate) fn mini(cluster: &TestCluster, words: &str) -> Output {
    let home = tempfile::tempdir().unwrap();
    let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    let call = Call {
        words: &words,
        stdin: "",
        folder: home.path(),
        kubeconfig: &cluster.kubeconfig(),
        editor: "",
    };
    run(&kubectl_mini(), &call)
}

/// What a command prints, and its exit code.
pub(crate) fn printed(cluster: &TestCluster, words: &str) -> (String, Option<i32>) {
    let output = mini(cluster, words);
    let text =
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (text, output.status.code())
}

fn json(cluster: &TestCluster, words: &str) -> Value {
    let (text, _) = printed(cluster, &format!("{words} -o json"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words}: {error}\n{text}"))
}

const POLICY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: friends}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - ports: [{port: 7}]
  - from: [{podSelector: {matchLabels: {role: friend}}}]
    ports: [{port: 80}]
";

const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  rules:
  - host: web.local
    http:
      paths:
      - {path: /shop, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
";

async fn world(runner: Runner) -> TestCluster {
    let cluster =
        TestCluster::builder().runner(runner).nodes(2).dns().ingress().start().await.unwrap();
    cluster.apply(&whoami("web", 2, None)).await.unwrap();
    cluster.apply(&shell("client", "node-1")).await.unwrap();
    cluster.apply(INGRESS).await.unwrap();
    cluster.wait_ready("web").await;
    cluster.wait_pod_ready("client").await;
    // Both endpoints are in the rules when the Service answers by them.
    cluster
        .eventually("the rules are there", async || {
            let (text, _) = printed(&cluster, "trace client http://web/");
            let ready = text.contains("Delivered") && text.matches("50 %").count() == 2;
            if ready { Ok(()) } else { Err(text) }
        })
        .await;
    cluster
}

/// By name, through the Service to a pod, in text, JSON and as a diagram; and a real try agrees.
async fn names_services_and_pods(runner: Runner) {
    let cluster = world(runner).await;
    let (text, code) = printed(&cluster, "trace client http://web/ --live");
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "From pod default/client",
        "search default.svc.cluster.local svc.cluster.local cluster.local",
        "web.default.svc.cluster.local. is 10.",
        "default/web at 10.",
        "by a rule of node-1: any endpoint of the cluster",
        "50 %",
        "allowed, for no policy selects the pod",
        "container whoami, port 80: listening",
        "Delivered: pod default/web-",
        "HTTP 200; as traced.",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let told = json(&cluster, "trace client svc/web");
    assert_eq!((&told["kind"], &told["status"]["outcome"]), (&"Trace".into(), &"Delivered".into()));
    let hops: Vec<&str> = told["status"]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|s| s["hop"].as_str())
        .collect();
    assert_eq!(hops, ["service", "policy", "route", "policy", "port"]);
    let (chart, _) = printed(&cluster, "trace client http://web/ -o mermaid");
    assert!(chart.starts_with("flowchart TD\n") && chart.contains("CoreDNS<br>web"), "{chart}");
    // UDP, by the DNS' own Service.
    let (text, code) = printed(&cluster, "trace client kube-dns.kube-system:53 --protocol udp");
    assert!(
        code == Some(0) && text.contains("kube-system/kube-dns:dns at 10.96.0.10:53"),
        "{text}"
    );
    // What is not there.
    for (to, end) in [
        ("nothing", "The name nothing has no address"),
        ("svc/web:81", "is a Service's address, but none has port 81"),
        ("10.244.77.1:80", "No route to host"),
        ("pod/client:81", "does not listen at port 81"),
    ] {
        let (text, code) = printed(&cluster, &format!("trace client {to}"));
        assert!(code == Some(1) && text.contains(end), "{to}:\n{text}");
    }
    let (text, code) = printed(&cluster, "trace nobody svc/web");
    assert_eq!(
        (text.as_str(), code),
        ("Error from server (NotFound): pods \"nobody\" not found\n", Some(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_services_and_pods_in_process() {
    names_services_and_pods(Runner::InProcess).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_services_and_pods_as_processes() {
    names_services_and_pods(Runner::Process).await;
}

/// From the host: node ports and Ingresses, by the addresses that are open.
#[tokio::test(flavor = "multi_thread")]
async fn requests_of_the_host_are_followed() {
    let cluster = world(Runner::InProcess).await;
    let url = cluster.node_port_url("web").await.unwrap();
    let (text, code) = printed(&cluster, &format!("trace outside {url} --live"));
    assert_eq!(code, Some(0), "{text}");
    for part in ["From the host", "node port of default/web", "HTTP 200; as traced."] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    for to in ["ingress/web", "http://web.local/shop/cart"] {
        let (text, code) = printed(&cluster, &format!("trace outside {to} --live"));
        assert_eq!(code, Some(0), "{to}: {text}");
        for part in [
            "ingress/ingress-kube-mini",
            "a rule of default/web leads to Service default/web:80",
            "Delivered: pod default/web-",
            "as traced.",
        ] {
            assert!(text.contains(part), "{to}: no {part:?} in\n{text}");
        }
    }
    let (text, code) = printed(&cluster, "trace outside http://web.local/other --live");
    assert!(
        code == Some(1) && text.contains("No Ingress has a rule for web.local/other: 404."),
        "{text}"
    );
    assert!(text.contains("HTTP 404; as traced."), "{text}");
    let (text, code) = printed(&cluster, "trace outside 127.0.0.1:1");
    assert!(
        code == Some(1) && text.contains("nothing of the cluster is open at 127.0.0.1:1"),
        "{text}"
    );
    let (text, code) = printed(&cluster, "trace node/node-1 svc/web --live");
    assert!(code == Some(0) && text.contains("as traced."), "{text}");
}

/// Policies are told by the rule that decides; a real try is dropped where the trace says so.
#[tokio::test(flavor = "multi_thread")]
async fn policies_are_told_by_their_rules() {
    let cluster = world(Runner::InProcess).await;
    cluster.apply(POLICY).await.unwrap();
    let text = cluster
        .eventually("the policy drops", async || {
            let (text, code) = printed(&cluster, "trace client svc/web");
            if code == Some(1) { Ok(text) } else { Err(text) }
        })
        .await;
    assert!(text.contains("DROPPED: no rule of default/friends allows it"), "{text}");
    assert!(
        text.contains("Dropped, so that the caller times out: no Ingress rule of default/friends"),
        "{text}"
    );
    let (text, _) = printed(&cluster, "trace client svc/web --live");
    assert!(text.contains("Live: timed out") && text.contains("as traced."), "{text}");
    // Who may not ask the DNS is told that.
    let caged = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: caged}, spec: {podSelector: {matchLabels: {role: caged}}, policyTypes: [Egress]}}";
    cluster.apply(caged).await.unwrap();
    let labels = "{name: prisoner, labels: {role: caged}}";
    let prisoner = shell("prisoner", "node-2").replace("{name: prisoner}", labels);
    cluster.apply(&prisoner).await.unwrap();
    cluster.wait_pod_ready("prisoner").await;
    cluster
        .eventually("the question to the DNS is dropped", async || {
            let (text, code) = printed(&cluster, "trace prisoner http://web");
            let told = text.contains("DROPPED: no rule of default/caged");
            if code == Some(1) && told { Ok(()) } else { Err(text) }
        })
        .await;
    let patch =
        client::Patch::Merge(serde_json::json!({"metadata": {"labels": {"role": "friend"}}}));
    cluster.client().patch::<Pod>("default", "client", &patch, "").await.unwrap();
    cluster
        .eventually("a friend is let in by the second rule", async || {
            let (text, code) = printed(&cluster, "trace client svc/web");
            let by_rule = text.contains("allowed by rule 2 of default/friends");
            if code == Some(0) && by_rule { Ok(()) } else { Err(text) }
        })
        .await;
}

/// The node's own rules, in three forms.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_shows_its_rules() {
    let cluster = world(Runner::InProcess).await;
    let service = cluster.client().get::<Service>("default", "web").await.unwrap();
    let ip = service.spec.cluster_ip.unwrap();
    let (text, code) = printed(&cluster, "node rules node-1");
    assert_eq!(code, Some(0), "{text}");
    let entry = format!(
        "-A KUBE-SERVICES -d {ip}/32 -p tcp -m comment --comment \"default/web cluster IP\" -m tcp --dport 80 -j KUBE-SVC-"
    );
    assert!(text.contains(&entry) && text.contains("*nat\n"), "{text}");
    // The name that this chain has in every cluster.
    assert!(text.contains("KUBE-SVC-NPX46M4PTMTKRN6Y"), "{text}");
    let (text, _) = printed(&cluster, "node rules node-1 -o nft");
    assert!(text.contains(&format!("{ip} . tcp . 80 comment \"default/web\"")), "{text}");
    let (text, _) = printed(&cluster, "node rules node/node-2 -o json");
    let rules: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(rules["services"]["default/web"]["clusterIps"][0], ip.as_str());
    let (text, code) = printed(&cluster, "node rules node-9");
    assert_eq!(
        (text.as_str(), code),
        ("Error from server (NotFound): nodes \"node-9\" not found\n", Some(1))
    );
    let (text, code) = printed(&cluster, "node rules node-1 -o xml");
    assert!(code == Some(1) && text.starts_with("error: unable to match a printer"), "{text}");
}
