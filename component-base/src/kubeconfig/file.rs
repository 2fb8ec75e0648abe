//! Reading and changing kubeconfig files.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Kubeconfig, KubeconfigError};
use crate::{clock::Clock, files};

/// How often, and how many times, a locked file is tried: other writers take milliseconds.
const LOCK_RETRY: (Duration, u32) = (Duration::from_millis(10), 300);

/// Reads and merges several files, as `KUBECONFIG` lists them. Files that do not exist are left out; of entries of the
/// same name, and of the current context, the first wins.
///
/// # Errors
/// When a file cannot be read or is no kubeconfig.
pub fn load(paths: &[PathBuf]) -> Result<Kubeconfig, KubeconfigError> {
    let mut merged = Kubeconfig::default();
    for path in paths.iter().rev() {
        match load_file(path) {
            Ok(config) => merged.replace_entries(config),
            Err(KubeconfigError::File { source, .. })
                if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(merged)
}

/// Reads one file. Relative paths in it become absolute.
///
/// # Errors
/// When it cannot be read or is no kubeconfig.
pub fn load_file(path: &Path) -> Result<Kubeconfig, KubeconfigError> {
    let mut config = read(path)?;
    let base = std::path::absolute(path).map_err(failed_to("read", path))?;
    let base = base.parent().unwrap_or(Path::new("/"));
    let absolute = |path: &mut Option<PathBuf>| {
        if let Some(path) = path.as_mut().filter(|path| !path.as_os_str().is_empty()) {
            *path = base.join(&*path);
        }
    };
    for entry in &mut config.clusters {
        absolute(&mut entry.value.certificate_authority);
    }
    for entry in &mut config.users {
        absolute(&mut entry.value.client_certificate);
        absolute(&mut entry.value.client_key);
        absolute(&mut entry.value.token_file);
    }
    Ok(config)
}

/// Changes a file (or makes it, with its directory) under its lock, and replaces it atomically with mode 0600.
///
/// # Errors
/// When another writer holds the lock for seconds, the file is no kubeconfig, or cannot be written. The file is unchanged
/// then.
pub async fn update_file<F>(path: &Path, clock: &Clock, change: F) -> Result<(), KubeconfigError>
where
    F: FnOnce(&mut Kubeconfig),
{
    if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        files::create_private_dir(directory).map_err(failed_to("write", path))?;
    }
    let _lock = lock(path, clock).await?;
    let mut config = match read(path) {
        Err(KubeconfigError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Kubeconfig::default()
        }
        read => read?,
    };
    let before = config.clone();
    change(&mut config);
    if config == before && path.exists() {
        return Ok(());
    }
    for (field, value) in [("apiVersion", "v1"), ("kind", "Config")] {
        config.other.entry(field.to_owned()).or_insert_with(|| value.into());
    }
    let yaml = serde_yaml::to_string(&config)
        .map_err(|source| KubeconfigError::Syntax { path: path.to_owned(), source })?;
    files::write_atomic(path, yaml.as_bytes(), files::PRIVATE).map_err(failed_to("write", path))
}

fn read(path: &Path) -> Result<Kubeconfig, KubeconfigError> {
    let text = fs::read_to_string(path).map_err(failed_to("read", path))?;
    // An empty file is an empty configuration.
    serde_yaml::from_str::<Option<Kubeconfig>>(&text)
        .map(Option::unwrap_or_default)
        .map_err(|source| KubeconfigError::Syntax { path: path.to_owned(), source })
}

fn failed_to(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KubeconfigError {
    let path = path.to_owned();
    move |source| KubeconfigError::File { operation, path, source }
}

/// client-go's lock: a file beside the file, there while somebody writes.
struct Lock(PathBuf);

impl Drop for Lock {
    fn drop(&mut self) {
        // If somebody removed it meanwhile, there is nothing left to give back.
        let _ = fs::remove_file(&self.0);
    }
}

async fn lock(path: &Path, clock: &Clock) -> Result<Lock, KubeconfigError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock = PathBuf::from(name);
    let (pause, tries) = LOCK_RETRY;
    let mut tried = 0;
    loop {
        match OpenOptions::new().write(true).create_new(true).open(&lock) {
            Ok(_) => return Ok(Lock(lock)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tried < tries => {
                tried += 1;
                clock.sleep(pause).await;
            }
            Err(error) => return Err(failed_to("lock", &lock)(error)),
        }
    }
}
