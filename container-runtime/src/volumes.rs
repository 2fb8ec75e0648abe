//! Writing volumes on the host: what a kubelet does before containers mount them.
//!
//! ConfigMap, Secret, downward API and projected volumes are written as `AtomicWriter` of Kubernetes
//! does, so that a reader sees the whole old or the whole new content:
//!
//! ```text
//! ..2026_01_02_03_04_05.123456789/key     the payload
//! ..data -> ..2026_01_02_03_04_05.123456789     renamed over the old link: the switch
//! key -> ..data/key                       what users see
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";
/// Longest relative path of a file in a volume.
const MAX_PATH: usize = 4096;

/// A file of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProjection {
    /// Content.
    pub data: Bytes,
    /// Permission bits.
    pub mode: u32,
}

/// Why a volume could not be written.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A path of the payload is absolute, empty, too long or leads out of the volume.
    #[error("invalid path \"{0}\" in the volume's payload")]
    Path(String),
    /// The host refused.
    #[error("failed to {action} \"{path}\": {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes an empty folder for an emptyDir; it stays as it is when it is there.
///
/// # Errors
/// Those of `mkdir` and `chmod`.
pub fn prepare_empty_dir(path: &Path) -> Result<(), VolumeError> {
    make_dir(path, 0o777)?;
    io_result("chmod", path, fs::set_permissions(path, Permissions::from_mode(0o777)))
}

/// Removes a volume with its content; one that is not there is removed already.
///
/// # Errors
/// Those of removing files and folders.
pub fn remove(path: &Path) -> Result<(), VolumeError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(VolumeError::Io { action: "remove", path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// Brings a volume to exactly this payload; tells whether anything changed.
///
/// # Errors
/// [`VolumeError`]; readers keep seeing the old content then.
pub fn write_atomically(
    volume: &Path,
    payload: &BTreeMap<String, FileProjection>,
    now: Timestamp,
) -> Result<bool, VolumeError> {
    for path in payload.keys() {
        check_path(path)?;
    }
    make_dir(volume, 0o755)?;
    let data = volume.join(DATA);
    let current = fs::read_link(&data).ok().map(|target| volume.join(target));
    if current.as_ref().is_some_and(|current| is_same(current, payload)) {
        link_names(volume, payload)?;
        return Ok(false);
    }
    let stamp = now.to_zoned(TimeZone::UTC).strftime("..%Y_%m_%d_%H_%M_%S.%9f").to_string();
    let mut folder = volume.join(&stamp);
    let mut name = stamp.clone();
    let mut attempt = 0;
    while folder.exists() {
        attempt += 1;
        name = format!("{stamp}_{attempt}");
        folder = volume.join(&name);
    }
    make_dir(&folder, 0o755)?;
    for (path, file) in payload {
        write_file(&folder.join(path), file)?;
    }
    let new_data = volume.join(NEW_DATA);
    // Left over from a crash between the two steps, if it is there.
    let _ = fs::remove_file(&new_data);
    io_result("link", &new_data, symlink(&name, &new_data))?;
    io_result("rename", &data, fs::rename(&new_data, &data))?;
    link_names(volume, payload)?;
    unlink_names(volume, payload)?;
    if let Some(old) = current {
        remove(&old)?;
    }
    Ok(true)
}

fn io_result<T>(
    action: &'static str,
    path: &Path,
    result: io::Result<T>,
) -> Result<T, VolumeError> {
    result.map_err(|source| VolumeError::Io { action, path: path.to_owned(), source })
}

fn make_dir(path: &Path, mode: u32) -> Result<(), VolumeError> {
    io_result("create", path, DirBuilder::new().recursive(true).mode(mode).create(path))
}

fn check_path(path: &str) -> Result<(), VolumeError> {
    let bad = path.is_empty()
        || path.len() > MAX_PATH
        || path.starts_with("..")
        || path.split('/').any(|name| name.is_empty() || name == "..");
    if bad { Err(VolumeError::Path(path.to_owned())) } else { Ok(()) }
}

fn write_file(path: &Path, file: &FileProjection) -> Result<(), VolumeError> {
    if let Some(parent) = path.parent() {
        make_dir(parent, 0o755)?;
    }
    let write = || {
        let mut opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        opened.write_all(&file.data)?;
        opened.set_permissions(Permissions::from_mode(file.mode & 0o777))
    };
    io_result("write", path, write())
}

/// Whether the folder holds this payload and nothing else.
fn is_same(folder: &Path, payload: &BTreeMap<String, FileProjection>) -> bool {
    let mut files = BTreeSet::new();
    if collect(folder, "", &mut files).is_err() || files.len() != payload.len() {
        return false;
    }
    payload.iter().all(|(path, file)| {
        let path = folder.join(path);
        let mode = fs::metadata(&path).map(|metadata| metadata.permissions().mode() & 0o777);
        mode.is_ok_and(|mode| mode == file.mode & 0o777)
            && fs::read(&path).is_ok_and(|content| content == file.data)
    })
}

fn collect(folder: &Path, prefix: &str, files: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.insert(name);
        }
    }
    Ok(())
}

/// First components of the payload's paths: the names users see.
fn visible(payload: &BTreeMap<String, FileProjection>) -> BTreeSet<&str> {
    payload.keys().map(|path| path.split('/').next().unwrap_or(path)).collect()
}

fn link_names(
    volume: &Path,
    payload: &BTreeMap<String, FileProjection>,
) -> Result<(), VolumeError> {
    for name in visible(payload) {
        let link = volume.join(name);
        if fs::symlink_metadata(&link).is_err() {
            io_result("link", &link, symlink(format!("{DATA}/{name}"), &link))?;
        }
    }
    Ok(())
}

fn unlink_names(
    volume: &Path,
    payload: &BTreeMap<String, FileProjection>,
) -> Result<(), VolumeError> {
    let visible = visible(payload);
    for entry in io_result("read", volume, fs::read_dir(volume))? {
        let entry = io_result("read", volume, entry)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !visible.contains(name.as_str()) {
            io_result("remove", &entry.path(), fs::remove_file(entry.path()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
