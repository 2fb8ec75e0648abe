//! `kubectl port-forward`: ports of this machine that lead to ports of a pod.

use std::net::SocketAddr;

use apimachinery::{
    api::core::{Pod, Service},
    field::go_quote,
};
use client::wire;
use futures::{
    FutureExt, StreamExt,
    stream::{self, FuturesUnordered, LocalBoxStream},
};
use proto::v1::{PodRef, PortForwardInput, PortForwardStart, port_forward_input::Kind};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    cli::{
        Command,
        values::{Signed, parse_duration},
    },
    context::Context,
    errors::CommandError,
    pods::{Order, choose},
    resources::{Item, Selection, Targets, fetch},
    session::pod_by_default,
};

/// Forwards ports to a pod.
#[derive(clap::Args, Clone, Debug)]
pub struct PortForward {
    /// The pod, or what has pods; and the ports.
    pub arguments: Vec<String>,
    /// Addresses to listen on (comma separated). localhost means 127.0.0.1 and ::1.
    #[arg(long, value_delimiter = ',', default_value = "localhost")]
    pub address: Vec<String>,
    /// The length of time (like 5s, 2m, or 3h, higher than zero) to wait until at least one pod is running
    #[arg(long, default_value = "1m0s", value_parser = parse_duration)]
    pub pod_running_timeout: Signed,
}

fn refuse<T>(text: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::Message(text.into()))
}

/// A port here, and one there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ports {
    /// 0: any that is free.
    local: u16,
    remote: u16,
}

/// How much is sent at once.
const CHUNK: usize = 16 * 1024;
/// Chunks that may wait.
const WAITING: usize = 4;

impl Command for PortForward {
    const NAME: &'static str = "port-forward";
    const ABOUT: &'static str = "Forward one or more local ports to a pod";
    const USAGE: &'static str = "port-forward TYPE/NAME [options] [LOCAL_PORT:]REMOTE_PORT [...[LOCAL_PORT_N:]REMOTE_PORT_N]";
    const HELP: &'static str = "Forward ports of this machine to a pod, as long as the command runs. Of a Service or a workload, one pod is chosen at the start, and all connections go to it.";
    const EXAMPLES: &'static str = "# Listen on port 8888 here, forwarding to 5000 in the pod
kubectl-mini port-forward pod/mypod 8888:5000

# Forward to the service's port named \"https\"
kubectl-mini port-forward service/myservice 8443:https

# Listen on any free port here
kubectl-mini port-forward deployment/mydeployment :5000";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let usage = |message: &str| Err(CommandError::usage(Self::NAME, message));
        let [named, ports @ ..] = self.arguments.as_slice() else {
            return usage("TYPE/NAME and list of ports are required for port-forward");
        };
        if ports.is_empty() {
            return usage("TYPE/NAME and list of ports are required for port-forward");
        }
        if !self.pod_running_timeout.is_positive() {
            return usage("--pod-running-timeout must be higher than zero");
        }
        let selection = Selection {
            arguments: pod_by_default(std::slice::from_ref(named)),
            single_type: true,
            ..Selection::default()
        };
        let Targets { targets, errors, .. } = selection.targets(context).await?;
        CommandError::gather(errors)?;
        let mut items = Vec::new();
        for target in &targets {
            items.extend(fetch(context, target, 0).await?);
        }
        let [item] = items.as_slice() else {
            return refuse("cannot attach to multiple objects at a time");
        };
        let timeout = self.pod_running_timeout.magnitude;
        let pod = choose(context, item, Order::ForExec, timeout, "cannot attach to").await?.pod;
        let ports: Vec<Ports> =
            ports.iter().map(|text| translate(text, item, &pod)).collect::<Result<_, _>>()?;
        let phase = pod.status.phase.as_deref().unwrap_or_default();
        if phase != "Running" {
            return refuse(format!(
                "unable to forward port because pod is not running. Current status={phase}"
            ));
        }
        let mut listening = Vec::new();
        for ports in &ports {
            listening.extend(listen(context, &self.address, *ports).await?);
        }
        if listening.is_empty() {
            let ports: Vec<String> =
                ports.iter().map(|ports| format!("{{{} {}}}", ports.local, ports.remote)).collect();
            return refuse(format!(
                "unable to listen on any of the requested ports: [{}]",
                ports.join(" ")
            ));
        }
        forward(context, &pod, listening).await
    }
}

