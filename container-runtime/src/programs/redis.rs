//! redis: a real server of its protocol (RESP) with strings, counters, lists, hashes, sets and expiry.
//!
//! Data live in memory and die with the container; there is no replication, persistence, cluster or
//! scripting. A command that is not in [`commands`] gets redis' own error.

mod commands;
mod protocol;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use cni::network::PodStream;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::commands::{Database, execute};
use self::protocol::{Parsed, Reply, parse};
use super::program;
use crate::catalogue::ImageDefinition;
use crate::program::{ContainerContext, ExitStatus};

pub(super) const VERSION: &str = "8.2.1";

pub(super) fn image() -> ImageDefinition {
    ImageDefinition::named(&[
        ("docker-entrypoint.sh", program(entrypoint)),
        ("redis-server", program(server)),
        ("redis-cli", program(client)),
    ])
    .entrypoint(&["docker-entrypoint.sh"])
    .cmd(&["redis-server"])
    .env("REDIS_DOWNLOAD_URL", "")
    .working_dir("/data")
    .megabytes(50)
}

/// The image's entrypoint: options alone are the server's.
async fn entrypoint(mut context: ContainerContext) -> ExitStatus {
    context.args.remove(0);
    if context.args.first().is_none_or(|word| word.starts_with('-')) {
        context.args.insert(0, "redis-server".to_owned());
    }
    let name = context.args[0].clone();
    match crate::launch::find(&context, &name) {
        Ok(program) => program.run(context).await,
        Err(error) => {
            let line = format!("/usr/local/bin/docker-entrypoint.sh: exec: {name}: not found\n");
            // A log that cannot be written changes nothing.
            let _ = context.stderr.write_all(line).await;
            ExitStatus(error.exit_code())
        }
    }
}

/// `--port 6380`; a file of settings may come before it.
fn setting(context: &ContainerContext, name: &str) -> Option<String> {
    let flag = format!("--{name}");
    let position = context.args.iter().position(|word| *word == flag);
    if let Some(value) = position.and_then(|index| context.args.get(index + 1)) {
        return Some(value.clone());
    }
    let file = context.args.get(1).filter(|word| !word.starts_with('-'))?;
    let text =
        context.files.read_to_string(&crate::files::join(&context.working_dir, file)).ok()?;
    let line =
        text.lines().rev().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.trim().trim_matches('"').to_owned())
}

async fn server(context: ContainerContext) -> ExitStatus {
    let port = setting(&context, "port").and_then(|port| port.parse().ok()).unwrap_or(6379);
    let password = setting(&context, "requirepass").filter(|password| !password.is_empty());
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let listener = match context.network.listen_tcp(address).await {
        Ok(listener) => listener,
        Err(error) => {
            log(
                &context,
                '#',
                &format!("Warning: Could not create server TCP listening socket *:{port}: {error}"),
            )
            .await;
            log(&context, '#', "Failed listening on port, aborting.").await;
            return ExitStatus(1);
        }
    };
    log(&context, '*', "oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo").await;
    log(
        &context,
        '*',
        &format!("Redis version={VERSION}, bits=64, modified=0, pid=1, just started"),
    )
    .await;
    log(&context, '*', &format!("Running mode=standalone, port={port}.")).await;
    log(&context, '*', "Ready to accept connections tcp").await;
    let database = Arc::new(Mutex::new(Database::new(context.clock.clone(), password)));
    loop {
        let stream = tokio::select! {
            biased;
            () = context.signals.terminated() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == std::io::ErrorKind::NetworkDown => break,
                Err(_) => continue,
            },
        };
        let database = database.clone();
        context.spawn(async move {
            if let Err(error) = converse(stream, &database).await {
                tracing::debug!(%error, "redis connection ended");
            }
        });
    }
    log(&context, '*', "Received SIGTERM scheduling shutdown...").await;
    log(&context, '#', "Redis is now ready to exit, bye bye...").await;
    ExitStatus::SUCCESS
}

