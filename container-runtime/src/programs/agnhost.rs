//! `registry.k8s.io/e2e-test-images/agnhost`: the subcommands of Kubernetes' own test image that
//! demonstrations use.
//!
//! | subcommand | does |
//! |---|---|
//! | `netexec` | HTTP and UDP server: `/hostname`, `/clientip`, `/echo?msg=`, `/exit?code=`, `/healthz`, `/header?key=`, `/shell?cmd=`, `/dial` |
//! | `serve-hostname` | answers with the host name |
//! | `pause` | waits (the default) |
//! | `connect ADDR` | tells whether a TCP connection can be made |
//! | `test-webserver` | serves files |

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::json;
use tokio::sync::mpsc;

use super::http_echo::flag;
use super::{pause, program};
use crate::catalogue::ImageDefinition;
use crate::launch;
use crate::program::{ContainerContext, ExitStatus};
use crate::stdio::Output;
use crate::web::{self, Received};

/// Output of `/shell` that is kept.
const SHELL_LIMIT: usize = 1024 * 1024;

pub(super) fn image() -> ImageDefinition {
    ImageDefinition::named(&[("agnhost", program(run))])
        .entrypoint(&["/agnhost"])
        .cmd(&["pause"])
        .megabytes(52)
}

async fn run(context: ContainerContext) -> ExitStatus {
    let subcommand = context.args.get(1).map_or("pause", String::as_str);
    match subcommand {
        "pause" => {
            // A log that cannot be written changes nothing.
            let _ = context.stdout.write_all("Paused\n").await;
            pause::run(context).await
        }
        "netexec" => netexec(context).await,
        "serve-hostname" => serve_hostname(context).await,
        "connect" => connect(context).await,
        "test-webserver" => test_webserver(context).await,
        other => {
            let line = format!("Error: unknown command {other:?} for \"app\"\n");
            let _ = context.stderr.write_all(line).await;
            ExitStatus(1)
        }
    }
}

fn number(context: &ContainerContext, name: &str, default: u16) -> u16 {
    flag(context, name).and_then(|value| value.parse().ok()).unwrap_or(default)
}

async fn failed(context: &ContainerContext, error: &std::io::Error) -> ExitStatus {
    let _ = context.stderr.write_all(format!("{error}\n")).await;
    ExitStatus(1)
}

async fn netexec(context: ContainerContext) -> ExitStatus {
    let port = number(&context, "http-port", 8080);
    let udp = flag(&context, "udp-port").map_or(8081, |port| port.parse::<i32>().unwrap_or(-1));
    let listener = match web::listen(&context, port).await {
        Ok(listener) => listener,
        Err(error) => return failed(&context, &error).await,
    };
    let _ = context.stdout.write_all(format!("Started HTTP server on port {port}\n")).await;
    if let Ok(udp) = u16::try_from(udp) {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, udp));
        match context.network.bind_udp(address).await {
            Ok(socket) => {
                let hostname = context.hostname.clone();
                let _ =
                    context.stdout.write_all(format!("Started UDP server on port {udp}\n")).await;
                context.spawn(async move {
                    let mut buffer = vec![0; 65_536];
                    while let Ok((count, peer)) = socket.recv_from(&mut buffer).await {
                        let text = String::from_utf8_lossy(&buffer[..count]).trim().to_owned();
                        let answer =
                            match text.split_once(' ').map_or((text.as_str(), ""), |pair| pair) {
                                ("hostname", _) => hostname.to_string(),
                                ("echo", rest) => rest.to_owned(),
                                ("clientip", _) => peer.to_string(),
                                _ => continue,
                            };
                        // UDP promises nothing.
                        let _ = socket.send_to(answer.as_bytes(), peer).await;
                    }
                });
            }
            Err(error) => return failed(&context, &error).await,
        }
    }
    let (exit, mut exited) = mpsc::channel(1);
    let shared = Arc::new(context.clone());
    let serve = web::serve(&context, listener, move |request| {
        let (context, exit) = (shared.clone(), exit.clone());
        async move { Box::pin(netexec_answer(&context, &request, &exit)).await }
    });
    tokio::select! {
        () = serve => ExitStatus::SUCCESS,
        Some(code) = exited.recv() => ExitStatus(code),
    }
}

fn plain(text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    web::text(StatusCode::OK, "text/plain; charset=utf-8", text)
}

