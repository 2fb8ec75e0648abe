//! `curl`: HTTP and HTTPS through the pod's network, with curl's messages and exit codes.
//!
//! | code | when |
//! |---|---|
//! | 1, 3 | protocol not supported, malformed URL |
//! | 6, 7, 28 | name not resolved, not connected, too slow |
//! | 22 | status ≥ 400 with `-f` |
//! | 18, 52, 56 | answer cut short, empty, broken |
//! | 35, 60 | TLS failed, certificate not trusted |
//!
//! There are no system certificates in a container here: `https` needs `--cacert FILE` or `-k`.

mod options;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ::base64::Engine;
use ::base64::engine::general_purpose::STANDARD;
use cni::network::PodStream;

use self::options::{Options, parse};
use super::http_client::{
    HttpError, Request, Response, Transport, Url, UrlError, exchange, start_tls,
};
use super::network::hint;
use super::{Outcome, io_text};
use crate::files::join;
use crate::program::ContainerContext;
use crate::stdio::Output;

const VERSION: &str = "8.14.1";
/// Redirects followed with `-L`, curl's default.
const MAX_REDIRECTS: u32 = 50;

/// A failed transfer: curl's exit code and message.
struct Failure(i32, String);

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => {
                Self(23, "Failure writing output to destination".to_owned())
            }
            _ => Self(23, format!("client returned ERROR on write: {}", io_text(&error))),
        }
    }
}

pub(super) async fn curl(context: ContainerContext) -> Outcome {
    let options = match parse(&context).await {
        Ok(options) => options,
        Err(message) => {
            context.stderr.write_all(message).await?;
            return Ok(2);
        }
    };
    if options.version {
        let text = format!("curl {VERSION} (kube-mini)\nProtocols: http https\n");
        context.stdout.write_all(text).await?;
        return Ok(0);
    }
    let mut status = 0;
    for (index, url) in options.urls.iter().enumerate() {
        status = Transfer::new(&context, &options, index).run(url).await?;
    }
    Ok(status)
}

/// One URL from the first connection to the last byte.
struct Transfer<'a> {
    context: &'a ContainerContext,
    options: &'a Options,
    index: usize,
    started: Duration,
    facts: Facts,
}

/// What `-w` can print.
#[derive(Default)]
struct Facts {
    status: u16,
    url: String,
    remote: Option<SocketAddr>,
    local: Option<SocketAddr>,
    content_type: String,
    redirects: u32,
    redirect_url: String,
    downloaded: u64,
    headers: usize,
    uploaded: usize,
    resolved: Duration,
    connected: Duration,
    first_byte: Duration,
}

impl<'a> Transfer<'a> {
    fn new(context: &'a ContainerContext, options: &'a Options, index: usize) -> Self {
        let started = context.clock.monotonic();
        Self { context, options, index, started, facts: Facts::default() }
    }

    fn elapsed(&self) -> Duration {
        self.context.clock.monotonic().saturating_sub(self.started)
    }

    async fn run(mut self, url: &str) -> Outcome {
        let context = self.context;
        let result = match self.options.max_time {
            Some(limit) => {
                let timed = context.within(limit, Box::pin(self.transfer(url))).await;
                timed.unwrap_or_else(|| Err(self.out_of_time()))
            }
            None => Box::pin(self.transfer(url)).await,
        };
        let code = match result {
            Ok(()) => 0,
            Err(Failure(code, message)) => {
                if !self.options.silent || self.options.show_error {
                    self.context.stderr.write_all(format!("curl: ({code}) {message}\n")).await?;
                }
                code
            }
        };
        if let Some(format) = &self.options.write_out {
            self.context.stdout.write_all(self.write_out(format, code)).await?;
        }
        Ok(code)
    }

    fn out_of_time(&self) -> Failure {
        let after = self.elapsed().as_millis();
        match self.facts.remote {
            None => Failure(28, format!("Connection timed out after {after} milliseconds")),
            Some(_) => {
                let received = self.facts.downloaded;
                let text = format!(
                    "Operation timed out after {after} milliseconds with {received} bytes received"
                );
                Failure(28, text)
            }
        }
    }

    async fn verbose(&self, mark: char, text: &str) -> io::Result<()> {
        if !self.options.verbose {
            return Ok(());
        }
        let lines: String =
            text.lines().map(|line| format!("{mark} {}\n", line.trim_end_matches('\r'))).collect();
        self.context.stderr.write_all(lines).await
    }

