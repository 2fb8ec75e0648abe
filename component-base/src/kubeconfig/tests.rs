//! What others wrote stays; what we write works; what we cannot do is refused.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::{
    Cluster, Context, Kubeconfig, KubeconfigError, Overrides, User, load, load_file, update_file,
};
use crate::{
    clock::Clock,
    tls::{CertSpec, CertificateAuthority, KeyPair},
    transport::Endpoint,
};

fn pki() -> (String, KeyPair) {
    let now = jiff::Timestamp::now();
    let authority = CertificateAuthority::create("kubernetes", now).unwrap();
    let admin = authority.issue(&CertSpec::client("kubernetes-admin", &["system:masters"]), now);
    (authority.cert_pem().to_owned(), admin.unwrap())
}

fn ours(name: &str) -> Kubeconfig {
    let (ca, admin) = pki();
    Kubeconfig::single(
        name,
        Cluster::with_authority("https://127.0.0.1:6443", &ca),
        User::with_certificate(&admin),
    )
}

fn parse(yaml: &str) -> Kubeconfig {
    serde_yaml::from_str(yaml).unwrap()
}

/// As kubectl writes it, with things that we know nothing of.
const FOREIGN: &str = "apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: AAAA
    extensions:
    - extension:
        provider: minikube.sigs.k8s.io
      name: cluster_info
    server: https://10.0.0.1:6443
  name: work
contexts:
- context:
    cluster: work
    namespace: team
    user: me
  name: work
current-context: work
kind: Config
preferences:
  colors: true
users:
- name: me
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: get-token
";

#[tokio::test]
async fn merging_keeps_what_others_wrote_and_removing_restores_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    fs::write(&path, FOREIGN).unwrap();
    let clock = Clock::real();
    update_file(&path, &clock, |config| config.merge(ours("kube-mini"))).await.unwrap();
    let merged = load_file(&path).unwrap();
    assert_eq!(merged.current_context, "kube-mini");
    assert_eq!(merged.contexts.len(), 2);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    merged.resolve(&Overrides::default()).unwrap();

    update_file(&path, &clock, |config| {
        config.remove("kube-mini");
        config.current_context = "work".to_owned();
    })
    .await
    .unwrap();
    let left: serde_yaml::Value =
        serde_yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(left, serde_yaml::from_str::<serde_yaml::Value>(FOREIGN).unwrap());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "the lock is gone");
}

#[tokio::test]
async fn a_new_file_is_one_that_kubectl_reads() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/config");
    let clock = Clock::real();
    update_file(&path, &clock, |config| config.merge(ours("kube-mini"))).await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    for line in [
        "apiVersion: v1",
        "kind: Config",
        "current-context: kube-mini",
        "- cluster:",
        "- name: kube-mini",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn many_writers_at_once_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    let clock = Clock::real();
    let config = ours("x");
    let write = async |index: usize| {
        let mut config = config.clone();
        config.clusters[0].name = format!("c{index}");
        update_file(&path, &clock, |file| file.merge(config)).await.unwrap();
    };
    futures::future::join_all((0..20).map(write)).await;
    assert_eq!(load_file(&path).unwrap().clusters.len(), 20);
}

#[tokio::test]
async fn a_lock_that_stays_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    fs::write(directory.path().join("config.lock"), "").unwrap();
    let (clock, test_clock) = Clock::test(jiff::Timestamp::UNIX_EPOCH);
    let error = test_clock.run(update_file(&path, &clock, |_| ())).await.unwrap_err();
    assert!(error.to_string().ends_with("config.lock\""), "{error}");
    assert!(!path.exists());
}

#[test]
fn of_several_files_the_first_wins() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, yaml: &str| {
        let path = directory.path().join(name);
        fs::write(&path, yaml).unwrap();
        path
    };
    let entry = |server: &str| format!("clusters:\n- name: a\n  cluster: {{server: {server}}}\n");
    let paths = [
        write("one", &entry("https://one")),
        directory.path().join("missing"),
        write("two", &format!("current-context: c\n{}", entry("https://two"))),
        write("empty", ""),
    ];
    let config = load(&paths).unwrap();
    assert_eq!(config.cluster("a").unwrap().server, "https://one");
    assert_eq!(config.current_context, "c");
    assert_eq!(load(&paths[1..2]).unwrap(), Kubeconfig::default());
}

