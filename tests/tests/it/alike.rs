//! kubectl and kubectl-mini side by side: how they are found, run, and their texts compared.
//!
//! Texts are compared as they are. Only where they differ, what two runs cannot have in common (ages, random names,
//! addresses) is replaced by words, and tables by their cells: an age of `9s` in one and `10s` in the other moves all
//! columns behind it. That the columns stand as kubectl sets them is not lost: [`tables`] tells of each whether its
//! width follows from its widest cell.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use regex_lite::Regex;

/// The real kubectl, if there is one: what `KUBECTL` names, else the newest of `kubectl.1.N` beside the `kubectl` of
/// the `PATH` (which may be one that chooses among them), else that one.
pub(crate) fn real_kubectl() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("KUBECTL") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    let found =
        std::env::split_paths(&path).map(|dir| dir.join("kubectl")).find(|f| f.is_file())?;
    let real = found.canonicalize().ok()?;
    let beside = std::fs::read_dir(real.parent()?).ok()?.flatten().filter_map(|entry| {
        let minor = entry.file_name().to_str()?.strip_prefix("kubectl.1.")?.parse::<u32>().ok()?;
        Some((minor, entry.path()))
    });
    Some(beside.max().map_or(found, |(_, path)| path))
}

/// Every real kubectl, oldest first: the one that `KUBECTL` names, else all `kubectl.1.N` beside the `kubectl` of the
/// `PATH`, else that one.
pub(crate) fn real_kubectls() -> Vec<PathBuf> {
    if let Some(named) = std::env::var_os("KUBECTL") {
        return vec![named.into()];
    }
    let Some(newest) = real_kubectl() else { return Vec::new() };
    let beside = newest.parent().and_then(|dir| dir.read_dir().ok()).into_iter().flatten();
    let paths = beside.flatten().map(|entry| entry.path());
    let mut found: Vec<(u32, PathBuf)> =
        paths.filter_map(|path| Some((minor_version(&path)?, path))).collect();
    found.sort();
    if found.is_empty() {
        return vec![newest];
    }
    found.into_iter().map(|(_, path)| path).collect()
}

/// N of `kubectl.1.N`.
pub(crate) fn minor_version(kubectl: &Path) -> Option<u32> {
    kubectl.file_name()?.to_str()?.strip_prefix("kubectl.1.")?.parse().ok()
}

/// [`real_kubectls`]; where there is none, says aloud that nothing is compared.
pub(crate) fn kubectls_or_notice() -> Option<Vec<PathBuf>> {
    kubectl_or_notice().map(|_| real_kubectls())
}

/// [`real_kubectl`]; where there is none, says aloud that nothing is compared.
pub(crate) fn kubectl_or_notice() -> Option<PathBuf> {
    let found = real_kubectl();
    if found.is_none() {
        let notice = "SKIPPED: no real kubectl in KUBECTL or PATH, so that nothing was compared\n";
        std::io::Write::write_all(&mut std::io::stderr(), notice.as_bytes()).unwrap();
    }
    found
}

/// kubectl-mini, which cargo builds beside the tests.
pub(crate) fn kubectl_mini() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let found = own.ancestors().skip(1).take(3).map(|dir| dir.join("kubectl-mini"));
    found
        .into_iter()
        .find(|file| file.is_file())
        .expect("run `cargo build --workspace --bins` first")
}

/// Both programs under the names that their messages bear.
pub(crate) struct Programs {
    pub(crate) kubectl: PathBuf,
    pub(crate) mini: PathBuf,
}

impl Programs {
    /// Puts a link to kubectl into `home`, so that it goes by its name.
    pub(crate) fn new(kubectl: &Path, home: &Path) -> Self {
        let link = home.join("kubectl");
        std::os::unix::fs::symlink(kubectl, &link).unwrap();
        Self { kubectl: link, mini: kubectl_mini() }
    }
}

