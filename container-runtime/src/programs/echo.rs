//! HTTP echo on the declared ports: what unknown images do.

use std::fmt::Write;
use std::sync::Arc;

use futures::future::join_all;
use http::StatusCode;

use super::pause;
use crate::program::{ContainerContext, ExitStatus, Protocol};
use crate::web::{self, Received};

/// Serves every declared TCP port; without one it waits, as `pause` does.
pub(crate) async fn run(context: ContainerContext) -> ExitStatus {
    let ports = context.ports.iter().filter(|port| port.protocol == Protocol::Tcp);
    let ports: Vec<u16> = ports.map(|port| port.port).collect();
    if ports.is_empty() {
        return pause::run(context).await;
    }
    let image = &context.image.reference;
    let note = format!("{image} is not in the catalogue: serving HTTP echo on {ports:?}\n");
    // A log that cannot be written is no reason not to serve.
    let _ = context.stdout.write_all(note).await;
    let mut listeners = Vec::new();
    for port in ports {
        match web::listen(&context, port).await {
            Ok(listener) => listeners.push(listener),
            Err(error) => {
                let line = format!("failed to listen on port {port}: {error}\n");
                let _ = context.stderr.write_all(line).await;
                return ExitStatus(1);
            }
        }
    }
    let context = Arc::new(context);
    join_all(listeners.into_iter().map(|listener| {
        let shared = context.clone();
        let context = context.clone();
        async move {
            let handler = move |request: Received| {
                let body = describe(&shared, &request);
                async move { web::text(StatusCode::OK, "text/plain; charset=utf-8", body) }
            };
            web::serve(&context, listener, handler).await;
        }
    }))
    .await;
    ExitStatus::SUCCESS
}

/// Who answered and what was asked.
pub(super) fn describe(context: &ContainerContext, request: &Received) -> String {
    let head = &request.head;
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}: {value}");
    };
    line("Hostname", &context.hostname);
    line("Image", &context.image.reference);
    line("IP", &context.network.ip());
    line("RemoteAddr", &request.peer);
    line("Request", &format!("{} {} {:?}", head.method, head.uri, head.version));
    for (name, value) in &head.headers {
        line(name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
    }
    if !request.body.is_empty() {
        text.push('\n');
        text.push_str(&String::from_utf8_lossy(&request.body));
    }
    text
}
