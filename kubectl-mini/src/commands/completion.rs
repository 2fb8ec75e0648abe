//! `kubectl completion`: the functions by which a shell asks `__complete` for candidates.

use crate::{cli::Command, context::Context, errors::CommandError};

/// Prints a shell's completion functions.
#[derive(clap::Args, Clone, Debug)]
pub struct Completion {
    /// The shell.
    pub arguments: Vec<String>,
}

const SCRIPTS: &[(&str, &str)] = &[
    ("bash", include_str!("completion/kubectl-mini.bash")),
    ("zsh", include_str!("completion/kubectl-mini.zsh")),
    ("fish", include_str!("completion/kubectl-mini.fish")),
    ("powershell", include_str!("completion/kubectl-mini.ps1")),
];

impl Command for Completion {
    const NAME: &'static str = "completion";
    const ABOUT: &'static str =
        "Output shell completion code for the specified shell (bash, zsh, fish, or powershell)";
    const USAGE: &'static str = "completion SHELL";
    const HELP: &'static str = "Print the code by which a shell completes commands, flags and the names of the cluster's objects.

 The code must be evaluated by the shell: put the line of the example into its start file.";
    const EXAMPLES: &'static str = "# bash: in ~/.bashrc
source <(kubectl-mini completion bash)

# zsh: in ~/.zshrc, after compinit
source <(kubectl-mini completion zsh)

# fish: in ~/.config/fish/config.fish
kubectl-mini completion fish | source

# PowerShell: in $PROFILE
kubectl-mini completion powershell | Out-String | Invoke-Expression";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let shell = match self.arguments.as_slice() {
            [] => return Err(CommandError::usage(Self::NAME, "Shell not specified.")),
            [shell] => shell,
            _ => {
                return Err(CommandError::usage(
                    Self::NAME,
                    "Too many arguments. Expected only the shell type.",
                ));
            }
        };
        match SCRIPTS.iter().find(|(name, _)| name == shell) {
            Some((_, script)) => context.print(script),
            None => Err(CommandError::usage(
                Self::NAME,
                format!("Unsupported shell type {}.", apimachinery::field::go_quote(shell)),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What bash would offer for a line, when the program answers `answer`.
    fn offered_by_bash(line: &str, answer: &str) -> String {
        let script = format!(
            "{}
kubectl-mini() {{ printf '%b' '{answer}'; }}
COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; COMP_TYPE=9
IFS=' ' read -ra COMP_WORDS <<< \"${{COMP_LINE//[=:]/ & }}\"
[[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_kubectl_mini
printf '%s|' \"${{COMPREPLY[@]}}\"",
            SCRIPTS[0].1
        );
        let output = Command::new("bash").args(["--norc", "-c", &script]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn bash_offers_what_the_program_answers() {
        let check = |line: &str, answer: &str, expected: &str| {
            assert_eq!(offered_by_bash(line, answer), expected, "{line}");
        };
        check("kubectl-mini get ", "pods\\nnodes\\n:4\\n", "pods|nodes|");
        check("kubectl-mini ge", "get\\tDisplay it\\n:4\\n", "get|");
        check("kubectl-mini nope", ":4\\n", "|");
        // bash replaces what stands behind = and : alone.
        check("kubectl-mini get pods --namespace=ku", "kube-system\\n:4\\n", "kube-system|");
        check("kubectl-mini get clusterroles system:", "system:node\\nsystem:x\\n:4\\n", "node|x|");
    }
}
