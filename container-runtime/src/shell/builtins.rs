//! Commands that change the shell itself; everything else is an ordinary command.

mod input;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::state::{Eval, Shell, Stop, is_name};
use crate::launch;
use crate::program::ExitStatus;

type Builtin = for<'a> fn(&'a mut Shell, Vec<String>) -> BoxFuture<'a, Eval>;

const BUILTINS: &[(&str, Builtin)] = &[
    (".", |shell, args| source(shell, args).boxed()),
    (":", |_, _| async { Ok(0) }.boxed()),
    ("break", |shell, args| leave(shell, args, Stop::Break).boxed()),
    ("cd", |shell, args| cd(shell, args).boxed()),
    ("command", |shell, args| command(shell, args).boxed()),
    ("continue", |shell, args| leave(shell, args, Stop::Continue).boxed()),
    ("eval", |shell, args| eval(shell, args).boxed()),
    ("exec", |shell, args| exec(shell, args).boxed()),
    ("exit", |shell, args| exit(shell, args).boxed()),
    ("export", |shell, args| export(shell, args).boxed()),
    ("getopts", |shell, args| input::getopts(shell, args).boxed()),
    ("jobs", |shell, _| jobs(shell).boxed()),
    ("let", |shell, args| let_(shell, args).boxed()),
    ("local", |shell, args| local(shell, args).boxed()),
    ("pwd", |shell, _| pwd(shell).boxed()),
    ("read", |shell, args| input::read(shell, args).boxed()),
    ("readonly", |shell, args| readonly(shell, args).boxed()),
    ("return", |shell, args| return_(shell, args).boxed()),
    ("set", |shell, args| set(shell, args).boxed()),
    ("shift", |shell, args| shift(shell, args).boxed()),
    ("source", |shell, args| source(shell, args).boxed()),
    ("trap", |shell, args| trap(shell, args).boxed()),
    ("type", |shell, args| type_(shell, args).boxed()),
    ("umask", |shell, args| umask(shell, args).boxed()),
    ("unset", |shell, args| unset(shell, args).boxed()),
    ("wait", |shell, args| wait(shell, args).boxed()),
];

pub(super) fn find(name: &str) -> Option<Builtin> {
    BUILTINS.iter().find(|(known, _)| *known == name).map(|(_, builtin)| *builtin)
}

/// Writes to the shell's standard output; 141 when nobody reads.
async fn print(shell: &Shell, text: String) -> Eval {
    match shell.streams.stdout().write_all(text).await {
        Ok(()) => Ok(0),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(141),
        Err(error) => {
            shell.complain(&format!("write error: {error}")).await;
            Ok(1)
        }
    }
}

async fn usage(shell: &Shell, message: String) -> Eval {
    shell.complain(&message).await;
    Ok(2)
}

/// The name that errors of the shell start with and a single-quoted value.
fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}

async fn source(shell: &mut Shell, args: Vec<String>) -> Eval {
    let Some(path) = args.get(1) else {
        return usage(shell, ".: filename argument required".into()).await;
    };
    match shell.context.files.read_to_string(&shell.path(path)) {
        Ok(text) => match shell.source(&text).await {
            Err(Stop::Return(status)) => Ok(status),
            other => other,
        },
        Err(error) => {
            shell.complain(&format!(".: can't open '{path}': {error}")).await;
            Err(Stop::Abort(2))
        }
    }
}

async fn leave(shell: &mut Shell, args: Vec<String>, stop: fn(u32) -> Stop) -> Eval {
    let count = args.get(1).map_or(Ok(1), |word| word.parse::<u32>());
    match count {
        Ok(count) if count > 0 && shell.loops > 0 => Err(stop(count.min(shell.loops))),
        Ok(_) => Ok(0),
        Err(_) => usage(shell, format!("{}: Illegal number: {}", args[0], args[1])).await,
    }
}

