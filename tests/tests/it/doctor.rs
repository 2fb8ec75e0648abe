//! `kubectl-mini doctor`: nothing is found in a healthy cluster, and each thing that is broken is found as what it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
};

use apimachinery::api::core::{Namespace, Node};
use client::{DeleteOptions, Patch};
use serde_json::{Value, json};
use tests::{Component, TestCluster};

use crate::{
    support::{shell, whoami},
    trace::printed,
};

const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  rules:
  - host: web.local
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
";

/// A Deployment and its Service, in a namespace of their own.
fn app(namespace: &str, from: &str, to: &str) -> String {
    let app = whoami("web", 1, None).replace("  type: NodePort\n", "");
    assert!(app.contains(from), "{from:?} is in no\n{app}");
    let app = app.replacen(from, to, 1);
    let app = app.replace(
        "metadata: {name: web}",
        &format!("metadata: {{name: web, namespace: {namespace}}}"),
    );
    format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}\n---{app}")
}

fn pod(namespace: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}\n---\n{{apiVersion: v1, kind: Pod, metadata: {{name: p, namespace: {namespace}}}, spec: {spec}}}\n"
    )
}

fn ingress(namespace: &str, from: &str, to: &str) -> String {
    assert!(INGRESS.contains(from));
    let ingress = INGRESS.replacen(from, to, 1);
    let ingress = ingress
        .replace("{name: web}\nspec", &format!("{{name: web, namespace: {namespace}}}\nspec"));
    format!("{}\n---{ingress}", app(namespace, "replicas: 1", "replicas: 1"))
}

/// What is broken in which namespace, the check that is to find it, and what it is to say.
fn breakages() -> Vec<(&'static str, String, &'static str, &'static str)> {
    let policy = |namespace: &str, spec: &str| {
        format!(
            "{}\n---\n{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: deny, namespace: {namespace}}}, spec: {spec}}}",
            app(namespace, "replicas: 1", "replicas: 1")
        )
    };
    vec![
        (
            "b-selector",
            app("b-selector", "selector: {app: web}", "selector: {app: wbe}"),
            "selector",
            "the nearest label: app=web, which 1 pod has",
        ),
        (
            "b-scaled",
            app("b-scaled", "replicas: 1", "replicas: 0"),
            "selector",
            "kubectl-mini scale deployment web --replicas=1",
        ),
        (
            "b-port",
            app("b-port", "  - port: 80\n", "  - {port: 80, targetPort: 8081}\n"),
            "target-port",
            "port 80 leads to 8081, where its pods do not listen",
        ),
        (
            "b-named",
            app("b-named", "  - port: 80\n", "  - {port: 80, targetPort: http}\n"),
            "target-port",
            "the port named \"http\", which no container has",
        ),
        (
            "b-protocol",
            app("b-protocol", "  - port: 80\n", "  - {port: 80, protocol: UDP}\n"),
            "protocol",
            "port 80 is UDP, but what its pods have there is TCP",
        ),
        (
            "b-probe",
            app(
                "b-probe",
                "ports: [{containerPort: 80}]",
                "readinessProbe: {tcpSocket: {port: 81}, periodSeconds: 1}",
            ),
            "not-ready",
            "the readiness probe of container whoami fails",
        ),
        (
            "b-policy",
            policy("b-policy", "{podSelector: {}, policyTypes: [Ingress]}"),
            "policy",
            "policies let nobody in to its port 80",
        ),
        (
            "b-policy-dns",
            policy(
                "b-policy-dns",
                "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 80}]}]}",
            ),
            "policy-dns",
            "no rule of b-policy-dns/deny allows UDP 53 to kube-system",
        ),
        (
            "b-class",
            ingress("b-class", "spec:", "spec:\n  ingressClassName: other"),
            "ingress-class",
            "names the class other, which does not exist",
        ),
        (
            "b-backend",
            ingress("b-backend", "service: {name: web", "service: {name: shop"),
            "ingress-backend",
            "leads to the Service shop, which does not exist",
        ),
        (
            "b-backend-port",
            ingress("b-backend-port", "number: 80", "number: 81"),
            "ingress-backend",
            "leads to port 81 of Service web, which has none such",
        ),
        (
            "b-secret",
            ingress("b-secret", "spec:", "spec:\n  tls: [{hosts: [web.local], secretName: cert}]"),
            "ingress-secret",
            "the Secret cert does not exist",
        ),
        (
            "b-permissions",
            pod(
                "b-permissions",
                "{containers: [{name: c, image: registry.k8s.io/external-dns/external-dns:v0.15.0}]}",
            ),
            "permissions",
            "system:serviceaccount:b-permissions:default cannot get,list,watch endpointslices.discovery.k8s.io,ingresses.networking.k8s.io,pods,services",
        ),
        (
            "b-pending",
            pod(
                "b-pending",
                "{containers: [{name: c, image: pause, resources: {requests: {cpu: 1000}}}]}",
            ),
            "pending",
            "node-1, node-2: NodeResourcesFit: Insufficient cpu",
        ),
        (
            "b-image",
            pod("b-image", "{containers: [{name: c, image: nowhere.invalid/x}]}"),
            "image",
            "the image nowhere.invalid/x of container c cannot be had",
        ),
        (
            "b-config",
            pod(
                "b-config",
                "{containers: [{name: c, image: pause, envFrom: [{configMapRef: {name: none}}]}]}",
            ),
            "crash",
            "CreateContainerConfigError",
        ),
        (
            "b-crash",
            pod("b-crash", "{containers: [{name: c, image: busybox, command: [sh, -c, exit 3]}]}"),
            "crash",
            "container c ends again and again: Error, exit code 3",
        ),
    ]
}

