//! The contract of the pod network, row by row, for a server in the same pod, on the same node, on another node, and
//! in another process; and from the host through node ports.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod ends;
mod host;
mod life;
mod policies;
mod trace;
mod world;

use std::io::ErrorKind;

use tokio::net::TcpListener;
use world::{PLACES, Place, World, ask, at, dial, ip};

/// Runs a check in a fresh world for every place.
async fn everywhere(check: impl AsyncFn(&World)) {
    for place in PLACES {
        let world = World::start(place).await;
        assert_eq!(world.problems, []);
        check(&world).await;
        world.stop().await;
    }
}

#[tokio::test]
async fn a_pod_is_reached_and_sees_who_calls() {
    everywhere(async |world| {
        let to = at(world.server, 8080);
        let stream = dial(&world.client, to).await.unwrap();
        assert_eq!(stream.peer_addr(), to);
        assert_eq!(stream.local_addr().ip(), world.client.ip());
        let (peer, local, echo) = ask(stream, "hello").await;
        assert_eq!(peer, world.client.ip().to_string());
        assert_eq!(local, to.to_string());
        assert_eq!(echo, "hello");
    })
    .await;
}

#[tokio::test]
async fn a_service_is_reached_by_its_cluster_ip() {
    everywhere(async |world| {
        let stream = dial(&world.client, at(ip("10.96.0.50"), 80)).await.unwrap();
        assert_eq!(stream.peer_addr(), at(ip("10.96.0.50"), 80));
        let (peer, local, _) = ask(stream, "").await;
        // A pod that reaches itself comes from the gateway, or it would answer itself directly.
        let expected =
            if world.place == Place::SamePod { ip("10.244.1.1") } else { world.client.ip() };
        assert_eq!(peer, expected.to_string());
        assert_eq!(local, at(world.server, 8080).to_string());
    })
    .await;
}

#[tokio::test]
async fn a_node_port_is_reached_by_every_node_address() {
    everywhere(async |world| {
        for node in ["192.168.1.101", "192.168.1.102", "192.168.1.103"] {
            let stream = dial(&world.client, at(ip(node), 30080)).await.unwrap();
            assert_eq!(ask(stream, "x").await.0, node, "policy Cluster: the node's address");
            let stream = dial(&world.client, at(ip(node), 30082)).await.unwrap();
            assert_eq!(ask(stream, "x").await.0, world.client.ip().to_string(), "policy Local");
        }
    })
    .await;
}

#[tokio::test]
async fn a_port_nobody_listens_on_refuses() {
    everywhere(async |world| {
        let refused = Some(ErrorKind::ConnectionRefused);
        let node = ip(&format!("192.168.1.{}", 100 + world.place.node()));
        for to in [
            at(world.server, 81),
            at(node, 81),
            at(ip("10.96.0.51"), 80),
            at(node, 30081),
            at(ip("10.96.0.50"), 81),
        ] {
            assert_eq!(dial(&world.client, to).await.err(), refused, "{to}");
        }
        let socket = world.client.bind_udp("0.0.0.0:0".parse().unwrap()).await.unwrap();
        socket.connect(at(world.server, 81)).unwrap();
        socket.send(b"x").await.unwrap();
        assert_eq!(
            socket.recv(&mut [0; 8]).await.unwrap_err().kind(),
            ErrorKind::ConnectionRefused
        );
    })
    .await;
}

#[tokio::test]
async fn dropped_traffic_times_out() {
    everywhere(async |world| {
        let elsewhere = dial(&world.client, at(ip("10.96.0.52"), 80)).await;
        assert_eq!(elsewhere.err(), Some(ErrorKind::TimedOut));
    })
    .await;
}

#[tokio::test]
async fn an_address_nobody_has_has_no_route() {
    everywhere(async |world| {
        let [a, b, c, _] = match world.server {
            std::net::IpAddr::V4(v4) => v4.octets(),
            std::net::IpAddr::V6(_) => unreachable!("the pods are IPv4"),
        };
        let outside = [
            "10.244.77.1",
            "10.111.0.1",
            "192.168.1.55",
            "203.0.113.9",
            "224.0.0.1",
            "2001:db8::1",
        ];
        let nobody = std::iter::once(std::net::IpAddr::from([a, b, c, 200]));
        for to in nobody.chain(outside.map(ip)) {
            let error = dial(&world.client, at(to, 80)).await.err();
            assert_eq!(error, Some(ErrorKind::HostUnreachable), "{to}");
        }
        let socket = world.client.bind_udp("0.0.0.0:0".parse().unwrap()).await.unwrap();
        let sent = socket.send_to(b"x", at(ip("203.0.113.9"), 53)).await;
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::HostUnreachable);
    })
    .await;
}

