//! The long table of command lines, `kubectl-mini/testdata/commands.yaml`: the same text and exit code from kubectl and
//! kubectl-mini.
//!
//! Both work on one cluster without controllers and nodes, which moves by itself no more. Before each of the two runs,
//! the commands of `before` put it back into the starting state. A quick run takes every thirtieth line, always the
//! same ones; `KUBE_MINI_LONG` takes all.
//!
//! What needs nodes that live (drains, forwarded ports), or what kubectl has not, is tested by itself.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde::Deserialize;
use tests::{Component, TestCluster, http};

use super::{
    alike::{Call, Comparison, Normaliser, Programs, kubectl_mini, kubectl_or_notice, run, text},
    support::{project, size},
};

/// The table's file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    setup: Vec<Vec<String>>,
    commands: Vec<Line>,
}

/// A command line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    run: Vec<String>,
    /// The file that it reads.
    #[serde(default)]
    stdin: String,
    /// What puts the cluster into the starting state.
    #[serde(default)]
    before: Vec<Vec<String>>,
    /// `KUBE_EDITOR`.
    #[serde(default)]
    editor: String,
    /// Why kubectl 1.33 and this differ here, on purpose: then it is not compared.
    #[serde(default)]
    differs: String,
}

/// What two runs on one cluster cannot have in common.
const RULES: &[(&str, &str)] = &[
    (r#"("?(uid|generation|observedGeneration)"?: )"?[\w-]+"?"#, "$1<number>"),
    (r#"(\\?"generation\\?":)\d+"#, "$1<number>"),
    (r#"("?resourceVersion"?: ?)"\d+""#, "$1<version>"),
    (r"(resourceVersion|the object has been modified.*): \d+", "$1 <version>"),
    (r#"("?restartedAt"?: )"[^"]+""#, "$1<time>"),
];

#[tokio::test]
async fn every_command_line_is_answered_as_kubectl_answers_it() {
    let Some(kubectl) = kubectl_or_notice() else { return };
    let home = tempfile::tempdir().unwrap();
    let programs = Programs::new(&kubectl, home.path());
    let cluster = TestCluster::builder().nodes(0).do_not_wait().start().await.unwrap();
    for component in [Component::ControllerManager, Component::Scheduler] {
        cluster.stop(component).await.unwrap();
    }
    let folder = project().join("kubectl-mini/testdata/files");
    let table = fs::read_to_string(project().join("kubectl-mini/testdata/commands.yaml")).unwrap();
    let table: Table = serde_yaml::from_str(&table).unwrap();
    let kubeconfig = home.path().join("config");
    let fresh_kubeconfig = || fs::copy(cluster.kubeconfig(), &kubeconfig).unwrap();
    let stdin_of = |file: &str| {
        if file.is_empty() { String::new() } else { fs::read_to_string(folder.join(file)).unwrap() }
    };
    let answer = |program: &PathBuf, words: &[String], line: Option<&Line>| {
        let stdin = line.map(|line| stdin_of(&line.stdin)).unwrap_or_default();
        let editor = line.map_or("", |line| &line.editor);
        let kubeconfig = &kubeconfig;
        let call = Call { words, stdin: &stdin, folder: &folder, kubeconfig, editor };
        text(&run(program, &call))
    };
    fresh_kubeconfig();
    for words in &table.setup {
        answer(&programs.mini, words, None);
    }
    let rules = Normaliser::new(RULES);
    let step = size(30, 1);
    let mut comparison = Comparison::default();
    for line in table.commands.iter().step_by(step).filter(|line| line.differs.is_empty()) {
        let answer_from_start = |program: &PathBuf| {
            fresh_kubeconfig();
            for words in &line.before {
                answer(&programs.mini, words, None);
            }
            answer(program, &line.run, Some(line))
        };
        let expected = answer_from_start(&programs.kubectl);
        let got = answer_from_start(&programs.mini);
        let told = format!("{} (before: {:?})", line.run.join(" "), line.before);
        comparison.note(&told, &expected, &got, &rules);
    }
    comparison.finish(20);
}

/// Runs kubectl-mini against a cluster.
fn mini(cluster: &TestCluster, line: &[&str]) -> String {
    let words: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
    let kubeconfig = &cluster.kubeconfig();
    let call = Call { words: &words, stdin: "", folder: cluster.folder(), kubeconfig, editor: "" };
    text(&run(&kubectl_mini(), &call))
}

#[tokio::test]
async fn a_pods_placement_is_explained() {
    let cluster = TestCluster::builder().nodes(2).start().await.unwrap();
    let greedy = r#"{"spec":{"containers":[{"name":"c","image":"nginx","resources":{"requests":{"cpu":"999"}}}]}}"#;
    mini(&cluster, &["run", "greedy", "--image=nginx", "--overrides", greedy]);
    cluster
        .eventually("an explanation", async || {
            let told = mini(&cluster, &["explain-schedule", "greedy"]);
            let wanted = ["unschedulable", "node-2   NodeResourcesFit", "Insufficient cpu"];
            match wanted.iter().find(|words| !told.contains(**words)) {
                Some(words) => Err(format!("no {words:?} in {told}")),
                None => Ok(()),
            }
        })
        .await;
    let told = mini(&cluster, &["explain-schedule", "nothing"]);
    assert!(told.contains("Error from server (NotFound): pods \"nothing\" not found"), "{told}");
    mini(&cluster, &["run", "modest", "--image=nginx"]);
    cluster.wait_pod_ready("modest").await;
    let told = mini(&cluster, &["explain-schedule", "modest"]);
    assert!(told.starts_with("Pod default/modest: scheduled, on node-"), "{told}");
    assert!(told.contains("TOTAL   "), "{told}");
    let told = mini(&cluster, &["explain-schedule", "modest", "-o", "jsonpath={.kind}"]);
    assert!(told.starts_with("SchedulingExplanation--- stderr\n--- exit code 0"), "{told}");
}

#[tokio::test]
async fn a_drained_node_is_empty() {
    let cluster = TestCluster::builder().nodes(2).start().await.unwrap();
    mini(&cluster, &["create", "deployment", "web", "--image=nginx", "--replicas=4"]);
    cluster.wait_ready("web").await;
    let told = mini(&cluster, &["drain", "node-1", "--dry-run=server"]);
    assert!(told.contains("evicting pod default/web-"), "{told}");
    if size(0, 1) == 1 {
        // A budget holds it back, and the second try comes after five seconds.
        mini(&cluster, &["create", "pdb", "web", "--selector=app=web", "--min-available=4"]);
        let told = mini(&cluster, &["drain", "node-1", "--timeout=1s"]);
        assert!(told.contains("(will retry after 5s): Cannot evict pod"), "{told}");
        assert!(told.contains("global timeout reached: 1s"), "{told}");
        mini(&cluster, &["delete", "pdb", "web"]);
    }
    let told = mini(&cluster, &["drain", "node-1", "--timeout=20s"]);
    assert!(told.contains("evicted\n") && told.contains("node/node-1 drained\n"), "{told}");
    assert!(told.ends_with("--- stderr\n--- exit code 0\n"), "{told}");
    let left = mini(&cluster, &["get", "pods", "--field-selector=spec.nodeName=node-1"]);
    assert!(left.contains("No resources found"), "{left}");
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn ports_are_forwarded_to_pods() {
    let cluster = TestCluster::builder().start().await.unwrap();
    mini(&cluster, &["create", "deployment", "web", "--image=nginx"]);
    mini(&cluster, &["expose", "deployment", "web", "--port=8080", "--target-port=80"]);
    cluster.wait_ready("web").await;
    let child = Command::new(kubectl_mini())
        .args(["port-forward", "--address=127.0.0.1", "service/web", ":8080"])
        .env_clear()
        .env("KUBECONFIG", cluster.kubeconfig())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut told = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let line = told.next().unwrap().unwrap();
    let port =
        line.strip_prefix("Forwarding from 127.0.0.1:").and_then(|l| l.strip_suffix(" -> 80"));
    let url = format!("http://127.0.0.1:{}/", port.unwrap_or_else(|| panic!("{line}")));
    for _ in 0..2 {
        let answer = http::get(&url).await.unwrap();
        assert!(answer.body.contains("Welcome to nginx!"), "{}", answer.body);
        assert!(told.next().unwrap().unwrap().starts_with("Handling connection for "));
    }
}

/// A program's proxy, and where it serves.
fn proxy(program: &Path, cluster: &TestCluster, flags: &[&str]) -> (Running, String) {
    let mut child = Command::new(program)
        .args(["proxy", "--port=0"])
        .args(flags)
        .env_clear()
        .env("KUBECONFIG", cluster.kubeconfig())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("Starting to serve on ").map(str::to_owned);
    (Running(child), address.unwrap_or_else(|| panic!("{line}")))
}

#[tokio::test]
async fn the_proxy_serves_what_kubectls_serves() {
    let Some(kubectl) = kubectl_or_notice() else { return };
    let cluster = TestCluster::builder().nodes(1).start().await.unwrap();
    mini(&cluster, &["run", "web", "--image=nginx", "--port=80"]);
    cluster.wait_pod_ready("web").await;
    let files = tempfile::tempdir().unwrap();
    fs::write(files.path().join("page.html"), "<p>hello</p>\n").unwrap();
    fs::write(files.path().join("a b.txt"), "text\n").unwrap();
    let www = format!("--www={}", files.path().display());
    let default = "/api/v1/namespaces/default";
    let paths = [
        "/api/v1/namespaces/default/serviceaccounts/default".to_owned(),
        format!("{default}/pods/web/proxy/"),
        format!("{default}/pods/web/exec?command=ls"),
        format!("{default}/pods/nothing"),
        "/version".to_owned(),
        "/healthz".to_owned(),
        "/nothing".to_owned(),
        "/static/page.html".to_owned(),
        "/static/a%20b.txt".to_owned(),
        "/static/nothing".to_owned(),
        "/static/".to_owned(),
    ];
    let custom = ["--api-prefix=/k8s/", &www, "--reject-paths=^/version"];
    for flags in [&[www.as_str()][..], &custom[..]] {
        let (_theirs, theirs) = proxy(&kubectl, &cluster, flags);
        let (_ours, ours) = proxy(&kubectl_mini(), &cluster, flags);
        for path in paths.iter().flat_map(|path| [path.clone(), format!("/k8s{path}")]) {
            let expected = http::get(&format!("http://{theirs}{path}")).await.unwrap();
            let got = http::get(&format!("http://{ours}{path}")).await.unwrap();
            let bare = |body: &str, own: &str| {
                body.replace(own, "HOST").replace("\r\n", "\n").to_lowercase()
            };
            let both = [(&expected, &theirs), (&got, &ours)]
                .map(|(answer, own)| (answer.status, bare(&answer.body, own)));
            assert_eq!(both[0], both[1], "{path} with {flags:?}");
            let kind = "content-type";
            assert_eq!(expected.headers.get(kind), got.headers.get(kind), "{path}");
        }
    }
}
