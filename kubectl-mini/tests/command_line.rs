//! Whole command lines that need no cluster: what they print, and their exit codes.

use std::{
    cell::RefCell,
    io::{self, Write},
    path::PathBuf,
    rc::Rc,
};

use component_base::clock::Clock;
use kubectl_mini::{Environment, Invocation, Streams, run};

#[derive(Clone, Default)]
struct Captured(Rc<RefCell<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).expect("output is text")
    }
}

/// Runs a command line in a home directory that has no kubeconfig but the given one.
async fn outcome(line: &str, kubeconfig: &str, stdin: &'static str) -> (u8, String, String) {
    let home = tempfile::tempdir().expect("a directory for the test");
    let path: PathBuf = home.path().join("config");
    if !kubeconfig.is_empty() {
        std::fs::write(&path, kubeconfig).expect("a file for the test");
    }
    let (stdout, stderr) = (Captured::default(), Captured::default());
    let code = run(Invocation {
        arguments: line.split_whitespace().map(ToOwned::to_owned).collect(),
        environment: Environment {
            kubeconfig: Some(path.clone().into()),
            home: Some(home.path().to_owned()),
            ..Environment::default()
        },
        streams: Streams {
            stdin: Box::new(stdin.as_bytes()),
            stdin_is_terminal: false,
            stdout: Box::new(stdout.clone()),
            stderr: Box::new(stderr.clone()),
        },
        clock: Clock::real(),
    })
    .await;
    let shown = |text: String| text.replace(&path.display().to_string(), "CONFIG");
    (code, shown(stdout.text()), shown(stderr.text()))
}

async fn fails(line: &str, expected: &str) {
    let (code, stdout, stderr) = outcome(line, "", "").await;
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (1, "", expected), "{line}");
}

#[tokio::test]
async fn wrong_command_lines_are_told_as_kubectl_tells_them() {
    let help = |command: &str| format!("See 'kubectl-mini {command} --help' for usage.\n");
    for (line, error) in [
        ("get --foo", "unknown flag: --foo"),
        ("get -zfoo", "unknown shorthand flag: 'z' in -zfoo"),
        ("get pods -n", "flag needs an argument: 'n' in -n"),
        ("get pods --namespace", "flag needs an argument: --namespace"),
        ("get pods --=x", "bad flag syntax: --=x"),
        (
            "get pods --watch=foo",
            "invalid argument \"foo\" for \"-w, --watch\" flag: strconv.ParseBool: parsing \"foo\": invalid syntax",
        ),
        (
            "get pods --chunk-size=a",
            "invalid argument \"a\" for \"--chunk-size\" flag: strconv.ParseInt: parsing \"a\": invalid syntax",
        ),
    ] {
        fails(line, &format!("error: {error}\n{}", help("get"))).await;
    }
    fails(
        "logs a --since=x",
        "error: invalid argument \"x\" for \"--since\" flag: time: invalid duration \"x\"\nSee 'kubectl-mini logs --help' for usage.\n",
    )
    .await;
    fails("xyzzyxyzzy", "error: unknown command \"xyzzyxyzzy\" for \"kubectl-mini\"\n").await;
    fails("--foo", "error: unknown flag: --foo\nSee 'kubectl-mini --help' for usage.\n").await;
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_refused() {
    for (line, error) in [
        (
            "get pods foo/bar",
            "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'kubectl-mini get resource/<resource_name>' instead of 'kubectl-mini get resource resource/<resource_name>'",
        ),
        ("get pods/", "arguments in resource/name form must have a single resource and name"),
        ("get pods/a/b", "arguments in resource/name form may not have more than one slash"),
        ("get -f /nonex", "the path \"/nonex\" does not exist"),
        (
            "get -f http://127.0.0.1/x.yaml",
            "reading manifests from URLs is not supported: http://127.0.0.1/x.yaml; download the file and name it with -f",
        ),
        ("get pods --show-labels -o yaml", "--show-labels option cannot be used with yaml printer"),
        (
            "get pods --output-watch-events",
            "--output-watch-events option can only be used with --watch or --watch-only",
        ),
        (
            "describe",
            "You must specify the type of resource to describe. Use \"kubectl-mini api-resources\" for a complete list of supported resources.",
        ),
        ("exec", "pod, type/name or --filename must be specified"),
        ("exec a", "you must specify at least one command for the container"),
        ("exec -- a", "pod, type/name or --filename must be specified"),
        ("attach", "at least 1 argument is required for attach"),
        (
            "attach a b c",
            "expected POD, TYPE/NAME, or TYPE NAME, (at most 2 arguments) saw 3: [a b c]",
        ),
        ("events --for=x", "--for must be in resource/name form"),
        ("events --types=x", "valid --types are Normal or Warning"),
    ] {
        fails(line, &format!("error: {error}\n")).await;
    }
    fails(
        "exec a b",
        "error: exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead\nSee 'kubectl-mini exec -h' for help and examples\n",
    )
    .await;
    let logs = "error: expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command\nSee 'kubectl-mini logs -h' for help and examples\n";
    fails("logs", logs).await;
    fails("logs a b c", logs).await;
}

#[tokio::test]
async fn a_missing_cluster_is_told() {
    const REFUSED: &str = "The connection to the server localhost:8080 was refused - did you specify the right host or port?\n";
    fails("get pods", REFUSED).await;
    fails("describe pods", REFUSED).await;
    fails("logs a", REFUSED).await;
    fails("get foo", REFUSED).await;
    fails(
        "get pods --context x",
        "Error in configuration: context was not found for specified context: x\n",
    )
    .await;
    fails("get pods --cluster x", "error: no server found for cluster \"x\"\n").await;
    fails("get pods --kubeconfig /nonex", "error: stat /nonex: no such file or directory\n").await;
    fails(
        "get pods --request-timeout=x",
        "error: Invalid timeout value. Timeout must be a single integer in seconds, or an integer followed by a corresponding time unit (e.g. 1s | 2m | 3h)\n",
    )
    .await;

    let (code, _, stderr) = outcome("get pods", "a: [\n", "").await;
    let expected = "error: error loading config file \"CONFIG\": yaml: line 1: did not find expected node content\n";
    assert_eq!((code, stderr.as_str()), (1, expected));
}

#[tokio::test]
async fn help_is_no_error() {
    let (code, stdout, stderr) = outcome("get --help", "", "").await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with("Display one or many resources."), "{stdout}");
    assert!(stdout.contains("    -A, --all-namespaces=false:\n"), "{stdout}");
    let (code, stdout, _) = outcome("", "", "").await;
    assert_eq!(code, 0);
    assert!(stdout.contains("Basic Commands (Beginner):"), "{stdout}");
}
