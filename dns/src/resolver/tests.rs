//! What a pod's names become.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use super::*;
use crate::testing::{DNS, World, some_records};

#[test]
fn reads_and_writes_resolv_conf() {
    let check = |text: &str, expected: &str| {
        assert_eq!(ResolvConf::parse(text).to_string(), expected, "{text}");
    };
    let usual = "search default.svc.cluster.local svc.cluster.local cluster.local\n\
        nameserver 10.96.0.10\noptions ndots:5\n";
    check(usual, usual);
    let made = ResolvConf::cluster_first(DNS.parse().unwrap(), "default", "cluster.local");
    assert_eq!((made.to_string(), ResolvConf::parse(usual)), (usual.to_owned(), made));
    check("", "");
    check("# comment\n; comment\nnameserver nonsense\nwhat is this\nnameserver", "");
    check("domain a.example\nsearch b.example c.example\n", "search b.example c.example\n");
    check("search a\ndomain b c\n", "search b\n");
    check("nameserver 1.1.1.1 # one\nnameserver ::1", "nameserver 1.1.1.1\nnameserver ::1\n");
    check(
        "nameserver 1.0.0.1\nnameserver 1.0.0.2\nnameserver 1.0.0.3\nnameserver 1.0.0.4",
        "nameserver 1.0.0.1\nnameserver 1.0.0.2\nnameserver 1.0.0.3\n",
    );
    check(
        "options ndots:99 timeout:0 attempts:9 edns0 ndots:x\n",
        "options ndots:15 timeout:1 attempts:5 edns0 ndots:x\n",
    );
}

#[test]
fn knows_which_names_to_try() {
    let conf = ResolvConf::cluster_first(DNS.parse().unwrap(), "team-a", "cluster.local");
    let check = |name: &str, expected: &[&str]| {
        let found: Vec<_> = conf.candidates(name).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{name}");
    };
    let under = |name: &str| -> Vec<String> {
        ["team-a.svc.cluster.local", "svc.cluster.local", "cluster.local"]
            .map(|domain| format!("{name}.{domain}."))
            .to_vec()
    };
    let check_short = |name: &str| {
        let mut expected = under(name);
        expected.push(format!("{name}."));
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(name, &expected);
    };
    check_short("web");
    check_short("web.default");
    check_short("web.default.svc.cluster.local");
    check("web.default.svc.cluster.local.", &["web.default.svc.cluster.local."]);
    let five = "a.b.c.d.e.f";
    let under_five = under(five);
    check(five, &["a.b.c.d.e.f.", &under_five[0], &under_five[1], &under_five[2]]);
    check("", &[]);
    check(".", &[]);
    check("a..b", &[]);
    check(&"x".repeat(64), &[]);
}

#[tokio::test]
async fn finds_addresses_over_the_pods_network() {
    let world = World::new().await;
    world.serve(some_records(), vec![]).await;
    let conf = ResolvConf::cluster_first(DNS.parse().unwrap(), "default", "cluster.local");
    let resolver = PodResolver::new(world.clock.clone(), conf);
    world.client.set_resolver("", Arc::new(resolver));
    let check = async |name: &str, expected: Result<usize, io::ErrorKind>| {
        let found = world.client.resolve(name).await;
        let found = found.map(|addresses| addresses.len()).map_err(|error| error.kind());
        assert_eq!(found, expected, "{name}");
    };
    check("web", Ok(1)).await;
    check("WEB", Ok(1)).await;
    check("web.default", Ok(1)).await;
    check("web.default.svc", Ok(1)).await;
    check("web.default.svc.cluster.local", Ok(1)).await;
    check("web.default.svc.cluster.local.", Ok(1)).await;
    // Cut in the datagram, whole on the connection.
    check("many", Ok(300)).await;
    check("10-244-1-7.default.pod", Ok(1)).await;
    check("web.", Err(io::ErrorKind::NotFound)).await;
    check("nosuch", Err(io::ErrorKind::NotFound)).await;
    // An alias to where nobody answers.
    check("outside", Err(io::ErrorKind::NotFound)).await;
    check("10.1.2.3", Ok(1)).await;
    check("localhost", Ok(2)).await;
    let web: Vec<IpAddr> = vec!["10.96.1.1".parse().unwrap()];
    assert_eq!(world.client.resolve("web").await.unwrap(), web);
}

#[tokio::test]
async fn goes_on_to_the_next_server() {
    let world = World::new().await;
    world.serve(some_records(), vec![]).await;
    let nobody = world.client.ip();
    let mut conf = ResolvConf::cluster_first(DNS.parse().unwrap(), "default", "cluster.local");
    conf.nameservers.insert(0, nobody);
    let resolver = PodResolver::new(world.clock.clone(), conf.clone());
    assert_eq!(resolver.addresses(&world.client, "web").await.unwrap().len(), 1);
    conf.nameservers = vec![nobody];
    conf.timeout = Duration::from_millis(100);
    let resolver = PodResolver::new(world.clock.clone(), conf);
    let failure = resolver.addresses(&world.client, "web").await.unwrap_err();
    assert!(matches!(failure, ResolveError::Unreachable(_)), "{failure}");
    assert_eq!(io::Error::from(failure).kind(), io::ErrorKind::TimedOut);
}
