//! A component that cannot run: it is started again, less and less often, and its reason is told.

use std::{path::Path, time::Duration};

use component_base::{clock::Clock, shutdown::Shutdown};
use tokio_util::task::TaskTracker;

use super::{
    ComponentSpec, ComponentStatus,
    control::{Request, ask},
    run,
};

fn shell(name: &str, script: &str, folder: &Path) -> ComponentSpec {
    ComponentSpec {
        name: name.to_owned(),
        program: "/bin/sh".into(),
        args: vec!["-c".to_owned(), script.to_owned()],
        log: folder.join(format!("{name}.log")),
    }
}

/// Asks until the status is as wished.
async fn status_of(
    socket: &Path,
    name: &str,
    wished: impl Fn(&ComponentStatus) -> bool,
) -> ComponentStatus {
    let clock = Clock::real();
    let asking = async {
        loop {
            if let Ok(reply) = ask(socket, Request::Status).await
                && wished(&reply.components[name])
            {
                return reply.components[name].clone();
            }
            clock.sleep(Duration::from_millis(5)).await;
        }
    };
    clock.timeout(Duration::from_secs(30), asking).await.expect("the status in time")
}

#[tokio::test]
async fn a_crash_loop_is_slow_and_says_why() {
    let folder = std::env::temp_dir().join(format!("kube-mini-supervisor-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let socket = folder.join("control.sock");
    let specs = vec![
        shell("healthy", "cat", &folder),
        shell("broken", "echo 'broken 2026-01-01 ERROR x: no such thing'; exit 3", &folder),
        ComponentSpec { program: "/does/not/exist".into(), ..shell("missing", "", &folder) },
    ];
    let shutdown = Shutdown::new();
    let tasks = TaskTracker::new();
    let (to, end) = (socket.clone(), shutdown.clone());
    let running = tasks.spawn(async move { run(specs, to, Clock::real(), end).await });

    let broken =
        status_of(&socket, "broken", |status| status.restarts == 3 && status.pid.is_none()).await;
    assert_eq!(broken.last_exit.as_deref(), Some("ended with exit status: 3: no such thing"));
    assert_eq!(broken.pause, Some(Duration::from_millis(400)));
    let missing = status_of(&socket, "missing", |status| status.restarts > 0).await;
    let reason = missing.last_exit.unwrap();
    assert!(reason.starts_with("cannot start /does/not/exist: No such file"), "{reason}");
    let healthy = status_of(&socket, "healthy", |_| true).await;
    assert_eq!((healthy.restarts, healthy.pause), (0, None));

    // Killed: it is started at once, and has no words of its own.
    let pid = i32::try_from(healthy.pid.unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let killed =
        status_of(&socket, "healthy", |status| status.restarts == 1 && status.pid.is_some()).await;
    assert!(killed.last_exit.unwrap().starts_with("ended with signal: 9"));
    shutdown.cancel();
    running.await.unwrap().unwrap();
    assert!(!socket.exists());
    std::fs::remove_dir_all(&folder).unwrap();
}
