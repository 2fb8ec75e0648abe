//! kubectl-mini against the real kubectl: the same command, the same text and exit code.
//!
//! The commands are a table, `commands.yaml`. One that changes something runs twice, by kubectl on one cluster and by
//! kubectl-mini on its twin; one that only looks is asked of the same cluster by both. What two runs cannot have in
//! common (ages, random names, addresses) is normalised, and only where the raw texts differ.
//!
//! The real kubectl is the program that `KUBECTL` names, else the `kubectl` of the `PATH`; without one the test says
//! aloud that it has compared nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use component_base::{
    clock::Clock,
    kubeconfig::{Cluster, Kubeconfig, User},
    tls::{CertSpec, CertificateAuthority},
};
use regex_lite::Regex;
use serde::Deserialize;
use tests::TestCluster;

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
}

const FILES: &[(&str, &str)] = &[
    ("one.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\ndata:\n  a: b\n"),
    ("broken.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x: y\n"),
    (
        "unknown.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: unknown}\nspec:\n  replica: 3\n  selector: {matchLabels: {a: b}}\n  template:\n    metadata: {labels: {a: b}}\n    spec: {containers: [{name: c, image: nginx}]}\n",
    ),
    ("web.yaml", include_str!("../../../examples/documents/web-deployment.yaml")),
];

/// The real kubectl, if there is one.
fn real_kubectl() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("KUBECTL") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("kubectl")).find(|file| file.is_file())
}

/// kubectl-mini, which cargo builds beside the tests.
fn kubectl_mini() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let found = own.ancestors().skip(1).take(3).map(|dir| dir.join("kubectl-mini"));
    found
        .into_iter()
        .find(|file| file.is_file())
        .expect("run `cargo build --workspace --bins` first")
}

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

/// Runs a program as a user in `home` would, seeing nothing of this machine's own settings.
fn run(program: &Path, step: &Step, home: &Path, kubeconfig: &Path) -> Output {
    let mut child = Command::new(program)
        .args(words(&step.run))
        .current_dir(home)
        .env_clear()
        .env("HOME", home)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("KUBECONFIG", kubeconfig)
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Few bytes, which fit the pipe; a program that does not read them is fine.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), step.stdin.as_bytes());
    child.wait_with_output().unwrap()
}

/// What a command left, as text: exit code, standard output, standard error.
fn text(output: &Output, program: &str) -> String {
    let code = output.status.code().map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(program, "kubectl");
    format!("{}--- stderr\n{}--- exit code {code}\n", text(&output.stdout), text(&output.stderr))
}

/// Puts words for what differs from run to run.
struct Normaliser(Vec<(Regex, &'static str)>);

impl Normaliser {
    fn new() -> Self {
        let rules = [
            // Some builds of kubectl log what the others print; and some write Error where the others write error.
            (r#"(?m)^E\d{4} .*"command failed" err="(.*)"$"#, "error: $1"),
            (r#"\\""#, "\""),
            (r"(?m)^Error: ", "error: "),
            // klog's lines bear the time, the process and the source line.
            (r"(?m)^[EWI]\d{4} \d\d:\d\d:\d\d.*\n", ""),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
            (r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000", "<time>"),
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
            (r"10\.244\.\d+\.\d+", "<pod-ip>"),
            (r"10\.(9[6-9]|10\d|11[01])\.\d+\.\d+", "<cluster-ip>"),
            (r"127\.\d+\.\d+\.\d+(:\d+)?", "<host>"),
            (r"\b3[0-2]\d{3}\b", "<node-port>"),
            (
                r"\b([a-z]+-[0-9a-f]{6,10}|[a-z]+-[bcdfghjklmnpqrstvwxz2456789]{6,10})-[bcdfghjklmnpqrstvwxz2456789]{5}\b",
                "$1-<random>",
            ),
            (r#"(resourceVersion"?: )"\d+""#, "$1<version>"),
            (r"\b(\d+[smhd])+\b", "<age>"),
            (r"[ \t]+", " "),
        ];
        Self(rules.map(|(rule, word)| (Regex::new(rule).unwrap(), word)).into())
    }

    fn apply(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, (rule, word)| rule.replace_all(&text, *word).into_owned())
    }
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
    let Some(kubectl) = real_kubectl() else {
        let notice = "SKIPPED: no real kubectl in KUBECTL or PATH, so that nothing was compared\n";
        std::io::Write::write_all(&mut std::io::stderr(), notice.as_bytes()).unwrap();
        return;
    };
    let mini = kubectl_mini();
    let home = tempfile::tempdir().unwrap();
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
    let steps: Vec<Step> = serde_yaml::from_str(include_str!("commands.yaml")).unwrap();
    let normaliser = Normaliser::new();
    let mut differences = Vec::new();
    let mut compared = 0;
    for step in &steps {
        if !step.wait.is_empty() {
            tokio::join!(theirs.wait_ready(&step.wait), ours.wait_ready(&step.wait));
            continue;
        }
        let config = if step.changes { &configs[1] } else { &configs[0] };
        let compare = || {
            let expected = text(&run(&kubectl, step, home.path(), &configs[0]), "kubectl");
            let got = text(&run(&mini, step, home.path(), config), "kubectl-mini");
            (expected, got)
        };
        let (mut expected, mut got) = compare();
        // The cluster may have moved on between the two looks.
        for _ in 0..3 {
            if step.changes || normaliser.apply(&expected) == normaliser.apply(&got) {
                break;
            }
            (expected, got) = compare();
        }
        compared += 1;
        if expected != got && normaliser.apply(&expected) != normaliser.apply(&got) {
            differences.push(format!(
                "==== {}\n---- kubectl\n{expected}---- kubectl-mini\n{got}",
                step.run
            ));
        }
    }
    assert!(compared >= 40, "{compared} commands");
    assert!(
        differences.is_empty(),
        "{} of {compared} commands differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
}
