use std::time::Duration;

use component_base::clock::Clock;
use jiff::Timestamp;

use crate::logs::LogOptions;
use crate::testing::World;
use crate::*;

async fn log_of(container: &Container) -> String {
    let reader = container.logs(LogOptions::default()).unwrap();
    String::from_utf8(reader.read_to_end().await.unwrap()).unwrap()
}

#[tokio::test]
async fn ends_have_codes() {
    let mut world = World::new();
    async fn panics(_: ContainerContext) {
        panic!("boom")
    }
    world.catalogue.register("test/panics", panics).unwrap();
    let pod = world.pod("web-1");
    let check = async |image: &str, command: &[&str], code: i32, reason: &str, log: &str| {
        let container = world.run(&pod, image, command);
        let exit = container.wait().await;
        assert_eq!((exit.code, exit.reason), (code, reason), "{command:?}");
        assert_eq!(log_of(&container).await, log);
    };
    check("busybox", &["sh", "-c", "echo hi; exit 0"], 0, "Completed", "hi\n").await;
    check("busybox", &["sh", "-c", "echo no >&2; exit 3"], 3, "Error", "no\n").await;
    check("test/panics", &[], 101, "Error", "thread 'main' panicked: boom\n").await;
    check("busybox", &["false"], 1, "Error", "").await;
}

#[tokio::test]
async fn a_missing_executable_is_a_start_error() {
    let world = World::new();
    let container =
        world.runtime.create(world.spec(&world.pod("web-1"), "nginx", &["nope"])).unwrap();
    let error = container.start().unwrap_err().to_string();
    assert!(
        error.ends_with("exec: \"nope\": executable file not found in $PATH: unknown"),
        "{error}"
    );
    let ContainerState::Exited(exit) = container.state() else { panic!("not exited") };
    assert_eq!((exit.code, exit.reason), (128, "StartError"));
    assert_eq!(exit.started_at, Timestamp::UNIX_EPOCH);
}

#[tokio::test]
async fn stop_asks_then_kills() {
    let mut world = World::new();
    let stubborn = async |context: ContainerContext| {
        context.spawn(std::future::pending());
        std::future::pending::<i32>().await
    };
    world.catalogue.register("test/stubborn", stubborn).unwrap();
    let pod = world.pod("web-1");
    let check = async |image: &str, command: &[&str], code: i32| {
        let container = world.run(&pod, image, command);
        world.clock.sleep(Duration::from_millis(20)).await;
        container.stop(Duration::from_millis(50)).await;
        let ContainerState::Exited(exit) = container.state() else { panic!("not exited") };
        assert_eq!(exit.code, code, "{image} {command:?}");
    };
    check("test/stubborn", &[], 137).await;
    check("busybox", &["sleep", "100"], 143).await;
    check("busybox", &["sh", "-c", "while :; do sleep 1; done"], 143).await;
    check("busybox", &["sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.01; done"], 9).await;
    check("busybox", &["sh", "-c", "trap 'exit 8' TERM; sleep 100 & wait"], 8).await;
    check("busybox", &["sh", "-c", "exec nginx"], 127).await;
    check("nginx", &["sh", "-c", "exec nginx -g 'daemon off;'"], 0).await;
    check("nginx", &[], 0).await;
    check("pause", &[], 0).await;
}

#[tokio::test]
async fn exec_reports_what_cannot_run() {
    let world = World::new();
    let pod = world.pod("web-1");
    let container = world.shell(&pod, Vec::new());
    let request =
        |command: &str| ExecRequest { command: vec![command.to_owned()], ..ExecRequest::default() };
    let error = container.exec(request("nope")).unwrap_err();
    assert_eq!(error.exit_code(), 127);
    let text = error.to_string();
    assert!(
        text.ends_with(
            "OCI runtime exec failed: exec failed: unable to start container process: \
             exec: \"nope\": executable file not found in $PATH: unknown"
        ),
        "{text}"
    );
    assert_eq!(container.exec(request("/etc/passwd")).unwrap_err().exit_code(), 126);
    let bare = world.run(&pod, "registry.k8s.io/pause:3.10", &[]);
    assert!(bare.exec(request("sh")).is_err());
    container.kill();
    container.wait().await;
    let gone = container.exec(request("ls")).unwrap_err().to_string();
    assert_eq!(gone, "failed to exec in container: container is in CONTAINER_EXITED state");
}

