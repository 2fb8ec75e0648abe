//! What controllers do, as tables: objects and what happens to them, and the writes that follow.
//!
//! `controller-manager/tables/<controller>.yaml` holds one table, each row of which runs that controller, whole and alone,
//! against a fake API server on a virtual clock ([`row`] does). A row:
//! ```yaml
//! - name: an orphan that matches is adopted        # what it shows
//!   objects:                                       # what is there at first
//!   - ReplicaSet web: replicas=1                   # [namespace/]name: words of the table, or fields, or a list of both
//!   - Pod a: {metadata: {labels: {app: web}}}
//!   then:                                          # what happens, one after the other (optional)
//!   - put: {Pod a: ready}                          # changes fields of an object, or makes one
//!   - delete: Pod a
//!   - after: 40s
//!   - forget: writes                               # those before do not count
//!   expect:                                        # the writes, in any order
//!   - patch Pod a: {metadata: {ownerReferences: [{uid: web}]}}   # verb, kind, name[/subresource]: fields of the body
//!   - event Normal SuccessfulDelete ReplicaSet/web: Deleted pod: a
//! ```
//! Objects get the table's `base` for their kind, the namespace `n`, and their name as uid. Lists of objects are added
//! to, unless the field's name ends with `!`; in expectations they are compared whole, and `*` in a text stands for
//! anything. `now-30s` is a time. `refuse` has
//! the server refuse writes, `hide` keeps changes from watches; `ignore` (of a table) and `also` (of a row) tell which
//! writes do not count.

mod object;
mod row;

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::controllers::CONTROLLERS;

/// How many rows all tables have at least.
const ROWS: usize = 308;

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// By kind, what every object of it has.
    #[serde(default)]
    base: BTreeMap<String, Value>,
    /// Short for fields; `$` in them is what stands behind the word's `=`.
    #[serde(default)]
    words: BTreeMap<String, Value>,
    /// Writes that do not count: a kind, `Kind/subresource`, or `event`.
    #[serde(default)]
    ignore: Vec<String>,
    rows: Vec<row::Row>,
}

fn load(controller: &str) -> Table {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tables");
    let path = folder.join(format!("{controller}.yaml"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let value: Value =
        serde_yaml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_value(value).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

async fn check(controller: &str) {
    let table = load(controller);
    let controller = CONTROLLERS.iter().find(|c| c.name == controller).expect("a controller");
    // One row at work on: `KUBE_MINI_ROW=part of its name`.
    let wanted = std::env::var("KUBE_MINI_ROW").unwrap_or_default();
    let mut failures = Vec::new();
    for row in table.rows.iter().filter(|row| row.name.contains(&wanted)) {
        if let Err(failure) = row::run(controller, &table, row).await {
            failures.push(format!("{}\n{failure}", row.name));
        }
    }
    assert!(failures.is_empty(), "{}\n{}", controller.name, failures.join("\n"));
}

/// A test for each table.
macro_rules! tables {
    ($($test:ident: $controller:literal,)*) => {
        $(#[tokio::test]
        async fn $test() {
            check($controller).await;
        })*

        const TABLES: &[&str] = &[$($controller),*];
    };
}

tables! {
    deployment: "deployment-controller",
    replica_set: "replicaset-controller",
    endpoint_slice: "endpointslice-controller",
    endpoint_slice_mirroring: "endpointslice-mirroring-controller",
    endpoints: "endpoints-controller",
    cluster_role_aggregation: "clusterrole-aggregation-controller",
    namespace: "namespace-controller",
    service_account: "serviceaccount-controller",
    service_lb: "service-lb-controller",
    node_ipam: "node-ipam-controller",
    node_lifecycle: "node-lifecycle-controller",
    taint_eviction: "taint-eviction-controller",
    garbage_collector: "garbage-collector-controller",
    pod_gc: "pod-garbage-collector-controller",
    disruption: "disruption-controller",
    csr_approving: "certificatesigningrequest-approving-controller",
    csr_signing: "certificatesigningrequest-signing-controller",
    csr_cleaner: "certificatesigningrequest-cleaner-controller",
    root_ca: "root-ca-certificate-publisher-controller",
}

#[test]
fn every_controller_has_a_table_and_together_they_are_long() {
    let names: Vec<&str> = CONTROLLERS.iter().map(|controller| controller.name).collect();
    let missing: Vec<&&str> = names.iter().filter(|name| !TABLES.contains(name)).collect();
    assert!(missing.is_empty(), "without a table: {missing:?}");
    let rows: Vec<usize> = TABLES.iter().map(|name| load(name).rows.len()).collect();
    assert!(rows.iter().all(|rows| *rows > 0), "{rows:?}");
    let sum: usize = rows.iter().sum();
    assert!(sum >= ROWS, "{sum} rows, {ROWS} are promised");
}
