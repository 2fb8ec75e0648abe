//! `kubectl cp`: files to and from containers, as an archive through the container's own `tar`.

use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use apimachinery::api::core::Pod;
use proto::v1::{ExecStart, PodRef};
use tar::{Archive, Builder, EntryType, Header};

use crate::{
    PROGRAM,
    cli::{Command, values::parse_i64},
    context::Context,
    errors::CommandError,
    generate::sources::go_io_error,
    pods::default_container,
    session::{self, Output, check_running},
};

/// Copies files and directories to and from containers.
#[derive(clap::Args, Clone, Debug)]
pub struct Cp {
    /// Source and destination.
    pub arguments: Vec<String>,
    /// Container name. If omitted, use the kubectl.kubernetes.io/default-container annotation for selecting the
    /// container to be attached or the first container in the pod will be chosen
    #[arg(long, short = 'c')]
    pub container: Option<String>,
    /// The copied file/directory's ownership and permissions will not be preserved in the container
    #[arg(long)]
    pub no_preserve: bool,
    /// Set number of retries to complete a copy operation from a container. Only 0 is served: nothing is tried again.
    #[arg(long, default_value = "0", value_parser = parse_i64)]
    pub retries: i64,
}

fn refuse<T>(text: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::Message(text.into()))
}

fn told(error: &std::io::Error) -> CommandError {
    CommandError::message(go_io_error(error))
}

/// `[[namespace/]pod:]path`.
#[derive(Debug, PartialEq, Eq)]
struct Spec<'a> {
    namespace: &'a str,
    pod: &'a str,
    path: &'a str,
}

impl<'a> Spec<'a> {
    fn parse(text: &'a str) -> Result<Self, CommandError> {
        const WRONG: &str = "filespec must match the canonical format: [[namespace/]pod:]file/path";
        let Some((pod, path)) = text.split_once(':') else {
            return Ok(Self { namespace: "", pod: "", path: text });
        };
        if pod.is_empty() {
            return refuse(WRONG);
        }
        match pod.split('/').collect::<Vec<_>>().as_slice() {
            [pod] => Ok(Self { namespace: "", pod, path }),
            [namespace, pod] => Ok(Self { namespace, pod, path }),
            _ => refuse(WRONG),
        }
    }
}

impl Command for Cp {
    const NAME: &'static str = "cp";
    const ABOUT: &'static str = "Copy files and directories to and from containers";
    const USAGE: &'static str = "cp <file-spec-src> <file-spec-dest>";
    const HELP: &'static str =
        "Copy files and directories to and from containers. The container's image must have 'tar'.";
    const EXAMPLES: &'static str = "# A local directory to a pod of the current namespace
kubectl-mini cp /tmp/foo_dir some-pod:/tmp/bar_dir

# A file of a pod in another namespace to this machine
kubectl-mini cp some-namespace/some-pod:/tmp/foo /tmp/bar";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let [source, destination] = self.arguments.as_slice() else {
            return refuse("source and destination are required");
        };
        if self.retries != 0 {
            return refuse("--retries is not supported: nothing is tried again");
        }
        let (source, destination) = (Spec::parse(source)?, Spec::parse(destination)?);
        if !source.pod.is_empty() && !destination.pod.is_empty() {
            return refuse("one of src or dest must be a local file specification");
        }
        if source.path.is_empty() || destination.path.is_empty() {
            return refuse("filepath can not be empty");
        }
        match (source.pod, destination.pod) {
            ("", "") => refuse("one of src or dest must be a remote file specification"),
            ("", _) => self.upload(context, source.path, &destination).await,
            (_, _) => self.download(context, &source, destination.path).await,
        }
    }
}

