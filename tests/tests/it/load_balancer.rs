//! Services of type LoadBalancer: an address each, that answers from the host and from pods.

use std::net::Ipv4Addr;

use apimachinery::api::core::{Event, Service};
use client::{DeleteOptions, ListOptions, Patch};
use serde_json::json;
use tests::{Component, Runner, TestCluster, http};

use crate::support::{field, shell, wait_for_url, whoami};

/// A Service of type LoadBalancer for the pods of `app`.
pub(crate) fn balancer(name: &str, app: &str, more: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{type: LoadBalancer, selector: {{app: {app}}}, ports: [{{port: 8088, targetPort: 80}}]{more}}}
"
    )
}

pub(crate) async fn address(cluster: &TestCluster, name: &str) -> Ipv4Addr {
    let service = cluster
        .wait_for::<Service>(name, |service| {
            let status = service.status.load_balancer.as_ref();
            let ip = status.and_then(|status| status.ingress.first()?.ip.clone());
            ip.map(|_| ()).ok_or_else(|| "<pending>".to_owned())
        })
        .await;
    let ingress = &service.status.load_balancer.unwrap().ingress[0];
    assert_eq!(ingress.ip_mode.as_deref(), Some("VIP"));
    let finalizer = "service.kubernetes.io/load-balancer-cleanup".to_owned();
    assert!(service.metadata.finalizers.contains(&finalizer));
    ingress.ip.as_ref().unwrap().parse().unwrap()
}

async fn reasons(cluster: &TestCluster, name: &str) -> Vec<String> {
    let options = ListOptions {
        field_selector: format!("involvedObject.name={name}"),
        ..ListOptions::default()
    };
    let events = cluster.client().list::<Event>("default", &options).await.unwrap().items;
    events.into_iter().map(|event| event.reason.unwrap_or_default()).collect()
}

