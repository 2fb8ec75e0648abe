//! `cat`, `head`, `tail`, `tee`, `base64`: commands that pass bytes on.

use std::time::Duration;

use ::base64::Engine;
use ::base64::engine::general_purpose::STANDARD;

use super::{Outcome, fail, getopt};
use crate::files::{FsError, join};
use crate::program::ContainerContext;
use crate::shell::redirect::open_input;
use crate::stdio::{Input, Output};

/// Bytes taken from an input at once.
const CHUNK: usize = 64 * 1024;
/// Most that `tail` and commands that need everything keep.
pub(super) const WHOLE_LIMIT: usize = 64 * 1024 * 1024;

/// Opens an operand; `-` is the standard input.
pub(super) fn open(context: &ContainerContext, name: &str) -> Result<Input, FsError> {
    match name {
        "-" => Ok(context.stdin.clone()),
        name => {
            let path = join(&context.working_dir, name);
            if context.files.is_dir(&path) {
                return Err(FsError(rustix::io::Errno::ISDIR));
            }
            open_input(context, &context.stdin, &path)
        }
    }
}

/// The operands, or the standard input when there are none.
pub(super) fn operands(names: &[String]) -> Vec<String> {
    if names.is_empty() { vec!["-".to_owned()] } else { names.to_vec() }
}

pub(super) async fn cat(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "nu", &[]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let mut status = 0;
    let mut number = 0;
    for name in operands(&parsed.operands) {
        let input = match open(&context, &name) {
            Ok(input) => input,
            Err(error) if error.is_directory() => {
                status = fail(&context, 1, "cat: read error: Is a directory").await?;
                continue;
            }
            Err(error) => {
                status = fail(&context, 1, format!("cat: can't open '{name}': {error}")).await?;
                continue;
            }
        };
        if parsed.has('n') {
            while let Some(line) = input.read_line().await {
                number += 1;
                let mut text = format!("{number:6}  ").into_bytes();
                text.extend_from_slice(&line);
                context.stdout.write_all(text).await?;
            }
        }
        while let Some(chunk) = input.read(CHUNK).await {
            context.stdout.write_all(chunk).await?;
        }
    }
    Ok(status)
}

pub(super) async fn head(mut context: ContainerContext) -> Outcome {
    numeric_option(&mut context.args);
    let parsed = match getopt(&context, "n:c:q", &[("lines", 'n'), ("bytes", 'c')]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let bytes = parsed.has('c');
    let count = parsed.value('c').or(parsed.value('n')).unwrap_or("10");
    let (all_but, digits) = match count.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, count.strip_prefix('+').unwrap_or(count)),
    };
    let Some(count) = amount(digits) else {
        return fail(&context, 1, format!("head: invalid number '{count}'")).await;
    };
    let names = operands(&parsed.operands);
    let mut status = 0;
    for (index, name) in names.iter().enumerate() {
        let input = match open(&context, name) {
            Ok(input) => input,
            Err(error) => {
                status = fail(&context, 1, format!("head: {name}: {error}")).await?;
                continue;
            }
        };
        if names.len() > 1 && !parsed.has('q') {
            header(&context.stdout, index, name).await?;
        }
        if all_but {
            let all = input.read_to_end(WHOLE_LIMIT).await?;
            let end = match bytes {
                true => all.len().saturating_sub(count),
                false => last_lines_start(&all, count),
            };
            context.stdout.write_all(&all[..end]).await?;
            continue;
        }
        let mut left = count;
        while left > 0 {
            let chunk = match bytes {
                true => input.read(left.min(CHUNK)).await.map(|chunk| chunk.to_vec()),
                false => input.read_line().await,
            };
            let Some(chunk) = chunk else { break };
            left -= if bytes { chunk.len() } else { 1 };
            context.stdout.write_all(chunk).await?;
        }
    }
    Ok(status)
}

async fn header(output: &Output, index: usize, name: &str) -> std::io::Result<()> {
    let gap = if index > 0 { "\n" } else { "" };
    output.write_all(format!("{gap}==> {name} <==\n")).await
}

/// `-5` becomes `-n 5`.
fn numeric_option(args: &mut [String]) {
    if let Some(first) = args.get_mut(1)
        && let Some(digits) = first.strip_prefix('-')
        && !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
    {
        *first = format!("-n{digits}");
    }
}