/// Reads `LOCAL:REMOTE`, `:REMOTE` or `REMOTE`, and finds out which port of the pod is meant.
fn translate(text: &str, item: &Item, pod: &Pod) -> Result<Ports, CommandError> {
    let parts: Vec<&str> = text.split(':').collect();
    let (local, remote) = match parts.as_slice() {
        [remote] => (*remote, *remote),
        [local, remote] => (*local, *remote),
        _ => return refuse(format!("invalid port format '{text}'")),
    };
    let number = |text: &str, which: &str| {
        text.parse::<u16>().map_err(|_| {
            let why =
                if text.parse::<u64>().is_ok() { "value out of range" } else { "invalid syntax" };
            CommandError::message(format!(
                "error parsing {which} port '{text}': strconv.ParseUint: parsing {}: {why}",
                go_quote(text)
            ))
        })
    };
    let named_of_pod = |name: &str| {
        let ports = pod.spec.containers.iter().flat_map(|container| &container.ports);
        let found = ports.filter(|port| port.name.as_deref() == Some(name));
        found.map(|port| port.container_port).next()
    };
    let (remote_port, service_port) = if item.info.kind == "Service" {
        let service: Service =
            item.object.view().map_err(|error| CommandError::message(error.to_string()))?;
        of_service(&service, remote, &named_of_pod)?
    } else if let Ok(port) = remote.parse::<u16>() {
        (port, port)
    } else if remote.chars().all(|c| c.is_ascii_digit()) {
        (number(remote, "remote")?, 0)
    } else {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let Some(port) = named_of_pod(remote).and_then(|port| u16::try_from(port).ok()) else {
            return refuse(format!("Pod '{name}' does not have a named port '{remote}'"));
        };
        (port, port)
    };
    if remote_port == 0 {
        return refuse("remote port must be > 0");
    }
    let local = match (parts.len(), local) {
        (1, _) => service_port,
        (_, "") => 0,
        (_, local) => number(local, "local")?,
    };
    Ok(Ports { local, remote: remote_port })
}

/// The pod's port behind a Service's port, and that port's number.
fn of_service(
    service: &Service,
    text: &str,
    named_of_pod: &dyn Fn(&str) -> Option<i32>,
) -> Result<(u16, u16), CommandError> {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let found = service
        .spec
        .ports
        .iter()
        .find(|port| port.name.as_deref() == Some(text) || port.port.to_string() == text);
    let Some(port) = found else {
        return refuse(match text.parse::<u16>() {
            Ok(number) => format!("Service {name} does not have a service port {number}"),
            Err(_) => format!("Service '{name}' does not have a named port '{text}'"),
        });
    };
    let own = u16::try_from(port.port).unwrap_or_default();
    if service.spec.cluster_ip.as_deref() == Some("None") {
        return Ok((own, own));
    }
    let target = serde_json::to_value(&port.target_port).unwrap_or_default();
    let target = match &target {
        Value::Number(number) => number.as_u64().and_then(|port| u16::try_from(port).ok()),
        Value::String(target) => match named_of_pod(target) {
            Some(port) => u16::try_from(port).ok(),
            None => return refuse(format!("Pod does not have a named port '{target}'")),
        },
        _ => None,
    };
    Ok((target.filter(|port| *port > 0).unwrap_or(own), own))
}

struct Listening {
    listener: TcpListener,
    ports: Ports,
}

/// Listens on all the addresses; one is enough.
async fn listen(
    context: &Context,
    addresses: &[String],
    ports: Ports,
) -> Result<Vec<Listening>, CommandError> {
    let mut listening: Vec<Listening> = Vec::new();
    let mut failures = Vec::new();
    for address in addresses {
        let hosts: &[&str] =
            if address == "localhost" { &["127.0.0.1", "::1"] } else { &[address.as_str()] };
        for host in hosts {
            let Ok(ip) = host.parse() else {
                return refuse(format!("{host} is not a valid IP"));
            };
            // All addresses of one port get the same one, where any will do.
            let local = listening.first().map_or(ports.local, |first| first.ports.local);
            let wanted = SocketAddr::new(ip, local);
            match TcpListener::bind(wanted).await {
                Ok(listener) => {
                    let local = listener.local_addr().map_or(local, |address| address.port());
                    let bound = SocketAddr::new(ip, local);
                    context.print(&format!("Forwarding from {bound} -> {}\n", ports.remote))?;
                    listening.push(Listening { listener, ports: Ports { local, ..ports } });
                }
                Err(error) => {
                    let family = if wanted.is_ipv4() { "tcp4" } else { "tcp6" };
                    let why = crate::generate::sources::go_io_error(&error);
                    failures.push(format!(
                        "unable to create listener: Error listen {family} {wanted}: bind: {why}"
                    ));
                }
            }
        }
    }
    if listening.is_empty() {
        context.print_err(&format!(
            "Unable to listen on port {}: Listeners failed to create with the following errors: [{}]\n",
            ports.local,
            failures.join(" ")
        ))?;
    }
    Ok(listening)
}

