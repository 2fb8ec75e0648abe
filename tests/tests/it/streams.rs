//! exec, attach and port-forward by clients that we did not write: every kubectl on this machine, the older ones of which
//! speak SPDY and the newer ones WebSockets.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use tests::TestCluster;

use crate::{alike::kubectls_or_notice, support::whoami};

fn command(kubectl: &Path, cluster: &TestCluster, args: &[&str]) -> Command {
    let mut command = Command::new(kubectl);
    command.args(args).env("KUBECONFIG", cluster.kubeconfig()).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(kubectl: &Path, cluster: &TestCluster, args: &[&str], stdin: &str) -> Output {
    let mut child = command(kubectl, cluster, args).spawn().unwrap();
    // A command that reads nothing may be gone.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

/// A port-forward, ended with the test.
struct Forward {
    child: Child,
    port: u16,
}

impl Forward {
    fn start(kubectl: &Path, cluster: &TestCluster, pod: &str, port: u16) -> Self {
        let ports = format!(":{port}");
        let args = ["port-forward", "--address=127.0.0.1", pod, &ports];
        let mut child = command(kubectl, cluster, &args).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        // Forwarding from 127.0.0.1:40123 -> 80
        let local = line.split(['>', '-']).next().and_then(|from| from.rsplit(':').next());
        let port = local.and_then(|port| port.trim().parse().ok());
        Self { child, port: port.unwrap_or_else(|| panic!("no port in {line:?}")) }
    }

    fn get(&self) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kubectl_runs_commands_and_forwards_ports() {
    let Some(kubectls) = kubectls_or_notice() else { return };
    let cluster = TestCluster::builder().nodes(1).start().await.unwrap();
    cluster.apply(&whoami("web", 1, None)).await.unwrap();
    cluster.apply(&crate::support::shell("shell", "node-1")).await.unwrap();
    cluster.wait_ready("web").await;
    cluster.wait_pod_ready("shell").await;
    for kubectl in &kubectls {
        let name = kubectl.display();
        let run = |args: &[&str], stdin: &str| run(kubectl, &cluster, args, stdin);

        let script = "echo out; echo err >&2; exit 3";
        let ended = run(&["exec", "shell", "--", "sh", "-c", script], "");
        assert_eq!(ended.stdout, b"out\n", "{name}");
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(stderr, "err\ncommand terminated with exit code 3\n", "{name}");
        assert_eq!(ended.status.code(), Some(3), "{name}");

        // Standard input, its end, and more bytes than any queue holds.
        let long = "0123456789abcde\n".repeat(40_000);
        let echoed = run(&["exec", "-i", "shell", "--", "cat"], &long);
        assert_eq!(echoed.stdout.len(), long.len(), "{name}: {}", text(&echoed.stderr));
        assert!(echoed.stdout == long.as_bytes() && echoed.status.success(), "{name}");

        let missing = run(&["exec", "shell", "-c", "no", "--", "ls"], "");
        let expected = "Error from server (BadRequest): container no is not valid for pod shell\n";
        assert_eq!(text(&missing.stderr), expected, "{name}");

        let forward = Forward::start(kubectl, &cluster, "deploy/web", 80);
        for _ in 0..3 {
            let answer = forward.get();
            assert!(answer.contains("Hostname: web-"), "{name}: {answer}");
        }
    }
    cluster.shutdown().await.unwrap();
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
