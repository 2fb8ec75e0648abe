//! What controllers do that only shows end to end: a second copy takes over, certificates in every namespace, pods that
//! nobody else deletes, budgets.

use std::time::Duration;

use apimachinery::api::{
    coordination::Lease,
    core::{ConfigMap, Node, Pod},
    policy::PodDisruptionBudget,
    rbac::ClusterRole,
};
use client::{
    Client, DeleteOptions, ListOptions, Patch,
    leader_election::{self, Lost},
};
use component_base::shutdown::Shutdown;
use controller_manager::{Config, Options, Server};
use serde_json::json;
use tests::{Component, TestCluster};
use tokio_util::sync::CancellationToken;

const LEASE: &str = "kube-system/kube-controller-manager";

/// A controller manager of a test's own, which ends with this value.
struct Copy {
    shutdown: Shutdown,
    lost: CancellationToken,
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Copy {
    fn start(cluster: &TestCluster, identity: &str, options: Options) -> Self {
        let client = cluster.client_as("system:kube-controller-manager", &[]).unwrap();
        let config = Config {
            client,
            clock: cluster.clock().clone(),
            cluster_cidr: "10.244.0.0/16".to_owned(),
        };
        // Soon, so that the test need not wait for Kubernetes' 15 s.
        let election = leader_election::Config {
            lease_duration: Duration::from_secs(5),
            renew_deadline: Duration::from_secs(4),
            retry_period: Duration::from_millis(200),
            ..leader_election::Config::component("kube-controller-manager", identity)
        };
        let copy = Self { shutdown: Shutdown::new(), lost: CancellationToken::new() };
        let (shutdown, lost) = (copy.shutdown.clone(), copy.lost.clone());
        copy.shutdown.spawn("controller-manager", async move {
            let server = Server::new(config).with_options(options);
            if server.run_elected(&election, shutdown).await == Err(Lost) {
                lost.cancel();
            }
        });
        copy
    }
}

async fn leader(cluster: &TestCluster, identity: &str) {
    cluster
        .wait_for::<Lease>(LEASE, |lease| match lease.spec.holder_identity.as_deref() {
            Some(holder) if holder == identity => Ok(()),
            other => Err(format!("led by {other:?}")),
        })
        .await;
}

const NAMESPACE: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: NAME}
";