#[test]
fn a_context_leads_to_an_endpoint() {
    let config = ours("kube-mini");
    let check = |overrides: Overrides, server: &str, namespace: &str| {
        let resolved = config.resolve(&overrides).unwrap();
        let Endpoint::Tls(endpoint) = &resolved.endpoint else { panic!("{resolved:?}") };
        assert_eq!((endpoint.address(), resolved.namespace.as_str()), (server, namespace));
    };
    let none = Overrides::default();
    check(none.clone(), "127.0.0.1:6443", "default");
    check(Overrides { namespace: Some("x".to_owned()), ..none.clone() }, "127.0.0.1:6443", "x");
    let server = |server: &str| Overrides { server: Some(server.to_owned()), ..none.clone() };
    check(server("https://localhost"), "localhost:443", "default");
    check(server("https://[::1]:8443/"), "[::1]:8443", "default");
    check(server("https://[::1]"), "[::1]:443", "default");
}

#[test]
fn files_are_relative_to_the_one_that_names_them() {
    let directory = tempfile::tempdir().unwrap();
    let (ca, admin) = pki();
    for (name, contents) in
        [("ca.crt", &ca), ("me.crt", &admin.cert_pem), ("me.key", &admin.key_pem)]
    {
        fs::write(directory.path().join(name), contents).unwrap();
    }
    fs::write(directory.path().join("token"), "secret\n").unwrap();
    let path = directory.path().join("config");
    let yaml = "
clusters:
- {name: c, cluster: {server: 'https://127.0.0.1:1', certificate-authority: ca.crt}}
users:
- {name: u, user: {client-certificate: me.crt, client-key: me.key, tokenFile: token}}
contexts:
- {name: x, context: {cluster: c, user: u, namespace: n}}
current-context: x
";
    fs::write(&path, yaml).unwrap();
    let resolved = load_file(&path).unwrap().resolve(&Overrides::default()).unwrap();
    assert_eq!(resolved.endpoint.bearer_token(), Some("secret"));
    assert_eq!(resolved.namespace, "n");
    assert!(!format!("{resolved:?}").contains("secret"));
}

#[test]
fn what_cannot_be_used_is_refused() {
    let good = ours("a");
    let check = |change: &dyn Fn(&mut Kubeconfig), expected: &str| {
        let mut config = good.clone();
        change(&mut config);
        let error = config.resolve(&Overrides::default()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(&|config| config.current_context.clear(), "no current context");
    check(&|config| config.current_context = "x".to_owned(), "context \"x\" does not exist");
    check(&|config| config.clusters.clear(), "cluster \"a\" does not exist");
    check(&|config| config.users.clear(), "user \"a\" does not exist");
    check(
        &|config| config.clusters[0].value.server = "http://x".to_owned(),
        "invalid server of cluster \"a\": \"http://x\" is not an https:// URL",
    );
    check(
        &|config| config.clusters[0].value.insecure_skip_tls_verify = Some(true),
        "invalid insecure-skip-tls-verify of cluster \"a\": unverified TLS is not supported",
    );
    check(
        &|config| config.users[0].value.client_key_data = None,
        "invalid client-key of user \"a\": there is none for the client certificate",
    );
    check(
        &|config| config.users[0].value = parse(FOREIGN).users[0].value.clone(),
        "invalid exec of user \"a\": this way to authenticate is not supported",
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    fs::write(&path, "clusters: 7").unwrap();
    let error = load_file(&path).unwrap_err();
    assert!(matches!(error, KubeconfigError::Syntax { .. }), "{error:?}");
    assert!(matches!(load_file(Path::new("/nowhere/config")), Err(KubeconfigError::File { .. })));
}

#[test]
fn merging_again_keeps_the_users_namespace() {
    let mut config = ours("a");
    config.context_mut("a").unwrap().namespace = Some("mine".to_owned());
    config.merge(ours("a"));
    let expected = Context {
        cluster: "a".into(),
        user: "a".into(),
        namespace: Some("mine".into()),
        ..Context::default()
    };
    assert_eq!(config.context("a"), Some(&expected));
}
