//! `hashicorp/http-echo`: answers every request with one text.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use super::program;
use crate::catalogue::ImageDefinition;
use crate::program::{ContainerContext, ExitStatus};
use crate::web;

pub(super) fn image() -> ImageDefinition {
    ImageDefinition::named(&[("http-echo", program(run))])
        .entrypoint(&["/http-echo"])
        .without_userland()
        .megabytes(4)
}

/// Value of `-name=value`, `--name value` and their mixtures.
pub(super) fn flag(context: &ContainerContext, name: &str) -> Option<String> {
    let words = &context.args;
    words.iter().enumerate().find_map(|(index, word)| {
        let word = word.strip_prefix('-')?;
        let word = word.strip_prefix('-').unwrap_or(word);
        match word.split_once('=') {
            Some((known, value)) => (known == name).then(|| value.to_owned()),
            None => (word == name).then(|| words.get(index + 1).cloned())?,
        }
    })
}

async fn run(context: ContainerContext) -> ExitStatus {
    let text = flag(&context, "text").or_else(|| context.env("ECHO_TEXT").map(str::to_owned));
    let Some(text) = text else {
        // A log that cannot be written changes nothing.
        let _ = context.stderr.write_all("Missing -text option!\n").await;
        return ExitStatus(127);
    };
    let address = flag(&context, "listen").unwrap_or_else(|| ":5678".to_owned());
    let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
    let status = flag(&context, "status-code").and_then(|code| code.parse().ok());
    let status = status.unwrap_or(StatusCode::OK);
    let listener = match port {
        Some(port) => web::listen(&context, port).await,
        None => Err(std::io::ErrorKind::InvalidInput.into()),
    };
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => {
            let line = format!("[ERR] Server exited with: listen tcp {address}: {error}\n");
            let _ = context.stderr.write_all(line).await;
            return ExitStatus(127);
        }
    };
    let time = || context.clock.now().strftime("%Y/%m/%d %H:%M:%S").to_string();
    let line = format!("{} [INFO] server is listening on {address}\n", time());
    let _ = context.stdout.write_all(line).await;
    let shared = Arc::new(context.clone());
    web::serve(&context, listener, move |request| {
        let context = shared.clone();
        let body = format!("{text}\n");
        async move {
            let now = context.clock.now().strftime("%Y/%m/%d %H:%M:%S").to_string();
            let line = format!(
                "{now} {} {} \"{} {} {:?}\" {} {} \"{}\" 0s\n",
                request.header("host"),
                request.peer,
                request.head.method,
                request.head.uri,
                request.head.version,
                status.as_u16(),
                body.len(),
                request.header("user-agent"),
            );
            let _ = context.stdout.write_all(line).await;
            let mut response = web::text(status, "text/plain; charset=utf-8", body);
            let headers = response.headers_mut();
            headers.insert("x-app-name", HeaderValue::from_static("http-echo"));
            headers.insert("x-app-version", HeaderValue::from_static("1.0.0"));
            response
        }
    })
    .await;
    ExitStatus::SUCCESS
}
