use serde_json::{Value, json};

use super::*;

/// An Ingress from `host path type service` lines; `-` is none. `default SERVICE` and `tls HOST SECRET` are lines, too.
fn ingress(name: &str, made: &str, lines: &str) -> Ingress {
    let mut spec = json!({"ingressClassName": "kube-mini", "rules": [], "tls": []});
    let backend = |service: &str| json!({"service": {"name": service, "port": {"number": 80}}});
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["default", service] => spec["defaultBackend"] = backend(service),
            ["tls", host, secret] => {
                let hosts: &[&str] = if host == "-" { &[] } else { &[host] };
                let tls = json!({"hosts": hosts, "secretName": secret});
                spec["tls"].as_array_mut().unwrap().push(tls);
            }
            [host, path, kind, service] => {
                let path = json!({"path": path, "pathType": kind, "backend": backend(service)});
                let mut rule = json!({"http": {"paths": [path]}});
                if host != "-" {
                    rule["host"] = host.into();
                }
                spec["rules"].as_array_mut().unwrap().push(rule);
            }
            [host] => spec["rules"].as_array_mut().unwrap().push(json!({"host": host})),
            _ => panic!("{line}"),
        }
    }
    let metadata = json!({"name": name, "namespace": "default", "creationTimestamp": made});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

const OLD: &str = "2026-05-01T12:00:00Z";
const YOUNG: &str = "2026-05-01T12:00:01Z";

/// `host/path => service` lines; `-` is no route.
fn check(ingresses: &[Ingress], expected: &str) {
    let routes = Routes::new(ingresses);
    for line in expected.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (url, service) = line.split_once(" => ").unwrap();
        let (host, path) = url.split_at(url.find('/').unwrap());
        let found = routes.find(host, path);
        let found =
            found.map_or("-", |route| route.backend.as_ref().map_or("?", |b| &b.service.name));
        assert_eq!(found, service, "{line}");
    }
}

#[test]
fn the_documents_cases() {
    let shop = ingress("shop", OLD, "- /products Prefix products\n - /cart Prefix cart");
    check(
        &[shop],
        "shop.local/products => products
         127.0.0.1:8080/products/7 => products
         x/cart => cart
         x/cart/ => cart
         x/ => -
         x/carts => -",
    );
    let ui = ingress("ui", OLD, "- /api Prefix backend-service\n - /ui Prefix frontend-service");
    check(&[ui], "a/api/v1/x => backend-service\n a/ui => frontend-service\n a/apiary => -");
    let hosts =
        ingress("hosts", OLD, "api.myapp.local / Prefix api\n app.myapp.local / Prefix app");
    check(
        &[hosts],
        "api.myapp.local/ => api
         app.myapp.local/x/y => app
         API.MyApp.local:8080/ => api
         api.myapp.local./ => api
         myapp.local/ => -
         other/ => -",
    );
}

/// The table of Kubernetes' documentation ("Examples" of path types).
#[test]
fn paths_match_as_documented() {
    let rows = [
        ("Prefix", "/", "/anything", true),
        ("Exact", "/foo", "/foo", true),
        ("Exact", "/foo", "/bar", false),
        ("Exact", "/foo", "/foo/", false),
        ("Exact", "/foo/", "/foo", false),
        ("Prefix", "/foo", "/foo", true),
        ("Prefix", "/foo", "/foo/", true),
        ("Prefix", "/foo/", "/foo", true),
        ("Prefix", "/foo/", "/foo/", true),
        ("Prefix", "/aaa/bb", "/aaa/bbb", false),
        ("Prefix", "/aaa/bbb", "/aaa/bbb", true),
        ("Prefix", "/aaa/bbb/", "/aaa/bbb", true),
        ("Prefix", "/aaa/bbb", "/aaa/bbb/", true),
        ("Prefix", "/aaa/bbb", "/aaa/bbb/ccc", true),
        ("Prefix", "/aaa/bbb", "/aaa/bbbxyz", false),
        ("Prefix", "/Foo", "/foo", false),
        ("Exact", "/Foo", "/foo", false),
        ("ImplementationSpecific", "/aaa", "/aaa/b", true),
        ("ImplementationSpecific", "/", "/x", true),
    ];
    for (kind, path, request, matches) in rows {
        let routes = Routes::new(&[ingress("a", OLD, &format!("- {path} {kind} web"))]);
        assert_eq!(routes.find("h", request).is_some(), matches, "{kind} {path} {request}");
    }
}