async fn netexec_answer(
    context: &ContainerContext,
    request: &Received,
    exit: &mpsc::Sender<i32>,
) -> Response<Full<Bytes>> {
    match request.path() {
        "/" => plain(format!("NOW: {}", context.clock.now())),
        "/hostname" | "/hostName" => plain(context.hostname.to_string()),
        "/clientip" => plain(request.peer.to_string()),
        "/healthz" => web::status(StatusCode::OK),
        "/echo" => {
            let code = request.query("code").and_then(|code| code.parse().ok());
            let text = request.query("msg").unwrap_or_default();
            web::text(code.unwrap_or(StatusCode::OK), "text/plain; charset=utf-8", text)
        }
        "/header" => {
            let key = request.query("key").unwrap_or_default();
            plain(request.header(&key.to_ascii_lowercase()).to_owned())
        }
        "/exit" => {
            let code = request.query("code").and_then(|code| code.parse().ok()).unwrap_or(0);
            // The first call ends the program; a second one has nothing left to end.
            let _ = exit.try_send(code);
            web::status(StatusCode::OK)
        }
        "/shell" => {
            let command = request.query("shellCommand").or_else(|| request.query("cmd"));
            shell(context, command.unwrap_or_default()).await
        }
        "/dial" => dial(context, request).await,
        _ => web::text(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n"),
    }
}

async fn shell(context: &ContainerContext, command: String) -> Response<Full<Bytes>> {
    let mut child = context.clone();
    child.args = vec!["/bin/sh".to_owned(), "-c".to_owned(), command];
    let (output, captured) = Output::capture(SHELL_LIMIT);
    (child.stdout, child.stderr) = (output.clone(), output);
    let status = match launch::find(&child, "sh") {
        Ok(program) => program.run(child).await,
        Err(_) => ExitStatus(127),
    };
    let text = String::from_utf8_lossy(&captured.take()).into_owned();
    let body = match status.success() {
        true => json!({ "output": text }),
        false => json!({ "output": text, "error": format!("exit status {}", status.0) }),
    };
    plain(format!("{body}\n"))
}

/// Asks other servers, once or several times: `/dial?host=…&port=…&request=hostname&tries=3`.
async fn dial(context: &ContainerContext, request: &Received) -> Response<Full<Bytes>> {
    let host = request.query("host").unwrap_or_default();
    let port = request.query("port").unwrap_or_default();
    let path = request.query("request").unwrap_or_default();
    let tries = request.query("tries").and_then(|tries| tries.parse::<u32>().ok()).unwrap_or(1);
    let (mut responses, mut errors) = (Vec::new(), Vec::new());
    for _ in 0..tries.min(100) {
        let mut child = context.clone();
        let url = format!("http://{host}:{port}/{}", path.trim_start_matches('/'));
        child.args = ["curl", "-sS", "-m", "5", &url].map(str::to_owned).to_vec();
        let (output, captured) = Output::capture(SHELL_LIMIT);
        let (stderr, complaint) = Output::capture(SHELL_LIMIT);
        (child.stdout, child.stderr) = (output, stderr);
        let Ok(program) = launch::find(&child, "curl") else { break };
        match program.run(child).await.success() {
            true => responses.push(String::from_utf8_lossy(&captured.take()).into_owned()),
            false => errors.push(String::from_utf8_lossy(&complaint.take()).trim().to_owned()),
        }
    }
    let body = match errors.is_empty() {
        true => json!({ "responses": responses }),
        false => json!({ "responses": responses, "errors": errors }),
    };
    plain(body.to_string())
}

async fn serve_hostname(context: ContainerContext) -> ExitStatus {
    let port = number(&context, "port", 9376);
    let listener = match web::listen(&context, port).await {
        Ok(listener) => listener,
        Err(error) => return failed(&context, &error).await,
    };
    let _ =
        context.stdout.write_all("Serving on port ".to_owned() + &port.to_string() + ".\n").await;
    let hostname = context.hostname.clone();
    web::serve(&context, listener, move |_| {
        let answer = plain(hostname.to_string());
        async move { answer }
    })
    .await;
    ExitStatus::SUCCESS
}

async fn connect(context: ContainerContext) -> ExitStatus {
    let target = context.args[2..].iter().find(|word| !word.starts_with('-')).cloned();
    let target = target.unwrap_or_default();
    let timeout = flag(&context, "timeout");
    let timeout = timeout.and_then(|text| text.trim_end_matches('s').parse().ok()).unwrap_or(10);
    let (host, port) = target.rsplit_once(':').unwrap_or((&target, ""));
    let attempt = async {
        let port =
            port.parse().map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
        let addresses = context.network.resolve(host).await?;
        let address = addresses.first().ok_or(std::io::ErrorKind::NotFound)?;
        context.network.connect_tcp((*address, port).into()).await
    };
    let connected = context.clock.timeout(Duration::from_secs(timeout), attempt).await;
    let word = match connected {
        Ok(Ok(_)) => return ExitStatus::SUCCESS,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => "REFUSED",
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => "DNS",
        Err(_) => "TIMEOUT",
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::TimedOut => "TIMEOUT",
        Ok(Err(_)) => "OTHER",
    };
    let _ = context.stderr.write_all(format!("{word}\n")).await;
    ExitStatus(1)
}

async fn test_webserver(context: ContainerContext) -> ExitStatus {
    let listener = match web::listen(&context, number(&context, "port", 80)).await {
        Ok(listener) => listener,
        Err(error) => return failed(&context, &error).await,
    };
    let files = context.files.clone();
    web::serve(&context, listener, move |request| {
        let path = web::percent_decode(request.path());
        let answer = match files.read(&path) {
            Ok(content) => web::text(StatusCode::OK, super::content_type(&path), content),
            Err(_) if files.is_dir(&path) => plain(""),
            Err(_) => web::text(
                StatusCode::NOT_FOUND,
                "text/plain; charset=utf-8",
                "404 page not found\n",
            ),
        };
        async move { answer }
    })
    .await;
    ExitStatus::SUCCESS
}