    async fn transfer(&mut self, url: &str) -> Result<(), Failure> {
        let mut url = Url::parse(url).map_err(|error| match error {
            UrlError::Malformed => {
                Failure(3, "URL using bad/illegal format or missing URL".to_owned())
            }
            UrlError::Scheme(scheme) => Failure(1, format!("Protocol \"{scheme}\" not supported")),
        })?;
        let mut method = self.options.method();
        let mut body = self.options.body.clone();
        loop {
            self.facts.url = url.to_string();
            let request = self.request(&url, &method, body.clone());
            let response = self.ask(&url, &request).await?;
            let location = response.header("location").map(str::to_owned);
            let redirect = matches!(response.status, 301 | 302 | 303 | 307 | 308);
            let next = match location.filter(|_| redirect) {
                Some(location) => url.join(&location).ok(),
                None => None,
            };
            self.facts.redirect_url = next.as_ref().map(ToString::to_string).unwrap_or_default();
            match next {
                Some(next) if self.options.follow => {
                    if self.options.include {
                        self.context.stdout.write_all(&response.head).await?;
                    }
                    self.facts.redirects += 1;
                    if self.facts.redirects > MAX_REDIRECTS {
                        let text = format!("Maximum ({MAX_REDIRECTS}) redirects followed");
                        return Err(Failure(47, text));
                    }
                    self.verbose('*', &format!("Issue another request to this URL: '{next}'"))
                        .await?;
                    let keeps =
                        matches!(response.status, 307 | 308) || self.options.method.is_some();
                    if !keeps && method == "POST" {
                        method = "GET".to_owned();
                        body = None;
                    }
                    url = next;
                }
                _ => return self.receive(&url, response).await,
            }
        }
    }

    fn request(&self, url: &Url, method: &str, body: Option<bytes::Bytes>) -> Request {
        let options = self.options;
        let mut headers = vec![
            ("Host".to_owned(), url.authority()),
            ("User-Agent".to_owned(), format!("curl/{VERSION}")),
            ("Accept".to_owned(), "*/*".to_owned()),
        ];
        if let Some(user) = options.user.as_ref().or(url.user.as_ref()) {
            headers.insert(
                1,
                ("Authorization".to_owned(), format!("Basic {}", STANDARD.encode(user))),
            );
        }
        if let Some(body) = &body {
            headers.push(("Content-Length".to_owned(), body.len().to_string()));
            let content_type = options.content_type;
            headers.push(("Content-Type".to_owned(), content_type.to_owned()));
        }
        for (name, value) in &options.headers {
            let existing = headers.iter().position(|(known, _)| known.eq_ignore_ascii_case(name));
            match (existing, value) {
                (Some(index), Some(value)) => headers[index] = (name.clone(), value.clone()),
                (Some(index), None) => {
                    headers.remove(index);
                }
                (None, Some(value)) => headers.push((name.clone(), value.clone())),
                (None, None) => {}
            }
        }
        let mut target = url.target.clone();
        if let Some(query) = &options.query {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(query);
        }
        Request { method: method.to_owned(), target, headers, body }
    }

    /// Connects, sends, and reads the head of the answer.
    async fn ask(&mut self, url: &Url, request: &Request) -> Result<Response, Failure> {
        let stream = self.connect(url).await?;
        self.facts.connected = self.elapsed();
        let stream = self.secure(url, stream).await?;
        self.verbose('>', &request.head()).await?;
        self.verbose('*', "Request completely sent off").await?;
        self.facts.uploaded = request.body.as_ref().map_or(0, bytes::Bytes::len);
        let response = exchange(stream, request).await.map_err(|error| self.explain(error))?;
        self.facts.first_byte = self.elapsed();
        self.facts.status = response.status;
        self.facts.headers += response.head.len();
        self.facts.content_type = response.header("content-type").unwrap_or_default().to_owned();
        self.verbose('<', &response.head).await?;
        Ok(response)
    }

    fn explain(&self, error: HttpError) -> Failure {
        match error {
            HttpError::Empty => Failure(52, "Empty reply from server".to_owned()),
            HttpError::Protocol => Failure(1, "Received HTTP/0.9 when not allowed".to_owned()),
            HttpError::Short(0) => {
                Failure(18, "transfer closed with outstanding read data remaining".to_owned())
            }
            HttpError::Short(left) => {
                Failure(18, format!("transfer closed with {left} bytes remaining to read"))
            }
            HttpError::Io(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                Failure(56, "Recv failure: Connection reset by peer".to_owned())
            }
            HttpError::Io(error) => Failure(56, format!("Recv failure: {}", io_text(&error))),
        }
    }

