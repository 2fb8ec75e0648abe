//! The error of a file operation: an errno with the text that C libraries print for it.

use std::fmt;
use std::io;

pub(crate) use rustix::io::Errno;

/// Result of a file operation.
pub type FsResult<T> = Result<T, FsError>;

/// Why a file operation failed. Displays as `strerror`: `No such file or directory`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FsError(pub(crate) Errno);

const TEXTS: &[(Errno, &str)] = &[
    (Errno::PERM, "Operation not permitted"),
    (Errno::NOENT, "No such file or directory"),
    (Errno::IO, "Input/output error"),
    (Errno::BADF, "Bad file descriptor"),
    (Errno::ACCESS, "Permission denied"),
    (Errno::BUSY, "Device or resource busy"),
    (Errno::EXIST, "File exists"),
    (Errno::XDEV, "Invalid cross-device link"),
    (Errno::NOTDIR, "Not a directory"),
    (Errno::ISDIR, "Is a directory"),
    (Errno::INVAL, "Invalid argument"),
    (Errno::TXTBSY, "Text file busy"),
    (Errno::FBIG, "File too large"),
    (Errno::NOSPC, "No space left on device"),
    (Errno::ROFS, "Read-only file system"),
    (Errno::NAMETOOLONG, "File name too long"),
    (Errno::NOTEMPTY, "Directory not empty"),
    (Errno::LOOP, "Too many levels of symbolic links"),
    (Errno::DQUOT, "Disk quota exceeded"),
];

impl FsError {
    /// Tells whether nothing is at the path.
    pub fn is_not_found(self) -> bool {
        self.0 == Errno::NOENT
    }

    /// Tells whether a directory stood where a file was wanted.
    pub fn is_directory(self) -> bool {
        self.0 == Errno::ISDIR
    }
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TEXTS.iter().find(|(errno, _)| *errno == self.0) {
            Some((_, text)) => f.write_str(text),
            None => write!(f, "Unknown error {}", self.0.raw_os_error()),
        }
    }
}

impl fmt::Debug for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FsError({self})")
    }
}

impl std::error::Error for FsError {}

impl From<Errno> for FsError {
    fn from(errno: Errno) -> Self {
        Self(errno)
    }
}

impl From<FsError> for io::Error {
    fn from(error: FsError) -> Self {
        Self::from(error.0)
    }
}

impl From<io::Error> for FsError {
    fn from(error: io::Error) -> Self {
        Self(Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}
