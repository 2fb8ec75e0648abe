//! `host`.

use std::fmt::Write as _;

use container_runtime::{ContainerContext, ExitStatus};
use hickory_proto::{
    op::ResponseCode,
    rr::{RData, Record, RecordType},
};

use super::{Client, NO_SERVERS, code, data, misuse, plain, print, record_type};

pub(super) async fn run(context: ContainerContext) -> ExitStatus {
    let mut wanted = None;
    let mut operands = Vec::new();
    let mut words = context.args[1..].iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-t" => match words.next().map(|text| (text, record_type(text))) {
                Some((_, Some(known))) => wanted = Some(known),
                Some((text, None)) => {
                    return misuse(&context, format!("host: invalid type: {text}")).await;
                }
                None => return misuse(&context, "host: option requires an argument -- 't'").await,
            },
            option if option.starts_with('-') => {
                return misuse(&context, format!("host: illegal option -- {}", &option[1..])).await;
            }
            operand => operands.push(operand),
        }
    }
    let (name, server) = match operands[..] {
        [name] => (name, None),
        [name, server] => (name, Some(server)),
        _ => return misuse(&context, "Usage: host [-t type] hostname [server]").await,
    };
    let Ok(client) = Client::new(&context, server).await else {
        let text =
            format!("host: couldn't get address for '{}': not found", server.unwrap_or_default());
        return misuse(&context, text).await;
    };
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    let wanted = wanted.unwrap_or(if is_address { RecordType::PTR } else { RecordType::A });
    let answered = match client.ask(&client.candidates(name, true), wanted).await {
        Ok(Some(answered)) => answered,
        Ok(None) => return misuse(&context, format!("host: '{name}' is not a legal name")).await,
        Err(_) => {
            print(&context, NO_SERVERS).await;
            return ExitStatus(1);
        }
    };
    let mut text = String::new();
    if let (Some(_), Some(server)) = (server, client.server()) {
        let ip = server.ip();
        let port = server.port();
        let _ =
            write!(text, "Using domain server:\nName: {ip}\nAddress: {ip}#{port}\nAliases: \n\n");
    }
    let found = answered.message.metadata.response_code;
    if found != ResponseCode::NoError {
        let number = u16::from(found);
        let _ = writeln!(text, "Host {name} not found: {number}({})", code(found));
        print(&context, text).await;
        return ExitStatus(1);
    }
    for record in &answered.message.answers {
        text.push_str(&line(record));
    }
    if answered.message.answers.is_empty() {
        let _ = writeln!(text, "{} has no {wanted} record", plain(&answered.name));
    }
    print(&context, text).await;
    ExitStatus(i32::from(answered.message.answers.is_empty()))
}

fn line(record: &Record) -> String {
    let name = plain(&record.name);
    match &record.data {
        RData::A(address) => format!("{name} has address {address}\n"),
        RData::AAAA(address) => format!("{name} has IPv6 address {address}\n"),
        RData::CNAME(target) => format!("{name} is an alias for {}\n", target.0),
        RData::PTR(target) => format!("{name} domain name pointer {}\n", target.0),
        RData::NS(target) => format!("{name} name server {}\n", target.0),
        RData::SRV(_) => format!("{name} has SRV record {}\n", data(record)),
        RData::TXT(_) => format!("{name} descriptive text {}\n", data(record)),
        _ => format!("{name} has {} record {}\n", record.record_type(), data(record)),
    }
}
