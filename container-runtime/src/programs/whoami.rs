//! `traefik/whoami`: tells who answers and what was asked.

use std::fmt::Write;
use std::sync::Arc;

use http::StatusCode;

use super::program;
use crate::catalogue::ImageDefinition;
use crate::program::{ContainerContext, ExitStatus};
use crate::web::{self, Received};

pub(super) fn image() -> ImageDefinition {
    ImageDefinition::named(&[("whoami", program(run))])
        .entrypoint(&["/whoami"])
        .without_userland()
        .megabytes(3)
}

/// `--port`, `-port` or `WHOAMI_PORT_NUMBER`.
fn port(context: &ContainerContext) -> u16 {
    let words = &context.args;
    let flag = words.iter().enumerate().find_map(|(index, word)| {
        let word = word.trim_start_matches('-');
        match word.strip_prefix("port=") {
            Some(value) => Some(value.to_owned()),
            None if word == "port" => words.get(index + 1).cloned(),
            None => None,
        }
    });
    let value = flag.or_else(|| context.env("WHOAMI_PORT_NUMBER").map(str::to_owned));
    value.and_then(|value| value.parse().ok()).unwrap_or(80)
}

async fn run(context: ContainerContext) -> ExitStatus {
    let port = port(&context);
    let time = context.clock.now().strftime("%Y/%m/%d %H:%M:%S").to_string();
    let listener = match web::listen(&context, port).await {
        Ok(listener) => listener,
        Err(error) => {
            let line = format!("{time} listen tcp :{port}: bind: {error}\n");
            // A log that cannot be written changes nothing.
            let _ = context.stderr.write_all(line).await;
            return ExitStatus(1);
        }
    };
    let _ = context.stderr.write_all(format!("{time} Starting up on port {port}\n")).await;
    let shared = Arc::new(context.clone());
    web::serve(&context, listener, move |request| {
        let context = shared.clone();
        async move {
            match request.path() {
                "/health" => web::status(StatusCode::OK),
                _ => web::text(
                    StatusCode::OK,
                    "text/plain; charset=utf-8",
                    describe(&context, &request),
                ),
            }
        }
    })
    .await;
    ExitStatus::SUCCESS
}

fn describe(context: &ContainerContext, request: &Received) -> String {
    let head = &request.head;
    let mut text = String::new();
    if let Some(name) = context.env("WHOAMI_NAME") {
        // Writing to a string cannot fail; the same holds below.
        let _ = writeln!(text, "Name: {name}");
    }
    let _ = writeln!(text, "Hostname: {}", context.hostname);
    for interface in context.network.interfaces() {
        for (address, _) in &interface.addresses {
            let _ = writeln!(text, "IP: {address}");
        }
    }
    let _ = writeln!(text, "RemoteAddr: {}", request.peer);
    let _ = writeln!(text, "{} {} {:?}", head.method, head.uri, head.version);
    let _ = writeln!(text, "Host: {}", request.header("host"));
    for (name, value) in head.headers.iter().filter(|(name, _)| *name != "host") {
        let _ = writeln!(
            text,
            "{}: {}",
            web::title_case(name.as_str()),
            String::from_utf8_lossy(value.as_bytes())
        );
    }
    text.push('\n');
    text
}
