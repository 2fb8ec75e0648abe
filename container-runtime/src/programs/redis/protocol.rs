//! RESP, version 2: commands in, replies out, and the other way round for the client.

use std::io;

use cni::network::PodStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Largest bulk string and longest command line.
const LIMIT: usize = 64 * 1024 * 1024;
/// Most words of one command.
const MAX_WORDS: usize = 1024 * 1024;
/// Deepest array that the client reads.
const MAX_NESTING: usize = 16;

/// What the bytes so far are.
#[derive(Debug, PartialEq)]
pub(super) enum Parsed {
    Incomplete,
    /// A command and the bytes it took.
    Command(Vec<Vec<u8>>, usize),
    Wrong(&'static str),
}

/// Parses one command: an array of bulk strings, or a line as one types it.
pub(super) fn parse(input: &[u8]) -> Parsed {
    let Some((line, mut at)) = line(input) else {
        return if input.len() > 64 * 1024 {
            Parsed::Wrong("too big inline request")
        } else {
            Parsed::Incomplete
        };
    };
    let Some(count) = line.strip_prefix(b"*") else {
        let words = split_words(&String::from_utf8_lossy(line));
        return Parsed::Command(words.into_iter().map(String::into_bytes).collect(), at);
    };
    let Some(count) = number(count).filter(|count| *count <= MAX_WORDS as i64) else {
        return Parsed::Wrong("invalid multibulk length");
    };
    let mut words = Vec::new();
    for _ in 0..count {
        let Some((head, used)) = self::line(&input[at..]) else { return Parsed::Incomplete };
        let Some(length) = head.strip_prefix(b"$").and_then(number) else {
            return Parsed::Wrong("expected '$'");
        };
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= LIMIT) else {
            return Parsed::Wrong("invalid bulk length");
        };
        let start = at + used;
        if input.len() < start + length + 2 {
            return Parsed::Incomplete;
        }
        words.push(input[start..start + length].to_vec());
        at = start + length + 2;
    }
    Parsed::Command(words, at)
}

/// A line without its end, and the bytes it took.
fn line(input: &[u8]) -> Option<(&[u8], usize)> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let line = &input[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Words of a typed line; quotes keep blanks.
pub(super) fn split_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = line.trim().chars().peekable();
    while chars.peek().is_some() {
        let mut word = String::new();
        let mut quote = None;
        for char in chars.by_ref() {
            match (char, quote) {
                (char, Some(open)) if char == open => quote = None,
                ('"' | '\'', None) => quote = Some(char),
                (char, None) if char.is_whitespace() => break,
                (char, _) => word.push(char),
            }
        }
        if !word.is_empty() {
            words.push(word);
        }
    }
    words
}

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    Simple(&'static str),
    Text(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Self>),
}

impl Reply {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Simple(text) => out.extend_from_slice(format!("+{text}\r\n").as_bytes()),
            Self::Text(text) => out.extend_from_slice(format!("+{text}\r\n").as_bytes()),
            Self::Error(text) => out.extend_from_slice(format!("-{text}\r\n").as_bytes()),
            Self::Integer(number) => out.extend_from_slice(format!(":{number}\r\n").as_bytes()),
            Self::Bulk(bytes) => {
                out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            Self::Nil => out.extend_from_slice(b"$-1\r\n"),
            Self::Array(items) => {
                out.extend_from_slice(format!("*{}\r\n", items.len()).as_bytes());
                items.iter().for_each(|item| item.write(out));
            }
        }
    }

    /// As redis-cli prints it: for people on a terminal, plain otherwise.
    pub(super) fn print(&self, terminal: bool) -> String {
        match self {
            Self::Simple(text) => format!("{text}\n"),
            Self::Text(text) => format!("{text}\n"),
            Self::Error(text) if terminal => format!("(error) {text}\n"),
            Self::Error(text) => format!("{text}\n\n"),
            Self::Integer(number) if terminal => format!("(integer) {number}\n"),
            Self::Integer(number) => format!("{number}\n"),
            Self::Bulk(bytes) if terminal => format!("{:?}\n", String::from_utf8_lossy(bytes)),
            Self::Bulk(bytes) => format!("{}\n", String::from_utf8_lossy(bytes)),
            Self::Nil if terminal => "(nil)\n".to_owned(),
            Self::Nil => "\n".to_owned(),
            Self::Array(items) if terminal && items.is_empty() => "(empty array)\n".to_owned(),
            Self::Array(items) if items.is_empty() => "\n".to_owned(),
            Self::Array(items) if terminal => {
                let lines = items.iter().enumerate();
                lines.map(|(index, item)| format!("{}) {}", index + 1, item.print(true))).collect()
            }
            Self::Array(items) => items.iter().map(|item| item.print(false)).collect(),
        }
    }
}

/// Sends a command and reads its reply.
pub(super) async fn ask(stream: &mut PodStream, words: &[String]) -> io::Result<Reply> {
    let command = words.iter().map(|word| Reply::Bulk(word.clone().into_bytes())).collect();
    let mut request = Vec::new();
    Reply::Array(command).write(&mut request);
    stream.write_all(&request).await?;
    let mut input = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        if let Some((reply, _)) = read_reply(&input, 0)? {
            return Ok(reply);
        }
        let count = stream.read(&mut buffer).await?;
        if count == 0 || input.len() > LIMIT {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        input.extend_from_slice(&buffer[..count]);
    }
}

fn read_reply(input: &[u8], depth: usize) -> io::Result<Option<(Reply, usize)>> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidData);
    if depth > MAX_NESTING {
        return Err(wrong());
    }
    let Some((head, used)) = line(input) else { return Ok(None) };
    let (kind, rest) = head.split_first().ok_or_else(wrong)?;
    let text = || String::from_utf8_lossy(rest).into_owned();
    let reply = match kind {
        b'+' => Reply::Text(text()),
        b'-' => Reply::Error(text()),
        b':' => Reply::Integer(number(rest).ok_or_else(wrong)?),
        b'$' => {
            let length = number(rest).ok_or_else(wrong)?;
            let Ok(length) = usize::try_from(length) else { return Ok(Some((Reply::Nil, used))) };
            if input.len() < used + length + 2 {
                return Ok(None);
            }
            let bytes = input[used..used + length].to_vec();
            return Ok(Some((Reply::Bulk(bytes), used + length + 2)));
        }
        b'*' => {
            let count = number(rest).ok_or_else(wrong)?;
            let mut items = Vec::new();
            let mut at = used;
            for _ in 0..count {
                let Some((item, used)) = read_reply(&input[at..], depth + 1)? else {
                    return Ok(None);
                };
                items.push(item);
                at += used;
            }
            return Ok(Some((Reply::Array(items), at)));
        }
        _ => return Err(wrong()),
    };
    Ok(Some((reply, used)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_parse() {
        let check = |input: &str, expected: Parsed| assert_eq!(parse(input.as_bytes()), expected);
        let words =
            |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        check("*2\r\n$3\r\nGET\r\n$1\r\na\r\n+", Parsed::Command(words(&["GET", "a"]), 20));
        check("PING\r\n", Parsed::Command(words(&["PING"]), 6));
        check("SET a \"b c\"\n", Parsed::Command(words(&["SET", "a", "b c"]), 12));
        check("*2\r\n$3\r\nGET", Parsed::Incomplete);
        check("*1\r\n$-5\r\n", Parsed::Wrong("invalid bulk length"));
        check("*99999999999\r\n", Parsed::Wrong("invalid multibulk length"));
    }
}