async fn cd(shell: &mut Shell, args: Vec<String>) -> Eval {
    let target = match args.get(1).map(String::as_str) {
        None => shell.get("HOME").unwrap_or("/root").to_owned(),
        Some("-") => shell.get("OLDPWD").unwrap_or_default().to_owned(),
        Some(target) => target.to_owned(),
    };
    let files = &shell.context.files;
    let path = shell.path(&target);
    let resolved = files.resolve(&path, true).and_then(|path| {
        let metadata = files.metadata(&path)?;
        Ok((path, metadata.is_dir()))
    });
    match resolved {
        Ok((directory, true)) => {
            let logical = normalize(&path);
            let old = shell.directory().to_owned();
            let new = if files.is_dir(&logical) { logical } else { directory };
            shell.context.working_dir.clone_from(&new);
            for (name, value) in [("OLDPWD", old), ("PWD", new.clone())] {
                if let Err(message) = shell.set(name, value) {
                    return usage(shell, message).await;
                }
            }
            if args.get(1).is_some_and(|word| word == "-") {
                return print(shell, format!("{new}\n")).await;
            }
            Ok(0)
        }
        Ok((_, false)) => usage(shell, format!("cd: can't cd to {target}: Not a directory")).await,
        Err(error) => usage(shell, format!("cd: can't cd to {target}: {error}")).await,
    }
}

/// Removes `.` and `..` from an absolute path without looking at links: the path as the user sees it.
fn normalize(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}

async fn command(shell: &mut Shell, mut args: Vec<String>) -> Eval {
    args.remove(0);
    let describe = args.first().is_some_and(|word| word == "-v" || word == "-V");
    if args.first().is_some_and(|word| word.starts_with('-')) {
        args.remove(0);
    }
    let Some(name) = args.first().cloned() else { return Ok(0) };
    if describe {
        let mut status = 0;
        for name in &args {
            match describe_command(shell, name) {
                Some((short, _)) => status = print(shell, format!("{short}\n")).await?,
                None => status = 127,
            }
        }
        return Ok(status);
    }
    match find(&name) {
        Some(builtin) => builtin(shell, args).await,
        None => shell.program(args, &[]).await,
    }
}

/// What `command -v` and `type` say.
fn describe_command(shell: &Shell, name: &str) -> Option<(String, String)> {
    if shell.functions.contains_key(name) {
        return Some((name.to_owned(), format!("{name} is a function")));
    }
    if find(name).is_some() {
        return Some((name.to_owned(), format!("{name} is a shell builtin")));
    }
    let context = shell.child(vec![name.to_owned()], &[]);
    launch::find(&context, name).ok()?;
    let path = launch::path_of(&context, name);
    Some((path.clone(), format!("{name} is {path}")))
}

async fn type_(shell: &mut Shell, args: Vec<String>) -> Eval {
    let mut status = 0;
    for name in &args[1..] {
        let line = match describe_command(shell, name) {
            Some((_, long)) => format!("{long}\n"),
            None => {
                status = 127;
                format!("{name}: not found\n")
            }
        };
        print(shell, line).await?;
    }
    Ok(status)
}

async fn eval(shell: &mut Shell, args: Vec<String>) -> Eval {
    shell.source(&args[1..].join(" ")).await
}

async fn exec(shell: &mut Shell, mut args: Vec<String>) -> Eval {
    args.remove(0);
    if args.is_empty() {
        return Ok(super::simple::KEEP_STREAMS);
    }
    let name = args[0].clone();
    let mut context = shell.child(args, &[]);
    context.signals = shell.context.signals.clone();
    match launch::find(&context, &name) {
        Ok(program) => {
            shell.shared.handle_term();
            Err(Stop::Exit(program.run(context).await.0))
        }
        Err(error) => {
            shell.complain(&format!("exec: {name}: not found")).await;
            Err(Stop::Exit(error.exit_code()))
        }
    }
}

async fn exit(shell: &mut Shell, args: Vec<String>) -> Eval {
    match args.get(1).map(|word| word.parse::<i32>()) {
        None => Err(Stop::Exit(shell.status)),
        Some(Ok(code)) => Err(Stop::Exit(code & 0xff)),
        Some(Err(_)) => {
            shell.complain(&format!("exit: Illegal number: {}", args[1])).await;
            Err(Stop::Exit(2))
        }
    }
}

async fn return_(shell: &mut Shell, args: Vec<String>) -> Eval {
    match args.get(1).map(|word| word.parse::<i32>()) {
        None => Err(Stop::Return(shell.status)),
        Some(Ok(code)) => Err(Stop::Return(code & 0xff)),
        Some(Err(_)) => usage(shell, format!("return: Illegal number: {}", args[1])).await,
    }
}

