use serde_json::json;

use super::{service::Service, *};

#[test]
fn labels_are_parsed() {
    let check = |spec: &str, expected: Result<&[(&str, &str)], &str>| {
        let expected = expected
            .map(|pairs| {
                pairs
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                    .collect::<BTreeMap<_, _>>()
            })
            .map_err(|text| GenerateError(text.to_owned()));
        assert_eq!(parse_labels(spec), expected, "{spec}");
    };
    check("a=b,c=", Ok(&[("a", "b"), ("c", "")]));
    check("", Err("no label spec passed"));
    check("a", Err("unexpected label spec: a"));
    check("a=b=c", Err("unexpected label spec: a=b=c"));
}

#[test]
fn containers_are_named_after_images() {
    let check = |image: &str, expected: &str| {
        assert_eq!(container_name(image, || "x".to_owned()), expected, "{image}");
    };
    check("nginx", "nginx");
    check("docker.io/library/nginx:1.2", "nginx");
    check("busybox@sha256:abc", "busybox");
    check("localhost:5000/a_b.c:1", "a-b-c-x");
}

#[test]
fn suffixes_have_five_characters() {
    assert_eq!(random_suffix().len(), 5);
}

#[test]
fn ports_are_read() {
    let check = |tcp: &str, expected: Result<serde_json::Value, &str>| {
        let service = Service { tcp: vec![tcp.to_owned()], ..Service::default() };
        let ports =
            service.generate().map(|service| service.get(&["spec", "ports"]).cloned().unwrap());
        assert_eq!(ports, expected.map_err(|text| GenerateError(text.to_owned())), "{tcp}");
    };
    let port = |name: &str, port: i32, target: serde_json::Value| json!([{"name": name, "port": port, "protocol": "TCP", "targetPort": target}]);
    check("80", Ok(port("80", 80, json!(80))));
    check("80:8080", Ok(port("80-8080", 80, json!(8080))));
    check("80:http", Ok(port("80-http", 80, json!("http"))));
    check("abc", Err("strconv.ParseUint: parsing \"abc\": invalid syntax"));
    check("70000", Err("strconv.ParseUint: parsing \"70000\": value out of range"));
    check("80:99999", Err("must be between 1 and 65535, inclusive"));
}

#[test]
fn hashes_are_kubectls() {
    let data = Map::from_iter([("a".to_owned(), json!("1"))]);
    assert_eq!(hash::config_map("c", &data, &Map::new()), "9dtcmmmm5t");
    let data = Map::from_iter([("a".to_owned(), json!("MQ=="))]);
    assert_eq!(hash::secret("s", "foo/bar", &data), "f7m6k2gd8h");
}

#[test]
fn json_comes_in_gos_order() {
    let deployment = deployment::Deployment {
        name: "a".to_owned(),
        images: vec!["x".to_owned()],
        replicas: 1,
        ..deployment::Deployment::default()
    };
    assert_eq!(
        go_order::compact(&deployment.generate().unwrap()),
        r#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"a","creationTimestamp":null,"labels":{"app":"a"}},"spec":{"replicas":1,"selector":{"matchLabels":{"app":"a"}},"template":{"metadata":{"creationTimestamp":null,"labels":{"app":"a"}},"spec":{"containers":[{"name":"x","image":"x","resources":{}}]}},"strategy":{}},"status":{}}"#
    );
    let empty = Object::default();
    assert_eq!(go_order::pretty(&empty), "{}");
}

#[test]
fn roles_are_checked() {
    let words = |text: &str| text.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>();
    let check = |cluster: bool, verbs: &str, resources: &str, paths: &str, expected: &str| {
        let role = rbac::Role {
            name: "r".to_owned(),
            cluster,
            verbs: words(verbs),
            resources: words(resources),
            paths: words(paths),
            ..rbac::Role::default()
        };
        assert_eq!(role.generate().unwrap_err().0, expected);
    };
    check(false, "", "", "", "at least one verb must be specified");
    check(false, "get", "", "", "at least one resource must be specified");
    check(true, "get", "", "", "one of resource or nonResourceURL must be specified");
    check(true, "list", "", "/healthz", "invalid verb: 'list' for nonResourceURL");
    check(true, "get", "", "healthz", "nonResourceURL should start with /");
    check(false, "get", "foo", "", "the server doesn't have a resource type \"foo\"");
    check(false, "bind", "pods", "", "can not perform 'bind' on 'pods' in group ''");
}