#[tokio::test]
async fn sessions_end_with_their_container_and_their_client() {
    let world = World::new();
    let container = world.shell(&world.pod("web-1"), Vec::new());
    let request = || ExecRequest {
        command: vec!["sleep".to_owned(), "inf".to_owned()],
        ..ExecRequest::default()
    };
    let mut session = container.exec(request()).unwrap();
    drop(container.exec(request()).unwrap());
    world.clock.sleep(Duration::from_millis(20)).await;
    assert_eq!(container.sh("ps | grep -c 'sleep inf$'").await.stdout, "2\n");
    container.kill();
    assert_eq!(session.wait().await.0, 137);
    let command =
        vec!["sh".to_owned(), "-c".to_owned(), "echo out; echo err >&2; exit 2".to_owned()];
    let other = world.shell(&world.pod("web-2"), Vec::new());
    let output = other.exec_sync(command, Duration::from_secs(5)).await.unwrap();
    assert_eq!(output.exit_code, Some(2));
    let command = vec!["sh".to_owned(), "-c".to_owned(), "while :; do :; done".to_owned()];
    let output = other.exec_sync(command, Duration::from_millis(50)).await.unwrap();
    assert_eq!(output.exit_code, None);
}

#[tokio::test]
async fn a_terminal_talks() {
    let world = World::new();
    let container = world.shell(&world.pod("web-1"), Vec::new());
    let command = vec!["sh".to_owned()];
    let mut session = container.exec(ExecRequest { command, stdin: true, tty: true }).unwrap();
    let keys = session.stdin.take().unwrap();
    let mut screen = String::new();
    let mut until = async |text: &str, screen: &mut String| {
        while !screen.ends_with(text) {
            let chunk = session.stdout.recv().await.expect("the session goes on");
            screen.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    until("/ # ", &mut screen).await;
    keys.send("echo $((6*7))\r".into()).await.unwrap();
    until("42\r\n/ # ", &mut screen).await;
    keys.send("sleep 100\r".into()).await.unwrap();
    until("sleep 100\r\n", &mut screen).await;
    world.clock.sleep(Duration::from_millis(50)).await;
    keys.send("\x03".into()).await.unwrap();
    until("^C\r\n/ # ", &mut screen).await;
    keys.send("for i in 1 2\r".into()).await.unwrap();
    until("> ", &mut screen).await;
    keys.send("do echo $i; done\r".into()).await.unwrap();
    until("1\r\n2\r\n/ # ", &mut screen).await;
    keys.send("exit 3\r".into()).await.unwrap();
    // The screen goes with the process, though keys could still be typed.
    while session.stdout.recv().await.is_some() {}
    assert_eq!(session.wait().await.0, 3);
}

#[tokio::test]
async fn termination_messages_and_attached_clients() {
    let world = World::new();
    let pod = world.pod("web-1");
    let mut spec = world.spec(
        &pod,
        "busybox",
        &["sh", "-c", "read x; echo got $x; echo why > /dev/termination-log"],
    );
    (spec.stdin, spec.stdin_once) = (true, true);
    let container = world.start(spec);
    let mut session = container.attach();
    session.stdin.take().unwrap().send("input\n".into()).await.unwrap();
    let (_, output) = session.output.recv().await.unwrap();
    assert_eq!(&*output, b"got input\n");
    assert_eq!(container.wait().await.message, "why\n");
    assert!(container.attach().stdin.is_none());
}

#[tokio::test]
async fn virtual_time_rules_containers() {
    let (clock, time) = Clock::test("2026-01-01T00:00:00Z".parse().unwrap());
    let world = World::with_clock(clock);
    let container =
        world.run(&world.pod("web-1"), "busybox", &["sh", "-c", "sleep 3600; date -u +%H"]);
    let exit = time.run(container.wait()).await;
    assert_eq!(exit.finished_at.to_string(), "2026-01-01T01:00:00Z");
    assert_eq!(log_of(&container).await, "01\n");
}