#[tokio::test]
async fn localhost_is_the_pods_own() {
    let on_host = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = on_host.local_addr().unwrap().port();
    everywhere(async |world| {
        let refused = Some(ErrorKind::ConnectionRefused);
        let here = ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::ffff:127.0.0.1", "::"];
        for to in here.map(ip) {
            assert_eq!(dial(&world.client, at(to, port)).await.err(), refused, "host's {to}");
        }
        let serves = world.place == Place::SamePod;
        for to in here.map(ip) {
            match dial(&world.client, at(to, 8080)).await {
                Ok(stream) => {
                    assert!(serves, "{to} reached somebody else's localhost");
                    let (peer, _, echo) = ask(stream, "me").await;
                    assert!(peer.starts_with("127.") && echo == "me", "{peer} {echo}");
                }
                Err(error) => {
                    assert!(!serves && error == ErrorKind::ConnectionRefused, "{to} {error}");
                }
            }
        }
        // Listening on localhost alone is not heard outside.
        let private = world.client.listen_tcp("127.0.0.1:7000".parse().unwrap()).await.unwrap();
        assert_eq!(dial(&world.client, at(world.client.ip(), 7000)).await.err(), refused);
        let own = dial(&world.client, private.local_addr()).await;
        assert!(own.is_ok());
    })
    .await;
}

#[tokio::test]
async fn datagrams_go_and_come_back() {
    everywhere(async |world| {
        let own = world.client.ip().to_string();
        for (to, seen) in [
            (at(world.server, 5353), own.as_str()),
            (at(ip("10.96.0.53"), 53), own.as_str()),
            (at(ip("192.168.1.101"), 30053), "192.168.1.101"),
            (at(ip("192.168.1.102"), 30053), "192.168.1.102"),
            (at(ip("192.168.1.103"), 30053), "192.168.1.103"),
        ] {
            let socket = world.client.bind_udp("0.0.0.0:0".parse().unwrap()).await.unwrap();
            for n in 0..3 {
                socket.send_to(format!("ping {n}").as_bytes(), to).await.unwrap();
                let mut buffer = [0; 64];
                let (count, from) = socket.recv_from(&mut buffer).await.unwrap();
                assert_eq!(from, to, "the answer comes from the address that was asked");
                assert_eq!(
                    std::str::from_utf8(&buffer[..count]).unwrap(),
                    format!("{seen} ping {n}")
                );
            }
        }
        let socket = world.client.bind_udp("0.0.0.0:0".parse().unwrap()).await.unwrap();
        let too_long = socket.send_to(&[0; 65_508], at(world.server, 5353)).await;
        assert_eq!(too_long.unwrap_err().raw_os_error(), Some(90));
    })
    .await;
}

#[tokio::test]
async fn a_megabyte_goes_both_ways_and_half_close_is_seen() {
    everywhere(async |world| {
        let text = "0123456789abcdef".repeat(65_536);
        let mut stream = dial(&world.client, at(world.server, 8080)).await.unwrap();
        let (mut read, mut write) = tokio::io::split(&mut stream);
        let sending = async {
            use tokio::io::AsyncWriteExt as _;
            write.write_all(text.as_bytes()).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let receiving = async {
            use tokio::io::AsyncReadExt as _;
            let mut answer = String::new();
            read.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let ((), answer) = tokio::join!(sending, receiving);
        assert!(answer.split_once('\n').unwrap().1 == text);
    })
    .await;
}

#[tokio::test]
async fn a_burst_of_connections_keeps_everyone_apart() {
    everywhere(async |world| {
        let calls = (0..200).map(async |n| {
            let stream = dial(&world.client, at(world.server, 8080)).await.unwrap();
            let text = format!("caller {n}");
            assert_eq!(ask(stream, &text).await.2, text);
        });
        futures::future::join_all(calls).await;
    })
    .await;
}
