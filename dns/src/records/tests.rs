//! One cluster, and what is answered about it.

use apimachinery::yaml;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use apimachinery::{api::discovery::EndpointSlice, object::ObjectKey};

use super::*;

const CLUSTER: &str = include_str!("cluster.yaml");
const SERIAL: u32 = 1_767_225_600;

fn directory() -> Directory {
    let own_address = Some("10.244.1.2".parse().unwrap());
    let mut directory = Directory::new(Zone { own_address, ..Zone::default() });
    let (mut services, mut slices) = (Vec::new(), Vec::new());
    for document in yaml::read(CLUSTER, "cluster.yaml").unwrap() {
        match document.value["kind"].as_str() {
            Some("Service") => services.push(serde_json::from_value(document.value).unwrap()),
            _ => slices.push(serde_json::from_value(document.value).unwrap()),
        }
    }
    directory.replace_slices(&slices);
    directory.replace_services(&services);
    directory.replace_namespaces(["default", "kube-system", "team-a", "quiet"]);
    directory
}

fn records() -> Records {
    directory().publish(SERIAL).unwrap()
}

fn show(record: &Record, asked: &Name) -> String {
    let owner =
        if record.name.eq_case(asked) { String::new() } else { format!("{} ", record.name) };
    let data = match &record.data {
        RData::TXT(text) => text.txt_data.iter().map(|t| String::from_utf8_lossy(t)).collect(),
        data => data.to_string(),
    };
    let ttl = if record.ttl == 30 { String::new() } else { format!("{} ", record.ttl) };
    format!("{owner}{ttl}{} {data}", record.record_type())
}

/// The answer in one line: `NXDOMAIN`, `NODATA`, or the records, with the owner where it is not the name asked for and
/// the lifetime where it is not 30.
fn ask(records: &Records, name: &str, record_type: RecordType) -> String {
    let name = Name::from_ascii(name).unwrap();
    let (answer, upstream) = match records.lookup(&name, record_type) {
        Found::Answer(answer) => (answer, ""),
        Found::Upstream(answer) => (answer, "upstream or "),
    };
    let mut parts: Vec<String> = answer.answers.iter().map(|r| show(r, &name)).collect();
    match answer.code {
        ResponseCode::NoError if parts.is_empty() => parts.push("NODATA".into()),
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => parts.push("NXDOMAIN".into()),
        code => parts.push(code.to_str().to_owned()),
    }
    if let [soa] = answer.authorities.as_slice() {
        assert!(
            parts.last().is_some_and(|last| last == "NODATA" || last == "NXDOMAIN")
                || answer.answers.iter().all(|record| record.record_type() == RecordType::CNAME)
        );
        let RData::SOA(data) = &soa.data else { panic!("{soa}") };
        assert_eq!((data.serial, data.minimum, soa.ttl), (SERIAL, 30, 30));
        assert!(soa.name.zone_of(&name), "{soa}");
    } else {
        assert!(answer.authorities.is_empty());
        let negative = parts.last().is_some_and(|last| last == "NODATA" || last == "NXDOMAIN");
        assert!(!negative, "{name} {record_type}: no SOA");
    }
    if let Some(alias) = answer.alias {
        parts.push(format!("to {alias}"));
    }
    format!("{upstream}{}", parts.join(", "))
}

