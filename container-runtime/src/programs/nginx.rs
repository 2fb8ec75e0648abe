//! nginx: serves `/usr/share/nginx/html` of the container's files on port 80, as the official image.
//!
//! Answers, headers, error pages and the access log are nginx'. Its configuration language is not
//! read: a container that mounts one below `/etc/nginx` gets a line in its log that says so.

use std::sync::Arc;

use bytes::Bytes;
use futures::{
    FutureExt,
    future::{BoxFuture, ready},
};
use http::{HeaderValue, Method, Response, StatusCode, Version, header};
use http_body_util::Full;

use super::program;
use crate::catalogue::ImageDefinition;
use crate::files::Metadata;
use crate::launch;
use crate::program::{ContainerContext, ExitStatus};
use crate::web::{self, Received};

const VERSION: &str = "1.29.3";
const SERVER: &str = "nginx/1.29.3";
const ROOT: &str = "/usr/share/nginx/html";

const WELCOME: &str = r#"<!DOCTYPE html>
<html>
<head>
<title>Welcome to nginx!</title>
<style>
html { color-scheme: light dark; }
body { width: 35em; margin: 0 auto;
font-family: Tahoma, Verdana, Arial, sans-serif; }
</style>
</head>
<body>
<h1>Welcome to nginx!</h1>
<p>If you see this page, the nginx web server is successfully installed and
working. Further configuration is required.</p>

<p>For online documentation and support please refer to
<a href="http://nginx.org/">nginx.org</a>.<br/>
Commercial support is available at
<a href="http://nginx.com/">nginx.com</a>.</p>

<p><em>Thank you for using nginx.</em></p>
</body>
</html>
"#;

const PAGE_50X: &str = r#"<!DOCTYPE html>
<html>
<head>
<title>Error</title>
<style>
html { color-scheme: light dark; }
body { width: 35em; margin: 0 auto;
font-family: Tahoma, Verdana, Arial, sans-serif; }
</style>
</head>
<body>
<h1>An error occurred.</h1>
<p>Sorry, the page you are looking for is currently unavailable.<br/>
Please try again later.</p>
<p>If you are the system administrator of this resource then you should check
the error log for details.</p>
<p><em>Faithfully yours, nginx.</em></p>
</body>
</html>
"#;

pub(super) fn image() -> ImageDefinition {
    ImageDefinition::named(&[
        ("docker-entrypoint.sh", program(entrypoint)),
        ("nginx", program(run)),
    ])
    .entrypoint(&["/docker-entrypoint.sh"])
    .cmd(&["nginx", "-g", "daemon off;"])
    .env("NGINX_VERSION", VERSION)
    .file(&format!("{ROOT}/index.html"), WELCOME)
    .file(&format!("{ROOT}/50x.html"), PAGE_50X)
    .file("/etc/nginx/nginx.conf", "")
    .megabytes(72)
}

/// The image's `/docker-entrypoint.sh`: becomes its arguments, as `exec` does.
fn entrypoint(mut context: ContainerContext) -> BoxFuture<'static, ExitStatus> {
    context.args.remove(0);
    let Some(command) = context.args.first() else { return ready(ExitStatus(1)).boxed() };
    match launch::find(&context, command) {
        Ok(program) => program.run(context),
        Err(error) => async move {
            let name = &context.args[0];
            let line = format!("/docker-entrypoint.sh: 47: exec: {name}: not found\n");
            let _ = context.stderr.write_all(line).await;
            ExitStatus(error.exit_code())
        }
        .boxed(),
    }
}

async fn run(context: ContainerContext) -> ExitStatus {
    match context.args.get(1).map(String::as_str) {
        Some("-v") => {
            let _ = context.stderr.write_all(format!("nginx version: nginx/{VERSION}\n")).await;
            return ExitStatus::SUCCESS;
        }
        Some("-t") => {
            let file = "/etc/nginx/nginx.conf";
            let text = format!(
                "nginx: the configuration file {file} syntax is ok\n\
                 nginx: configuration file {file} test is successful\n"
            );
            let _ = context.stderr.write_all(text).await;
            return ExitStatus::SUCCESS;
        }
        _ => {}
    }
    let port = if context.image.reference.path.starts_with("library/") { 80 } else { 8080 };
    let listener = match web::listen(&context, port).await {
        Ok(listener) => listener,
        Err(error) => {
            notice(&context, "emerg", &format!("bind() to 0.0.0.0:{port} failed ({error})")).await;
            return ExitStatus(1);
        }
    };
    if context.files.mounts().iter().any(|(path, _)| path.starts_with("/etc/nginx")) {
        let text = "the mounted configuration is not read: serving /usr/share/nginx/html";
        notice(&context, "warn", text).await;
    }
    for line in ["using the \"epoll\" event method", SERVER, "start worker processes"] {
        notice(&context, "notice", line).await;
    }
    let context = Arc::new(context);
    let shared = context.clone();
    web::serve(&context, listener, move |request| {
        let context = shared.clone();
        async move { answer(&context, &request).await }
    })
    .await;
    notice(&context, "notice", "signal 3 (SIGQUIT) received, shutting down").await;
    ExitStatus::SUCCESS
}