    async fn resolve(&mut self, url: &Url) -> Result<(Vec<IpAddr>, u16), Failure> {
        let mut host = url.host.as_str();
        let mut port = url.port;
        let fixed =
            self.options.resolve.iter().find(|(name, number, _)| name == host && *number == port);
        if let Some((_, _, address)) = fixed {
            return Ok((vec![*address], port));
        }
        if let Some((to_host, to_port)) = &self.options.connect_to {
            host = if to_host.is_empty() { host } else { to_host };
            port = to_port.unwrap_or(port);
        }
        match self.context.network.resolve(host).await {
            Ok(mut addresses) if !addresses.is_empty() => {
                // The pod network is IPv4.
                addresses.sort_by_key(IpAddr::is_ipv6);
                Ok((addresses, port))
            }
            Ok(_) => Err(Failure(6, format!("Could not resolve host: {host}"))),
            Err(error) => {
                Err(Failure(6, format!("Could not resolve host: {host}{}", hint(&error))))
            }
        }
    }

    async fn connect(&mut self, url: &Url) -> Result<PodStream, Failure> {
        let (addresses, port) = self.resolve(url).await?;
        self.facts.resolved = self.elapsed();
        let began = self.elapsed();
        let mut last = io::Error::from(io::ErrorKind::ConnectionRefused);
        for address in addresses.into_iter().take(2) {
            let target = SocketAddr::new(address, port);
            self.verbose('*', &format!("  Trying {target}...")).await?;
            let connect = self.context.network.connect_tcp(target);
            let connected = match self.options.connect_timeout {
                Some(limit) => match self.context.clock.timeout(limit, connect).await {
                    Ok(connected) => connected,
                    Err(_) => {
                        let after = self.elapsed().saturating_sub(began).as_millis();
                        let text = format!("Connection timed out after {after} milliseconds");
                        return Err(Failure(28, text));
                    }
                },
                None => connect.await,
            };
            match connected {
                Ok(stream) => {
                    self.facts.remote = Some(target);
                    self.facts.local = Some(stream.local_addr());
                    let text = format!("Connected to {} ({address}) port {port}", url.host);
                    self.verbose('*', &text).await?;
                    return Ok(stream);
                }
                Err(error) => {
                    let text =
                        format!("connect to {address} port {port} failed: {}", io_text(&error));
                    self.verbose('*', &text).await?;
                    last = error;
                }
            }
        }
        let code = if last.kind() == io::ErrorKind::TimedOut { 28 } else { 7 };
        let after = self.elapsed().saturating_sub(began).as_millis();
        let text = format!(
            "Failed to connect to {} port {port} after {after} ms: Could not connect to server",
            url.host
        );
        Err(Failure(code, text))
    }

    async fn secure(&self, url: &Url, stream: PodStream) -> Result<Box<dyn Transport>, Failure> {
        if !url.is_tls() {
            return Ok(Box::new(stream));
        }
        let trusted = match &self.options.cacert {
            Some(path) => {
                let read = self.context.files.read(&join(&self.context.working_dir, path));
                Some(read.map_err(|_| {
                    Failure(77, format!("error adding trust anchors from file: {path}"))
                })?)
            }
            None => None,
        };
        start_tls(stream, &url.host, trusted.as_deref(), self.options.insecure).await.map_err(|error| {
            let text = error.to_string();
            if text.contains("UnknownIssuer") {
                return Failure(
                    60,
                    "SSL certificate problem: unable to get local issuer certificate\n\
                     More details here: https://curl.se/docs/sslcerts.html\n\n\
                     curl failed to verify the legitimacy of the server and therefore could not\n\
                     establish a secure connection to it. Name the CA with --cacert, or use -k."
                        .to_owned(),
                );
            }
            if text.contains("NotValidForName") {
                let host = &url.host;
                let text = format!("SSL: no alternative certificate subject name matches target host name '{host}'");
                return Failure(60, text);
            }
            Failure(35, format!("TLS connect error: {text}"))
        })
    }