async fn export(shell: &mut Shell, args: Vec<String>) -> Eval {
    let words = &args[1..];
    if words.is_empty() || words == ["-p"] {
        let lines: String = shell
            .variables()
            .filter(|(_, variable)| variable.exported)
            .map(|(name, variable)| format!("export {name}={}\n", quote(&variable.value)))
            .collect();
        return print(shell, lines).await;
    }
    let remove = words[0] == "-n";
    for word in words.iter().filter(|word| !word.starts_with('-')) {
        let (name, value) = split_assignment(word);
        if !is_name(name) {
            return usage(shell, format!("export: {name}: bad variable name")).await;
        }
        let value = value.or_else(|| shell.get(name).is_none().then(String::new));
        if let Some(value) = value
            && let Err(message) = shell.set(name, value)
        {
            return usage(shell, message).await;
        }
        shell.set_exported(name, !remove);
    }
    Ok(0)
}

async fn readonly(shell: &mut Shell, args: Vec<String>) -> Eval {
    for word in args[1..].iter().filter(|word| !word.starts_with('-')) {
        let (name, value) = split_assignment(word);
        let value = value.unwrap_or_else(|| shell.get(name).unwrap_or_default().to_owned());
        if let Err(message) = shell.set(name, value) {
            return usage(shell, message).await;
        }
        shell.set_read_only(name);
    }
    Ok(0)
}

async fn local(shell: &mut Shell, args: Vec<String>) -> Eval {
    if shell.locals.is_empty() {
        return usage(shell, "local: not in a function".into()).await;
    }
    for word in &args[1..] {
        let (name, value) = split_assignment(word);
        if !is_name(name) {
            return usage(shell, format!("local: {name}: bad variable name")).await;
        }
        let old = shell.variable(name).cloned();
        if let Some(frame) = shell.locals.last_mut()
            && !frame.iter().any(|(known, _)| known == name)
        {
            frame.push((name.to_owned(), old));
        }
        if let Some(value) = value
            && let Err(message) = shell.set(name, value)
        {
            return usage(shell, message).await;
        }
    }
    Ok(0)
}

fn split_assignment(word: &str) -> (&str, Option<String>) {
    match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, None),
    }
}

async fn unset(shell: &mut Shell, args: Vec<String>) -> Eval {
    let functions = args.get(1).is_some_and(|word| word == "-f");
    for name in args[1..].iter().filter(|word| !word.starts_with('-')) {
        if functions || (shell.get(name).is_none() && shell.functions.contains_key(name)) {
            shell.functions.remove(name);
        } else if let Err(message) = shell.unset(name) {
            return usage(shell, format!("unset: {message}")).await;
        }
    }
    Ok(0)
}

async fn shift(shell: &mut Shell, args: Vec<String>) -> Eval {
    let count = args.get(1).map_or(Ok(1), |word| word.parse::<usize>());
    match count {
        Ok(count) if count <= shell.parameters.len() => {
            shell.parameters.drain(..count);
            Ok(0)
        }
        Ok(_) => Ok(1),
        Err(_) => usage(shell, format!("shift: Illegal number: {}", args[1])).await,
    }
}

async fn pwd(shell: &mut Shell) -> Eval {
    let line = format!("{}\n", shell.directory());
    print(shell, line).await
}

async fn umask(shell: &mut Shell, args: Vec<String>) -> Eval {
    match args.get(1).map(|mask| u32::from_str_radix(mask, 8)) {
        None => print(shell, "0022\n".to_owned()).await,
        Some(Ok(0o022)) => Ok(0),
        Some(_) => usage(shell, format!("umask: {}: only 0022 is supported", args[1])).await,
    }
}

async fn let_(shell: &mut Shell, args: Vec<String>) -> Eval {
    let mut value = 0;
    for expression in &args[1..] {
        value = match shell.arithmetic(expression) {
            Ok(value) => value,
            Err(message) => return usage(shell, message).await,
        };
    }
    Ok(i32::from(value == 0))
}

async fn set(shell: &mut Shell, args: Vec<String>) -> Eval {
    let words = &args[1..];
    if words.is_empty() {
        let lines: String = shell
            .variables()
            .map(|(name, variable)| format!("{name}={}\n", quote(&variable.value)))
            .collect();
        return print(shell, lines).await;
    }
    match shell.apply_options(words) {
        Ok(Some(parameters)) => {
            shell.parameters = parameters;
            Ok(0)
        }
        Ok(None) => Ok(0),
        Err(message) => usage(shell, format!("set: {message}")).await,
    }
}

