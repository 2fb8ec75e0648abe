//! `ls`, `stat` and `find`: looking at files.

use jiff::tz::TimeZone;

use super::{Outcome, Parsed, fail, getopt};
use crate::files::{FileType, Metadata, join};
use crate::program::ContainerContext;
use crate::shell::pattern::Pattern;

/// Most entries that one recursive command visits.
const MAX_VISITED: usize = 200_000;

/// `drwxr-xr-x`
fn mode_text(metadata: &Metadata) -> String {
    let kind = match metadata.kind {
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::Device(_) => 'c',
        FileType::File | FileType::Executable => '-',
    };
    let bits = (0..9).rev().map(|bit| {
        let letter = ['x', 'w', 'r'][bit % 3];
        if metadata.mode & (1 << bit) != 0 { letter } else { '-' }
    });
    let mut text: String = std::iter::once(kind).chain(bits).collect();
    if metadata.mode & 0o1000 != 0 {
        text.replace_range(9.., if metadata.mode & 1 != 0 { "t" } else { "T" });
    }
    text
}

fn human(size: u64) -> String {
    let units = ["", "K", "M", "G"];
    let mut value = size as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { size.to_string() } else { format!("{value:.1}{}", units[unit]) }
}

pub(super) async fn ls(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "1aAldhRrtSFp", &[("all", 'a'), ("color", '1')]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let mut names = parsed.operands.clone();
    if names.is_empty() {
        names.push(".".to_owned());
    }
    let many = names.len() > 1 || parsed.has('R');
    let mut status = 0;
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for name in &names {
        let path = join(&context.working_dir, name);
        let follow = !parsed.has('l') || name.ends_with('/');
        let found = match follow {
            true => {
                context.files.metadata(&path).or_else(|_| context.files.symlink_metadata(&path))
            }
            false => context.files.symlink_metadata(&path),
        };
        match found {
            Ok(found) if found.is_dir() && !parsed.has('d') => directories.push(name.clone()),
            Ok(found) => files.push((name.clone(), path, found)),
            Err(error) => status = fail(&context, 1, format!("ls: {name}: {error}")).await?,
        }
    }
    let mut out = list(&context, &parsed, files);
    directories.reverse();
    let mut first = out.is_empty();
    let mut visited = 0;
    while let Some(name) = directories.pop() {
        let path = join(&context.working_dir, &name);
        let mut entries = match context.files.read_dir(&path) {
            Ok(entries) => entries,
            Err(error) => {
                status = fail(&context, 1, format!("ls: {name}: {error}")).await?;
                continue;
            }
        };
        if !parsed.has('a') && !parsed.has('A') {
            entries.retain(|entry| !entry.name.starts_with('.'));
        }
        visited += entries.len();
        let mut listed: Vec<(String, String, Metadata)> = Vec::new();
        if parsed.has('a') {
            for dot in [".", ".."] {
                let dotted = format!("{path}/{dot}");
                if let Ok(found) = context.files.metadata(&dotted) {
                    listed.push((dot.to_owned(), dotted, found));
                }
            }
        }
        let mut deeper = Vec::new();
        for entry in entries {
            let full = format!("{path}/{}", entry.name);
            if parsed.has('R') && entry.kind == FileType::Directory && visited < MAX_VISITED {
                deeper.push(format!("{}/{}", name.trim_end_matches('/'), entry.name));
            }
            if let Ok(found) = context.files.symlink_metadata(&full) {
                listed.push((entry.name, full, found));
            }
        }
        directories.extend(deeper.into_iter().rev());
        if many {
            out.push_str(if first { "" } else { "\n" });
            out.push_str(&format!("{name}:\n"));
        }
        first = false;
        if parsed.has('l') {
            out.push_str(&format!("total {}\n", listed.len() * 4));
        }
        out.push_str(&list(&context, &parsed, listed));
    }
    context.stdout.write_all(out).await?;
    Ok(status)
}