    /// Writes the answer where it belongs.
    async fn receive(&mut self, url: &Url, mut response: Response) -> Result<(), Failure> {
        if self.options.fail && response.status >= 400 {
            let status = response.status;
            return Err(Failure(22, format!("The requested URL returned error: {status}")));
        }
        let file = self.options.output(self.index, url);
        let output = match &file {
            Some(path) if path != "-" => {
                let full = join(&self.context.working_dir, path);
                let opened = self.context.files.open(&full, true);
                let to_null = full == "/dev/null";
                match opened {
                    _ if to_null => Output::null(),
                    Ok(file) => Output::file(file),
                    Err(error) => {
                        // curl warns, then fails to write.
                        let line = format!("Warning: Failed to open the file {path}: {error}\n");
                        self.context.stderr.write_all(line).await?;
                        return Err(Failure(
                            23,
                            "client returned ERROR on write, 0 bytes".to_owned(),
                        ));
                    }
                }
            }
            _ => self.context.stdout.clone(),
        };
        if self.options.include {
            output.write_all(&response.head).await?;
        }
        if let Some(path) = &self.options.dump_header {
            match path.as_str() {
                "-" => self.context.stdout.write_all(&response.head).await?,
                path => {
                    let full = join(&self.context.working_dir, path);
                    // As curl, a head that cannot be kept does not end the transfer.
                    let _ = self.context.files.write(&full, &response.head);
                }
            }
        }
        let total = response.length();
        let meter = file.is_some() && !self.options.silent && !self.options.verbose;
        if meter {
            let head = "  % Total    % Received % Xferd  Average Speed   Time    Time     Time  Current\n\
                        \x20                                Dload  Upload   Total   Spent    Left  Speed\n";
            self.context.stderr.write_all(head).await?;
        }
        loop {
            let chunk = response.next().await.map_err(|error| self.explain(error))?;
            let Some(chunk) = chunk else { break };
            self.facts.downloaded += chunk.len() as u64;
            output.write_all(&chunk).await?;
        }
        if meter {
            let got = self.facts.downloaded;
            let speed = (got as f64 / self.elapsed().as_secs_f64().max(1e-3)) as u64;
            let line = format!(
                "\r100 {:>5}  100 {got:>5}    0     0  {speed:>5}      0 --:--:-- --:--:-- --:--:-- {speed:>5}\n",
                total.unwrap_or(got)
            );
            self.context.stderr.write_all(line).await?;
        }
        self.verbose('*', &format!("Connection #0 to host {} left intact", url.host)).await?;
        if self.options.fail_with_body && self.facts.status >= 400 {
            let status = self.facts.status;
            return Err(Failure(22, format!("The requested URL returned error: {status}")));
        }
        Ok(())
    }

    fn write_out(&self, format: &str, code: i32) -> String {
        let facts = &self.facts;
        let seconds = |time: Duration| format!("{:.6}", time.as_secs_f64());
        let address =
            |address: Option<SocketAddr>| address.map(|a| a.ip().to_string()).unwrap_or_default();
        let port =
            |address: Option<SocketAddr>| address.map(|a| a.port().to_string()).unwrap_or_default();
        let variable = |name: &str| -> Option<String> {
            Some(match name {
                "http_code" | "response_code" => format!("{:03}", facts.status),
                "url_effective" | "url" => facts.url.clone(),
                "content_type" => facts.content_type.clone(),
                "size_download" => facts.downloaded.to_string(),
                "size_upload" => facts.uploaded.to_string(),
                "size_header" => facts.headers.to_string(),
                "num_redirects" => facts.redirects.to_string(),
                "redirect_url" => facts.redirect_url.clone(),
                "num_connects" => "1".to_owned(),
                "remote_ip" => address(facts.remote),
                "remote_port" => port(facts.remote),
                "local_ip" => address(facts.local),
                "local_port" => port(facts.local),
                "time_namelookup" => seconds(facts.resolved),
                "time_connect" | "time_appconnect" | "time_pretransfer" => seconds(facts.connected),
                "time_starttransfer" => seconds(facts.first_byte),
                "time_total" => seconds(self.elapsed()),
                "http_version" => "1.1".to_owned(),
                "scheme" => facts.url.split(':').next().unwrap_or_default().to_owned(),
                "method" => self.options.method(),
                "exitcode" => code.to_string(),
                _ => return None,
            })
        };
        let text = format.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r");
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(start) = rest.find('%') {
            out.push_str(&rest[..start]);
            rest = &rest[start..];
            if let Some(after) = rest.strip_prefix("%%") {
                out.push('%');
                rest = after;
            } else if let Some((name, after)) =
                rest.strip_prefix("%{").and_then(|rest| rest.split_once('}'))
            {
                match variable(name) {
                    Some(value) => out.push_str(&value),
                    None => {
                        out.push_str(&format!("curl: unknown --write-out variable: '{name}'\n"));
                    }
                }
                rest = after;
            } else {
                out.push('%');
                rest = &rest[1..];
            }
        }
        out + rest
    }
}