fn diagnosis(cluster: &TestCluster, words: &str) -> Vec<Value> {
    let (text, code) = printed(cluster, &format!("doctor {words} -o json"));
    let told: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let findings = told["status"]["findings"].as_array().unwrap().clone();
    assert_eq!(code, Some(i32::from(!findings.is_empty())), "{text}");
    assert_eq!(told["status"]["healthy"], findings.is_empty());
    findings
}

/// The findings by namespace: the checks, and all that they say.
fn by_namespace(findings: &[Value]) -> BTreeMap<String, (BTreeSet<String>, String)> {
    let mut all: BTreeMap<String, (BTreeSet<String>, String)> = BTreeMap::new();
    for finding in findings {
        let namespace = finding["subject"]["namespace"].as_str().unwrap_or_default();
        let (checks, text) = all.entry(namespace.to_owned()).or_default();
        checks.insert(finding["check"].as_str().unwrap().to_owned());
        let evidence = finding["evidence"].as_array().unwrap().iter().filter_map(Value::as_str);
        let evidence: Vec<&str> = evidence.collect();
        for part in ["cause", "fix"] {
            text.push_str(finding[part].as_str().unwrap());
            text.push('\n');
        }
        text.push_str(&evidence.join("\n"));
    }
    all
}

async fn healthy() -> TestCluster {
    let cluster = TestCluster::builder().nodes(2).dns().ingress().start().await.unwrap();
    cluster.apply(&whoami("web", 2, None)).await.unwrap();
    cluster.apply(&shell("client", "node-1")).await.unwrap();
    cluster.apply(INGRESS).await.unwrap();
    cluster.wait_ready("web").await;
    cluster.wait_pod_ready("client").await;
    let (text, code) = printed(&cluster, "doctor -A");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("Nothing found: "), "{text}");
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_is_found_as_what_it_is() {
    let cluster = healthy().await;
    let breakages = breakages();
    for (_, manifest, ..) in &breakages {
        cluster.apply(manifest).await.unwrap();
    }
    // A port of the host that somebody has.
    let node = cluster.client().get::<Node>("", "node-1").await.unwrap();
    let external = node.status.addresses.iter().find(|a| a.type_ == "ExternalIP").unwrap();
    let _taken = TcpListener::bind((external.address.as_str(), 30999)).unwrap();
    let taken = app("b-host", "  - port: 80\n", "  - {port: 80, nodePort: 30999}\n");
    cluster
        .apply(
            &taken.replace("spec:\n  selector: {app", "spec:\n  type: NodePort\n  selector: {app"),
        )
        .await
        .unwrap();
    // A namespace that a finalizer holds.
    let held = "{apiVersion: v1, kind: Namespace, metadata: {name: b-stuck}}\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: held, namespace: b-stuck, finalizers: [example.com/held]}}";
    cluster.apply(held).await.unwrap();
    let options = DeleteOptions::default();
    cluster.client().delete::<Namespace>("", "b-stuck", &options).await.unwrap();

    let mut expected: BTreeMap<&str, (&str, &str)> =
        breakages.iter().map(|(namespace, _, check, text)| (*namespace, (*check, *text))).collect();
    expected.insert("b-host", ("host-port", "another program uses it"));
    expected.insert("", ("namespace", "Some content in the namespace has finalizers remaining"));
    cluster
        .eventually("every breakage is found, and nothing else", async || {
            let found = by_namespace(&diagnosis(&cluster, "-A"));
            for (namespace, (checks, text)) in &found {
                let Some((check, says)) = expected.get(namespace.as_str()) else {
                    return Err(format!("{namespace}: {checks:?} {text}"));
                };
                if *checks != BTreeSet::from([(*check).to_owned()]) || !text.contains(says) {
                    return Err(format!("{namespace}: {checks:?} {text}"));
                }
            }
            let missing: Vec<&&str> =
                expected.keys().filter(|namespace| !found.contains_key(**namespace)).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("not found: {missing:?}")) }
        })
        .await;

    // One object at a time, in words, with what mends it.
    let (text, code) = printed(&cluster, "doctor service web -n b-selector");
    assert_eq!(
        (text.as_str(), code),
        (
            "Service b-selector/web: selects no pod: none in b-selector has the labels app=wbe\n    the nearest label: app=web, which 1 pod has\n    mend: kubectl-mini set selector service web app=web -n b-selector\n\n1 finding.\n",
            Some(1)
        )
    );
    let (text, _) = printed(&cluster, "set selector service web app=web -n b-selector");
    assert!(text.contains("selector updated"), "{text}");
    cluster
        .eventually("mended", async || {
            let (text, code) = printed(&cluster, "doctor service web -n b-selector");
            if code == Some(0) { Ok(()) } else { Err(text) }
        })
        .await;
    let (text, code) = printed(&cluster, "doctor service wbe");
    assert!(
        code == Some(1) && text.contains("there is no such Service\n    the nearest name: web\n"),
        "{text}"
    );
    let (text, _) = printed(&cluster, "doctor svc/web -n nowhere");
    assert!(text.contains("there is one in the namespace"), "{text}");
    let (text, code) = printed(&cluster, "doctor pod p -n b-image");
    assert!(code == Some(1) && text.contains("nowhere.invalid/x"), "{text}");
    let (text, code) = printed(&cluster, "doctor ingress web");
    assert_eq!(code, Some(0), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_proxies_and_the_dns_are_looked_at() {
    let cluster = healthy().await;
    let find = async |check: &str, subject: &str, says: &str| {
        cluster
            .eventually(check, async || {
                let findings = diagnosis(&cluster, "-A");
                let found = findings.iter().any(|finding| {
                    finding["check"] == check
                        && finding["subject"]["name"] == subject
                        && finding.to_string().contains(says)
                });
                if found { Ok(()) } else { Err(format!("{findings:#?}")) }
            })
            .await;
    };
    let scale = async |replicas: u32| {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        cluster
            .client()
            .patch::<apimachinery::api::apps::Deployment>("kube-system", "coredns", &patch, "")
            .await
            .unwrap();
    };
    scale(0).await;
    find("dns", "kube-dns", "scale deployment coredns --replicas=1").await;
    scale(1).await;
    cluster.wait_ready("kube-system/coredns").await;
    cluster
        .eventually("healthy again", async || {
            let findings = diagnosis(&cluster, "-A");
            if findings.is_empty() { Ok(()) } else { Err(format!("{findings:#?}")) }
        })
        .await;

    // A proxy that is away leaves its node's rules behind.
    cluster.stop(Component::KubeProxy(2)).await.unwrap();
    cluster.apply(&app("late", "replicas: 1", "replicas: 1")).await.unwrap();
    find("rules", "node-2", "late/web is in the API, and no rule has it").await;
    // A node that comes back without its proxy has no rules at all.
    cluster.stop(Component::Kubelet(2)).await.unwrap();
    find("node-ready", "node-2", "its kubelet cannot be asked").await;
    cluster.start(Component::Kubelet(2)).await.unwrap();
    find("proxy", "node-2", "has not programmed it since it started").await;
    cluster.start(Component::KubeProxy(2)).await.unwrap();

    // A node that nobody gives a range.
    cluster.stop(Component::ControllerManager).await.unwrap();
    cluster.apply("{apiVersion: v1, kind: Node, metadata: {name: bare}}").await.unwrap();
    find("pod-cidr", "bare", "has no podCIDR").await;
    let (text, code) = printed(&cluster, "doctor node node-1");
    assert_eq!(code, Some(0), "{text}");
    let (text, code) = printed(&cluster, "doctor node bare");
    assert!(code == Some(1) && text.contains("has no podCIDR"), "{text}");
}
