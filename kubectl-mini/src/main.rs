//! The binary: hands the process' arguments, environment and streams to the library.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use component_base::clock::Clock;
use kubectl_mini::{Environment, Invocation, Streams};

fn main() -> ExitCode {
    let arguments = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let invocation = Invocation {
        arguments,
        environment: Environment {
            kubeconfig: std::env::var_os("KUBECONFIG"),
            home: std::env::home_dir(),
            time_zone: jiff::tz::TimeZone::system(),
            editor: variable("KUBE_EDITOR").or_else(|| variable("EDITOR")),
            shell: variable("SHELL"),
            diff_program: variable("KUBECTL_EXTERNAL_DIFF"),
        },
        streams: Streams {
            stdin: Box::new(io::stdin()),
            stdin_is_terminal: io::stdin().is_terminal(),
            stdout: Box::new(io::stdout()),
            stderr: Box::new(io::stderr()),
        },
        clock: Clock::real(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("the system gives a process an event queue");
    let code = runtime.block_on(kubectl_mini::run(invocation));
    // A thread may still be reading a terminal: nobody waits for it.
    runtime.shutdown_background();
    ExitCode::from(code)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
