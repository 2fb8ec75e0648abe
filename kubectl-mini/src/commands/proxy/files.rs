//! Static files of `proxy --www`, as Go's file server gives them.

use std::path::{Component, Path, PathBuf};

use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use super::{Answer, boxed, error};

const TYPES: &[(&str, &str)] = &[
    ("css", "text/css; charset=utf-8"),
    ("gif", "image/gif"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("wasm", "application/wasm"),
    ("webp", "image/webp"),
    ("xml", "text/xml; charset=utf-8"),
];

/// The file below `folder` that the rest of a URL's path names; of a folder its `index.html`, else its list.
pub(super) async fn serve(folder: &Path, name: &str) -> Answer {
    let missing = || error(StatusCode::NOT_FOUND, "404 page not found");
    let Some(path) = within(folder, name) else { return missing() };
    let Ok(metadata) = tokio::fs::metadata(&path).await else { return missing() };
    if !metadata.is_dir() {
        return match tokio::fs::read(&path).await {
            Ok(bytes) => document(kind_of(&path, &bytes), bytes),
            Err(_) => missing(),
        };
    }
    if !name.is_empty() && !name.ends_with('/') {
        let base = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut response = Response::new(boxed(Full::default()));
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        if let Ok(to) = HeaderValue::from_str(&format!("{base}/")) {
            response.headers_mut().insert(header::LOCATION, to);
        }
        return response;
    }
    let index = path.join("index.html");
    if let Ok(bytes) = tokio::fs::read(&index).await {
        return document(kind_of(&index, &bytes), bytes);
    }
    match list(&path).await {
        Ok(text) => document("text/html; charset=utf-8", text.into_bytes()),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "Error reading directory"),
    }
}

/// The path, unless it leads out of the folder.
fn within(folder: &Path, name: &str) -> Option<PathBuf> {
    let name = decode(name)?;
    let relative = Path::new(&name);
    let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    relative.components().all(inside).then(|| folder.join(relative))
}

/// Undoes the escapes of a path.
fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            out.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok().filter(|text| !text.contains('\0'))
}

fn kind_of(path: &Path, bytes: &[u8]) -> &'static str {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let known = TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(extension));
    match known {
        Some((_, kind)) => kind,
        None if std::str::from_utf8(bytes).is_ok() => "text/plain; charset=utf-8",
        None => "application/octet-stream",
    }
}

fn document(kind: &'static str, bytes: Vec<u8>) -> Answer {
    let mut response = Response::new(boxed(Full::from(bytes)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

async fn list(path: &Path) -> std::io::Result<String> {
    let mut names = Vec::new();
    let mut entries = tokio::fs::read_dir(path).await?;
    while let Some(entry) = entries.next_entry().await? {
        let slash = if entry.file_type().await?.is_dir() { "/" } else { "" };
        names.push(format!("{}{slash}", entry.file_name().to_string_lossy()));
    }
    names.sort();
    let escape = |text: &str| {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;")
    };
    let line = |name: &String| {
        let url = name.replace('%', "%25").replace('"', "%22").replace('?', "%3F");
        format!("<a href=\"{}\">{}</a>\n", url.replace(' ', "%20"), escape(name))
    };
    let lines: String = names.iter().map(line).collect();
    Ok(format!(
        "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n{lines}</pre>\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_of_the_folder_is_named() {
        let folder = Path::new("/www");
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(within(folder, name), expected.map(PathBuf::from), "{name}");
        };
        check("a/b.html", Some("/www/a/b.html"));
        check("a%20b", Some("/www/a b"));
        check("", Some("/www/"));
        check("../etc/passwd", None);
        check("a/%2e%2e/%2e%2e/x", None);
        check("/etc/passwd", None);
        check("%", None);
    }
}
