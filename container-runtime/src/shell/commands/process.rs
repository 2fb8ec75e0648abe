//! `sleep`, `env`, `kill`, `ps`, `timeout`, `xargs`, `which`, `test`, `true`, `false`: about processes.

use std::fmt::Write;
use std::time::Duration;

use super::{Outcome, fail, getopt};
use crate::launch::{self, LaunchError};
use crate::program::ContainerContext;
use crate::shell::test::evaluate;

pub(super) async fn true_(_: ContainerContext) -> Outcome {
    Ok(0)
}

pub(super) async fn false_(_: ContainerContext) -> Outcome {
    Ok(1)
}

pub(super) async fn sleep(context: ContainerContext) -> Outcome {
    let mut total = Duration::ZERO;
    for word in &context.args[1..] {
        match duration(word) {
            Some(part) => total = total.saturating_add(part),
            None => return fail(&context, 1, format!("sleep: invalid number '{word}'")).await,
        }
    }
    if context.args.len() < 2 {
        return fail(&context, 1, "sleep: missing operand").await;
    }
    context.clock.sleep(total).await;
    Ok(0)
}

/// `5`, `0.5`, `2m`, `inf`.
pub(in crate::shell) fn duration(word: &str) -> Option<Duration> {
    const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);
    if matches!(word, "inf" | "infinity") {
        return Some(FOREVER);
    }
    let (number, unit) = match word.chars().last()? {
        's' => (&word[..word.len() - 1], 1.0),
        'm' => (&word[..word.len() - 1], 60.0),
        'h' => (&word[..word.len() - 1], 3600.0),
        'd' => (&word[..word.len() - 1], 86400.0),
        _ => (word, 1.0),
    };
    let seconds: f64 = number.parse().ok()?;
    let duration = Duration::try_from_secs_f64(seconds * unit).ok()?;
    Some(duration.min(FOREVER))
}

pub(super) async fn test(context: ContainerContext) -> Outcome {
    let name = context.args[0].rsplit('/').next().unwrap_or_default().to_owned();
    let mut operands = &context.args[1..];
    if name == "[" {
        match operands.split_last() {
            Some((last, rest)) if last == "]" => operands = rest,
            _ => return fail(&context, 2, "sh: [: missing ]").await,
        }
    }
    match evaluate(&context.files, &context.working_dir, operands) {
        Ok(truth) => Ok(i32::from(!truth)),
        Err(message) => fail(&context, 2, format!("sh: {message}")).await,
    }
}

/// Runs another command in this one's place.
async fn run(mut context: ContainerContext, who: &str, args: Vec<String>) -> Outcome {
    context.args = args;
    let name = context.args[0].clone();
    match launch::find(&context, &name) {
        Ok(program) => Ok(program.run(context).await.0),
        Err(error) => {
            let why = match &error {
                LaunchError::PermissionDenied(_) => "Permission denied",
                LaunchError::NotFound(_) | LaunchError::NoSuchFile(_) => {
                    "No such file or directory"
                }
            };
            let line = format!("{who}: can't execute '{name}': {why}");
            fail(&context, error.exit_code(), line).await
        }
    }
}

pub(super) async fn env(mut context: ContainerContext) -> Outcome {
    let mut words = context.args.split_off(1).into_iter().peekable();
    while let Some(word) = words.next_if(|word| word.starts_with('-') && word.len() > 1) {
        match word.as_str() {
            "-i" => context.env.clear(),
            "-u" => {
                let name = words.next().unwrap_or_default();
                context.env.retain(|(known, _)| *known != name);
            }
            "--" => break,
            other => {
                let option = other.trim_start_matches('-');
                return fail(&context, 1, format!("env: unrecognized option: {option}")).await;
            }
        }
    }
    while let Some(word) = words.next_if(|word| word.contains('=')) {
        let (name, value) = word.split_once('=').unwrap_or((&word, ""));
        context.env.retain(|(known, _)| known != name);
        context.env.push((name.to_owned(), value.to_owned()));
    }
    let command: Vec<String> = words.collect();
    if !command.is_empty() {
        return Box::pin(run(context, "env", command)).await;
    }
    let lines: String =
        context.env.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    context.stdout.write_all(lines).await?;
    Ok(0)
}

pub(super) async fn printenv(context: ContainerContext) -> Outcome {
    let names = &context.args[1..];
    let mut status = 0;
    let mut lines = String::new();
    if names.is_empty() {
        lines = context.env.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    }
    for name in names {
        match context.env(name) {
            Some(value) => lines.push_str(&format!("{value}\n")),
            None => status = 1,
        }
    }
    context.stdout.write_all(lines).await?;
    Ok(status)
}

pub(super) async fn which(context: ContainerContext) -> Outcome {
    let mut status = 0;
    for name in context.args[1..].iter().filter(|word| !word.starts_with('-')) {
        match launch::find(&context, name) {
            Ok(_) => {
                let path = launch::path_of(&context, name);
                context.stdout.write_all(format!("{path}\n")).await?;
            }
            Err(_) => status = 1,
        }
    }
    Ok(status)
}

pub(super) async fn ps(context: ContainerContext) -> Outcome {
    let mut lines = "PID   USER     TIME  COMMAND\n".to_owned();
    for (pid, process) in context.processes.list() {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{pid:>5} root      0:00 {}", process.command);
    }
    context.stdout.write_all(lines).await?;
    Ok(0)
}

