//! Where a cluster keeps its things.
//!
//! | place | what | mode |
//! |---|---|---|
//! | `<state>/<name>/format` | version of this layout; checked, never guessed | 0600 |
//! | `<state>/<name>/cluster.yaml` | what `up` was told, and what it chose: nodes, ports, addresses | 0600 |
//! | `<state>/<name>/lock` | held by the supervisor while the cluster runs; its text is the supervisor's pid | 0600 |
//! | `<state>/<name>/pki` | the certificate authority, a certificate and a kubeconfig per component | 0700 |
//! | `<state>/<name>/db`, `nodes`, `logs` | the store, the nodes' state, the components' logs | 0700 |
//! | `<state>/<name>/<component>.identity` | the name under which a component stands for leader election | 0600 |
//! | `<state>/<name>/kubeconfig` | the administrator's kubeconfig | 0600 |
//! | `<run>/` | sockets and addresses of the running processes; short, for Unix paths end at 104 bytes | 0700 |
//!
//! `<state>` is `$XDG_STATE_HOME/kube-mini`, `<run>` is made from the state folder's own path, so that two clusters of
//! one name in two state folders never meet.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

/// Version of the layout of a cluster's state folder.
pub const FORMAT: &str = "kube-mini/1";

/// The longest run folder that leaves room for a socket's name in a Unix path.
const MAX_RUN_DIR: usize = 60;

/// The places of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPaths {
    /// The cluster's state folder.
    pub state: PathBuf,
    /// The folder of its sockets.
    pub run: PathBuf,
}

/// What the paths are made from: the parts of the environment that matter.
#[derive(Clone, Debug)]
pub struct Environment {
    /// `XDG_STATE_HOME`.
    pub state_home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `KUBECONFIG`.
    pub kubeconfig: Option<std::ffi::OsString>,
    /// The user.
    pub uid: u32,
}

impl Environment {
    /// The folder that holds every cluster's state.
    ///
    /// # Errors
    /// Neither `--state-dir`, `XDG_STATE_HOME` nor `HOME` is given.
    pub fn state_root(&self, chosen: Option<&Path>) -> io::Result<PathBuf> {
        if let Some(chosen) = chosen {
            return std::path::absolute(chosen);
        }
        let absolute = |p: &&PathBuf| p.is_absolute();
        if let Some(home) = self.state_home.as_ref().filter(absolute) {
            return Ok(home.join("kube-mini"));
        }
        self.home.as_ref().filter(absolute).map(|h| h.join(".local/state/kube-mini")).ok_or_else(
            || io::Error::other("HOME is not set: say where to keep the state with --state-dir"),
        )
    }

    /// The kubeconfig file that `up` merges its context into: the first of `KUBECONFIG`, else `~/.kube/config`.
    ///
    /// # Errors
    /// Neither `KUBECONFIG` nor `HOME` is given.
    pub fn kubeconfig(&self, chosen: Option<&Path>) -> io::Result<PathBuf> {
        if let Some(chosen) = chosen {
            return std::path::absolute(chosen);
        }
        let listed = self
            .kubeconfig
            .as_ref()
            .and_then(|list| std::env::split_paths(list).find(|path| !path.as_os_str().is_empty()));
        listed.or_else(|| self.home.as_ref().map(|h| h.join(".kube/config"))).ok_or_else(|| {
            io::Error::other("HOME is not set: say which kubeconfig to write with --kubeconfig")
        })
    }
}

impl ClusterPaths {
    /// The places of the cluster `name` below `root`.
    #[must_use]
    pub fn new(environment: &Environment, root: &Path, name: &str) -> Self {
        let state = root.join(name);
        let digest = fnv1a(state.as_os_str().as_encoded_bytes());
        let leaf = format!("{digest:012x}");
        let wanted = environment.runtime_dir.as_ref().map(|dir| dir.join("kube-mini").join(&leaf));
        let run = match wanted {
            Some(path) if path.as_os_str().len() <= MAX_RUN_DIR => path,
            _ => PathBuf::from(format!("/tmp/kube-mini-{}", environment.uid)).join(leaf),
        };
        Self { state, run }
    }

    /// A file or folder of the state.
    #[must_use]
    pub fn state(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    /// The log of a component.
    #[must_use]
    pub fn log(&self, component: &str) -> PathBuf {
        self.state.join("logs").join(format!("{component}.log"))
    }

    /// The supervisor's control socket.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.run.join("supervisor.sock")
    }

    /// Makes all folders, private to the user.
    ///
    /// # Errors
    /// A folder cannot be made, or belongs to somebody else.
    pub fn create(&self, uid: u32) -> io::Result<()> {
        for dir in ["", "pki", "db", "nodes", "logs"] {
            private_dir(&self.state.join(dir), uid)?;
        }
        if let Some(parent) = self.run.parent() {
            private_dir(parent, uid)?;
        }
        private_dir(&self.run, uid)
    }

    /// Whether a cluster was made here.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.state.join("format").exists()
    }

    /// Checks the layout's version; writes it where the cluster is new.
    ///
    /// # Errors
    /// The state was written by another version.
    pub fn check_format(&self) -> io::Result<()> {
        let path = self.state.join("format");
        match fs::read_to_string(&path) {
            Ok(text) if text.trim() == FORMAT => Ok(()),
            Ok(text) => Err(io::Error::other(format!(
                "{} says {:?}, this kube-mini reads {FORMAT:?}: use the kube-mini that made the cluster, \
                 or remove the cluster with `kube-mini delete`",
                path.display(),
                text.trim(),
            ))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => component_base::files::write_atomic(
                &path,
                format!("{FORMAT}\n").as_bytes(),
                component_base::files::PRIVATE,
            ),
            Err(e) => Err(e),
        }
    }
}

/// Makes a folder of mode 0700, or checks that the one that is there is the user's own and nobody else's.
fn private_dir(path: &Path, uid: u32) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_dir() || meta.uid() != uid || meta.mode() & 0o077 != 0 {
        return Err(io::Error::other(format!(
            "{} must be a folder of yours with mode 0700: mend it with `chmod 700`, or remove it",
            path.display()
        )));
    }
    Ok(())
}

/// 48 bits of FNV-1a: a short, stable name for a path.
fn fnv1a(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment {
            state_home: Some("/s".into()),
            runtime_dir: None,
            home: Some("/h".into()),
            kubeconfig: None,
            uid: 7,
        }
    }

    #[test]
    fn the_state_folder_follows_the_option_then_xdg_then_home() {
        let mut env = environment();
        assert_eq!(env.state_root(Some(Path::new("/x"))).unwrap(), Path::new("/x"));
        assert_eq!(env.state_root(None).unwrap(), Path::new("/s/kube-mini"));
        env.state_home = Some("relative".into());
        assert_eq!(env.state_root(None).unwrap(), Path::new("/h/.local/state/kube-mini"));
        env.home = None;
        assert!(env.state_root(None).unwrap_err().to_string().contains("--state-dir"));
    }

    #[test]
    fn run_folders_are_short_and_differ_by_state_folder() {
        let env = environment();
        let a = ClusterPaths::new(&env, Path::new("/a"), "c");
        let b = ClusterPaths::new(&env, Path::new("/b"), "c");
        assert_ne!(a.run, b.run);
        assert!(a.run.starts_with("/tmp/kube-mini-7"));
        let deep = Environment { runtime_dir: Some("/d".repeat(60).into()), ..environment() };
        let run = ClusterPaths::new(&deep, Path::new("/a"), "c").run;
        assert!(run.as_os_str().len() <= MAX_RUN_DIR, "{}", run.display());
    }
}
