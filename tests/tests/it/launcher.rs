//! `kube-mini` and `kubectl-mini` as a user types them: the documents' commands, clusters side by side, down and up.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tests::{eventually, http};

use crate::support::{field, project, size};

const PATIENCE: Duration = Duration::from_secs(30);

/// A user with an empty home, and the clusters that this user starts.
pub(crate) struct User {
    pub(crate) home: TempDir,
    pub(crate) programs: PathBuf,
    pub(crate) clusters: Vec<String>,
}

impl User {
    pub(crate) fn new() -> Self {
        let own = std::env::current_exe().unwrap();
        let programs = own.ancestors().skip(1).take(3).find(|dir| dir.join("kube-mini").is_file());
        let programs = programs.expect("run `cargo build --workspace --bins` first").to_owned();
        Self { home: tempfile::tempdir().unwrap(), programs, clusters: Vec::new() }
    }

    fn command(&self, program: &str, args: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .args(args.split_whitespace())
            .current_dir(project())
            .env_clear()
            .env("HOME", self.home.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> Output {
        let (program, args) = line.split_once(' ').unwrap();
        self.command(program, args).output().unwrap()
    }

    /// What a program prints whose arguments have spaces.
    fn output(&self, program: &str, args: &[&str]) -> String {
        let output = self.command(program, "").args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What a command that must succeed prints.
    fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let stderr = text(&output.stderr);
        assert!(
            output.status.success(),
            "{line}: {}\n{}{stderr}",
            output.status,
            text(&output.stdout)
        );
        text(&output.stdout)
    }

    fn up(&mut self, name: &str, nodes: u32) {
        self.clusters.push(name.to_owned());
        self.ok(&format!("kube-mini up --name {name} --nodes {nodes}"));
    }

    fn state(&self, name: &str) -> PathBuf {
        self.home.path().join(".local/state/kube-mini").join(name)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        for name in &self.clusters {
            // Most are gone already; the others go now, also when the test failed.
            let _ = self.run(&format!("kube-mini delete --name {name}"));
        }
    }
}

/// The processes whose command line names a folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let Ok(line) = std::fs::read_to_string(entry.unwrap().path().join("cmdline")) else {
            continue;
        };
        if line.contains(&folder) {
            found.push(line.replace('\0', " "));
        }
    }
    found
}

