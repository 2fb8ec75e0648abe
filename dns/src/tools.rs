//! `nslookup`, `dig` and `host` of the containers' userland: they ask whom the pod's `/etc/resolv.conf` names, over the
//! pod's own network, and print what bind's tools print (`nslookup`'s head is busybox').
//!
//! Options beyond those of the table are refused, not ignored.
//!
//! | command | understands |
//! |---|---|
//! | `nslookup [-type=T] NAME [SERVER]` | also `-query=`, `-q=`; an address as NAME |
//! | `dig [@SERVER] [NAME] [TYPE]` | `-x ADDRESS`, `-t TYPE`, `-p PORT`, `+short`, `+search`, `+tcp`, `+noall +answer`, `+timeout=`, `+tries=` |
//! | `host [-t TYPE] NAME [SERVER]` | `-a`, `-v` are refused |

mod dig;
mod host;
mod nslookup;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
};

use container_runtime::{ContainerContext, ExitStatus, ImageCatalogue};
use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};

use crate::{exchange::exchange, resolver::ResolvConf};

/// Adds the commands to the userland of all images.
pub fn register(catalogue: &mut ImageCatalogue) {
    catalogue.register_command("nslookup", nslookup::run);
    catalogue.register_command("dig", dig::run);
    catalogue.register_command("host", host::run);
}

/// Whom to ask, and how.
struct Client<'a> {
    context: &'a ContainerContext,
    conf: ResolvConf,
    port: u16,
}

/// What came of a question.
struct Answered {
    server: SocketAddr,
    /// The full name that was asked for last.
    name: Name,
    message: Message,
}

/// How much a response tells: that nobody has the zone says less than that the zone has no such name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Failure,
    NoName,
    NoRecord,
    Records,
}

impl Answered {
    fn tells(&self) -> Told {
        match self.message.metadata.response_code {
            ResponseCode::NoError if self.message.answers.is_empty() => Told::NoRecord,
            ResponseCode::NoError => Told::Records,
            ResponseCode::NXDomain => Told::NoName,
            _ => Told::Failure,
        }
    }
}

impl<'a> Client<'a> {
    /// The pod's own servers, or one that was named: by address, or by a name that the pod resolves.
    async fn new(context: &'a ContainerContext, server: Option<&str>) -> io::Result<Self> {
        let text = context.files.read_to_string("/etc/resolv.conf").unwrap_or_default();
        let mut conf = ResolvConf::parse(&text);
        if let Some(server) = server {
            conf.nameservers = context.network.resolve(server).await?;
            conf.nameservers.truncate(1);
        }
        Ok(Self { context, conf, port: 53 })
    }

    fn server(&self) -> Option<SocketAddr> {
        self.conf.nameservers.first().map(|server| SocketAddr::new(*server, self.port))
    }

    /// The names to try for what the user wrote: the one of an address, those of the search list, or that name alone.
    fn candidates(&self, text: &str, search: bool) -> Vec<Name> {
        match text.parse::<IpAddr>() {
            Ok(address) => vec![Name::from(address)],
            Err(_) if search => self.conf.candidates(text),
            Err(_) => ResolvConf::default().candidates(&format!("{}.", text.trim_end_matches('.'))),
        }
    }

    /// Asks for one name after the other until one has an answer; the most telling response when none has.
    async fn ask(&self, names: &[Name], record_type: RecordType) -> io::Result<Option<Answered>> {
        let mut best: Option<Answered> = None;
        for name in names {
            let answered = self.ask_one(name, record_type).await?;
            let found = answered.tells() == Told::Records;
            if best.as_ref().is_none_or(|best| best.tells() < answered.tells()) {
                best = Some(answered);
            }
            if found {
                break;
            }
        }
        Ok(best)
    }

    async fn ask_one(&self, name: &Name, record_type: RecordType) -> io::Result<Answered> {
        let mut query = Message::query();
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(name.clone(), record_type));
        let mut failure = cni::network::timed_out();
        for _ in 0..self.conf.attempts {
            for server in &self.conf.nameservers {
                let server = SocketAddr::new(*server, self.port);
                let context = self.context;
                let asked = exchange(
                    &context.network,
                    &context.clock,
                    server,
                    query.clone(),
                    self.conf.timeout,
                );
                match asked.await {
                    Ok(message) => return Ok(Answered { server, name: name.clone(), message }),
                    Err(error) => failure = error,
                }
            }
        }
        Err(failure)
    }
}

/// A type as the user writes it.
fn record_type(text: &str) -> Option<RecordType> {
    text.to_ascii_uppercase().parse().ok()
}

/// A name as bind prints it in prose: without the dot at its end.
fn plain(name: &Name) -> String {
    let text = name.to_ascii();
    if name.is_root() { text } else { text.trim_end_matches('.').to_owned() }
}

/// `NXDOMAIN`, as bind names it.
fn code(code: ResponseCode) -> String {
    match code {
        ResponseCode::NoError => "NOERROR".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        other => u16::from(other).to_string(),
    }
}

/// The data of a record, as in a zone file.
fn data(record: &Record) -> String {
    match &record.data {
        RData::TXT(text) => {
            let quoted = text
                .txt_data
                .iter()
                .map(|part| format!("\"{}\"", String::from_utf8_lossy(part).replace('"', "\\\"")));
            quoted.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

const NO_SERVERS: &str = ";; connection timed out; no servers could be reached\n";

/// Prints to standard output; who has gone away ends nothing.
async fn print(context: &ContainerContext, text: impl fmt::Display) {
    drop(context.stdout.write_all(text.to_string()).await);
}

/// Says what is wrong with the command line.
async fn misuse(context: &ContainerContext, text: impl fmt::Display) -> ExitStatus {
    drop(context.stderr.write_all(format!("{text}\n")).await);
    ExitStatus(1)
}