async fn addresses_answer(runner: Runner) {
    let cluster = TestCluster::builder().runner(runner).nodes(3).durable().start().await.unwrap();
    cluster.apply(&whoami("web", 3, None)).await.unwrap();
    cluster.apply(&whoami("api", 1, None)).await.unwrap();
    cluster.apply(&shell("client", "node-2")).await.unwrap();
    // The same port twice: the addresses differ. And one without node ports.
    cluster.apply(&balancer("web-lb", "web", "")).await.unwrap();
    cluster
        .apply(&balancer("api-lb", "api", ", allocateLoadBalancerNodePorts: false"))
        .await
        .unwrap();
    let (web, api) = (address(&cluster, "web-lb").await, address(&cluster, "api-lb").await);
    assert_ne!(web, api);
    assert_eq!(web.octets()[..3], cluster.node_address(1).octets()[..3]);
    assert!(web.octets()[3] >= 128 && api.octets()[3] >= 128, "{web} {api}");
    let bare: Service = cluster.client().get("default", "api-lb").await.unwrap();
    assert_eq!(bare.spec.ports[0].node_port, None);
    cluster.wait_ready("web").await;
    cluster.wait_pod_ready("client").await;
    for (ip, app) in [(web, "web-"), (api, "api-")] {
        let url = format!("http://{ip}:8088");
        let answer = wait_for_url(&cluster, &url).await;
        assert!(field(&answer.body, "Hostname").starts_with(app), "{url}: {}", answer.body);
        let inside = cluster
            .eventually("the address from a pod", async || {
                cluster
                    .sh("client", &format!("wget -qO- {url}"))
                    .await
                    .map_err(anyhow::Error::from)?
                    .success()
            })
            .await;
        assert!(field(&inside, "Hostname").starts_with(app), "{url}: {inside}");
    }
    cluster
        .eventually("the events", async || {
            let seen = reasons(&cluster, "web-lb").await;
            let both = ["EnsuringLoadBalancer", "EnsuredLoadBalancer"];
            if both.iter().all(|reason| seen.iter().any(|s| s == reason)) {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await;

    // A restart of who gives addresses changes none.
    cluster.stop(Component::ControllerManager).await.unwrap();
    cluster.start(Component::ControllerManager).await.unwrap();
    cluster.apply(&balancer("late-lb", "web", "")).await.unwrap();
    let late = address(&cluster, "late-lb").await;
    assert!(late != web && late != api);
    assert_eq!((address(&cluster, "web-lb").await, address(&cluster, "api-lb").await), (web, api));

    // An external address is a Service's for whoever routes it to the cluster: pods do.
    let external = balancer("ext", "web", ", externalIPs: [203.0.113.7]")
        .replace("type: LoadBalancer", "type: ClusterIP");
    cluster.apply(&external).await.unwrap();
    cluster
        .eventually("the external address from a pod", async || {
            let script = "wget -T 2 -qO- http://203.0.113.7:8088";
            cluster.sh("client", script).await.map_err(anyhow::Error::from)?.success()
        })
        .await;

    // Nodes that are gone take no address with them: those that stay answer at once.
    let url = format!("http://{web}:8088");
    cluster.stop(Component::Kubelet(1)).await.unwrap();
    for _ in 0..20 {
        let answer =
            cluster.eventually("an answer without node 1", async || http::get(&url).await).await;
        assert!(field(&answer.body, "Hostname").starts_with("web-"), "{}", answer.body);
    }
    cluster.start(Component::Kubelet(1)).await.unwrap();

    // What is given up is free again.
    cluster
        .client()
        .delete::<Service>("default", "late-lb", &DeleteOptions::default())
        .await
        .unwrap();
    let patch =
        Patch::Merge(json!({"spec": {"type": "ClusterIP", "allocateLoadBalancerNodePorts": null}}));
    cluster.client().patch::<Service>("default", "api-lb", &patch, "").await.unwrap();
    cluster
        .wait_for::<Service>("api-lb", |service| {
            let given_up = service.metadata.finalizers.is_empty()
                && service
                    .status
                    .load_balancer
                    .as_ref()
                    .is_none_or(|status| status.ingress.is_empty());
            if given_up { Ok(()) } else { Err(format!("{:?}", service.status)) }
        })
        .await;
    cluster.apply(&balancer("again-lb", "web", &format!(", loadBalancerIP: {api}"))).await.unwrap();
    assert_eq!(address(&cluster, "again-lb").await, api);
}

#[tokio::test]
async fn addresses_answer_in_process() {
    addresses_answer(Runner::InProcess).await;
}

#[tokio::test]
async fn addresses_answer_as_processes() {
    addresses_answer(Runner::Process).await;
}

#[tokio::test]
async fn source_ranges_say_who_may_come() {
    let cluster = TestCluster::builder().nodes(2).start().await.unwrap();
    cluster.apply(&whoami("web", 1, None)).await.unwrap();
    cluster.apply(&shell("near", "node-1")).await.unwrap();
    cluster.apply(&shell("far", "node-2")).await.unwrap();
    let ranges = ", loadBalancerSourceRanges: [10.244.1.0/24]";
    cluster.apply(&balancer("inside", "web", ranges)).await.unwrap();
    cluster
        .apply(&balancer("host", "web", ", loadBalancerSourceRanges: [192.168.1.1/32]"))
        .await
        .unwrap();
    for pod in ["near", "far"] {
        cluster.wait_pod_ready(pod).await;
    }
    let (inside, host) = (address(&cluster, "inside").await, address(&cluster, "host").await);
    // The host is one of its ranges; then all rules are in force, and refusals mean something.
    wait_for_url(&cluster, &format!("http://{host}:8088")).await;
    let from = async |pod: &str, ip: Ipv4Addr| {
        let script = format!("wget -T 1 -qO- http://{ip}:8088");
        cluster.sh(pod, &script).await.unwrap().code == 0
    };
    cluster
        .eventually("pods of the range get in", async || {
            if from("near", inside).await { Ok(()) } else { Err("near is kept out") }
        })
        .await;
    assert!(!from("far", inside).await, "node-2's pods are in no range");
    assert!(!from("near", host).await, "nor are pods in the host's");
    let reset = http::get(&format!("http://{inside}:8088")).await;
    assert!(reset.is_err(), "the host is not in this range: {reset:?}");
    // A change is in force for the next connection.
    let patch = Patch::Merge(json!({"spec": {"loadBalancerSourceRanges": ["127.0.0.0/8"]}}));
    cluster.client().patch::<Service>("default", "inside", &patch, "").await.unwrap();
    wait_for_url(&cluster, &format!("http://{inside}:8088")).await;
    assert!(!from("near", inside).await);
}

#[tokio::test]
async fn local_policy_keeps_the_clients_address_and_needs_no_node_in_between() {
    let cluster = TestCluster::builder().nodes(3).start().await.unwrap();
    cluster.apply(&whoami("web", 1, None)).await.unwrap();
    cluster.apply(&balancer("local", "web", ", externalTrafficPolicy: Local")).await.unwrap();
    let url = format!("http://{}:8088", address(&cluster, "local").await);
    // Only the node that has the pod listens: no connection lands where nobody serves.
    wait_for_url(&cluster, &url).await;
    for _ in 0..20 {
        let answer = http::get(&url).await.unwrap();
        let remote = field(&answer.body, "RemoteAddr").to_owned();
        assert!(remote.starts_with("192.168.1.1:"), "{remote}");
    }
}

/// The host refuses a port that another program has; the Service says so, and where it answers instead.
#[tokio::test]
async fn what_the_host_refuses_is_told() {
    let cluster = TestCluster::builder().nodes(1).start().await.unwrap();
    cluster.apply(&whoami("web", 1, None)).await.unwrap();
    cluster.apply(&balancer("first", "web", "")).await.unwrap();
    let ip = address(&cluster, "first").await;
    let taken = std::net::TcpListener::bind((ip, 8099)).unwrap();
    let ports = Patch::Json(json!([{"op": "replace", "path": "/spec/ports", "value":
        [{"name": "a", "port": 8088, "targetPort": 80}, {"name": "b", "port": 8099, "targetPort": 80}]}]));
    cluster.client().patch::<Service>("default", "first", &ports, "").await.unwrap();
    let message = cluster
        .eventually("an event", async || {
            let events = cluster.client().list::<Event>("default", &ListOptions::default()).await;
            let events = events.map_err(|e| e.to_string())?.items;
            let told = events.into_iter().find(|e| e.reason.as_deref() == Some("HostPortInUse"));
            told.and_then(|event| event.message).ok_or_else(|| "none yet".to_owned())
        })
        .await;
    let expected = format!(
        "cannot open {ip}:8099/TCP: another program uses it; the Service answers at {}:",
        cluster.node_address(1)
    );
    assert!(message.starts_with(&expected), "{message}");
    let other = message.rsplit(' ').next().unwrap();
    wait_for_url(&cluster, &format!("http://{other}")).await;
    drop(taken);
}