/// Serves connections until the process ends.
async fn forward(
    context: &Context,
    pod: &Pod,
    listening: Vec<Listening>,
) -> Result<(), CommandError> {
    let accepts = listening.into_iter().map(|Listening { listener, ports }| {
        let accepted: LocalBoxStream<'static, (std::io::Result<TcpStream>, Ports)> =
            stream::unfold(listener, move |listener| async move {
                let accepted = listener.accept().await.map(|(socket, _)| socket);
                Some(((accepted, ports), listener))
            })
            .boxed_local();
        accepted
    });
    let mut accepts = stream::select_all(accepts);
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some((accepted, ports)) = accepts.next() => {
                let Ok(socket) = accepted else { continue };
                context.print(&format!("Handling connection for {}\n", ports.local))?;
                connections.push(serve(context, pod, socket, ports).map(move |end| (end, ports)));
            }
            Some((end, Ports { local, remote })) = connections.next(), if !connections.is_empty() => {
                if let Err(error) = end {
                    context.print_err(&format!(
                        "error: an error occurred forwarding {local} -> {remote}: {error}\n"
                    ))?;
                }
            }
        }
    }
}

/// Carries the bytes of one connection, until the pod has ended its side.
async fn serve(
    context: &Context,
    pod: &Pod,
    socket: TcpStream,
    ports: Ports,
) -> Result<(), CommandError> {
    let start = PortForwardStart {
        pod: Some(PodRef {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            container: String::new(),
            uid: String::new(),
        }),
        port: ports.remote.into(),
    };
    let (sender, receiver) = mpsc::channel(WAITING);
    let input = |kind| PortForwardInput { kind: Some(kind) };
    let first = input(Kind::Start(start));
    let requests = stream::once(async { first }).chain(ReceiverStream::new(receiver));
    let failed = |status: tonic::Status| CommandError::from(wire::from_tonic(&status));
    let mut replies =
        context.client()?.streams().port_forward(requests).await.map_err(failed)?.into_inner();
    let (mut reader, mut writer) = socket.into_split();
    let up = async move {
        let mut buffer = vec![0; CHUNK];
        while let Ok(length @ 1..) = reader.read(&mut buffer).await {
            let data = buffer[..length].to_vec().into();
            if sender.send(input(Kind::Data(data))).await.is_err() {
                break;
            }
        }
        drop(sender);
        std::future::pending::<()>().await;
    };
    let down = async {
        while let Some(reply) = replies.message().await.map_err(failed)? {
            if writer.write_all(&reply.data).await.is_err() {
                return Ok(());
            }
        }
        // The client may have gone first.
        let _ = writer.shutdown().await;
        Ok(())
    };
    tokio::select! {
        result = down => result,
        () = up => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use apimachinery::{object::Object, resource};
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_lead_to_the_pods_own() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "p" },
            "spec": { "containers": [{ "name": "c", "ports": [{ "name": "web", "containerPort": 8080 }] }] },
        }))
        .unwrap();
        let item = |info, json| Item { info, object: Object::from_value(json).unwrap() };
        let itself = item(&resource::PODS, json!({ "kind": "Pod" }));
        let service = item(
            &resource::SERVICES,
            json!({ "kind": "Service", "metadata": { "name": "s" }, "spec": { "clusterIP": "10.96.0.9", "ports": [
                { "name": "http", "port": 80, "targetPort": "web" }, { "name": "x", "port": 81, "targetPort": 9000 },
            ] } }),
        );
        let check = |item: &Item, text: &str, expected: Result<(u16, u16), &str>| {
            let got = translate(text, item, &pod).map(|ports| (ports.local, ports.remote));
            assert_eq!(
                got.map_err(|error| error.to_string()),
                expected.map_err(ToOwned::to_owned),
                "{text}"
            );
        };
        check(&itself, "80", Ok((80, 80)));
        check(&itself, "8000:80", Ok((8000, 80)));
        check(&itself, ":web", Ok((0, 8080)));
        check(&itself, "1:2:3", Err("invalid port format '1:2:3'"));
        check(
            &itself,
            "x:80",
            Err("error parsing local port 'x': strconv.ParseUint: parsing \"x\": invalid syntax"),
        );
        check(&itself, "nope", Err("Pod 'p' does not have a named port 'nope'"));
        check(&itself, "0", Err("remote port must be > 0"));
        check(&service, "80", Ok((80, 8080)));
        check(&service, "8000:http", Ok((8000, 8080)));
        check(&service, "81", Ok((81, 9000)));
        check(&service, "99", Err("Service s does not have a service port 99"));
    }
}
