//! Every image of the table starts; the servers answer.

use std::time::Duration;

use super::IMAGES;
use crate::testing::World;
use crate::{ContainerState, ImageReference};

#[tokio::test]
async fn every_image_starts_and_stops() {
    let world = World::new();
    for (index, (names, _)) in IMAGES.iter().enumerate() {
        for name in *names {
            ImageReference::parse(name).unwrap();
        }
        let pod = world.pod(&format!("pod-{index}"));
        let mut spec = world.spec(&pod, names[0], &[]);
        if spec.image.argv(&[], &[]).first().is_some_and(|word| word.contains("echo")) {
            spec.args = vec!["-text=hi".to_owned()];
        }
        let container = world.runtime.create(spec).unwrap();
        container.start().unwrap();
        world.clock.sleep(Duration::from_millis(5)).await;
        container.stop(Duration::from_secs(5)).await;
        let ContainerState::Exited(exit) = container.state() else { panic!("{names:?} runs") };
        // curl without a URL, shells without input end by themselves.
        assert!(
            exit.code == 0 || (names[0].contains("curl") && exit.code == 2),
            "{names:?} {exit:?}"
        );
    }
}

/// Image, arguments, port, script in the same pod, its output.
#[tokio::test]
async fn servers_answer() {
    let world = World::new();
    let cases: &[(&str, &[&str], u16, &str, &str)] = &[
        ("nginx", &[], 80, "curl -s localhost | grep -c 'Welcome to nginx!'", "2\n"),
        (
            "nginx",
            &[],
            80,
            "curl -sI localhost | grep -E '^(HTTP|Server|Content-Type)'",
            "HTTP/1.1 200 OK\r\nServer: nginx/1.29.3\r\nContent-Type: text/html\r\n",
        ),
        (
            "nginx",
            &[],
            80,
            "curl -s -o /dev/null -w '%{http_code} %{size_download}' localhost/nope",
            "404 153",
        ),
        ("nginx", &[], 80, "curl -f localhost/nope; echo $?", "22\n"),
        ("nginx", &[], 80, "curl -s -X POST -d a localhost | grep -c 'Not Allowed'", "2\n"),
        (
            "nginx",
            &[],
            80,
            "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc localhost 80 | tail -1",
            "</html>\n",
        ),
        (
            "nginx",
            &[],
            80,
            "wget -qO- localhost | head -1; wget --spider localhost; wget -q localhost/nope; echo $?",
            "<!DOCTYPE html>\n1\n",
        ),
        ("nginx", &[], 80, "wget localhost; wc -l < index.html", "23\n"),
        ("httpd", &[], 80, "curl -s localhost", "<html><body><h1>It works!</h1></body></html>\n"),
        (
            "traefik/whoami",
            &["--port", "8000"],
            8000,
            "curl -s -H 'X-A: b' localhost:8000 | grep -E '^(Hostname|GET|X-A)'",
            "Hostname: POD\nGET / HTTP/1.1\nX-A: b\n",
        ),
        (
            "hashicorp/http-echo",
            &["-text=hello", "-listen=:5000"],
            5000,
            "curl -s localhost:5000",
            "hello\n",
        ),
        (
            "registry.k8s.io/e2e-test-images/agnhost:2.45",
            &["netexec", "--http-port=8080"],
            8080,
            "curl -s localhost:8080/hostname; curl -s 'localhost:8080/echo?msg=a+b'; curl -s localhost:8080/clientip | cut -d: -f1; curl -s 'localhost:8080/shell?cmd=echo%20x'; echo hostname | nc -u -w 1 localhost 8081",
            "PODa b127.0.0.1\n{\"output\":\"x\\n\"}\nPOD",
        ),
        (
            "registry.k8s.io/e2e-test-images/agnhost:2.45",
            &["serve-hostname"],
            9376,
            "curl -s localhost:9376",
            "POD",
        ),
        (
            "acme/unknown:1",
            &[],
            8080,
            "curl -s localhost:8080/x | grep -E '^(Hostname|Request)'",
            "Hostname: POD\nRequest: GET /x HTTP/1.1\n",
        ),
        (
            "redis",
            &[],
            6379,
            "printf 'SET a 1\\r\\nINCR a\\r\\nQUIT\\r\\n' | nc localhost 6379",
            "+OK\r\n:2\r\n+OK\r\n",
        ),
    ];
    for (index, (image, args, port, script, expected)) in cases.iter().enumerate() {
        let name = format!("pod-{index}");
        let pod = world.pod(&name);
        let mut spec = world.spec(&pod, image, &[]);
        spec.args = args.iter().map(|word| (*word).to_owned()).collect();
        if image.contains("nginx") {
            spec.args.clear();
        }
        let server = world.start(spec);
        world.listening(&pod, *port).await;
        let sidecar = world.shell(&pod, Vec::new());
        let ran = sidecar.sh(script).await;
        assert_eq!(ran.stdout, expected.replace("POD", &name), "{script}\n{ran:?}");
        drop((server, sidecar));
    }
    world.runtime.shutdown().await;
}

#[tokio::test]
async fn redis_cli_talks_to_redis() {
    let world = World::new();
    let pod = world.pod("cache");
    let server = world.run(&pod, "redis:7", &[]);
    world.listening(&pod, 6379).await;
    let ran = server.exec_all(&["redis-cli", "RPUSH", "l", "a", "b"], None).await;
    assert_eq!(ran.stdout, "2\n");
    let ran = server.exec_all(&["redis-cli", "-h", "cache", "lrange", "l", "0", "-1"], None).await;
    assert_eq!(ran.stdout, "a\nb\n");
    let ran = server.exec_all(&["redis-cli"], Some("set k \"a b\"\nget k\n")).await;
    assert_eq!(ran.stdout, "OK\na b\n");
    let ran = server.exec_all(&["redis-cli", "-p", "1", "ping"], None).await;
    assert_eq!(ran.stderr, "Could not connect to Redis at 127.0.0.1:1: Connection refused\n");
}

#[tokio::test]
async fn nginx_logs_requests() {
    let world = World::new();
    let pod = world.pod("web-1");
    let server = world.run(&pod, "nginx", &[]);
    world.listening(&pod, 80).await;
    assert_eq!(
        server.sh("echo mine > /usr/share/nginx/html/index.html; curl -s localhost").await.stdout,
        "mine\n"
    );
    server.stop(Duration::from_secs(5)).await;
    let reader = server.logs(crate::logs::LogOptions::default()).unwrap();
    let log = String::from_utf8(reader.read_to_end().await.unwrap()).unwrap();
    let line = log.lines().find(|line| line.contains("GET")).unwrap();
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(line.ends_with("\"GET / HTTP/1.1\" 200 5 \"-\" \"curl/8.14.1\" \"-\""), "{line}");
}
