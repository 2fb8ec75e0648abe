//! httpd: Apache's image, which serves `/usr/local/apache2/htdocs` on port 80.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;

use super::program;
use crate::catalogue::ImageDefinition;
use crate::program::{ContainerContext, ExitStatus};
use crate::web::{self, Received};

const ROOT: &str = "/usr/local/apache2/htdocs";
const SERVER: &str = "Apache/2.4.65 (Unix)";

pub(super) fn image() -> ImageDefinition {
    ImageDefinition::named(&[("httpd-foreground", program(run)), ("httpd", program(run))])
        .entrypoint(&[])
        .cmd(&["httpd-foreground"])
        .env("HTTPD_PREFIX", "/usr/local/apache2")
        .env("HTTPD_VERSION", "2.4.65")
        .working_dir("/usr/local/apache2")
        .file(&format!("{ROOT}/index.html"), "<html><body><h1>It works!</h1></body></html>\n")
        .megabytes(57)
}

async fn run(context: ContainerContext) -> ExitStatus {
    let listener = match web::listen(&context, 80).await {
        Ok(listener) => listener,
        Err(error) => {
            let line = format!(
                "(98)Address already in use: AH00072: make_sock: could not bind to address 0.0.0.0:80 ({error})\n"
            );
            // A log that cannot be written changes nothing.
            let _ = context.stderr.write_all(line).await;
            return ExitStatus(1);
        }
    };
    notice(&context, "AH00489: Apache/2.4.65 (Unix) configured -- resuming normal operations")
        .await;
    notice(&context, "AH00094: Command line: 'httpd -D FOREGROUND'").await;
    let shared = Arc::new(context.clone());
    web::serve(&context, listener, move |request| {
        let context = shared.clone();
        async move { answer(&context, &request).await }
    })
    .await;
    notice(&context, "AH00492: caught SIGWINCH, shutting down gracefully").await;
    ExitStatus::SUCCESS
}

async fn notice(context: &ContainerContext, text: &str) {
    let time = context.clock.now().strftime("%a %b %d %H:%M:%S.%6f %Y").to_string();
    let line = format!("[{time}] [mpm_event:notice] [pid 1:tid 1] {text}\n");
    // As above.
    let _ = context.stderr.write_all(line).await;
}

async fn answer(context: &ContainerContext, request: &Received) -> Response<Full<Bytes>> {
    let head = &request.head;
    let mut response = page(context, request);
    response.headers_mut().insert(header::SERVER, HeaderValue::from_static(SERVER));
    let size = http_body::Body::size_hint(response.body()).exact().unwrap_or(0);
    let size = if head.method == Method::HEAD { "-".to_owned() } else { size.to_string() };
    let line = format!(
        "{} - - [{}] \"{} {} {:?}\" {} {size}\n",
        request.peer.ip(),
        web::log_date(context.clock.now()),
        head.method,
        head.uri,
        head.version,
        response.status().as_u16(),
    );
    let _ = context.stdout.write_all(line).await;
    response
}

fn page(context: &ContainerContext, request: &Received) -> Response<Full<Bytes>> {
    let path = web::percent_decode(request.path());
    if !matches!(request.head.method, Method::GET | Method::HEAD) {
        let text = "The requested method is not allowed for this URL.";
        return error_page(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed", text);
    }
    if !path.starts_with('/') || path.split('/').any(|name| name == "..") {
        let text = "Your browser sent a request that this server could not understand.<br />";
        return error_page(StatusCode::BAD_REQUEST, "Bad Request", text);
    }
    let mut file = format!("{ROOT}{path}");
    if context.files.is_dir(&file) {
        file = format!("{}/index.html", file.trim_end_matches('/'));
    }
    match context.files.read(&file) {
        Ok(content) => web::text(StatusCode::OK, super::content_type(&file), content),
        Err(_) => {
            let text = "The requested URL was not found on this server.";
            error_page(StatusCode::NOT_FOUND, "Not Found", text)
        }
    }
}

fn error_page(code: StatusCode, title: &str, text: &str) -> Response<Full<Bytes>> {
    let status = code.as_u16();
    let body = format!(
        "<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\n<html><head>\n<title>{status} {title}</title>\n\
         </head><body>\n<h1>{title}</h1>\n<p>{text}</p>\n</body></html>\n"
    );
    web::text(code, "text/html; charset=iso-8859-1", body)
}
