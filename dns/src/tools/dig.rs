//! `dig`.

use std::{fmt::Write as _, net::IpAddr, time::Duration};

use container_runtime::{ContainerContext, ExitStatus};
use hickory_proto::rr::{Name, Record, RecordType};

use super::{Answered, Client, code, data, misuse, print, record_type};

/// What the words of the command line ask for.
struct Request {
    server: Option<String>,
    port: u16,
    name: Option<String>,
    record_type: Option<RecordType>,
    search: bool,
    short: bool,
    /// Header, question, answer, authority, additional, statistics.
    shown: [bool; 6],
    timeout: Option<Duration>,
    tries: Option<u8>,
}

const SECTIONS: [&str; 6] = ["comments", "question", "answer", "authority", "additional", "stats"];

impl Request {
    fn parse(words: &[String]) -> Result<Self, String> {
        let mut request = Self {
            server: None,
            port: 53,
            name: None,
            record_type: None,
            search: false,
            short: false,
            shown: [true; 6],
            timeout: None,
            tries: None,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("dig: {word} needs a value"));
            if let Some(server) = word.strip_prefix('@') {
                request.server = Some(server.to_owned());
            } else if let Some(option) = word.strip_prefix('+') {
                request.plus(option).ok_or_else(|| format!("Invalid option: +{option}"))?;
            } else {
                match word.as_str() {
                    "-x" => {
                        let address = value()?;
                        let wrong = |_| format!("Invalid IP address {address}");
                        request.name = Some(address.parse::<IpAddr>().map_err(wrong)?.to_string());
                        request.record_type = Some(RecordType::PTR);
                    }
                    "-t" => {
                        let text = value()?;
                        let known = record_type(text);
                        request.record_type =
                            Some(known.ok_or_else(|| format!("invalid type {text}"))?);
                    }
                    "-p" => {
                        let text = value()?;
                        request.port = text.parse().map_err(|_| format!("invalid port {text}"))?;
                    }
                    option if option.starts_with('-') => {
                        return Err(format!("Invalid option: {option}"));
                    }
                    // A word that is a type is one, as with bind's dig; "in" is the class that everything has.
                    text if text.eq_ignore_ascii_case("in") => {}
                    text => match record_type(text) {
                        Some(known) => request.record_type = Some(known),
                        None => request.name = Some(text.to_owned()),
                    },
                }
            }
        }
        Ok(request)
    }

    fn plus(&mut self, option: &str) -> Option<()> {
        let (on, name) = option.strip_prefix("no").map_or((true, option), |name| (false, name));
        let (name, value) = name.split_once('=').unwrap_or((name, ""));
        match name {
            "short" => self.short = on,
            "search" => self.search = on,
            "all" => self.shown = [on; 6],
            "timeout" | "time" => {
                self.timeout = Some(Duration::from_secs(value.parse::<u64>().ok()?.clamp(1, 60)));
            }
            "tries" => self.tries = Some(value.parse::<u8>().ok()?.max(1)),
            "cmd" | "recurse" | "rec" if on || name == "cmd" => {}
            section => {
                let index = SECTIONS.iter().position(|known| *known == section)?;
                self.shown[index] = on;
            }
        }
        Some(())
    }
}

pub(super) async fn run(context: ContainerContext) -> ExitStatus {
    let request = match Request::parse(&context.args[1..]) {
        Ok(request) => request,
        Err(message) => return misuse(&context, message).await,
    };
    let Ok(mut client) = Client::new(&context, request.server.as_deref()).await else {
        let server = request.server.unwrap_or_default();
        return misuse(&context, format!("dig: couldn't get address for '{server}': not found"))
            .await;
    };
    client.port = request.port;
    client.conf.timeout = request.timeout.unwrap_or(client.conf.timeout);
    client.conf.attempts = request.tries.unwrap_or(3);
    let (names, default) = match &request.name {
        Some(name) => (client.candidates(name, request.search), RecordType::A),
        None => (vec![Name::root()], RecordType::NS),
    };
    let wanted = request.record_type.unwrap_or(default);
    let begun = context.clock.monotonic();
    let asked = client.ask(&names, wanted).await;
    let took = context.clock.monotonic().saturating_sub(begun);
    match asked {
        Ok(Some(answered)) => {
            print(&context, show(&request, &answered, took, &context)).await;
            ExitStatus(0)
        }
        Ok(None) => {
            let name = request.name.unwrap_or_default();
            misuse(&context, format!("dig: '{name}' is not a legal name")).await
        }
        Err(_) => {
            let server = client.server().map_or_else(String::new, |server| {
                format!(";; communications error to {}#{}: timed out\n", server.ip(), server.port())
            });
            print(&context, format!("{server};; no servers could be reached\n")).await;
            ExitStatus(9)
        }
    }
}

fn show(
    request: &Request,
    answered: &Answered,
    took: Duration,
    context: &ContainerContext,
) -> String {
    let message = &answered.message;
    let mut text = String::new();
    // Writing to a string cannot fail.
    if request.short {
        for record in &message.answers {
            let _ = writeln!(text, "{}", data(record));
        }
        return text;
    }
    let [comments, question, answer, authority, additional, stats] = request.shown;
    if comments {
        let metadata = &message.metadata;
        let flags = [
            (true, "qr"),
            (metadata.authoritative, "aa"),
            (metadata.truncation, "tc"),
            (metadata.recursion_desired, "rd"),
            (metadata.recursion_available, "ra"),
        ];
        let flags: Vec<&str> =
            flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
        let _ = write!(
            text,
            "\n; <<>> DiG 9.20.11 <<>> {}\n;; global options: +cmd\n;; Got answer:\n\
             ;; ->>HEADER<<- opcode: QUERY, status: {}, id: {}\n\
             ;; flags: {}; QUERY: {}, ANSWER: {}, AUTHORITY: {}, ADDITIONAL: {}\n\n",
            context.args[1..].join(" "),
            code(metadata.response_code),
            metadata.id,
            flags.join(" "),
            message.queries.len(),
            message.answers.len(),
            message.authorities.len(),
            message.additionals.len(),
        );
    }
    if question {
        text.push_str(";; QUESTION SECTION:\n");
        for query in &message.queries {
            let _ = writeln!(text, ";{}\t\tIN\t{}", query.name, query.query_type);
        }
        text.push('\n');
    }
    let sections = [
        (answer, "ANSWER", &message.answers),
        (authority, "AUTHORITY", &message.authorities),
        (additional, "ADDITIONAL", &message.additionals),
    ];
    for (shown, name, records) in sections {
        if !shown || records.is_empty() {
            continue;
        }
        if comments {
            let _ = writeln!(text, ";; {name} SECTION:");
        }
        for record in records {
            text.push_str(&line(record));
        }
        if comments {
            text.push('\n');
        }
    }
    if stats {
        let (server, size) = (answered.server, message.to_vec().map_or(0, |bytes| bytes.len()));
        let when = context.clock.now().strftime("%a %b %d %H:%M:%S UTC %Y");
        let _ = write!(
            text,
            ";; Query time: {} msec\n;; SERVER: {ip}#{port}({ip}) (UDP)\n;; WHEN: {when}\n;; MSG SIZE  rcvd: {size}\n\n",
            took.as_millis(),
            ip = server.ip(),
            port = server.port(),
        );
    }
    text
}

fn line(record: &Record) -> String {
    format!("{}\t{}\tIN\t{}\t{}\n", record.name, record.ttl, record.record_type(), data(record))
}