/// Name, type, answer. Names that do not end with a dot are below `cluster.local.`
const QUERIES: &[(&str, RecordType, &str)] = {
    use RecordType::{A, AAAA, ANY, CAA, CNAME, DS, HTTPS, MX, NS, PTR, SOA, SRV, TXT};
    &[
        // The zone itself.
        (
            "cluster.local.",
            SOA,
            "SOA ns.dns.cluster.local. hostmaster.cluster.local. 1767225600 7200 1800 86400 30",
        ),
        ("cluster.local.", NS, "NS ns.dns.cluster.local."),
        ("cluster.local.", A, "NODATA"),
        ("cluster.local.", AAAA, "NODATA"),
        ("cluster.local.", TXT, "NODATA"),
        ("cluster.local.", DS, "NODATA"),
        ("cluster.local.", ANY, "NODATA"),
        ("ns.dns", A, "A 10.96.0.10"),
        ("ns.dns", AAAA, "NODATA"),
        ("ns.dns", NS, "NODATA"),
        ("dns", A, "NODATA"),
        ("x.dns", A, "NXDOMAIN"),
        ("a.ns.dns", A, "NXDOMAIN"),
        ("dns-version", TXT, "28800 TXT 1.1.0"),
        ("DNS-Version", TXT, "28800 TXT 1.1.0"),
        ("dns-version", A, "NODATA"),
        ("x.dns-version", TXT, "NXDOMAIN"),
        ("svc", A, "NODATA"),
        ("pod", A, "NODATA"),
        ("svc", SOA, "NODATA"),
        ("nosuch", A, "NXDOMAIN"),
        ("nosuch", SOA, "NXDOMAIN"),
        ("nosuch", TXT, "NXDOMAIN"),
        ("web", A, "NXDOMAIN"),
        ("web.default", A, "NXDOMAIN"),
        // Namespaces.
        ("default.svc", A, "NODATA"),
        ("quiet.svc", A, "NODATA"),
        ("quiet.pod", A, "NODATA"),
        ("nosuch.svc", A, "NXDOMAIN"),
        ("nosuch.pod", A, "NXDOMAIN"),
        ("web.quiet.svc", A, "NXDOMAIN"),
        ("web.nosuch.svc", A, "NXDOMAIN"),
        // ClusterIP.
        ("kubernetes.default.svc", A, "A 10.96.0.1"),
        ("kubernetes.default.svc", AAAA, "NODATA"),
        ("kubernetes.default.svc", SRV, "SRV 0 100 443 kubernetes.default.svc.cluster.local."),
        (
            "_https._tcp.kubernetes.default.svc",
            SRV,
            "SRV 0 100 443 kubernetes.default.svc.cluster.local.",
        ),
        ("kube-dns.kube-system.svc", A, "A 10.96.0.10"),
        (
            "_dns._udp.kube-dns.kube-system.svc",
            SRV,
            "SRV 0 100 53 kube-dns.kube-system.svc.cluster.local.",
        ),
        (
            "_dns-tcp._tcp.kube-dns.kube-system.svc",
            SRV,
            "SRV 0 100 53 kube-dns.kube-system.svc.cluster.local.",
        ),
        ("_dns._tcp.kube-dns.kube-system.svc", SRV, "NXDOMAIN"),
        ("_dns-tcp._udp.kube-dns.kube-system.svc", SRV, "NXDOMAIN"),
        ("web.default.svc", A, "A 10.96.1.1"),
        ("web.default.svc", AAAA, "NODATA"),
        ("web.default.svc", CNAME, "NODATA"),
        ("web.default.svc", TXT, "NODATA"),
        ("web.default.svc", MX, "NODATA"),
        ("web.default.svc", NS, "NODATA"),
        ("web.default.svc", SOA, "NODATA"),
        ("web.default.svc", PTR, "NODATA"),
        ("web.default.svc", CAA, "NODATA"),
        ("web.default.svc", HTTPS, "NODATA"),
        ("web.default.svc", ANY, "NODATA"),
        (
            "web.default.svc",
            SRV,
            "SRV 0 50 80 web.default.svc.cluster.local., SRV 0 50 443 web.default.svc.cluster.local.",
        ),
        ("_http._tcp.web.default.svc", SRV, "SRV 0 100 80 web.default.svc.cluster.local."),
        ("_https._tcp.web.default.svc", SRV, "SRV 0 100 443 web.default.svc.cluster.local."),
        ("_http._tcp.web.default.svc", A, "NODATA"),
        ("_http._tcp.web.default.svc", TXT, "NODATA"),
        ("_tcp.web.default.svc", SRV, "NODATA"),
        ("_tcp.web.default.svc", A, "NODATA"),
        ("_udp.web.default.svc", SRV, "NXDOMAIN"),
        ("_sctp.web.default.svc", SRV, "NXDOMAIN"),
        ("_http._udp.web.default.svc", SRV, "NXDOMAIN"),
        ("_nosuch._tcp.web.default.svc", SRV, "NXDOMAIN"),
        ("http.tcp.web.default.svc", SRV, "NXDOMAIN"),
        ("http._tcp.web.default.svc", SRV, "NXDOMAIN"),
        ("_._tcp.web.default.svc", SRV, "NXDOMAIN"),
        ("_http._quic.web.default.svc", SRV, "NXDOMAIN"),
        ("_x._http._tcp.web.default.svc", SRV, "NXDOMAIN"),
        ("a.b.c.d.e.f.web.default.svc", A, "NXDOMAIN"),
        ("web.team-a.svc", A, "A 10.96.2.1"),
        ("_http._tcp.web.team-a.svc", SRV, "SRV 0 100 8080 web.team-a.svc.cluster.local."),
        ("node-port.default.svc", A, "A 10.96.1.4"),
        ("node-port.default.svc", SRV, "SRV 0 100 80 node-port.default.svc.cluster.local."),
        ("nosuch.default.svc", A, "NXDOMAIN"),
        ("nosuch.default.svc", AAAA, "NXDOMAIN"),
        ("nosuch.default.svc", SRV, "NXDOMAIN"),
        ("nosuch.default.svc", ANY, "NXDOMAIN"),
        ("_http._tcp.nosuch.default.svc", SRV, "NXDOMAIN"),
        ("web.default.pod", A, "NXDOMAIN"),
        ("web.default.svc.svc", A, "NXDOMAIN"),
        ("*.default.svc", A, "NXDOMAIN"),
        ("web.*.svc", A, "NXDOMAIN"),
        // A port without a name, two families.
        ("redis.default.svc", A, "A 10.96.1.2"),
        ("redis.default.svc", SRV, "SRV 0 100 6379 redis.default.svc.cluster.local."),
        ("_tcp.redis.default.svc", SRV, "NXDOMAIN"),
        ("_redis._tcp.redis.default.svc", SRV, "NXDOMAIN"),
        ("dual.default.svc", A, "A 10.96.1.3"),
        ("dual.default.svc", AAAA, "AAAA fd00::3"),
        ("_query._udp.dual.default.svc", SRV, "SRV 0 100 53 dual.default.svc.cluster.local."),
        ("_assoc._sctp.dual.default.svc", SRV, "SRV 0 100 9 dual.default.svc.cluster.local."),
        (
            "dual.default.svc",
            SRV,
            "SRV 0 50 53 dual.default.svc.cluster.local., SRV 0 50 9 dual.default.svc.cluster.local.",
        ),
        // Endpoints of a ClusterIP Service.
        ("10-244-1-5.web.default.svc", A, "A 10.244.1.5"),
        ("10-244-2-6.web.default.svc", A, "A 10.244.2.6"),
        ("10-244-1-9.web.default.svc", A, "NXDOMAIN"),
        ("10-244-1-5.web.default.svc", AAAA, "NODATA"),
        ("10-244-1-5.redis.default.svc", A, "NXDOMAIN"),
        ("192-168-1-100.kubernetes.default.svc", A, "A 192.168.1.100"),
        // Headless.
        ("nginx.default.svc", A, "A 10.244.1.10, A 10.244.2.11"),
        ("nginx.default.svc", AAAA, "NODATA"),
        ("nginx.default.svc", TXT, "NODATA"),
        (
            "nginx.default.svc",
            SRV,
            "SRV 0 50 8080 web-0.nginx.default.svc.cluster.local., SRV 0 50 8080 web-1.nginx.default.svc.cluster.local.",
        ),
        (
            "_web._tcp.nginx.default.svc",
            SRV,
            "SRV 0 50 8080 web-0.nginx.default.svc.cluster.local., SRV 0 50 8080 web-1.nginx.default.svc.cluster.local.",
        ),
        ("_web._tcp.nginx.default.svc", A, "NODATA"),
        ("_tcp.nginx.default.svc", A, "NODATA"),
        ("_udp.nginx.default.svc", A, "NXDOMAIN"),
        ("_nosuch._tcp.nginx.default.svc", SRV, "NXDOMAIN"),
        ("web-0.nginx.default.svc", A, "A 10.244.1.10"),
        ("web-1.nginx.default.svc", A, "A 10.244.2.11"),
        ("WEB-1.Nginx.DEFAULT.Svc.Cluster.LOCAL.", A, "A 10.244.2.11"),
        ("web-0.nginx.default.svc", AAAA, "NODATA"),
        ("web-0.nginx.default.svc", SRV, "SRV 0 100 8080 web-0.nginx.default.svc.cluster.local."),
        ("web-2.nginx.default.svc", A, "NXDOMAIN"),
        ("web-9.nginx.default.svc", A, "NXDOMAIN"),
        ("10-244-1-10.nginx.default.svc", A, "NXDOMAIN"),
        ("x.web-0.nginx.default.svc", A, "NXDOMAIN"),
        ("nobody.default.svc", A, "NXDOMAIN"),
        ("nobody.default.svc", SRV, "NXDOMAIN"),
        ("_web._tcp.nobody.default.svc", SRV, "NXDOMAIN"),
        ("starting.default.svc", A, "NXDOMAIN"),
        ("starting-0.starting.default.svc", A, "NXDOMAIN"),
        ("early.default.svc", A, "A 10.244.1.20"),
        ("early-0.early.default.svc", A, "A 10.244.1.20"),
        (
            "_peer._tcp.early.default.svc",
            SRV,
            "SRV 0 100 7000 early-0.early.default.svc.cluster.local.",
        ),
        ("plain.default.svc", A, "A 10.244.1.30, A 10.244.2.31"),
        (
            "plain.default.svc",
            SRV,
            "SRV 0 50 8080 10-244-1-30.plain.default.svc.cluster.local., SRV 0 50 8080 10-244-2-31.plain.default.svc.cluster.local.",
        ),
        ("10-244-2-31.plain.default.svc", A, "A 10.244.2.31"),
        ("_tcp.plain.default.svc", A, "NXDOMAIN"),
        ("portless.default.svc", A, "A 10.244.1.40"),
        ("portless.default.svc", SRV, "NODATA"),
        ("lone.portless.default.svc", A, "A 10.244.1.40"),
        ("both.default.svc", A, "A 10.244.1.50"),
        ("both.default.svc", AAAA, "AAAA fd00:1::50"),
        ("b0.both.default.svc", AAAA, "AAAA fd00:1::50"),
        ("_web._tcp.both.default.svc", SRV, "SRV 0 100 80 b0.both.default.svc.cluster.local."),
        ("peers.team-a.svc", A, "A 10.244.1.5, A 10.244.2.7"),
        (
            "_admin._tcp.peers.team-a.svc",
            SRV,
            "SRV 0 50 81 10-244-1-5.peers.team-a.svc.cluster.local., SRV 0 50 81 10-244-2-7.peers.team-a.svc.cluster.local.",
        ),
        ("orphan.team-a.svc", A, "NXDOMAIN"),
        // ExternalName.
        ("outside.default.svc", A, "CNAME My.Database.example.com., to My.Database.example.com."),
        (
            "outside.default.svc",
            AAAA,
            "CNAME My.Database.example.com., to My.Database.example.com.",
        ),
        ("outside.default.svc", CNAME, "CNAME My.Database.example.com."),
        ("x.outside.default.svc", A, "NXDOMAIN"),
        ("_http._tcp.outside.default.svc", SRV, "NXDOMAIN"),
        (
            "alias.default.svc",
            A,
            "CNAME web.default.svc.cluster.local., web.default.svc.cluster.local. A 10.96.1.1",
        ),
        ("alias.default.svc", CNAME, "CNAME web.default.svc.cluster.local."),
        ("alias.default.svc", AAAA, "CNAME web.default.svc.cluster.local."),
        (
            "chain.default.svc",
            A,
            "CNAME alias.default.svc.cluster.local., alias.default.svc.cluster.local. CNAME web.default.svc.cluster.local., web.default.svc.cluster.local. A 10.96.1.1",
        ),
        (
            "loop-a.default.svc",
            A,
            "CNAME loop-b.default.svc.cluster.local., loop-b.default.svc.cluster.local. CNAME loop-a.default.svc.cluster.local.",
        ),
        ("dangling.default.svc", A, "CNAME nosuch.default.svc.cluster.local., NXDOMAIN"),
        ("digits.default.svc", A, "NXDOMAIN"),
        // Pods.
        ("10-244-1-5.default.pod", A, "A 10.244.1.5"),
        ("10-244-1-5.quiet.pod", A, "A 10.244.1.5"),
        ("10-244-1-5.default.pod", AAAA, "NODATA"),
        ("10-244-1-5.default.pod", SRV, "NODATA"),
        ("10-244-1-5.nosuch.pod", A, "NXDOMAIN"),
        ("10-244-1-500.default.pod", A, "NXDOMAIN"),
        ("10-244-1.default.pod", A, "NXDOMAIN"),
        ("10-244--5.default.pod", A, "NODATA"),
        ("fd00-1--5.default.pod", AAAA, "AAAA fd00:1::5"),
        ("x.10-244-1-5.default.pod", A, "NXDOMAIN"),
        // Reverse.
        ("1.0.96.10.in-addr.arpa.", PTR, "PTR kubernetes.default.svc.cluster.local."),
        ("10.0.96.10.IN-ADDR.arpa.", PTR, "PTR kube-dns.kube-system.svc.cluster.local."),
        ("1.1.96.10.in-addr.arpa.", PTR, "PTR web.default.svc.cluster.local."),
        ("1.1.96.10.in-addr.arpa.", A, "NODATA"),
        ("10.1.244.10.in-addr.arpa.", PTR, "PTR web-0.nginx.default.svc.cluster.local."),
        (
            "5.1.244.10.in-addr.arpa.",
            PTR,
            "PTR 10-244-1-5.web.default.svc.cluster.local., PTR 10-244-1-5.peers.team-a.svc.cluster.local.",
        ),
        ("9.1.244.10.in-addr.arpa.", PTR, "upstream or NXDOMAIN"),
        ("99.2.244.10.in-addr.arpa.", PTR, "upstream or NXDOMAIN"),
        ("20.1.244.10.in-addr.arpa.", PTR, "PTR early-0.early.default.svc.cluster.local."),
        ("05.1.244.10.in-addr.arpa.", PTR, "upstream or NXDOMAIN"),
        ("x.5.1.244.10.in-addr.arpa.", PTR, "upstream or NXDOMAIN"),
        ("244.10.in-addr.arpa.", PTR, "upstream or NODATA"),
        ("in-addr.arpa.", SOA, "upstream or NODATA"),
        (
            "3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.",
            PTR,
            "PTR dual.default.svc.cluster.local.",
        ),
        (
            "4.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.",
            PTR,
            "upstream or NXDOMAIN",
        ),
        ("x.ip6.arpa.", PTR, "upstream or NXDOMAIN"),
        // Other zones.
        ("example.com.", A, "upstream or REFUSED"),
        ("web.", A, "upstream or REFUSED"),
        (".", NS, "upstream or REFUSED"),
        ("local.", A, "upstream or REFUSED"),
        ("xcluster.local.", A, "upstream or REFUSED"),
        ("cluster.local.example.com.", A, "upstream or REFUSED"),
        ("arpa.", NS, "upstream or REFUSED"),
    ]
};

