//! `nslookup`.

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
    for word in &context.args[1..] {
        let Some(option) = word.strip_prefix('-') else {
            operands.push(word.as_str());
            continue;
        };
        let value = ["type=", "query=", "q=", "ty="].iter().find_map(|p| option.strip_prefix(p));
        match value.map(record_type) {
            Some(Some(known)) => wanted = Some(known),
            Some(None) => return misuse(&context, format!("unknown query type: {option}")).await,
            None => {
                return misuse(&context, format!("nslookup: invalid option -- '{option}'")).await;
            }
        }
    }
    let (name, server) = match operands[..] {
        [name] => (name, None),
        [name, server] => (name, Some(server)),
        _ => return misuse(&context, "nslookup: usage: nslookup [-type=TYPE] HOST [SERVER]").await,
    };
    let Ok(client) = Client::new(&context, server).await else {
        let server = server.unwrap_or_default();
        let text = format!("nslookup: couldn't get address for '{server}': not found");
        return misuse(&context, text).await;
    };
    // Names that the hosts file knows are not asked for; bind's tools do not read that file.
    let names = client.candidates(name, true);
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    let wanted = wanted.unwrap_or(if is_address { RecordType::PTR } else { RecordType::A });
    let answered = match client.ask(&names, wanted).await {
        Ok(Some(answered)) => answered,
        Ok(None) => {
            return misuse(&context, format!("nslookup: '{name}' is not a legal name")).await;
        }
        Err(_) => {
            print(&context, format!("{NO_SERVERS}\n")).await;
            return ExitStatus(1);
        }
    };
    let server = answered.server;
    let mut text = format!("Server:\t\t{}\nAddress:\t{server}\n\n", server.ip());
    let found = answered.message.metadata.response_code;
    if found != ResponseCode::NoError {
        let _ = write!(text, "** server can't find {name}: {}\n\n", code(found));
        print(&context, text).await;
        return ExitStatus(1);
    }
    if !answered.message.metadata.authoritative {
        text.push_str("Non-authoritative answer:\n");
    }
    if answered.message.answers.is_empty() {
        let _ = writeln!(text, "*** Can't find {name}: No answer");
    }
    for record in &answered.message.answers {
        text.push_str(&line(record));
    }
    text.push('\n');
    print(&context, text).await;
    ExitStatus(i32::from(answered.message.answers.is_empty()))
}

fn line(record: &Record) -> String {
    let name = plain(&record.name);
    match &record.data {
        RData::A(address) => format!("Name:\t{name}\nAddress: {address}\n"),
        RData::AAAA(address) => format!("Name:\t{name}\nAddress: {address}\n"),
        RData::CNAME(target) => format!("{name}\tcanonical name = {}\n", plain(&target.0)),
        RData::PTR(target) => format!("{name}\tname = {}\n", target.0),
        RData::SRV(_) => format!("{name}\tservice = {}\n", data(record)),
        RData::NS(target) => format!("{name}\tnameserver = {}\n", target.0),
        _ => format!(
            "{name}\t{} = {}\n",
            record.record_type().to_string().to_lowercase(),
            data(record)
        ),
    }
}