/// `10`, `1k`, `2M`.
fn amount(text: &str) -> Option<usize> {
    let (digits, unit) = match text.chars().last()? {
        'k' | 'K' => (&text[..text.len() - 1], 1 << 10),
        'm' | 'M' => (&text[..text.len() - 1], 1 << 20),
        'b' => (&text[..text.len() - 1], 512),
        _ => (text, 1),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

/// Where the last `count` lines begin.
fn last_lines_start(text: &[u8], count: usize) -> usize {
    if count == 0 {
        return text.len();
    }
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let mut feeds = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    feeds.nth(count - 1).map_or(0, |(index, _)| index + 1)
}

pub(super) async fn tail(mut context: ContainerContext) -> Outcome {
    numeric_option(&mut context.args);
    let parsed = match getopt(&context, "n:c:fFq", &[("lines", 'n'), ("follow", 'f')]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let bytes = parsed.has('c');
    let text = parsed.value('c').or(parsed.value('n')).unwrap_or("10");
    let from_start = text.starts_with('+');
    let Some(count) = amount(text.trim_start_matches(['+', '-'])) else {
        return fail(&context, 1, format!("tail: invalid number '{text}'")).await;
    };
    let names = operands(&parsed.operands);
    let follow = parsed.has('f') || parsed.has('F');
    let mut status = 0;
    for (index, name) in names.iter().enumerate() {
        let input = match open(&context, name) {
            Ok(input) => input,
            // `tail -f /dev/null` keeps a container alive; a file may come later.
            Err(error) if parsed.has('F') && error.is_not_found() => Input::empty(),
            Err(error) => {
                status = fail(&context, 1, format!("tail: can't open '{name}': {error}")).await?;
                continue;
            }
        };
        if names.len() > 1 && !parsed.has('q') {
            header(&context.stdout, index, name).await?;
        }
        let all = input.read_to_end(WHOLE_LIMIT).await?;
        let start = match (from_start, bytes) {
            (true, true) => count.saturating_sub(1).min(all.len()),
            (true, false) => {
                let lines = all.split_inclusive(|byte| *byte == b'\n');
                lines.take(count.saturating_sub(1)).map(<[u8]>::len).sum()
            }
            (false, true) => all.len().saturating_sub(count),
            (false, false) => last_lines_start(&all, count),
        };
        context.stdout.write_all(&all[start..]).await?;
    }
    if follow && status == 0 {
        follow_files(&context, &names).await?;
    }
    Ok(status)
}

/// Prints what is added to files, looking once a second as `tail` does.
async fn follow_files(context: &ContainerContext, names: &[String]) -> std::io::Result<()> {
    let paths: Vec<String> = names
        .iter()
        .filter(|name| *name != "-")
        .map(|name| join(&context.working_dir, name))
        .collect();
    let size = |path: &String| context.files.metadata(path).map_or(0, |found| found.size);
    let mut sizes: Vec<u64> = paths.iter().map(size).collect();
    loop {
        tokio::select! {
            () = context.clock.sleep(Duration::from_secs(1)) => {}
            () = context.stdout.closed() => return Err(std::io::ErrorKind::BrokenPipe.into()),
        }
        for (path, seen) in paths.iter().zip(&mut sizes) {
            let now = size(path);
            if now != *seen
                && let Ok(content) = context.files.read(path)
            {
                let from = if now < *seen { 0 } else { usize::try_from(*seen).unwrap_or(0) };
                context.stdout.write_all(&content[from.min(content.len())..]).await?;
                *seen = content.len() as u64;
            }
        }
    }
}

pub(super) async fn tee(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "a", &[("append", 'a')]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let mut status = 0;
    let mut files = Vec::new();
    for name in &parsed.operands {
        let path = join(&context.working_dir, name);
        match context.files.open(&path, !parsed.has('a')) {
            Ok(file) => files.push(Output::file(file)),
            Err(error) => status = fail(&context, 1, format!("tee: {name}: {error}")).await?,
        }
    }
    while let Some(chunk) = context.stdin.read(CHUNK).await {
        context.stdout.write_all(&chunk).await?;
        for file in &files {
            if let Err(error) = file.write_all(&chunk).await {
                status = fail(&context, 1, format!("tee: {}", super::io_text(&error))).await?;
            }
        }
    }
    Ok(status)
}

pub(super) async fn base64(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "dw:", &[("decode", 'd'), ("wrap", 'w')]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let name = parsed.operands.first().map_or("-", String::as_str);
    let input = match open(&context, name) {
        Ok(input) => input.read_to_end(WHOLE_LIMIT).await?,
        Err(error) => return fail(&context, 1, format!("base64: {name}: {error}")).await,
    };
    if parsed.has('d') {
        let text: Vec<u8> =
            input.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        return match STANDARD.decode(text) {
            Ok(decoded) => {
                context.stdout.write_all(decoded).await?;
                Ok(0)
            }
            Err(_) => fail(&context, 1, "base64: truncated input").await,
        };
    }
    let encoded = STANDARD.encode(&input);
    let width = parsed.value('w').and_then(|width| width.parse::<usize>().ok()).unwrap_or(76);
    let mut lines = String::with_capacity(encoded.len() + encoded.len() / 76 + 1);
    for line in encoded.as_bytes().chunks(if width == 0 { usize::MAX } else { width }) {
        lines.push_str(&String::from_utf8_lossy(line));
        if width > 0 {
            lines.push('\n');
        }
    }
    context.stdout.write_all(lines).await?;
    Ok(0)
}