async fn log(context: &ContainerContext, level: char, text: &str) {
    let time = context.clock.now().strftime("%d %b %Y %H:%M:%S%.3f").to_string();
    // A log that cannot be written changes nothing.
    let _ = context.stdout.write_all(format!("1:M {time} {level} {text}\n")).await;
}

async fn converse(mut stream: PodStream, database: &Mutex<Database>) -> std::io::Result<()> {
    let mut input = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    let mut session = commands::Session::default();
    loop {
        let mut output = Vec::new();
        loop {
            match parse(&input) {
                Parsed::Incomplete => break,
                Parsed::Wrong(message) => {
                    Reply::Error(format!("ERR Protocol error: {message}")).write(&mut output);
                    stream.write_all(&output).await?;
                    return Ok(());
                }
                Parsed::Command(words, used) => {
                    input.drain(..used);
                    if words.is_empty() {
                        continue;
                    }
                    execute(database, &mut session, &words).write(&mut output);
                    if session.quit {
                        return stream.write_all(&output).await;
                    }
                }
            }
        }
        stream.write_all(&output).await?;
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        input.extend_from_slice(&buffer[..count]);
    }
}

/// `redis-cli [-h HOST] [-p PORT] [-a PASSWORD] COMMAND…`; commands on standard input without one.
async fn client(context: ContainerContext) -> ExitStatus {
    let (mut host, mut port, mut password) = ("127.0.0.1".to_owned(), 6379, None);
    let mut words = context.args[1..].iter().peekable();
    while let Some(option) = words.next_if(|word| word.starts_with('-')) {
        match option.as_str() {
            "-h" => host = words.next().cloned().unwrap_or_default(),
            "-p" => port = words.next().and_then(|port| port.parse().ok()).unwrap_or(0),
            "-a" => password = words.next().cloned(),
            "--raw" | "--no-auth-warning" => {}
            other => {
                let line = format!("Unrecognized option or bad number of args for: '{other}'\n");
                let _ = context.stderr.write_all(line).await;
                return ExitStatus(1);
            }
        }
    }
    let command: Vec<String> = words.cloned().collect();
    let connect = async {
        let addresses = context.network.resolve(&host).await?;
        let address = addresses.first().ok_or(std::io::ErrorKind::NotFound)?;
        context.network.connect_tcp((*address, port).into()).await
    };
    let mut stream = match connect.await {
        Ok(stream) => stream,
        Err(error) => {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            let line = format!("Could not connect to Redis at {host}:{port}: {text}\n");
            let _ = context.stderr.write_all(line).await;
            return ExitStatus(1);
        }
    };
    let mut queue = Vec::new();
    if let Some(password) = password {
        queue.push((vec!["AUTH".to_owned(), password], false));
    }
    let interactive = command.is_empty();
    if !interactive {
        queue.push((command, true));
    }
    let mut status = ExitStatus::SUCCESS;
    loop {
        for (words, shown) in queue.drain(..) {
            let Ok(reply) = protocol::ask(&mut stream, &words).await else {
                let _ = context.stderr.write_all("Error: Server closed the connection\n").await;
                return ExitStatus(1);
            };
            if matches!(reply, Reply::Error(_)) && !interactive {
                status = ExitStatus(1);
            }
            if shown && context.stdout.write_all(reply.print(context.terminal)).await.is_err() {
                return ExitStatus(141);
            }
        }
        if !interactive {
            return status;
        }
        if context.terminal {
            let _ = context.stdout.write_all(format!("{host}:{port}> ")).await;
        }
        let Some(line) = context.stdin.read_line().await else { return status };
        let line = String::from_utf8_lossy(&line).into_owned();
        let words = protocol::split_words(&line);
        match words.first().map(|word| word.to_ascii_lowercase()).as_deref() {
            None => {}
            Some("quit" | "exit") => return status,
            Some(_) => queue.push((words, true)),
        }
    }
}