#[test]
fn the_longest_wins_and_exact_before_it() {
    let all = ingress(
        "a",
        OLD,
        "- / Prefix root
         - /aaa Prefix short
         - /aaa/bbb Prefix long
         - /aaa/bbb Exact exact",
    );
    check(
        &[all],
        "h/ccc => root
         h/aaa/ccc => short
         h/aaa/bbb => exact
         h/aaa/bbb/ => long
         h/aaa/bbb/ccc => long",
    );
}

#[test]
fn hosts_come_before_wildcards_before_none() {
    let all = ingress(
        "a",
        OLD,
        "foo.bar.com / Prefix own
         *.bar.com / Prefix wild
         *.bar.com /deep Prefix deep
         - / Prefix any
         - /only Prefix only
         api.x.com /v1 Prefix v1",
    );
    check(
        &[all],
        "foo.bar.com/deep => own
         x.bar.com/ => wild
         x.bar.com/deep => deep
         y.x.bar.com/ => any
         bar.com/ => any
         other/only/x => only
         api.x.com/v1 => v1
         api.x.com/v2 => any",
    );
}

#[test]
fn what_no_rule_matches_is_the_defaults() {
    let with = ingress("b", YOUNG, "default fallback\n a.com /x Prefix x\n bare.com");
    let older = ingress("a", OLD, "default first");
    check(
        std::slice::from_ref(&with),
        "a.com/x => x\n a.com/y => fallback\n other/ => fallback\n bare.com/ => fallback",
    );
    check(
        &[with, older],
        "a.com/y => fallback\n bare.com/ => fallback\n a.com/x => x\n other/ => first",
    );
}

#[test]
fn of_two_that_claim_the_same_the_older_has_it() {
    let old = ingress("z", OLD, "a.com /x Prefix old\n a.com /y/ Prefix old");
    let young = ingress(
        "a",
        YOUNG,
        "a.com /x Prefix young\n a.com /y Prefix young\n a.com /z Prefix young",
    );
    for both in [[old.clone(), young.clone()], [young.clone(), old.clone()]] {
        check(&both, "a.com/x => old\n a.com/y => old\n a.com/z => young");
    }
    let twin = ingress("b", YOUNG, "a.com /z Prefix twin");
    check(&[twin, young], "a.com/z => young");
}

#[test]
fn no_way_of_writing_a_path_leads_around_a_route() {
    let all =
        ingress("a", OLD, "- /public Prefix public\n - /admin Prefix admin\n - /a%2Fb Exact odd");
    check(
        &[all],
        "h/public/../admin => admin
         h/public/%2e%2E/admin/x => admin
         h//admin => admin
         h/./admin => admin
         h/%61dmin => admin
         h/admin/.. => -
         h/../../admin/./ => admin
         h/a%2Fb => odd
         h/public/100%/x => public",
    );
}

fn in_namespace(namespace: &str, mut ingress: Ingress) -> Ingress {
    ingress.metadata.namespace = Some(namespace.into());
    ingress
}

/// A default backend is for what its own Ingress leaves open: it takes nothing from the hosts of others.
#[test]
fn a_default_of_one_namespace_is_not_anothers() {
    let other = in_namespace("other", ingress("a", OLD, "default theirs\n their.com /x Prefix x"));
    let ours = ingress("b", YOUNG, "default ours\n our.com /x Prefix x");
    let bare = ingress("c", YOUNG, "no.com /x Prefix x");
    let rules = "our.com/y => ours\n their.com/y => theirs";
    check(&[other.clone(), ours.clone()], rules);
    let all = in_namespace("third", ingress("d", YOUNG, "default all"));
    let rules = "our.com/y => ours\n their.com/y => theirs\n no.com/y => all\n else/ => all";
    check(&[other, ours.clone(), bare, all], rules);
    // A rule of anybody's for the host comes before it; what has no host comes after.
    let path = ingress("e", YOUNG, "our.com / Prefix late\n - /z Prefix any");
    check(&[ours, path], "our.com/y => late\n our.com/z => late\n other/z => any");
}

