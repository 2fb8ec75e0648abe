//! `mkdir`, `rm`, `cp`, `mv`, `touch`, `ln`, `chmod`: changing files, and working with their names.

use super::{Outcome, fail, getopt};
use crate::files::{FsError, join, parent_of};
use crate::program::ContainerContext;

pub(super) async fn mkdir(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "pm:", &[("parents", 'p'), ("mode", 'm')]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    if parsed.operands.is_empty() {
        return fail(&context, 1, "mkdir: missing operand").await;
    }
    let mode = parsed.value('m').and_then(|mode| u32::from_str_radix(mode, 8).ok());
    let mut status = 0;
    for name in &parsed.operands {
        let path = join(&context.working_dir, name);
        let made = match parsed.has('p') {
            true => context.files.create_dir_all(&path),
            false => context.files.create_dir(&path),
        };
        let made =
            made.and_then(|()| mode.map_or(Ok(()), |mode| context.files.set_mode(&path, mode)));
        if let Err(error) = made {
            let line = format!("mkdir: can't create directory '{name}': {error}");
            status = fail(&context, 1, line).await?;
        }
    }
    Ok(status)
}

pub(super) async fn rmdir(context: ContainerContext) -> Outcome {
    let mut status = 0;
    for name in &context.args[1..] {
        if let Err(error) = context.files.remove_dir(&join(&context.working_dir, name)) {
            status = fail(&context, 1, format!("rmdir: '{name}': {error}")).await?;
        }
    }
    Ok(status)
}

pub(super) async fn rm(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "rRf", &[("recursive", 'r'), ("force", 'f')]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let (recursive, force) = (parsed.has('r') || parsed.has('R'), parsed.has('f'));
    if parsed.operands.is_empty() && !force {
        return fail(&context, 1, "rm: missing operand").await;
    }
    let mut status = 0;
    for name in &parsed.operands {
        let path = join(&context.working_dir, name);
        match context.files.symlink_metadata(&path) {
            Ok(found) if found.is_dir() && !recursive => {
                status = fail(&context, 1, format!("rm: '{name}' is a directory")).await?;
                continue;
            }
            Err(error) if force && error.is_not_found() => continue,
            Err(error) => {
                status = fail(&context, 1, format!("rm: can't remove '{name}': {error}")).await?;
                continue;
            }
            Ok(_) => {}
        }
        if let Err(error) = remove_tree(&context, &path) {
            status = fail(&context, 1, format!("rm: can't remove '{name}': {error}")).await?;
        }
    }
    Ok(status)
}

/// Removes bottom up, without recursion.
fn remove_tree(context: &ContainerContext, path: &str) -> Result<(), FsError> {
    let files = &context.files;
    let mut found = vec![path.to_owned()];
    let mut next = 0;
    while let Some(current) = found.get(next).cloned() {
        next += 1;
        if files.symlink_metadata(&current)?.is_dir() {
            let entries = files.read_dir(&current)?;
            found.extend(entries.into_iter().map(|entry| format!("{current}/{}", entry.name)));
        }
    }
    for path in found.iter().rev() {
        match files.symlink_metadata(path)?.is_dir() {
            true => files.remove_dir(path)?,
            false => files.remove_file(path)?,
        }
    }
    Ok(())
}

/// Where an operand goes: into the target if that is a directory.
fn destination(context: &ContainerContext, source: &str, target: &str) -> String {
    let path = join(&context.working_dir, target);
    match context.files.is_dir(&path) {
        true => {
            let name = source.trim_end_matches('/').rsplit('/').next().unwrap_or(source);
            format!("{}/{name}", path.trim_end_matches('/'))
        }
        false => path,
    }
}

pub(super) async fn cp(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "rRapf", &[("recursive", 'r'), ("archive", 'a')]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let recursive = parsed.has('r') || parsed.has('R') || parsed.has('a');
    let Some((target, sources)) = parsed.operands.split_last().filter(|(_, rest)| !rest.is_empty())
    else {
        return fail(&context, 1, "cp: missing operand").await;
    };
    let mut status = 0;
    for source in sources {
        let from = join(&context.working_dir, source);
        match context.files.metadata(&from) {
            Ok(found) if found.is_dir() && !recursive => {
                status = fail(&context, 1, format!("cp: omitting directory '{source}'")).await?;
            }
            Ok(_) => {
                let to = destination(&context, source, target);
                if let Err(error) = copy_tree(&context, &from, &to) {
                    status =
                        fail(&context, 1, format!("cp: can't create '{target}': {error}")).await?;
                }
            }
            Err(error) => {
                status = fail(&context, 1, format!("cp: can't stat '{source}': {error}")).await?;
            }
        }
    }
    Ok(status)
}