/// A command line, and what is around it.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) words: &'a [String],
    pub(crate) stdin: &'a str,
    pub(crate) folder: &'a Path,
    pub(crate) kubeconfig: &'a Path,
    /// `KUBE_EDITOR`.
    pub(crate) editor: &'a str,
}

/// Runs a program as a user in `folder` would, seeing nothing of this machine's own settings.
pub(crate) fn run(program: &Path, call: &Call<'_>) -> Output {
    let mut child = Command::new(program)
        .args(call.words)
        .current_dir(call.folder)
        .env_clear()
        .env("HOME", call.kubeconfig.parent().unwrap())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("KUBECONFIG", call.kubeconfig)
        .env("KUBE_EDITOR", call.editor)
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Few bytes, which fit the pipe; a program that does not read them is fine.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), call.stdin.as_bytes());
    child.wait_with_output().unwrap()
}

/// What a command left, as text: exit code, standard output, standard error.
pub(crate) fn text(output: &Output) -> String {
    let code = output.status.code().map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("kubectl-mini", "kubectl");
    format!("{}--- stderr\n{}--- exit code {code}\n", text(&output.stdout), text(&output.stderr))
}

/// Puts words for what differs from run to run.
pub(crate) struct Normaliser(Vec<(Regex, &'static str)>);

/// What any two runs may differ in.
const RULES: &[(&str, &str)] = &[
    // Some builds of kubectl log what the others print; and some write Error where the others write error.
    (r#"(?m)^E\d{4} .*"command failed" err="(.*)"$"#, "error: $1"),
    (r#"\\""#, "\""),
    (r"(?m)^Error: ", "error: "),
    // klog's lines bear the time, the process and the source line.
    (r"(?m)^[EWI]\d{4} \d\d:\d\d:\d\d.*\n", ""),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    (r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000", "<time>"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>"),
    (r"\b[0-9a-f]{64}\b", "<container>"),
    (r"(LIVE|MERGED)-\w+", "$1-<random>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \+0000", "<time>"),
    (r"10\.244\.\d+\.\d+", "<pod-ip>"),
    (r"10\.(9[6-9]|10\d|11[01])\.\d+\.\d+", "<cluster-ip>"),
    (r"127\.\d+\.\d+\.\d+(:\d+)?", "<host>"),
    (r"\b3[0-2]\d{3}\b", "<node-port>"),
    (
        r"\b([a-z]+-[0-9a-f]{6,10}|[a-z]+-[bcdfghjklmnpqrstvwxz2456789]{6,10})-[bcdfghjklmnpqrstvwxz2456789]{5}\b",
        "$1-<random>",
    ),
    (r#"(resourceVersion"?: )"\d+""#, "$1<version>"),
    (r"kubectl-edit-\w+", "kubectl-edit-<random>"),
    (r"\b(\d+[smhd])+\b", "<age>"),
    (r"<unknown>", "<age>"),
];

impl Normaliser {
    /// With further rules, which come first.
    pub(crate) fn new(more: &[(&str, &'static str)]) -> Self {
        let rules = more.iter().chain(RULES);
        Self(rules.map(|(rule, word)| (Regex::new(rule).unwrap(), *word)).collect())
    }

    /// What two texts must have in common.
    pub(crate) fn apply(&self, text: &str) -> String {
        let text = tables(text);
        self.0.iter().fold(text, |text, (rule, word)| rule.replace_all(&text, *word).into_owned())
    }
}

/// Replaces the tables of a text by their cells, and a word on how wide the columns are.
fn tables(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::new();
    let mut at = 0;
    while at < lines.len() {
        let starts = heading(lines[at]);
        let rows = if starts.len() > 1 { block(&lines[at..], &starts) } else { 0 };
        if rows < 2 {
            out += lines[at];
            out.push('\n');
            at += 1;
            continue;
        }
        out += &table(&lines[at..at + rows], &starts);
        at += rows;
    }
    out
}

/// Where the columns of a heading begin, in characters: behind two spaces or more. A heading is all capitals, or one of
/// describe's, which are followed by dashes.
fn heading(line: &str) -> Vec<usize> {
    let is_heading = line.starts_with(|c: char| c.is_ascii_uppercase())
        && line.chars().all(|c| c.is_ascii_uppercase() || " ()-/".contains(c));
    let is_describes = line.starts_with("  Type ") || line.starts_with("  Resource ");
    if !is_heading && !is_describes {
        return Vec::new();
    }
    let chars: Vec<char> = line.chars().collect();
    let begins = |i: usize| {
        chars[i] != ' ' && (i == 0 || chars[i - 1] == ' ') && (i < 2 || chars[i - 2] == ' ')
    };
    (0..chars.len()).filter(|i| begins(*i)).collect()
}

/// How many lines from the heading on stand in its columns.
fn block(lines: &[&str], starts: &[usize]) -> usize {
    let fits = |line: &&&str| {
        let chars: Vec<char> = line.chars().collect();
        chars.len() > starts[1]
            && starts[1..]
                .iter()
                .filter(|start| **start <= chars.len())
                .all(|start| chars[start - 1] == ' ')
    };
    lines.iter().take_while(fits).count()
}

fn table(lines: &[&str], starts: &[usize]) -> String {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let chars: Vec<char> = line.chars().collect();
            let ends = starts[1..].iter().copied().chain([usize::MAX]);
            let cell = |(from, to): (&usize, usize)| -> String {
                let to = to.min(chars.len());
                chars.get((*from).min(to)..to).unwrap_or_default().iter().collect()
            };
            starts.iter().zip(ends).map(cell).collect()
        })
        .collect();
    let mut out = String::new();
    for (column, pair) in starts.windows(2).enumerate() {
        let width = pair[1] - pair[0];
        let widest = rows.iter().map(|row| row[column].trim_end().chars().count()).max();
        let widest = widest.unwrap_or_default();
        if width != (widest + 3).max(6) && width != widest + 2 {
            out += &format!("(column {column} is {width} wide for {widest}) ");
        }
    }
    for row in rows {
        let cells: Vec<&str> = row.iter().map(|cell| cell.trim_end_matches(' ')).collect();
        // Behind the last column nothing is filled up: what stands there is compared.
        let last = row.last().map_or("", String::as_str);
        let trailing = &last[last.trim_end_matches(' ').len()..];
        out += &cells.join(" | ");
        out += trailing;
        out.push('\n');
    }
    out
}

/// Gathers differences, and fails at the end with all of them.
#[derive(Default)]
pub(crate) struct Comparison {
    pub(crate) compared: usize,
    differences: Vec<String>,
}

impl Comparison {
    /// Compares what both say of one command.
    pub(crate) fn note(&mut self, command: &str, expected: &str, got: &str, rules: &Normaliser) {
        self.compared += 1;
        if expected != got && rules.apply(expected) != rules.apply(got) {
            self.differences
                .push(format!("==== {command}\n---- kubectl\n{expected}---- kubectl-mini\n{got}"));
        }
    }

    /// # Panics
    /// When there are differences, or fewer than `least` commands were compared.
    pub(crate) fn finish(self, least: usize) {
        assert!(self.compared >= least, "{} commands", self.compared);
        assert!(
            self.differences.is_empty(),
            "{} of {} commands differ:\n{}",
            self.differences.len(),
            self.compared,
            self.differences.join("\n")
        );
    }
}

#[test]
fn tables_are_compared_by_cells_and_widths() {
    let check = |text: &str, expected: &str| assert_eq!(tables(text), expected, "{text}");
    check("NAME   AGE\nweb    9s\n", "NAME | AGE\nweb | 9s\n");
    check("NAME    AGE\nwebs    9s\n", "(column 0 is 8 wide for 4) NAME | AGE\nwebs | 9s\n");
    check("A     LAST SEEN   B\nx     1s          \n", "A | LAST SEEN | B\nx | 1s | \n");
    check("pod/web created\n", "pod/web created\n");
    check("NAME   AGE\nweb created\n", "NAME   AGE\nweb created\n");
}