#[test]
fn secrets_are_those_of_who_has_rules_for_the_host() {
    let check = |ingresses: &[Ingress], expected: &[(&str, &[&str])]| {
        let routes = Routes::new(ingresses);
        let mut found: Vec<(String, Vec<String>)> = routes
            .secrets()
            .map(|(host, keys)| (host.into(), keys.iter().map(ToString::to_string).collect()))
            .collect();
        found.sort();
        let expected: Vec<(String, Vec<String>)> = expected
            .iter()
            .map(|(host, keys)| ((*host).into(), keys.iter().map(|key| (*key).into()).collect()))
            .collect();
        assert_eq!(found, expected);
    };
    check(
        &[
            ingress("a", OLD, "tls a.com cert\n tls *.b.com wild\n a.com / Prefix web"),
            ingress("b", YOUNG, "tls - rules\n tls A.com late\n c.com / Prefix web"),
        ],
        &[
            (".b.com", &["default/wild"]),
            ("a.com", &["default/cert"]),
            ("c.com", &["default/rules"]),
        ],
    );
    // Whoever has rules for the host, too, is asked next: what comes first may be of no use.
    check(
        &[
            in_namespace("other", ingress("a", OLD, "tls a.com theirs\n a.com /x Prefix x")),
            ingress("b", YOUNG, "tls a.com ours\n a.com / Prefix web"),
        ],
        &[("a.com", &["other/theirs", "default/ours"])],
    );
    // Who has none claims nothing of another's, however old.
    check(
        &[
            in_namespace("other", ingress("a", OLD, "tls a.com theirs\n default x")),
            ingress("b", YOUNG, "tls x.b.com ours\n *.b.com / Prefix web\n a.com / Prefix web"),
        ],
        &[("x.b.com", &["default/ours"])],
    );
    // Nor does an entry without a Secret.
    check(&[ingress("a", OLD, "a.com / Prefix web")], &[]);
}

#[test]
fn only_ingresses_of_our_classes_are_served() {
    let class = |name: &str, controller: &str| -> IngressClass {
        serde_json::from_value(
            json!({"metadata": {"name": name}, "spec": {"controller": controller}}),
        )
        .unwrap()
    };
    let classes =
        own_classes(&[class("kube-mini", CONTROLLER), class("nginx", "k8s.io/ingress-nginx")]);
    let with = |spec: Value, annotations: Value| -> Ingress {
        serde_json::from_value(json!({"metadata": {"annotations": annotations}, "spec": spec}))
            .unwrap()
    };
    let check = |spec: Value, annotations: Value, expected: bool| {
        assert_eq!(is_of_class(&with(spec.clone(), annotations), &classes), expected, "{spec}");
    };
    let annotated = |class: &str| json!({CLASS_ANNOTATION: class});
    check(json!({"ingressClassName": "kube-mini"}), json!({}), true);
    check(json!({"ingressClassName": "nginx"}), annotated("kube-mini"), false);
    check(json!({}), annotated("kube-mini"), true);
    check(json!({}), annotated("nginx"), false);
    check(json!({}), json!({}), false);
}

#[test]
fn backends_are_named_once_and_resources_by_nobody() {
    let mut all = ingress("a", OLD, "- /a Prefix web\n - /b Prefix web\n default other");
    let resource = json!({"path": "/r", "pathType": "Prefix", "backend": {"resource": {"kind": "Bucket", "name": "b"}}});
    all.spec.rules[0].http.as_mut().unwrap().paths.push(serde_json::from_value(resource).unwrap());
    let routes = Routes::new(&[all]);
    let names: Vec<&str> = routes.backends().iter().map(|b| b.service.name.as_str()).collect();
    assert_eq!(names, ["other", "web"]);
    assert_eq!(routes.find("h", "/r").unwrap().backend, None);
}
