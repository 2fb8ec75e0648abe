//! `tar`: archives of the container's files, over standard input and output or a file. What `kubectl cp` needs, and the
//! usual besides; compression is not here.

use std::io::{Cursor, Read};

use tar::{Archive, Builder, EntryType, Header};

use super::{Outcome, fail, getopt};
use crate::files::{FileType, Metadata, join};
use crate::program::ContainerContext;

/// The largest archive that is read.
const LIMIT: usize = 256 * 1024 * 1024;

const LONG: &[(&str, char)] = &[
    ("create", 'c'),
    ("directory", 'C'),
    ("extract", 'x'),
    ("file", 'f'),
    ("list", 't'),
    ("no-same-owner", 'o'),
    ("no-same-permissions", 'N'),
    ("same-permissions", 'p'),
    ("touch", 'm'),
    ("verbose", 'v'),
];

pub(super) async fn tar(mut context: ContainerContext) -> Outcome {
    // The old style: letters without a dash.
    if let Some(first) = context.args.get_mut(1).filter(|word| !word.starts_with('-')) {
        first.insert(0, '-');
    }
    let parsed = match getopt(&context, "cxtvmpoNOf:C:", LONG) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    // The archive is named from where the command began.
    let archive = parsed.value('f').filter(|name| *name != "-");
    let archive = archive.map(|name| join(&context.working_dir, name));
    if let Some(folder) = parsed.value('C') {
        let folder_path = join(&context.working_dir, folder);
        if !context.files.is_dir(&folder_path) {
            let line =
                format!("tar: can't change directory to '{folder}': No such file or directory");
            return fail(&context, 1, line).await;
        }
        context.working_dir = folder_path;
    }
    match (parsed.has('c'), parsed.has('x'), parsed.has('t')) {
        (true, false, false) => create(&context, archive, &parsed.operands, parsed.has('v')).await,
        (false, extracts, lists) if extracts != lists => {
            let how = Reading {
                extracts,
                told: parsed.has('v') || lists,
                keeps_mode: !parsed.has('N'),
                to_stdout: parsed.has('O'),
            };
            read(&context, archive, &parsed.operands, how).await
        }
        _ => fail(&context, 1, "tar: must specify one of -c, -x, -t").await,
    }
}

fn header(found: &Metadata, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(found.mode & 0o7777);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(u64::try_from(found.modified.as_second()).unwrap_or(0));
    header
}

/// Adds one file to the archive.
fn add(
    context: &ContainerContext,
    builder: &mut Builder<Vec<u8>>,
    path: &str,
    name: &str,
) -> Result<bool, String> {
    let files = &context.files;
    let found = files.symlink_metadata(path).map_err(|error| error.to_string())?;
    let told = |error: std::io::Error| error.to_string();
    match found.kind {
        FileType::Directory => {
            let mut header = header(&found, EntryType::Directory, 0);
            builder.append_data(&mut header, format!("{name}/"), std::io::empty()).map_err(told)?;
            return Ok(true);
        }
        FileType::Symlink => {
            let target = files.read_link(path).map_err(|error| error.to_string())?;
            let mut header = header(&found, EntryType::Symlink, 0);
            builder.append_link(&mut header, name, target).map_err(told)?;
        }
        FileType::File | FileType::Executable => {
            let bytes = files.read(path).map_err(|error| error.to_string())?;
            let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            let mut header = header(&found, EntryType::Regular, size);
            builder.append_data(&mut header, name, bytes.as_ref()).map_err(told)?;
        }
        FileType::Device(_) => {}
    }
    Ok(false)
}