async fn notice(context: &ContainerContext, level: &str, text: &str) {
    let time = context.clock.now().strftime("%Y/%m/%d %H:%M:%S").to_string();
    // The log being unwritable is the log's own trouble.
    let _ = context.stderr.write_all(format!("{time} [{level}] 1#1: {text}\n")).await;
}

async fn answer(context: &ContainerContext, request: &Received) -> Response<Full<Bytes>> {
    let mut response = page(context, request);
    let headers = response.headers_mut();
    headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
    let keeps = request.head.version == Version::HTTP_11
        && !request.header("connection").eq_ignore_ascii_case("close");
    if keeps {
        headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive"));
    }
    let sent = match request.head.method {
        Method::HEAD => 0,
        _ => http_body::Body::size_hint(response.body()).exact().unwrap_or(0),
    };
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let head = &request.head;
    let line = format!(
        "{} - - [{}] \"{} {} {:?}\" {} {sent} \"{}\" \"{}\" \"{}\"\n",
        request.peer.ip(),
        web::log_date(context.clock.now()),
        head.method,
        head.uri,
        head.version,
        response.status().as_u16(),
        dash(request.header("referer")),
        dash(request.header("user-agent")),
        dash(request.header("x-forwarded-for")),
    );
    let _ = context.stdout.write_all(line).await;
    response
}

fn page(context: &ContainerContext, request: &Received) -> Response<Full<Bytes>> {
    if request.head.method != Method::GET && request.head.method != Method::HEAD {
        return error_page(StatusCode::METHOD_NOT_ALLOWED, "Not Allowed");
    }
    let path = web::percent_decode(request.path());
    if !path.starts_with('/') || path.split('/').any(|name| name == "..") {
        return error_page(StatusCode::BAD_REQUEST, "Bad Request");
    }
    let mut file = format!("{ROOT}{path}");
    if context.files.is_dir(&file) {
        if !path.ends_with('/') {
            let mut response = error_page(StatusCode::MOVED_PERMANENTLY, "Moved Permanently");
            let location = format!("http://{}{path}/", request.header("host"));
            if let Ok(location) = HeaderValue::from_str(&location) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            return response;
        }
        file.push_str("index.html");
        if !context.files.exists(&file) {
            return error_page(StatusCode::FORBIDDEN, "Forbidden");
        }
    }
    match (context.files.metadata(&file), context.files.read(&file)) {
        (Ok(metadata), Ok(content)) => serve_file(request, &file, &metadata, content),
        _ => error_page(StatusCode::NOT_FOUND, "Not Found"),
    }
}

fn serve_file(
    request: &Received,
    file: &str,
    metadata: &Metadata,
    content: Bytes,
) -> Response<Full<Bytes>> {
    let etag = format!("\"{:x}-{:x}\"", metadata.modified.as_second(), metadata.size);
    let modified = web::http_date(metadata.modified);
    let unchanged =
        request.header("if-none-match") == etag || request.header("if-modified-since") == modified;
    let mut response = match unchanged {
        true => web::status(StatusCode::NOT_MODIFIED),
        false => web::text(StatusCode::OK, super::content_type(file), content),
    };
    let headers = response.headers_mut();
    for (name, value) in [(header::LAST_MODIFIED, modified), (header::ETAG, etag)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    if !unchanged {
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    response
}

/// nginx' own page of a status.
fn error_page(code: StatusCode, words: &str) -> Response<Full<Bytes>> {
    let title = format!("{} {words}", code.as_u16());
    let body = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
         <hr><center>nginx/{VERSION}</center>\r\n</body>\r\n</html>\r\n"
    );
    web::text(code, "text/html", body)
}