impl Shell {
    /// Applies `-e`, `+x`, `-o pipefail`; gives the new parameters when there are operands.
    pub(super) fn apply_options(
        &mut self,
        words: &[String],
    ) -> Result<Option<Vec<String>>, String> {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (on, flags) = match (word.strip_prefix('-'), word.strip_prefix('+')) {
                (Some("-"), _) => return Ok(Some(words.cloned().collect())),
                (Some(flags), _) if !flags.is_empty() => (true, flags),
                (_, Some(flags)) if !flags.is_empty() => (false, flags),
                _ => return Ok(Some([word].into_iter().chain(words).cloned().collect())),
            };
            for flag in flags.chars() {
                let name = match flag {
                    'e' => "errexit",
                    'u' => "nounset",
                    'x' => "xtrace",
                    'f' => "noglob",
                    'n' => "noexec",
                    // Nothing here depends on these: jobs, hashing, history, brace expansion.
                    'm' | 'h' | 'H' | 'B' | 'b' => continue,
                    'o' => words.next().map(String::as_str).ok_or("-o: option name expected")?,
                    other => {
                        return Err(format!(
                            "illegal option {}{other}",
                            if on { '-' } else { '+' }
                        ));
                    }
                };
                let option = match name {
                    "errexit" => &mut self.options.errexit,
                    "nounset" => &mut self.options.nounset,
                    "xtrace" => &mut self.options.xtrace,
                    "noglob" => &mut self.options.noglob,
                    "noexec" => &mut self.options.noexec,
                    "pipefail" => &mut self.options.pipefail,
                    other => return Err(format!("illegal option -o {other}")),
                };
                *option = on;
            }
        }
        Ok(None)
    }
}

async fn trap(shell: &mut Shell, args: Vec<String>) -> Eval {
    let words: Vec<&String> = args[1..].iter().filter(|word| *word != "--").collect();
    let Some((action, names)) = words.split_first() else {
        let traps = shell.shared.traps.lock().clone();
        let lines: String = traps
            .iter()
            .map(|(name, action)| format!("trap -- {} {name}\n", quote(action)))
            .collect();
        return print(shell, lines).await;
    };
    for name in names {
        let name = match name.strip_prefix("SIG").unwrap_or(name) {
            "0" | "EXIT" => "EXIT",
            "15" | "TERM" => "TERM",
            "2" | "INT" => "INT",
            "1" | "HUP" => "HUP",
            "3" | "QUIT" => "QUIT",
            other => {
                return usage(shell, format!("trap: {other}: bad trap")).await;
            }
        };
        let mut traps = shell.shared.traps.lock();
        if action.as_str() == "-" {
            traps.remove(name);
        } else {
            traps.insert(name.to_owned(), (*action).clone());
        }
    }
    Ok(0)
}

async fn jobs(shell: &mut Shell) -> Eval {
    let mut lines = String::new();
    for (index, job) in shell.jobs.iter().enumerate() {
        let state = if job.status.borrow().is_some() { "Done" } else { "Running" };
        lines.push_str(&format!("[{}]   {state}                    {}\n", index + 1, job.command));
    }
    print(shell, lines).await
}

async fn wait(shell: &mut Shell, args: Vec<String>) -> Eval {
    let wanted: Vec<u32> = args[1..].iter().filter_map(|word| word.parse().ok()).collect();
    let mut status = 0;
    for mut job in shell.jobs.clone() {
        if !wanted.is_empty() && !wanted.contains(&job.pid) {
            continue;
        }
        let signals = shell.context.signals.clone();
        let ended = async {
            let ended = job.status.wait_for(Option::is_some).await;
            ended.ok().and_then(|status| *status).unwrap_or(ExitStatus::KILLED.0)
        };
        let code = tokio::select! {
            biased;
            code = ended => code,
            () = signals.terminated() => {
                shell.run_traps().await?;
                return Ok(ExitStatus::TERMINATED.0);
            }
        };
        status = if wanted.is_empty() { 0 } else { code };
        shell.jobs.retain(|known| known.pid != job.pid);
    }
    Ok(status)
}