fn copy_tree(context: &ContainerContext, from: &str, to: &str) -> Result<(), FsError> {
    let files = &context.files;
    let inside = files.resolve(from, true)?;
    if files.resolve(to, true).is_ok_and(|to| to.starts_with(&format!("{inside}/"))) {
        return Err(FsError(rustix::io::Errno::INVAL));
    }
    let mut todo = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = todo.pop() {
        let found = files.metadata(&from)?;
        if found.is_dir() {
            files.create_dir_all(&to)?;
            for entry in files.read_dir(&from)? {
                todo.push((format!("{from}/{}", entry.name), format!("{to}/{}", entry.name)));
            }
        } else {
            files.write(&to, files.read(&from)?)?;
            files.set_mode(&to, found.mode)?;
        }
    }
    Ok(())
}

pub(super) async fn mv(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "f", &[]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let Some((target, sources)) = parsed.operands.split_last().filter(|(_, rest)| !rest.is_empty())
    else {
        return fail(&context, 1, "mv: missing operand").await;
    };
    let mut status = 0;
    for source in sources {
        let from = join(&context.working_dir, source);
        let to = destination(&context, source, target);
        let moved = match context.files.rename(&from, &to) {
            // Between filesystems a move is a copy.
            Err(FsError(rustix::io::Errno::XDEV)) => {
                copy_tree(&context, &from, &to).and_then(|()| remove_tree(&context, &from))
            }
            other => other,
        };
        if let Err(error) = moved {
            status = fail(&context, 1, format!("mv: can't rename '{source}': {error}")).await?;
        }
    }
    Ok(status)
}

pub(super) async fn touch(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "cam", &[("no-create", 'c')]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let mut status = 0;
    for name in &parsed.operands {
        let path = join(&context.working_dir, name);
        if parsed.has('c') && !context.files.exists(&path) {
            continue;
        }
        if let Err(error) = context.files.touch(&path) {
            status = fail(&context, 1, format!("touch: {name}: {error}")).await?;
        }
    }
    Ok(status)
}

pub(super) async fn ln(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "sfn", &[("symbolic", 's'), ("force", 'f')]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let [target, name] = parsed.operands.as_slice() else {
        return fail(&context, 1, "ln: usage: ln -s TARGET NAME").await;
    };
    if !parsed.has('s') {
        return fail(&context, 1, "ln: hard links are not supported here: use ln -s").await;
    }
    let path = match parsed.has('n') {
        true => join(&context.working_dir, name),
        false => destination(&context, target, name),
    };
    if parsed.has('f') {
        // What is not there need not go.
        let _ = context.files.remove_file(&path);
    }
    match context.files.symlink(target, &path) {
        Ok(()) => Ok(0),
        Err(error) => fail(&context, 1, format!("ln: {name}: {error}")).await,
    }
}

pub(super) async fn chown(context: ContainerContext) -> Outcome {
    let root = |owner: &str| owner.split([':', '.']).all(|part| matches!(part, "" | "0" | "root"));
    let mut words = context.args[1..].iter().filter(|word| !word.starts_with('-'));
    match words.next() {
        // Everything belongs to root already.
        Some(owner) if root(owner) => Ok(0),
        Some(owner) => {
            let line =
                format!("chown: {owner}: only root owns files here: Operation not permitted");
            fail(&context, 1, line).await
        }
        None => fail(&context, 1, "chown: missing operand").await,
    }
}

pub(super) async fn chmod(context: ContainerContext) -> Outcome {
    let words = &context.args[1..];
    let recursive = words.first().is_some_and(|word| word == "-R");
    let words = if recursive { &words[1..] } else { words };
    let Some((mode, names)) = words.split_first().filter(|(_, names)| !names.is_empty()) else {
        return fail(&context, 1, "chmod: missing operand").await;
    };
    let mut status = 0;
    for name in names {
        let mut todo = vec![join(&context.working_dir, name)];
        while let Some(path) = todo.pop() {
            let changed = context.files.metadata(&path).and_then(|found| {
                if recursive && found.is_dir() {
                    let entries = context.files.read_dir(&path)?;
                    todo.extend(entries.into_iter().map(|entry| format!("{path}/{}", entry.name)));
                }
                match new_mode(mode, found.mode) {
                    Some(mode) => context.files.set_mode(&path, mode).map(|()| true),
                    None => Ok(false),
                }
            });
            match changed {
                Ok(true) => {}
                Ok(false) => {
                    return fail(&context, 1, format!("chmod: invalid mode '{mode}'")).await;
                }
                Err(error) => status = fail(&context, 1, format!("chmod: {name}: {error}")).await?,
            }
        }
    }
    Ok(status)
}