pub(super) async fn kill(context: ContainerContext) -> Outcome {
    let mut words = context.args[1..].iter().peekable();
    let mut signal = "TERM".to_owned();
    while let Some(word) = words.next_if(|word| word.starts_with('-')) {
        match word.trim_start_matches('-') {
            "l" => {
                context.stdout.write_all("HUP INT QUIT KILL TERM\n").await?;
                return Ok(0);
            }
            "s" => signal = words.next().cloned().unwrap_or_default(),
            name => signal = name.to_owned(),
        }
    }
    let signal = signal.strip_prefix("SIG").unwrap_or(&signal).to_owned();
    let mut status = 0;
    for word in words {
        let Ok(pid) = word.parse::<u32>() else {
            status = fail(&context, 1, format!("kill: invalid number '{word}'")).await?;
            continue;
        };
        let Some(process) = context.processes.get(pid) else {
            status =
                fail(&context, 1, format!("kill: can't kill pid {pid}: No such process")).await?;
            continue;
        };
        match signal.as_str() {
            "0" => {}
            "TERM" | "15" | "QUIT" | "3" | "HUP" | "1" => process.signals.terminate(),
            "INT" | "2" => process.signals.interrupt(),
            // Linux shields PID 1 from SIGKILL of its own container.
            "KILL" | "9" if pid == 1 => {}
            "KILL" | "9" => process.kill.cancel(),
            other => return fail(&context, 1, format!("kill: bad signal name '{other}'")).await,
        }
    }
    Ok(status)
}

pub(super) async fn timeout(context: ContainerContext) -> Outcome {
    let mut words = context.args[1..].to_vec();
    while words.first().is_some_and(|word| word.starts_with('-')) {
        let takes = matches!(words[0].as_str(), "-s" | "-k");
        words.drain(..if takes { 2.min(words.len()) } else { 1 });
    }
    let Some(limit) = words.first().and_then(|word| duration(word)) else {
        return fail(&context, 125, "timeout: usage: timeout SECS PROG ARGS").await;
    };
    words.remove(0);
    if words.is_empty() {
        return fail(&context, 125, "timeout: usage: timeout SECS PROG ARGS").await;
    }
    let command = Box::pin(run(context.clone(), "timeout", words));
    // busybox' timeout ends with the code of SIGTERM.
    context.within(limit, command).await.unwrap_or(Ok(143))
}

pub(super) async fn xargs(context: ContainerContext) -> Outcome {
    let parsed = match xargs_options(&context) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let (options, mut command) = parsed;
    if command.is_empty() {
        command.push("echo".to_owned());
    }
    let input = context.stdin.read_to_end(4 << 20).await?;
    let text = String::from_utf8_lossy(&input);
    let items: Vec<String> = match (&options.replace, options.zero) {
        (_, true) => text.split('\0').filter(|item| !item.is_empty()).map(str::to_owned).collect(),
        (Some(_), false) => text.lines().map(|line| line.trim().to_owned()).collect(),
        (None, false) => {
            text.split_whitespace().map(|item| item.trim_matches(['"', '\'']).to_owned()).collect()
        }
    };
    if items.is_empty() && options.no_run_if_empty {
        return Ok(0);
    }
    let per_run =
        if options.replace.is_some() { 1 } else { options.max.unwrap_or(items.len()).max(1) };
    let mut status = 0;
    let batches: Vec<&[String]> = match items.is_empty() {
        true => vec![&[]],
        false => items.chunks(per_run).collect(),
    };
    for batch in batches {
        let args = match &options.replace {
            Some(mark) => {
                let item = batch.first().map(String::as_str).unwrap_or_default();
                command.iter().map(|word| word.replace(mark, item)).collect()
            }
            None => command.iter().chain(batch).cloned().collect(),
        };
        let mut child = context.clone();
        child.stdin = crate::stdio::Input::empty();
        let code = Box::pin(run(child, "xargs", args)).await?;
        match code {
            0 => {}
            126 | 127 => return Ok(code),
            _ => status = 123,
        }
    }
    Ok(status)
}

#[derive(Default)]
struct XargsOptions {
    replace: Option<String>,
    max: Option<usize>,
    zero: bool,
    no_run_if_empty: bool,
}

/// Options end at the command's name, whose own options are not xargs'.
fn xargs_options(context: &ContainerContext) -> Result<(XargsOptions, Vec<String>), String> {
    let mut end = 1;
    while let Some(word) = context.args.get(end).filter(|word| word.starts_with('-')) {
        let alone = matches!(word.as_str(), "-n" | "-I" | "-P" | "-L");
        end += if alone { 2 } else { 1 };
    }
    let end = end.min(context.args.len());
    let mut own = context.clone();
    let command = own.args.split_off(end);
    let parsed = getopt(&own, "n:I:P:L:0r", &[("no-run-if-empty", 'r'), ("null", '0')])?;
    let number = |option| parsed.value(option).and_then(|value| value.parse().ok());
    let options = XargsOptions {
        replace: parsed.value('I').map(str::to_owned),
        max: number('n').or(number('L')),
        zero: parsed.has('0'),
        no_run_if_empty: parsed.has('r'),
    };
    Ok((options, command))
}
