//! The line discipline of a terminal, between a client's keys and a process' standard input.
//!
//! The client's own terminal is in raw mode, so what a kernel's tty would do happens here: typed
//! characters are echoed and gathered into lines, Backspace, Ctrl-U and Ctrl-W edit them, Ctrl-C sends
//! SIGINT, Ctrl-D ends the input, and `\n` of the process becomes `\r\n` on the screen.

use tokio_util::sync::CancellationToken;

use crate::program::{ContainerContext, Signals};
use crate::stdio::{Input, Output, pipe};

/// Puts a terminal between the context's streams and their other ends; stderr joins stdout.
///
/// It is there until `ended`, whoever still types: then the screen is closed.
pub(crate) fn attach(context: &mut ContainerContext, ended: CancellationToken) {
    let keys = context.stdin.clone();
    let screen = context.stdout.clone();
    let (lines, input) = pipe();
    let (written, output) = pipe();
    context.stdin = input;
    context.stdout = written.clone();
    context.stderr = written.clone();
    let signals = context.signals.clone();
    let to_screen = screen.clone();
    context.spawn(async move {
        while let Some(chunk) = output.read(usize::MAX).await {
            if to_screen.write_all(carriage_returns(&chunk)).await.is_err() {
                return;
            }
        }
    });
    context.spawn(async move {
        ended.run_until_cancelled(edit(keys, lines, screen, signals)).await;
    });
}

fn carriage_returns(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 16);
    let mut previous = 0;
    for byte in text {
        if *byte == b'\n' && previous != b'\r' {
            out.push(b'\r');
        }
        out.push(*byte);
        previous = *byte;
    }
    out
}

async fn edit(keys: Input, lines: Output, screen: Output, signals: Signals) {
    let mut editor = Editor::default();
    while let Some(typed) = keys.read(4096).await {
        let mut echo = Vec::new();
        for byte in typed {
            match editor.key(byte, &mut echo) {
                Some(Typed::Line(line)) => {
                    // A process that does not read any more: keys go nowhere, as on any terminal.
                    let _ = lines.write_all(line).await;
                }
                Some(Typed::Interrupt) => signals.interrupt(),
                Some(Typed::End) => {
                    let _ = screen.write_all(&echo).await;
                    return;
                }
                None => {}
            }
        }
        if screen.write_all(&echo).await.is_err() {
            return;
        }
    }
}

#[derive(Debug, PartialEq)]
enum Typed {
    Line(Vec<u8>),
    Interrupt,
    End,
}

#[derive(Default)]
struct Editor {
    line: Vec<u8>,
    /// Inside an escape sequence (cursor keys), which is swallowed.
    escape: bool,
}

impl Editor {
    fn key(&mut self, byte: u8, echo: &mut Vec<u8>) -> Option<Typed> {
        if self.escape {
            self.escape = !(byte.is_ascii_alphabetic() || byte == b'~');
            return None;
        }
        match byte {
            b'\r' | b'\n' => {
                echo.extend_from_slice(b"\r\n");
                self.line.push(b'\n');
                return Some(Typed::Line(std::mem::take(&mut self.line)));
            }
            0x03 => {
                echo.extend_from_slice(b"^C\r\n");
                self.line.clear();
                return Some(Typed::Interrupt);
            }
            0x04 if self.line.is_empty() => return Some(Typed::End),
            0x04 => return Some(Typed::Line(std::mem::take(&mut self.line))),
            0x08 | 0x7f => self.rub_out(echo),
            0x15 => {
                while !self.line.is_empty() {
                    self.rub_out(echo);
                }
            }
            0x17 => {
                while self.line.last() == Some(&b' ') {
                    self.rub_out(echo);
                }
                while self.line.last().is_some_and(|byte| *byte != b' ') {
                    self.rub_out(echo);
                }
            }
            0x1b => self.escape = true,
            b'\t' | 0x20.. => {
                self.line.push(byte);
                echo.push(byte);
            }
            _ => {}
        }
        None
    }

    /// Removes the last character, which may be several bytes of UTF-8.
    fn rub_out(&mut self, echo: &mut Vec<u8>) {
        while let Some(byte) = self.line.pop() {
            if byte & 0xc0 != 0x80 {
                echo.extend_from_slice(b"\x08 \x08");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_lines() {
        let check = |keys: &[u8], lines: &[&str], screen: &str| {
            let mut editor = Editor::default();
            let mut echo = Vec::new();
            let typed: Vec<String> = keys
                .iter()
                .filter_map(|key| editor.key(*key, &mut echo))
                .map(|typed| match typed {
                    Typed::Line(line) => String::from_utf8(line).unwrap(),
                    other => format!("{other:?}"),
                })
                .collect();
            assert_eq!(typed, lines);
            assert_eq!(String::from_utf8(echo).unwrap(), screen);
        };
        check(b"ls\r", &["ls\n"], "ls\r\n");
        check(b"lx\x7fs\r", &["ls\n"], "lx\x08 \x08s\r\n");
        check(b"a b\x17c\r", &["a c\n"], "a b\x08 \x08c\r\n");
        check(b"ab\x15c\r", &["c\n"], "ab\x08 \x08\x08 \x08c\r\n");
        check(b"ab\x03", &["Interrupt"], "ab^C\r\n");
        check(b"a\x04\x04", &["a", "End"], "a");
        check(b"\x1b[Ax\r", &["x\n"], "x\r\n");
        check("ä\x7fo\r".as_bytes(), &["o\n"], "ä\x08 \x08o\r\n");
    }
}