/// `755`, `+x`, `u+rw,go-w`, `a=r`.
fn new_mode(text: &str, old: u32) -> Option<u32> {
    if let Ok(mode) = u32::from_str_radix(text, 8) {
        return (mode <= 0o7777).then_some(mode);
    }
    let mut mode = old;
    for clause in text.split(',') {
        let position = clause.find(['+', '-', '='])?;
        let (who, change) = clause.split_at(position);
        let mut mask = 0;
        for letter in who.chars() {
            mask |= match letter {
                'u' => 0o700,
                'g' => 0o070,
                'o' => 0o007,
                'a' => 0o777,
                _ => return None,
            };
        }
        if who.is_empty() {
            mask = 0o777;
        }
        let mut bits = 0;
        for letter in change[1..].chars() {
            bits |= match letter {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                'X' if old & 0o111 != 0 => 0o111,
                'X' => 0,
                _ => return None,
            };
        }
        mode = match change.as_bytes()[0] {
            b'+' => mode | (bits & mask),
            b'-' => mode & !(bits & mask),
            _ => (mode & !mask) | (bits & mask),
        };
    }
    Some(mode)
}

pub(super) async fn basename(context: ContainerContext) -> Outcome {
    let Some(path) = context.args.get(1) else {
        return fail(&context, 1, "basename: missing operand").await;
    };
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let name = if name.is_empty() && path.starts_with('/') { "/" } else { name };
    let suffix = context.args.get(2).map_or("", String::as_str);
    let name = name.strip_suffix(suffix).filter(|short| !short.is_empty()).unwrap_or(name);
    context.stdout.write_all(format!("{name}\n")).await?;
    Ok(0)
}

pub(super) async fn dirname(context: ContainerContext) -> Outcome {
    let Some(path) = context.args.get(1) else {
        return fail(&context, 1, "dirname: missing operand").await;
    };
    let trimmed = path.trim_end_matches('/');
    let parent = match trimmed.contains('/') {
        true => parent_of(trimmed),
        false if path.starts_with('/') => "/",
        false => ".",
    };
    context.stdout.write_all(format!("{parent}\n")).await?;
    Ok(0)
}

pub(super) async fn readlink(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "fe", &[]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    for name in &parsed.operands {
        let path = join(&context.working_dir, name);
        let target = match parsed.has('f') || parsed.has('e') {
            true => context.files.resolve(&path, true),
            false => context.files.read_link(&path),
        };
        match target {
            Ok(target) => context.stdout.write_all(format!("{target}\n")).await?,
            Err(_) => return Ok(1),
        }
    }
    Ok(0)
}

pub(super) async fn realpath(context: ContainerContext) -> Outcome {
    let mut status = 0;
    for name in &context.args[1..] {
        let path = join(&context.working_dir, name);
        match context.files.metadata(&path).and_then(|_| context.files.resolve(&path, true)) {
            Ok(real) => context.stdout.write_all(format!("{real}\n")).await?,
            Err(error) => status = fail(&context, 1, format!("realpath: {name}: {error}")).await?,
        }
    }
    Ok(status)
}

pub(super) async fn mktemp(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "dq", &[]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let template = match parsed.operands.first() {
        Some(template) => join(&context.working_dir, template),
        None => "/tmp/tmp.XXXXXX".to_owned(),
    };
    let random = format!("{:016x}", context.clock.random_u64());
    let path = format!("{}{}", template.trim_end_matches('X'), &random[..6]);
    let made = match parsed.has('d') {
        true => context.files.create_dir(&path),
        false => context.files.write(&path, ""),
    };
    match made {
        Ok(()) => {
            context.stdout.write_all(format!("{path}\n")).await?;
            Ok(0)
        }
        Err(error) => fail(&context, 1, format!("mktemp: {path}: {error}")).await,
    }
}