fn list(
    context: &ContainerContext,
    parsed: &Parsed,
    mut entries: Vec<(String, String, Metadata)>,
) -> String {
    if parsed.has('t') {
        entries.sort_by(|a, b| b.2.modified.cmp(&a.2.modified).then_with(|| a.0.cmp(&b.0)));
    } else if parsed.has('S') {
        entries.sort_by(|a, b| b.2.size.cmp(&a.2.size).then_with(|| a.0.cmp(&b.0)));
    }
    if parsed.has('r') {
        entries.reverse();
    }
    let size = |metadata: &Metadata| match parsed.has('h') {
        true => human(metadata.size),
        false => metadata.size.to_string(),
    };
    let mut out = String::new();
    for (name, path, metadata) in &entries {
        let mark = match metadata.kind {
            FileType::Directory if parsed.has('F') || parsed.has('p') => "/",
            FileType::Symlink if parsed.has('F') => "@",
            _ => "",
        };
        if parsed.has('l') {
            let time = metadata.modified.to_zoned(TimeZone::UTC).strftime("%b %e %H:%M");
            let target = match metadata.kind {
                FileType::Symlink => context.files.read_link(path).ok(),
                _ => None,
            };
            let target = target.map(|target| format!(" -> {target}")).unwrap_or_default();
            out.push_str(&format!(
                "{}    1 root     root     {:>9} {time} {name}{mark}{target}\n",
                mode_text(metadata),
                size(metadata),
            ));
        } else {
            out.push_str(&format!("{name}{mark}\n"));
        }
    }
    out
}

pub(super) async fn stat(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "c:L", &[("format", 'c')]) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    let mut status = 0;
    for name in &parsed.operands {
        let path = join(&context.working_dir, name);
        let found = match parsed.has('L') {
            true => context.files.metadata(&path),
            false => context.files.symlink_metadata(&path),
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                status = fail(&context, 1, format!("stat: can't stat '{name}': {error}")).await?;
                continue;
            }
        };
        let kind = match found.kind {
            FileType::Directory => "directory",
            FileType::Symlink => "symbolic link",
            FileType::Device(_) => "character special file",
            FileType::File | FileType::Executable => "regular file",
        };
        let mode = format!("{:o}", found.mode);
        let line = match parsed.value('c') {
            Some(format) => format
                .replace("%a", &mode)
                .replace("%A", &mode_text(&found))
                .replace("%n", name)
                .replace("%s", &found.size.to_string())
                .replace("%F", kind)
                .replace("%U", "root")
                .replace("%G", "root")
                .replace("%u", "0")
                .replace("%g", "0")
                .replace("%Y", &found.modified.as_second().to_string()),
            None => format!(
                "  File: {name}\n  Size: {}\t{kind}\nAccess: (0{mode}/{})  Uid: (    0/    root)   Gid: (    0/    root)\nModify: {}",
                found.size,
                mode_text(&found),
                found.modified.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S.%9f +0000"),
            ),
        };
        context.stdout.write_all(format!("{line}\n")).await?;
    }
    Ok(status)
}

pub(super) async fn find(context: ContainerContext) -> Outcome {
    let words = &context.args[1..];
    let split = words.iter().position(|word| word.starts_with('-')).unwrap_or(words.len());
    let (roots, tests) = words.split_at(split);
    let mut name = None;
    let mut kind = None;
    let mut depth = usize::MAX;
    let mut tests = tests.iter();
    while let Some(test) = tests.next() {
        let mut value = || tests.next().cloned().unwrap_or_default();
        match test.as_str() {
            "-name" => name = Some(Pattern::new(&value())),
            "-type" => kind = value().chars().next(),
            "-maxdepth" => depth = value().parse().unwrap_or(usize::MAX),
            "-print" => {}
            other => return fail(&context, 1, format!("find: unrecognized: {other}")).await,
        }
    }
    let roots = if roots.is_empty() { vec![".".to_owned()] } else { roots.to_vec() };
    let mut status = 0;
    for root in roots {
        let mut todo = vec![(root.clone(), 0)];
        let mut visited = 0;
        while let Some((path, level)) = todo.pop() {
            let full = join(&context.working_dir, &path);
            let found = match context.files.symlink_metadata(&full) {
                Ok(found) => found,
                Err(error) => {
                    status = fail(&context, 1, format!("find: {path}: {error}")).await?;
                    continue;
                }
            };
            visited += 1;
            if found.is_dir() && level < depth && visited < MAX_VISITED {
                let entries = context.files.read_dir(&full).unwrap_or_default();
                let base = path.trim_end_matches('/');
                todo.extend(
                    entries.into_iter().rev().map(|e| (format!("{base}/{}", e.name), level + 1)),
                );
            }
            let letter = match found.kind {
                FileType::Directory => 'd',
                FileType::Symlink => 'l',
                FileType::Device(_) => 'c',
                FileType::File | FileType::Executable => 'f',
            };
            let base = path.trim_end_matches('/').rsplit('/').next().unwrap_or(&path);
            let fits = name.as_ref().is_none_or(|pattern| pattern.matches(base))
                && kind.is_none_or(|kind| kind == letter);
            if fits {
                context.stdout.write_all(format!("{path}\n")).await?;
            }
        }
    }
    Ok(status)
}