impl Cp {
    /// Where commands run, and what the user is told of the choice.
    async fn place(
        &self,
        context: &Context,
        spec: &Spec<'_>,
    ) -> Result<(PodRef, String), CommandError> {
        let namespace =
            if spec.namespace.is_empty() { context.namespace()? } else { spec.namespace.into() };
        let client = context.client()?;
        let pod: Pod = context.request(client.get(&namespace, spec.pod)).await?;
        check_running(pod.status.phase.as_deref(), "exec into")?;
        let (container, told) = match self.container.clone().filter(|name| !name.is_empty()) {
            Some(name) => (name, String::new()),
            None => default_container(&pod, false),
        };
        let name = spec.pod.to_owned();
        Ok((PodRef { namespace, name, container, uid: String::new() }, told))
    }

    async fn upload(
        &self,
        context: &Context,
        source: &str,
        destination: &Spec<'_>,
    ) -> Result<(), CommandError> {
        if fs::metadata(source).is_err() {
            return refuse(format!("{source} doesn't exist in local filesystem"));
        }
        let mut target = clean(destination.path);
        let (pod, told_container) = self.place(context, destination).await?;
        let test = start(&pod, &["test", "-d", &target], false);
        if session::pipe(context, test, None, &mut |_| Ok(())).await.is_ok() {
            target = format!("{}/{}", target.trim_end_matches('/'), base(source));
        }
        let mut archive = tempfile::tempfile().map_err(|error| told(&error))?;
        let mut builder = Builder::new(&mut archive);
        pack(&mut builder, Path::new(source), base(&target)).map_err(|error| told(&error))?;
        builder.finish().map_err(|error| told(&error))?;
        drop(builder);
        archive.seek(SeekFrom::Start(0)).map_err(|error| told(&error))?;
        let mut command = vec!["tar"];
        if self.no_preserve {
            command.extend(["--no-same-permissions", "--no-same-owner"]);
        }
        command.extend(["-xmf", "-"]);
        let folder = folder_of(&target);
        command.extend(["-C", folder]);
        context.print_err(&told_container)?;
        let start = start(&pod, &command, true);
        session::pipe(context, start, Some(Box::new(archive)), &mut |output| match output {
            Output::Stdout(bytes) => context.print_bytes(&bytes),
            Output::Stderr(bytes) => context.print_err_bytes(&bytes),
        })
        .await
    }

    async fn download(
        &self,
        context: &Context,
        source: &Spec<'_>,
        destination: &str,
    ) -> Result<(), CommandError> {
        let (pod, told_container) = self.place(context, source).await?;
        // kubectl shows what the container's tar complains of on its standard output.
        context.print(&told_container)?;
        let mut archive = tempfile::tempfile().map_err(|error| told(&error))?;
        let start = start(&pod, &["tar", "cf", "-", source.path], false);
        let ended = session::pipe(context, start, None, &mut |output| match output {
            Output::Stdout(bytes) => archive.write_all(&bytes).map_err(|error| told(&error)),
            Output::Stderr(bytes) => context.print_bytes(&bytes),
        })
        .await;
        archive.seek(SeekFrom::Start(0)).map_err(|error| told(&error))?;
        let prefix = clean(source.path.trim_start_matches('/'));
        let prefix = prefix.trim_start_matches("../").trim_start_matches('/');
        let prefix = if prefix == "." || prefix == ".." { "" } else { prefix };
        let unpacked = unpack(context, archive, prefix, destination, &pod, source.path);
        ended.and(unpacked)
    }
}

fn start(pod: &PodRef, command: &[&str], stdin: bool) -> ExecStart {
    ExecStart {
        pod: Some(pod.clone()),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        stdin,
        stdout: true,
        stderr: true,
        tty: false,
    }
}

/// Go's `path.Clean`.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

fn base(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

fn folder_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((folder, _)) => folder,
        None => ".",
    }
}

