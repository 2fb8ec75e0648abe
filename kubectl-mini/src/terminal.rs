//! The user's terminal: raw mode, and its size.
//!
//! What speaks of the terminal here is the process' standard input, as it is for every program with `-t`.

use proto::v1::TerminalSize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Keeps the terminal in raw mode until it is dropped.
#[derive(Debug)]
pub struct RawMode(Termios);

impl RawMode {
    /// Switches the terminal: keys come one by one, unechoed, Ctrl-C among them.
    ///
    /// # Errors
    /// When standard input is no terminal.
    pub fn enter() -> rustix::io::Result<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// How large the terminal is; `None` where there is none.
#[must_use]
pub fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(std::io::stdin()).ok()?;
    Some(TerminalSize { width: size.ws_col.into(), height: size.ws_row.into() })
}