async fn published(cluster: &TestCluster, namespace: &str, text: &str) {
    let name = format!("{namespace}/kube-root-ca.crt");
    cluster
        .wait_for::<ConfigMap>(&name, |map| match map.data.get("ca.crt") {
            Some(present) if present == text => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
}

#[tokio::test]
async fn a_second_controller_manager_takes_over_and_one_that_lost_the_lease_ends() {
    let cluster = TestCluster::builder().nodes(0).start().await.unwrap();
    // One that is ended before it leads might leave a lease behind.
    published(&cluster, "default", cluster.ca_pem()).await;
    cluster.stop(Component::ControllerManager).await.unwrap();
    let options = |text: &str| Options { root_ca: Some(text.to_owned()), ..Options::default() };
    let first = Copy::start(&cluster, "first", options("first"));
    leader(&cluster, "first").await;
    published(&cluster, "default", "first").await;
    let second = Copy::start(&cluster, "second", options("second"));
    cluster.apply(&NAMESPACE.replace("NAME", "one")).await.unwrap();
    published(&cluster, "one", "first").await;

    // Given back, the lease is the other's in a moment.
    drop(first);
    leader(&cluster, "second").await;
    cluster.apply(&NAMESPACE.replace("NAME", "two")).await.unwrap();
    published(&cluster, "two", "second").await;
    published(&cluster, "one", "second").await;

    // Taken away, it ends the work of who had it.
    let theft = json!({"spec": {"holderIdentity": "thief", "leaseDurationSeconds": 3600}});
    let (namespace, name) = LEASE.split_once('/').unwrap();
    cluster.client().patch::<Lease>(namespace, name, &Patch::Merge(theft), "").await.unwrap();
    cluster
        .eventually("the second one ends", async || {
            if second.lost.is_cancelled() { Ok(()) } else { Err("it leads on") }
        })
        .await;
    cluster.apply(&NAMESPACE.replace("NAME", "three")).await.unwrap();
    let gone = cluster.client().get::<ConfigMap>("three", "kube-root-ca.crt").await;
    assert!(gone.is_err_and(|status| status.is_not_found()), "nobody leads");
}

#[tokio::test]
async fn every_namespace_has_the_certificates_by_which_the_api_server_is_known() {
    let cluster = TestCluster::builder().nodes(0).start().await.unwrap();
    published(&cluster, "kube-system", cluster.ca_pem()).await;
    cluster.apply(&NAMESPACE.replace("NAME", "fresh")).await.unwrap();
    published(&cluster, "fresh", cluster.ca_pem()).await;
    let client: &Client = cluster.client();
    let options = DeleteOptions::default();
    client.delete::<ConfigMap>("fresh", "kube-root-ca.crt", &options).await.unwrap();
    published(&cluster, "fresh", cluster.ca_pem()).await;
}

const DONE: &str = "
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  restartPolicy: Never
  containers:
  - {name: main, image: busybox, command: [sh, -c, exit 0]}
";

#[tokio::test]
async fn pods_that_have_ended_go_when_there_are_too_many() {
    let cluster = TestCluster::builder().start().await.unwrap();
    for name in ["a", "b"] {
        cluster.apply(&DONE.replace("NAME", name)).await.unwrap();
        cluster
            .wait_for::<Pod>(name, |pod| match pod.status.phase.as_deref() {
                Some("Succeeded") => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
    }
    // A copy that allows for one of them, and looks at once when it starts.
    cluster.stop(Component::ControllerManager).await.unwrap();
    let options = Options { terminated_pod_gc_threshold: 1, ..Options::default() };
    let _copy = Copy::start(&cluster, "strict", options);
    cluster
        .eventually("one pod", async || {
            let pods = cluster.client().list::<Pod>("default", &ListOptions::default()).await;
            let pods = pods.map_err(|status| status.message)?.items;
            let names: Vec<_> =
                pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
            if names.len() == 1 { Ok(()) } else { Err(format!("{names:?}")) }
        })
        .await;
}

const BUDGETED: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: nginx}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec:
  maxUnavailable: 34%
  selector: {matchLabels: {app: web}}
";

#[tokio::test]
async fn a_budget_tells_how_many_pods_may_go() {
    let cluster = TestCluster::builder().start().await.unwrap();
    cluster.apply(BUDGETED).await.unwrap();
    let allowed = async |expected: [i32; 4], reason: &str| {
        cluster
            .wait_for::<PodDisruptionBudget>("web", |budget| {
                let status = &budget.status;
                let counts = [
                    status.expected_pods,
                    status.current_healthy,
                    status.desired_healthy,
                    status.disruptions_allowed,
                ];
                let why = status.conditions.first().map(|c| c.reason.as_str());
                if counts.map(|n| n.unwrap_or(-1)) == expected && why == Some(reason) {
                    Ok(())
                } else {
                    Err(format!("{counts:?} {why:?}"))
                }
            })
            .await;
    };
    // 34% of 3 is rounded up to 2.
    allowed([3, 3, 1, 2], "SufficientPods").await;
    cluster.stop(Component::Scheduler).await.unwrap();
    let pods = cluster.ready_pods("default", "app=web").await.unwrap();
    for pod in &pods[..2] {
        let name = pod.metadata.name.as_deref().unwrap();
        cluster.client().delete::<Pod>("default", name, &DeleteOptions::default()).await.unwrap();
    }
    allowed([3, 1, 1, 0], "InsufficientPods").await;
    let nodes = cluster.client().list::<Node>("", &ListOptions::default()).await.unwrap();
    assert_eq!(nodes.items.len(), 1);
}

/// A role that is made a part of `view`, and somebody who may view.
const PART_OF_VIEW: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: ann}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: nodes, labels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}}
rules: [{apiGroups: [""], resources: [nodes], verbs: [list]}]
"#;

#[tokio::test]
async fn a_role_that_is_a_part_of_view_counts_for_all_viewers_while_it_is_there() {
    let cluster = TestCluster::builder().nodes(0).start().await.unwrap();
    let ann = cluster.client_as("ann", &[]).unwrap();
    let lists_nodes = async || ann.list::<Node>("", &ListOptions::default()).await.map(drop);
    assert!(lists_nodes().await.unwrap_err().is_forbidden());
    cluster.apply(PART_OF_VIEW).await.unwrap();
    cluster.eventually("ann lists nodes", lists_nodes).await;
    // The others are still there.
    ann.list::<Pod>("default", &ListOptions::default()).await.unwrap();
    let gone = DeleteOptions::default();
    cluster.client().delete::<ClusterRole>("", "nodes", &gone).await.unwrap();
    let refused = async || match lists_nodes().await {
        Err(status) if status.is_forbidden() => Ok(()),
        other => Err(format!("{other:?}")),
    };
    cluster.eventually("ann lists no nodes any more", refused).await;
}
