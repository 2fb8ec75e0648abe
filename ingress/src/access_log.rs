//! A line per request, in ingress-nginx' format.
//!
//! Requests never wait for the log: lines go into a queue, and what does not fit is lost.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use component_base::clock::Clock;
use container_runtime::stdio::Output;
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri, Version, header};
use tokio::sync::mpsc;

/// Lines that wait to be written.
const QUEUE: usize = 4096;
/// Most bytes of what a client says that are in its line.
const SAID: usize = 1024;
/// Lines written at once.
const BATCH: usize = 256;

/// Where lines go.
#[derive(Clone)]
pub(crate) struct AccessLog {
    lines: mpsc::Sender<String>,
    clock: Clock,
}

/// What is known of a request when it comes in.
pub(crate) struct Asked {
    client: IpAddr,
    line: String,
    referer: String,
    agent: String,
    at: jiff::Timestamp,
    since: Duration,
}

/// What becomes of a request; its line is written when this is dropped.
pub(crate) struct Entry {
    log: AccessLog,
    asked: Asked,
    /// Namespace, Service and port, as ingress-nginx names upstreams.
    pub(crate) upstream: String,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) status: StatusCode,
    body: usize,
    answered: Duration,
}

impl AccessLog {
    /// Makes a log, and what writes it: to be run as long as it is used.
    pub(crate) fn new(clock: Clock, output: Output) -> (Self, impl Future<Output = ()> + Send) {
        let (lines, mut queue) = mpsc::channel::<String>(QUEUE);
        let write = async move {
            let mut batch = Vec::with_capacity(BATCH);
            while queue.recv_many(&mut batch, BATCH).await > 0 {
                if output.write_all(batch.concat()).await.is_err() {
                    // Nobody reads: requests are served all the same.
                    queue.close();
                    return;
                }
                batch.clear();
            }
        };
        (Self { lines, clock }, write)
    }

    pub(crate) fn asked(
        &self,
        client: IpAddr,
        method: &Method,
        uri: &Uri,
        version: Version,
        headers: &HeaderMap,
    ) -> Asked {
        let text = |name: HeaderName| {
            let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-");
            said(value)
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Asked {
            client,
            line: format!("{} {} {version:?}", said(method.as_str()), said(path)),
            referer: text(header::REFERER),
            agent: text(header::USER_AGENT),
            at: self.clock.now(),
            since: self.clock.monotonic(),
        }
    }

    pub(crate) fn entry(&self, asked: Asked, status: StatusCode) -> Entry {
        let answered = self.clock.monotonic();
        Entry {
            log: self.clone(),
            asked,
            upstream: String::new(),
            endpoint: None,
            status,
            body: 0,
            answered,
        }
    }
}

/// What a client says, as far as it goes into a line: cut, and without what would break the line up.
fn said(text: &str) -> String {
    text[..text.floor_char_boundary(SAID)].replace('"', "\\x22")
}

impl Entry {
    /// Counts bytes of the answer.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.body += bytes;
    }

    fn line(&self, now: Duration) -> String {
        let Asked { client, line, referer, agent, at, since } = &self.asked;
        let at = at.strftime("%d/%b/%Y:%H:%M:%S +0000");
        let took = now.saturating_sub(*since).as_secs_f64();
        let head = self.answered.saturating_sub(*since).as_secs_f64();
        let (status, body) = (self.status.as_u16(), self.body);
        let mut text = format!(
            "{client} - - [{at}] \"{line}\" {status} {body} \"{referer}\" \"{agent}\" {took:.3} "
        );
        let written = match self.endpoint {
            Some(endpoint) => writeln!(text, "[{}] {endpoint} {head:.3}", self.upstream),
            None => writeln!(text, "[{}] - -", self.upstream),
        };
        written.expect("writing to a String cannot fail");
        text
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let line = self.line(self.log.clock.monotonic());
        // A full queue loses lines, never requests.
        let _ = self.log.lines.try_send(line);
    }
}
