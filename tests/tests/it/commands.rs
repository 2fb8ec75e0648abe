//! kubectl-mini against the real kubectl: the same command, the same text and exit code.
//!
//! The commands are a table, `commands.yaml`. One that changes something runs twice, by kubectl on one cluster and by
//! kubectl-mini on its twin; one that only looks is asked of the same cluster by both. What two runs cannot have in
//! common is left out of the comparison ([`super::alike`]). A quick run takes the newest kubectl, `KUBE_MINI_LONG` every
//! version that is found.

use std::{fs, path::Path};

use component_base::{
    clock::Clock,
    kubeconfig::{Cluster, Kubeconfig, User},
    tls::{CertSpec, CertificateAuthority},
};
use serde::Deserialize;
use tests::TestCluster;

use super::{
    alike::{Call, Comparison, Normaliser, Programs, kubectls_or_notice, minor_version, run, text},
    support::{project, size},
};

/// A line of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    #[serde(default)]
    run: String,
    #[serde(default)]
    stdin: String,
    #[serde(default)]
    changes: bool,
    #[serde(default)]
    wait: String,
    #[serde(default)]
    editor: String,
    /// The first minor version of kubectl that says what is said today.
    #[serde(default)]
    since: u32,
}

const FILES: &[(&str, &str)] = &[
    ("one.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\ndata:\n  a: b\n"),
    ("broken.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x: y\n"),
    (
        "unknown.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: unknown}\nspec:\n  replica: 3\n  selector: {matchLabels: {a: b}}\n  template:\n    metadata: {labels: {a: b}}\n    spec: {containers: [{name: c, image: nginx}]}\n",
    ),
    ("csr.yaml", include_str!("csr.yaml")),
    ("web.yaml", include_str!("../../../examples/documents/web-deployment.yaml")),
];

/// Splits a line into words as a shell does, with quotes of both kinds.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// A kubeconfig of another cluster's making, for this one's address.
fn foreign(cluster: &TestCluster) -> String {
    let now = Clock::real().now();
    let authority = CertificateAuthority::create("kubernetes", now).unwrap();
    let admin = CertSpec::client("kubernetes-admin", &["system:masters"]);
    let user = User::with_certificate(&authority.issue(&admin, now).unwrap());
    let server = format!("https://{}", cluster.api_address());
    let mut file =
        Kubeconfig::single("foreign", Cluster::with_authority(&server, authority.cert_pem()), user);
    file.other.insert("apiVersion".to_owned(), "v1".into());
    file.other.insert("kind".to_owned(), "Config".into());
    serde_yaml::to_string(&file).unwrap()
}

#[test]
fn lines_split_into_words() {
    assert_eq!(words("get  pods 'a b'c ''"), ["get", "pods", "a bc", ""]);
}

#[tokio::test]
async fn kubectl_mini_answers_as_kubectl() {
    let Some(kubectls) = kubectls_or_notice() else { return };
    let table = project().join("tests/tests/it/commands.yaml");
    let steps: Vec<Step> = serde_yaml::from_str(&fs::read_to_string(table).unwrap()).unwrap();
    let skipped = if size(0, 1) == 1 { 0 } else { kubectls.len().saturating_sub(1) };
    let mut comparison = Comparison::default();
    for kubectl in &kubectls[skipped..] {
        compare(kubectl, &steps, &mut comparison).await;
    }
    comparison.finish(200 * (kubectls.len() - skipped));
}

/// Runs the table with one version of kubectl, on a cluster for each of the two programs.
async fn compare(kubectl: &Path, steps: &[Step], comparison: &mut Comparison) {
    let minor = minor_version(kubectl).unwrap_or(u32::MAX);
    let home = tempfile::tempdir().unwrap();
    let programs = Programs::new(kubectl, home.path());
    for (name, contents) in FILES {
        fs::write(home.path().join(name), contents).unwrap();
    }
    let start = || TestCluster::builder().nodes(1).start();
    let (theirs, ours) = tokio::try_join!(start(), start()).unwrap();
    // One name for both: the kubeconfig's own path would be in messages.
    let configs = [home.path().join("theirs"), home.path().join("ours")];
    for (cluster, path) in [&theirs, &ours].into_iter().zip(&configs) {
        fs::copy(cluster.kubeconfig(), path).unwrap();
    }
    fs::write(home.path().join("foreign"), foreign(&theirs)).unwrap();
    let rules = Normaliser::new(&[]);
    for step in steps {
        if !step.wait.is_empty() {
            tokio::join!(theirs.wait_ready(&step.wait), ours.wait_ready(&step.wait));
            continue;
        }
        let words = words(&step.run);
        let call = |kubeconfig| Call {
            words: &words,
            stdin: &step.stdin,
            folder: home.path(),
            kubeconfig,
            editor: &step.editor,
        };
        let config = if step.changes { &configs[1] } else { &configs[0] };
        let compare = || {
            let expected = text(&run(&programs.kubectl, &call(&configs[0])));
            (expected, text(&run(&programs.mini, &call(config))))
        };
        let (mut expected, mut got) = compare();
        // The cluster may have moved on between the two looks.
        for _ in 0..3 {
            if step.changes || rules.apply(&expected) == rules.apply(&got) {
                break;
            }
            (expected, got) = compare();
        }
        if minor >= step.since {
            let told = format!("{} (kubectl 1.{minor})", step.run);
            comparison.note(&told, &expected, &got, &rules);
        }
    }
}