/// Puts a file, or a directory with all below it, into an archive under this name.
fn pack(builder: &mut Builder<impl Write>, path: &Path, name: &str) -> std::io::Result<()> {
    let mut todo = vec![(path.to_owned(), PathBuf::from(name), true)];
    while let Some((path, name, follows)) = todo.pop() {
        let found = if follows { fs::metadata(&path)? } else { fs::symlink_metadata(&path)? };
        let mut header = Header::new_gnu();
        header.set_metadata(&found);
        if found.is_dir() {
            let mut entries: Vec<_> = fs::read_dir(&path)?.collect::<Result<_, _>>()?;
            entries.sort_by_key(fs::DirEntry::file_name);
            if entries.is_empty() {
                builder.append_data(&mut header, &name, std::io::empty())?;
            }
            for entry in entries.iter().rev() {
                todo.push((entry.path(), name.join(entry.file_name()), false));
            }
        } else if found.file_type().is_symlink() {
            builder.append_link(&mut header, &name, fs::read_link(&path)?)?;
        } else if found.is_file() {
            builder.append_data(&mut header, &name, fs::File::open(&path)?)?;
        }
    }
    Ok(())
}

/// Writes what an archive holds below `prefix`; what leads elsewhere is left out, and told.
fn unpack(
    context: &Context,
    archive: impl Read,
    prefix: &str,
    destination: &str,
    pod: &PodRef,
    source: &str,
) -> Result<(), CommandError> {
    let broken = |error: std::io::Error| CommandError::message(error.to_string());
    let mut archive = Archive::new(archive);
    let mut links_told = false;
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some(rest) = name.strip_prefix(prefix) else {
            return refuse("tar contents corrupted");
        };
        let file = clean(&format!("{destination}/{rest}"));
        if !is_below(destination, &file) {
            context.print_err(&format!(
                "warning: file {file:?} is outside target destination, skipping\n"
            ))?;
            continue;
        }
        fs::create_dir_all(folder_of(&file)).map_err(|error| told(&error))?;
        match entry.header().entry_type() {
            EntryType::Directory => fs::create_dir_all(&file).map_err(|error| told(&error))?,
            EntryType::Symlink => {
                let link = entry.link_name_bytes().unwrap_or_default();
                let link = String::from_utf8_lossy(&link).into_owned();
                let hint = if links_told {
                    String::new()
                } else {
                    format!(
                        " (consider using \"{PROGRAM} exec -n {:?} {:?} -- tar cf - {source:?} | tar xf -\")",
                        pod.namespace, pod.name
                    )
                };
                links_told = true;
                context.print_err(&format!(
                    "warning: skipping symlink: {file:?} -> {link:?}{hint}\n"
                ))?;
            }
            _ => {
                let mut created = fs::File::create(&file).map_err(|error| {
                    CommandError::message(format!("open {file}: {}", go_io_error(&error)))
                })?;
                std::io::copy(&mut entry, &mut created).map_err(|error| told(&error))?;
            }
        }
    }
    Ok(())
}

/// Whether a path stays below its base.
fn is_below(base: &str, path: &str) -> bool {
    let base = clean(base);
    match base.as_str() {
        "." => !path.starts_with("../") && path != ".." && !path.starts_with('/'),
        "/" => path.starts_with('/'),
        base => path == base || path.strip_prefix(base).is_some_and(|rest| rest.starts_with('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_with_a_colon() {
        let check = |text: &str, expected: Result<(&str, &str, &str), &str>| {
            let spec = Spec::parse(text).map_err(|error| error.to_string());
            let spec = spec.as_ref().map(|s| (s.namespace, s.pod, s.path));
            assert_eq!(spec.map_err(String::as_str), expected);
        };
        let wrong = "filespec must match the canonical format: [[namespace/]pod:]file/path";
        check("/a", Ok(("", "", "/a")));
        check("p:/a", Ok(("", "p", "/a")));
        check("n/p:a", Ok(("n", "p", "a")));
        check(":/a", Err(wrong));
        check("a/b/c:/a", Err(wrong));
    }

    #[test]
    fn nothing_is_written_outside_of_the_destination() {
        let check = |base: &str, rest: &str, expected| {
            assert_eq!(
                is_below(base, &clean(&format!("{base}/{rest}"))),
                expected,
                "{base} {rest}"
            );
        };
        check("out", "a", true);
        check("out", "../a", false);
        check("out", "", true);
        check(".", "a", true);
        check(".", "../a", false);
        check("../out", "a", true);
        check("../out", "../../a", false);
        check("/tmp/x", "../y", false);
    }
}
