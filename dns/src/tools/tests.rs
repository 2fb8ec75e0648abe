use std::{sync::Arc, time::Duration};

use container_runtime::{Container, ContainerSpec, ImageCatalogue, Runtime};

use crate::{
    resolver::{PodResolver, ResolvConf},
    testing::{DNS, World, some_records},
};

fn shell(world: &World, folder: &std::path::Path) -> Container {
    let mut catalogue = ImageCatalogue::new();
    super::register(&mut catalogue);
    let spec = ContainerSpec {
        name: "shell".into(),
        image: catalogue.resolve("busybox").unwrap(),
        command: vec!["sleep".into(), "infinity".into()],
        args: vec![],
        env: vec![],
        working_dir: None,
        mounts: vec![],
        network: world.client.clone(),
        hostname: "client".into(),
        ports: vec![],
        log_path: folder.join("log"),
        stdin: false,
        stdin_once: false,
        tty: false,
        termination_message_path: "/dev/termination-log".into(),
    };
    let container = Runtime::new(world.clock.clone()).create(spec).unwrap();
    container.start().unwrap();
    container
}

#[tokio::test]
async fn the_tools_print_what_is_known() {
    let world = World::new().await;
    world.serve(some_records(), vec![]).await;
    let conf = ResolvConf::cluster_first(DNS.parse().unwrap(), "default", "cluster.local");
    let text = conf.to_string();
    let resolver = PodResolver::new(world.clock.clone(), conf);
    world.client.set_resolver(text, Arc::new(resolver));
    let folder = tempfile::tempdir().unwrap();
    let container = shell(&world, folder.path());
    let head = "Server:\t\t10.96.0.10\nAddress:\t10.96.0.10:53\n\n";
    let web = "web.default.svc.cluster.local";
    // Nobody answers there, and in one second.
    let away =
        ";; communications error to 10.244.2.77#53: timed out\n;; no servers could be reached\n";
    for (line, expected, exit) in [
        ("cat /etc/resolv.conf".to_owned(), "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n".to_owned(), 0),
        ("nslookup web".to_owned(), format!("{head}Name:\t{web}\nAddress: 10.96.1.1\n\n"), 0),
        ("nslookup web.default".to_owned(), format!("{head}Name:\t{web}\nAddress: 10.96.1.1\n\n"), 0),
        (format!("nslookup {web} 10.96.0.10"), format!("{head}Name:\t{web}\nAddress: 10.96.1.1\n\n"), 0),
        ("nslookup -type=srv _http._tcp.web".to_owned(), format!("{head}_http._tcp.{web}\tservice = 0 100 80 {web}.\n\n"), 0),
        ("nslookup 10.96.1.1".to_owned(), format!("{head}1.1.96.10.in-addr.arpa\tname = {web}.\n\n"), 0),
        ("nslookup nosuch".to_owned(), format!("{head}** server can't find nosuch: NXDOMAIN\n\n"), 1),
        ("nslookup -type=aaaa web".to_owned(), format!("{head}*** Can't find web: No answer\n\n"), 1),
        ("nslookup -debug web".to_owned(), "nslookup: invalid option -- 'debug'\n".to_owned(), 1),
        ("host web".to_owned(), format!("{web} has address 10.96.1.1\n"), 0),
        ("host nosuch".to_owned(), "Host nosuch not found: 3(NXDOMAIN)\n".to_owned(), 1),
        ("host -t aaaa web".to_owned(), format!("{web} has no AAAA record\n"), 1),
        ("host 10.96.1.1".to_owned(), format!("1.1.96.10.in-addr.arpa domain name pointer {web}.\n"), 0),
        ("host -v web".to_owned(), "host: illegal option -- v\n".to_owned(), 1),
        (format!("dig +short {web}"), "10.96.1.1\n".to_owned(), 0),
        ("dig +short web".to_owned(), String::new(), 0),
        ("dig +short +search web".to_owned(), "10.96.1.1\n".to_owned(), 0),
        ("dig +short -x 10.96.1.1".to_owned(), format!("{web}.\n"), 0),
        (format!("dig +noall +answer {web} A"), format!("{web}.\t30\tIN\tA\t10.96.1.1\n"), 0),
        (format!("dig +short srv _http._tcp.{web} @10.96.0.10"), format!("0 100 80 {web}.\n"), 0),
        ("dig +tries=1 +time=1 @10.244.2.77 x".to_owned(), away.to_owned(), 9),
        ("dig +what x".to_owned(), "Invalid option: +what\n".to_owned(), 1),
        (format!("dig {web} | grep status | cut -d, -f2"), " status: NOERROR\n".to_owned(), 0),
        (format!("dig {web} | grep -c SECTION"), "2\n".to_owned(), 0),
    ] {
        let command = ["sh", "-c", &line].map(str::to_owned).to_vec();
        let done = container.exec_sync(command, Duration::from_secs(20)).await;
        let done = done.unwrap_or_else(|error| panic!("{line}: {error}"));
        let output = String::from_utf8_lossy(&done.output).into_owned();
        assert_eq!((output.as_str(), done.exit_code), (expected.as_str(), Some(exit)), "{line}");
    }
}
