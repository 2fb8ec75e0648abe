//! `/metrics`, `/healthz`, `/livez` and `/readyz`, worded as Kubernetes' components word them.
//!
//! A check is a named, quick, synchronous question; what it asks about (a cache, a lease) is kept current elsewhere.
//! `/livez` asks the checks of liveness, `/readyz` and `/healthz` all of them. `?verbose` lists each check,
//! `?exclude=name` leaves one out, `/readyz/name` asks one alone. Reasons of failures go to the log, not to the caller.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    Router,
    extract::{Path, RawQuery},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tracing::warn;

use crate::metrics::{CONTENT_TYPE, PLAIN_CONTENT_TYPE, Registry};

type Probe = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The checks of one component; `ping` is always among them.
#[derive(Clone)]
pub struct Checks {
    checks: Vec<Check>,
}

#[derive(Clone)]
struct Check {
    name: &'static str,
    /// Asked by `/livez` too, not only by `/readyz` and `/healthz`.
    liveness: bool,
    probe: Probe,
}

impl Default for Checks {
    fn default() -> Self {
        Self::new()
    }
}

impl Checks {
    /// Makes the set of checks with `ping` alone.
    #[must_use]
    pub fn new() -> Self {
        Self { checks: Vec::new() }.liveness("ping", || Ok(()))
    }

    /// Adds a check of `/livez`, `/readyz` and `/healthz`.
    #[must_use]
    pub fn liveness<F>(self, name: &'static str, probe: F) -> Self
    where
        F: Fn() -> Result<(), String> + Send + Sync + 'static,
    {
        self.with(Check { name, liveness: true, probe: Arc::new(probe) })
    }

    /// Adds a check of `/readyz` and `/healthz`.
    #[must_use]
    pub fn readiness<F>(self, name: &'static str, probe: F) -> Self
    where
        F: Fn() -> Result<(), String> + Send + Sync + 'static,
    {
        self.with(Check { name, liveness: false, probe: Arc::new(probe) })
    }

    fn with(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Asks the checks of `endpoint` ("livez", "readyz" or "healthz") and words the answer.
    fn ask(&self, endpoint: &str, query: &Query) -> (bool, String) {
        let mut text = String::new();
        let mut healthy = true;
        let mut unknown: Vec<&str> = query.exclude.iter().map(String::as_str).collect();
        for check in self.checks.iter().filter(|check| check.liveness || endpoint != "livez") {
            if query.exclude.iter().any(|name| name == check.name) {
                unknown.retain(|name| *name != check.name);
                let _ = writeln!(text, "[+]{} excluded: ok", check.name);
                continue;
            }
            match (check.probe)() {
                Ok(()) => {
                    let _ = writeln!(text, "[+]{} ok", check.name);
                }
                Err(reason) => {
                    warn!(endpoint, check = check.name, reason, "health check failed");
                    healthy = false;
                    let _ = writeln!(text, "[-]{} failed: reason withheld", check.name);
                }
            }
        }
        if !unknown.is_empty() {
            let names: Vec<_> = unknown.iter().map(|name| format!("{name:?}")).collect();
            let _ = writeln!(
                text,
                "warn: some health checks cannot be excluded: no matches for {}",
                names.join(",")
            );
        }
        match (healthy, query.verbose) {
            (false, _) => (false, format!("{text}{endpoint} check failed\n")),
            (true, true) => (true, format!("{text}{endpoint} check passed\n")),
            (true, false) => (true, "ok".to_owned()),
        }
    }

    /// Asks one check; `None` when there is no such check at this endpoint.
    fn ask_one(&self, endpoint: &str, name: &str) -> Option<(bool, String)> {
        let check = self
            .checks
            .iter()
            .find(|check| check.name == name && (check.liveness || endpoint != "livez"))?;
        Some(match (check.probe)() {
            Ok(()) => (true, "ok".to_owned()),
            Err(reason) => {
                warn!(endpoint, check = name, reason, "health check failed");
                (false, "internal server error: reason withheld\n".to_owned())
            }
        })
    }
}

#[derive(Default)]
struct Query {
    verbose: bool,
    exclude: Vec<String>,
}

impl Query {
    fn parse(raw: Option<&str>) -> Self {
        let mut query = Self::default();
        for pair in raw.unwrap_or_default().split('&') {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("verbose", _) => query.verbose = true,
                ("exclude", name) => query.exclude.push(name.to_owned()),
                _ => {}
            }
        }
        query
    }
}

/// The routes of health and metrics, to be served alone or merged into a component's own.
pub fn router(checks: &Checks, registry: Registry) -> Router {
    let mut router = Router::new().route(
        "/metrics",
        get(move |headers: HeaderMap| async move {
            let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
            let (content_type, text) =
                if accepted.is_some_and(|accepted| accepted.contains("openmetrics-text")) {
                    (CONTENT_TYPE, registry.encode())
                } else {
                    (PLAIN_CONTENT_TYPE, registry.encode_plain())
                };
            ([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], text)
        }),
    );
    for endpoint in ["healthz", "livez", "readyz"] {
        let (all, one) = (checks.clone(), checks.clone());
        router = router
            .route(
                &format!("/{endpoint}"),
                get(move |RawQuery(raw): RawQuery| async move {
                    answer(all.ask(endpoint, &Query::parse(raw.as_deref())))
                }),
            )
            .route(
                &format!("/{endpoint}/{{*check}}"),
                get(move |Path(name): Path<String>| async move {
                    match one.ask_one(endpoint, &name) {
                        Some(asked) => answer(asked),
                        None => (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
                    }
                }),
            );
    }
    router
}

fn answer((healthy, text): (bool, String)) -> Response {
    let status = if healthy { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt;

    use super::{Checks, router};
    use crate::metrics::Registry;

    #[tokio::test]
    async fn answers_are_worded_as_kubernetes_words_them() {
        let checks = Checks::new()
            .liveness("log", || Ok(()))
            .readiness("etcd", || Err("connection refused".to_owned()));
        let check = async |path: &'static str, status: u16, expected: &str| {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = router(&checks, Registry::new()).oneshot(request).await.unwrap();
            assert_eq!(response.status(), status, "{path}");
            let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
            assert_eq!(std::str::from_utf8(&body).unwrap(), expected, "{path}");
        };
        check("/livez", 200, "ok").await;
        check("/livez?verbose", 200, "[+]ping ok\n[+]log ok\nlivez check passed\n").await;
        check(
            "/readyz",
            500,
            "[+]ping ok\n[+]log ok\n[-]etcd failed: reason withheld\nreadyz check failed\n",
        )
        .await;
        check("/readyz?exclude=etcd", 200, "ok").await;
        check(
            "/readyz?exclude=etcd&exclude=x&verbose=1",
            200,
            "[+]ping ok\n[+]log ok\n[+]etcd excluded: ok\n\
             warn: some health checks cannot be excluded: no matches for \"x\"\nreadyz check passed\n",
        )
        .await;
        check("/readyz/log", 200, "ok").await;
        check("/readyz/etcd", 500, "internal server error: reason withheld\n").await;
        check("/livez/etcd", 404, "404 page not found\n").await;
        check("/metrics", 200, "").await;
    }
}