#[test]
fn answers_as_the_specification_says() {
    let records = records();
    let mut wrong = Vec::new();
    for (name, record_type, expected) in QUERIES {
        let dot = if name.ends_with('.') { "" } else { ".cluster.local." };
        let expected = expected.replace("REFUSED", ResponseCode::Refused.to_str());
        let found = ask(&records, &format!("{name}{dot}"), *record_type);
        if found != expected {
            wrong.push(format!("{name} {record_type}\n  is       {found}\n  expected {expected}"));
        }
    }
    assert!(QUERIES.len() >= 120);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), QUERIES.len(), wrong.join("\n"));
}

#[test]
fn adds_the_addresses_of_targets() {
    let records = records();
    let check = |name: &str, record_type, expected: &[&str]| {
        let name = Name::from_ascii(name).unwrap();
        let Found::Answer(answer) = records.lookup(&name, record_type) else { panic!("{name}") };
        let found: Vec<_> = answer.additionals.iter().map(|r| show(r, &name)).collect();
        assert_eq!(found, expected, "{name}");
    };
    check(
        "_http._tcp.web.default.svc.cluster.local.",
        RecordType::SRV,
        &["web.default.svc.cluster.local. A 10.96.1.1"],
    );
    check(
        "_Web._TCP.nginx.default.svc.cluster.local.",
        RecordType::SRV,
        &[
            "web-0.nginx.default.svc.cluster.local. A 10.244.1.10",
            "web-1.nginx.default.svc.cluster.local. A 10.244.2.11",
        ],
    );
    check(
        "both.default.svc.cluster.local.",
        RecordType::SRV,
        &[
            "b0.both.default.svc.cluster.local. A 10.244.1.50",
            "b0.both.default.svc.cluster.local. AAAA fd00:1::50",
        ],
    );
    check("cluster.local.", RecordType::NS, &["ns.dns.cluster.local. A 10.96.0.10"]);
    check("web.default.svc.cluster.local.", RecordType::A, &[]);
}