async fn welcome(url: &str) {
    eventually(&format!("the welcome page at {url}"), PATIENCE, async || {
        let page = http::get(url).await?;
        anyhow::ensure!(page.body.contains("Welcome to nginx!"), "{page:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn the_documents_commands() {
    let mut user = User::new();
    user.up("docs", 3);
    assert_eq!(
        user.ok("kubectl-mini create deployment nginx --image=nginx"),
        "deployment.apps/nginx created\n"
    );
    assert_eq!(
        user.ok("kubectl-mini expose deployment nginx --type=NodePort --port=80"),
        "service/nginx exposed\n"
    );
    user.ok("kubectl-mini rollout status deployment/nginx");
    let url = user.ok("kube-mini service nginx --url --name docs").trim().to_owned();
    welcome(&url).await;

    // Up on a running cluster says so, and all stays.
    user.up("docs", 3);
    welcome(&url).await;
    let before = user.ok("kubectl-mini get services,pods -o wide --no-headers");

    user.ok("kube-mini down --name docs");
    assert!(http::get(&url).await.is_err(), "a cluster that is down answers");
    assert_eq!(processes_of(&user.state("docs")), Vec::<String>::new());
    user.up("docs", 3);
    welcome(&url).await;
    let after = user.ok("kubectl-mini get services,pods -o wide --no-headers");
    // Names and addresses, without what has passed: restarts and ages.
    let lasting = |text: &str| -> Vec<String> {
        let words = text.lines().flat_map(str::split_whitespace);
        words
            .filter(|word| word.contains(['.', '/', ':']) || word.len() > 12)
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(lasting(&after), lasting(&before));
    user.ok("kube-mini delete --name docs");
    assert!(!user.state("docs").exists());
}

#[tokio::test]
async fn two_clusters_and_one_node_port() {
    let mut user = User::new();
    let mut urls = Vec::new();
    for name in ["a", "b"] {
        user.up(name, 1);
        let manifest = user.home.path().join(format!("{name}.yaml"));
        std::fs::write(&manifest, crate::support::whoami(&format!("web-{name}"), 1, Some(30080)))
            .unwrap();
        let manifest = manifest.display();
        user.ok(&format!("kubectl-mini --context {name} apply -f {manifest}"));
        user.ok(&format!("kubectl-mini --context {name} rollout status deployment/web-{name}"));
        urls.push((name, user.ok(&format!("kube-mini service web-{name} --url --name {name}"))));
    }
    for (name, url) in &urls {
        let url = url.trim();
        assert!(url.ends_with(":30080"), "{url}");
        eventually("an answer", PATIENCE, async || http::get(url).await).await;
        for request in 0..200 {
            let answer = http::get(url).await.unwrap_or_else(|e| panic!("{request}: {e:#}"));
            let host = field(&answer.body, "Hostname");
            assert!(host.starts_with(&format!("web-{name}-")), "{name} was answered by {host}");
        }
    }
}

/// Components start at once, so that what they say first finds no API server yet: it holds up nothing of what comes after.
#[tokio::test]
async fn a_fresh_cluster_tells_its_events_at_once() {
    let mut user = User::new();
    user.up("fresh", 3);
    user.ok("kubectl-mini run web --image=nginx");
    user.ok("kubectl-mini wait --for=condition=Ready pod/web --timeout=20s");
    // client-go's first pause alone would be ten seconds and more.
    eventually("the kubelet's events", Duration::from_secs(5), async || {
        let events = user.ok("kubectl-mini events --for pod/web");
        let told = ["Pulling", "Pulled", "Created", "Started"];
        if told.iter().all(|reason| events.contains(reason)) { Ok(()) } else { Err(events) }
    })
    .await;
}

/// `kill -9` of the supervisor while a Deployment is scaled and rolled out, again and again: its pipe closes, nothing is
/// left over, and the next `up` has what was asked for last, once.
#[tokio::test]
async fn nothing_outlives_the_supervisor() {
    let mut user = User::new();
    user.up("orphan", 2);
    let state = user.state("orphan");
    let manifest = user.home.path().join("web.yaml");
    std::fs::write(&manifest, crate::support::whoami("web", 1, None)).unwrap();
    user.ok(&format!("kubectl-mini apply -f {}", manifest.display()));
    for round in 1..=size(2, 10) {
        let replicas = 1 + round % 3;
        user.ok(&format!("kubectl-mini scale deployment web --replicas {replicas}"));
        user.ok(&format!("kubectl-mini set env deployment web ROUND={round}"));
        assert!(processes_of(&state).len() >= 7, "{:?}", processes_of(&state));
        let lock = std::fs::read_to_string(state.join("lock")).unwrap();
        let pid = rustix::process::Pid::from_raw(lock.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        eventually("no process left", PATIENCE, async || {
            let left = processes_of(&state);
            if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
        })
        .await;
        user.up("orphan", 2);
        assert!(user.ok("kubectl-mini get nodes").contains("node-2   Ready"));
        user.ok("kubectl-mini rollout status deployment web --timeout 60s");
        eventually("the pods that were asked for, and no other", PATIENCE, async || {
            let path = "jsonpath={range .items[*]}{.spec.containers[0].env[0].value}:{.status.phase} {end}";
            let pods = user.output("kubectl-mini", &["get", "pods", "-o", path]);
            let expected = format!("{round}:Running ").repeat(replicas);
            if pods == expected { Ok(()) } else { Err(format!("{pods:?}, not {expected:?}")) }
        })
        .await;
    }
}
