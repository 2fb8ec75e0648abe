//! `hostname`, `date`, `id`, `whoami`, `uname`, `pwd`, `nproc`: who and where.

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use super::{Outcome, fail, getopt};
use crate::program::ContainerContext;

async fn print(context: &ContainerContext, line: impl std::fmt::Display + Send) -> Outcome {
    context.stdout.write_all(format!("{line}\n")).await?;
    Ok(0)
}

pub(super) async fn hostname(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "isfdI", &[("ip-address", 'i'), ("fqdn", 'f')]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    if let Some(name) = parsed.operands.first() {
        return fail(
            &context,
            1,
            format!("hostname: sethostname '{name}': Operation not permitted"),
        )
        .await;
    }
    if parsed.has('i') || parsed.has('I') {
        return print(&context, context.network.ip()).await;
    }
    if parsed.has('d') {
        return print(&context, "").await;
    }
    print(&context, &context.hostname).await
}

pub(super) async fn whoami(context: ContainerContext) -> Outcome {
    print(&context, "root").await
}

pub(super) async fn id(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "ugnG", &[]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let short = parsed.has('u') || parsed.has('g') || parsed.has('G');
    match (short, parsed.has('n')) {
        (true, true) => print(&context, "root").await,
        (true, false) => print(&context, "0").await,
        (false, _) => print(&context, "uid=0(root) gid=0(root) groups=0(root)").await,
    }
}

pub(super) async fn pwd(context: ContainerContext) -> Outcome {
    print(&context, &context.working_dir).await
}

pub(super) async fn nproc(context: ContainerContext) -> Outcome {
    print(&context, 1).await
}

pub(super) async fn uname(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "asnrvmo", &[]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let parts = [
        ('s', "Linux"),
        ('n', &context.hostname),
        ('r', "6.12.0-kube-mini"),
        ('v', "#1 SMP"),
        ('m', "x86_64"),
        ('o', "GNU/Linux"),
    ];
    let chosen: Vec<&str> = parts
        .iter()
        .filter(|(flag, _)| parsed.has('a') || parsed.has(*flag))
        .map(|(_, part)| *part)
        .collect();
    print(&context, if chosen.is_empty() { "Linux".to_owned() } else { chosen.join(" ") }).await
}

pub(super) async fn date(mut context: ContainerContext) -> Outcome {
    // `-I` and `-Iseconds`: an argument that may be left out.
    let iso = context.args.iter().position(|word| word.starts_with("-I"));
    let iso = iso.map(|index| context.args.remove(index));
    let parsed = match getopt(&context, "ud:R", &[("utc", 'u'), ("date", 'd')]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let mut time = context.clock.now();
    if let Some(text) = parsed.value('d') {
        let parsed = match text.strip_prefix('@') {
            Some(seconds) => seconds.parse().ok().and_then(|s| Timestamp::from_second(s).ok()),
            None => text.parse().ok(),
        };
        match parsed {
            Some(parsed) => time = parsed,
            None => return fail(&context, 1, format!("date: invalid date '{text}'")).await,
        }
    }
    let format = match parsed.operands.first() {
        Some(format) => match format.strip_prefix('+') {
            Some(format) => format,
            None => return fail(&context, 1, format!("date: invalid date '{format}'")).await,
        },
        None if iso.as_deref() == Some("-I") => "%Y-%m-%d",
        None if iso.is_some() => "%Y-%m-%dT%H:%M:%S+00:00",
        None if parsed.has('R') => "%a, %d %b %Y %H:%M:%S +0000",
        None => "%a %b %e %H:%M:%S UTC %Y",
    };
    match strtime::format(format.replace("%N", "%9f"), &time.to_zoned(TimeZone::UTC)) {
        Ok(text) => print(&context, text).await,
        Err(_) => fail(&context, 1, format!("date: invalid format '{format}'")).await,
    }
}