async fn create(
    context: &ContainerContext,
    archive: Option<String>,
    operands: &[String],
    told: bool,
) -> Outcome {
    if operands.is_empty() {
        return fail(context, 1, "tar: empty archive").await;
    }
    let mut builder = Builder::new(Vec::new());
    let mut kept = Vec::new();
    let mut status = 0;
    let mut stripped = false;
    for operand in operands {
        let path = join(&context.working_dir, operand);
        let name = operand.trim_start_matches('/').trim_end_matches('/');
        if name.len() < operand.trim_end_matches('/').len() && !stripped {
            stripped = true;
            context.stderr.write_all("tar: removing leading '/' from member names\n").await?;
        }
        let name = if name.is_empty() { "." } else { name };
        let mut todo = vec![(path, name.to_owned())];
        while let Some((path, name)) = todo.pop() {
            match add(context, &mut builder, &path, &name) {
                Ok(true) => {
                    let entries = context.files.read_dir(&path).unwrap_or_default();
                    for entry in entries.iter().rev() {
                        let path = format!("{}/{}", path.trim_end_matches('/'), entry.name);
                        todo.push((path, format!("{name}/{}", entry.name)));
                    }
                }
                Ok(false) => {}
                Err(error) => {
                    status = fail(context, 1, format!("tar: {name}: {error}")).await?;
                    continue;
                }
            }
            if told {
                // Where the archive goes to standard output, names go to the other one.
                let out = if archive.is_none() { &context.stderr } else { &context.stdout };
                out.write_all(format!("{name}\n")).await?;
            }
            let piece = std::mem::take(builder.get_mut());
            match &archive {
                None => context.stdout.write_all(piece).await?,
                Some(_) => kept.extend(piece),
            }
        }
    }
    let end = builder.into_inner()?;
    match archive {
        None => context.stdout.write_all(end).await?,
        Some(name) => {
            kept.extend(end);
            if let Err(error) = context.files.write(&name, kept) {
                return fail(context, 1, format!("tar: can't open '{name}': {error}")).await;
            }
        }
    }
    Ok(status)
}

/// How an archive is read.
#[derive(Clone, Copy)]
struct Reading {
    extracts: bool,
    told: bool,
    keeps_mode: bool,
    to_stdout: bool,
}

/// A member, read whole.
struct Member {
    name: String,
    kind: EntryType,
    mode: u32,
    link: String,
    content: Vec<u8>,
}

fn members(bytes: &[u8]) -> std::io::Result<Vec<Member>> {
    let mut members = Vec::new();
    for entry in Archive::new(Cursor::new(bytes)).entries()? {
        let mut entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let link = entry.link_name_bytes();
        let link = link.map(|link| String::from_utf8_lossy(&link).into_owned());
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        members.push(Member {
            name,
            kind: entry.header().entry_type(),
            mode: entry.header().mode().unwrap_or(0o644) & 0o7777,
            link: link.unwrap_or_default(),
            content,
        });
    }
    Ok(members)
}

async fn read(
    context: &ContainerContext,
    archive: Option<String>,
    wanted: &[String],
    how: Reading,
) -> Outcome {
    let bytes = match &archive {
        None => context.stdin.read_to_end(LIMIT).await?,
        Some(name) => match context.files.read(name) {
            Ok(bytes) => bytes,
            Err(error) => {
                return fail(context, 1, format!("tar: can't open '{name}': {error}")).await;
            }
        },
    };
    if bytes.is_empty() {
        return fail(context, 1, "tar: short read").await;
    }
    let Ok(members) = members(&bytes) else {
        return fail(context, 1, "tar: invalid tar magic").await;
    };
    let mut status = 0;
    for member in members {
        let bare = member.name.trim_start_matches('/').trim_end_matches('/');
        let below = |wanted: &String| {
            let wanted = wanted.trim_matches('/');
            bare == wanted || bare.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'))
        };
        if !wanted.is_empty() && !wanted.iter().any(below) {
            continue;
        }
        if how.told {
            context.stdout.write_all(format!("{}\n", member.name)).await?;
        }
        if !how.extracts {
            continue;
        }
        if bare.split('/').any(|part| part == "..") {
            let line = format!("tar: name with '..' is not extracted: '{}'", member.name);
            status = fail(context, 1, line).await?;
            continue;
        }
        if how.to_stdout {
            context.stdout.write_all(member.content).await?;
            continue;
        }
        if let Err(error) = extract(context, bare, &member, how.keeps_mode) {
            status = fail(context, 1, format!("tar: can't open '{bare}': {error}")).await?;
        }
    }
    Ok(status)
}

fn extract(
    context: &ContainerContext,
    bare: &str,
    member: &Member,
    keeps_mode: bool,
) -> Result<(), crate::files::FsError> {
    let files = &context.files;
    let path = join(&context.working_dir, bare);
    if let Some((parent, _)) = path.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) {
        files.create_dir_all(parent)?;
    }
    match member.kind {
        EntryType::Directory => files.create_dir_all(&path)?,
        EntryType::Symlink => {
            if files.symlink_metadata(&path).is_ok() {
                files.remove_file(&path)?;
            }
            return files.symlink(&member.link, &path);
        }
        _ => files.write(&path, &member.content)?,
    }
    if keeps_mode { files.set_mode(&path, member.mode) } else { Ok(()) }
}