#[test]
fn a_name_keeps_the_case_it_was_asked_in() {
    let name = Name::from_ascii("WeB.default.SVC.cluster.local.").unwrap();
    let Found::Answer(answer) = records().lookup(&name, RecordType::A) else { panic!() };
    assert!(answer.answers[0].name.eq_case(&name));
}

#[test]
fn what_is_not_known_yet_is_a_failure() {
    let mut directory = Directory::new(Zone::default());
    directory.replace_services(&[]);
    let records = directory.publish(1);
    assert!(records.is_none(), "nothing to tell");
    let records = directory.records().clone();
    let failure = ResponseCode::ServFail.to_str();
    assert_eq!(ask(&records, "web.default.svc.cluster.local.", RecordType::A), failure);
    directory.replace_slices(&[]);
    directory.replace_namespaces(["default"]);
    let records = directory.publish(SERIAL).unwrap();
    assert!(records.is_synced());
    assert_eq!(ask(&records, "web.default.svc.cluster.local.", RecordType::A), "NXDOMAIN");
}

#[test]
fn a_change_makes_a_new_snapshot_and_leaves_the_old_one() {
    let mut directory = directory();
    let before = directory.publish(SERIAL).unwrap();
    let ready = |ready: bool| -> EndpointSlice {
        serde_json::from_value(serde_json::json!({
            "metadata": {
                "name": "nginx-1", "namespace": "default", "resourceVersion": "9",
                "labels": {"kubernetes.io/service-name": "nginx"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "web", "port": 8080, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["10.244.1.10"], "hostname": "web-0", "conditions": {"ready": true}},
                {"addresses": ["10.244.2.11"], "hostname": "web-1", "conditions": {"ready": ready}},
            ],
        }))
        .unwrap()
    };
    let check = |records: &Records, name: &str, record_type, expected: &str| {
        assert_eq!(ask(records, name, record_type), expected, "{name}");
    };
    let name = "nginx.default.svc.cluster.local.";
    directory.set_slice(&ready(true));
    assert!(directory.publish(SERIAL).is_none(), "a slice without web-2 has the same records");

    directory.set_slice(&ready(false));
    let after = directory.publish(SERIAL).unwrap();
    check(&before, name, RecordType::A, "A 10.244.1.10, A 10.244.2.11");
    check(&after, name, RecordType::A, "A 10.244.1.10");
    let reverse = "11.2.244.10.in-addr.arpa.";
    check(&before, reverse, RecordType::PTR, "PTR web-1.nginx.default.svc.cluster.local.");
    check(&after, reverse, RecordType::PTR, "upstream or NXDOMAIN");

    directory.remove_service(&ObjectKey::new("team-a", "peers"));
    directory.remove_namespace("quiet");
    let after = directory.publish(SERIAL).unwrap();
    check(&after, "peers.team-a.svc.cluster.local.", RecordType::A, "NXDOMAIN");
    check(&after, "quiet.svc.cluster.local.", RecordType::A, "NXDOMAIN");
    let reverse = "5.1.244.10.in-addr.arpa.";
    check(&after, reverse, RecordType::PTR, "PTR 10-244-1-5.web.default.svc.cluster.local.");

    directory.replace_services(&[]);
    directory.replace_slices(&[]);
    let after = directory.publish(SERIAL).unwrap();
    check(&after, "web.default.svc.cluster.local.", RecordType::A, "NXDOMAIN");
    check(&after, reverse, RecordType::PTR, "upstream or NXDOMAIN");
    check(&before, "web.default.svc.cluster.local.", RecordType::A, "A 10.96.1.1");
}

#[test]
fn odd_labels_find_nothing_and_break_nothing() {
    let records = records();
    let check = |labels: &[&[u8]]| {
        let name = Name::from_labels(labels.iter().copied().chain([&b"cluster"[..], b"local"]));
        let Found::Answer(answer) = records.lookup(&name.unwrap(), RecordType::A) else { panic!() };
        assert_eq!(answer.code, ResponseCode::NXDomain, "{labels:?}");
    };
    check(&[b"web/x", b"default", b"svc"]);
    check(&[b"web.default", b"svc"]);
    check(&[b"web", b"\xff\xfe", b"svc"]);
    check(&[b"\0", b"default", b"svc"]);
    check(&[b"\xff", b"default", b"pod"]);
}
