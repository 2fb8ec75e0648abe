//! The frames of SPDY/3.1, as far as Kubernetes uses them (draft-mbelshe-httpbis-spdy-00, section 2.6).
//!
//! ```text
//! control  |1| version 3 (15) | type (16) | flags (8) | length (24) | payload
//! data     |0| stream (31)                | flags (8) | length (24) | payload
//! ```
//! There is no flow control: the implementations that Kubernetes' clients carry neither send nor await window updates.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::Decoder;

const VERSION: u16 = 0x8003;
const HEAD: usize = 8;
const FIN: u8 = 1;
/// A longer frame is refused: nobody's client sends one.
const MAX_LENGTH: usize = 1 << 20;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;

/// RST_STREAM's status for a stream that we do not want.
const REFUSED_STREAM: u32 = 3;

/// What a peer sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A new stream; its headers are still compressed.
    SynStream {
        id: u32,
        fin: bool,
        headers: Bytes,
    },
    Data {
        id: u32,
        fin: bool,
        data: Bytes,
    },
    Reset {
        id: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
    /// A frame without a meaning to us: settings, window updates, replies.
    Other,
}

/// Why a peer's bytes are no frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {0} bytes is longer than {MAX_LENGTH}")]
    TooLong(usize),
    #[error("a control frame of type {0} is too short")]
    TooShort(u16),
    #[error("a control frame of another version than SPDY/3")]
    Version,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub(super) struct FrameDecoder;

impl Decoder for FrameDecoder {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(head) = buffer.first_chunk::<HEAD>() else { return Ok(None) };
        let word = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let flags = head[4];
        let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
        if length > MAX_LENGTH {
            return Err(FrameError::TooLong(length));
        }
        if buffer.len() < HEAD + length {
            buffer.reserve(HEAD + length - buffer.len());
            return Ok(None);
        }
        buffer.advance(HEAD);
        let payload = buffer.split_to(length).freeze();
        let fin = flags & FIN != 0;
        if word >> 31 == 0 {
            return Ok(Some(Frame::Data { id: word, fin, data: payload }));
        }
        let [version, kind] = [(word >> 16) as u16, word as u16];
        if version != VERSION {
            return Err(FrameError::Version);
        }
        control(kind, fin, payload).map(Some)
    }
}

fn control(kind: u16, fin: bool, mut payload: Bytes) -> Result<Frame, FrameError> {
    // Identifier, associated stream, priority and slot come before the headers.
    let least = match kind {
        SYN_STREAM => 10,
        RST_STREAM => 8,
        PING => 4,
        _ => 0,
    };
    if payload.len() < least {
        return Err(FrameError::TooShort(kind));
    }
    Ok(match kind {
        SYN_STREAM => {
            let id = payload.get_u32() & 0x7fff_ffff;
            payload.advance(6);
            Frame::SynStream { id, fin, headers: payload }
        }
        RST_STREAM => Frame::Reset { id: payload.get_u32() & 0x7fff_ffff },
        PING => Frame::Ping { id: payload.get_u32() },
        GOAWAY => Frame::GoAway,
        _ => Frame::Other,
    })
}

fn put_control(kind: u16, payload: &[&[u8]]) -> Bytes {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    let mut frame = BytesMut::with_capacity(HEAD + length);
    frame.put_u16(VERSION);
    frame.put_u16(kind);
    frame.put_u32(u32::try_from(length).expect("our control frames are short"));
    payload.iter().for_each(|part| frame.put_slice(part));
    frame.freeze()
}

/// Accepts a stream.
pub(super) fn syn_reply(id: u32, compressed_headers: &[u8]) -> Bytes {
    put_control(SYN_REPLY, &[&id.to_be_bytes(), compressed_headers])
}

/// Refuses a stream.
pub(crate) fn reset(id: u32) -> Bytes {
    put_control(RST_STREAM, &[&id.to_be_bytes(), &REFUSED_STREAM.to_be_bytes()])
}

/// Answers a ping.
pub(super) fn pong(id: u32) -> Bytes {
    put_control(PING, &[&id.to_be_bytes()])
}

/// Bytes on a stream, at most [`MAX_LENGTH`] of them; `fin` is our end of it.
pub(super) fn data(id: u32, fin: bool, bytes: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD + bytes.len());
    frame.put_u32(id);
    let length = u32::try_from(bytes.len()).expect("less than a frame holds");
    frame.put_u32(length | u32::from(if fin { FIN } else { 0 }) << 24);
    frame.put_slice(bytes);
    frame.freeze()
}

/// A stream opened by us: what a client sends.
#[cfg(test)]
pub(super) fn syn_stream(id: u32, fin: bool, compressed_headers: &[u8]) -> Bytes {
    let frame = put_control(SYN_STREAM, &[&id.to_be_bytes(), &[0; 6], compressed_headers]);
    let mut frame = BytesMut::from(&frame[..]);
    frame[4] = if fin { FIN } else { 0 };
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames come out as they went in, however the bytes were cut.
    #[test]
    fn frames_are_cut_from_a_stream() {
        let sent = [
            syn_stream(1, true, b"headers"),
            data(1, false, b"hello"),
            data(3, true, b""),
            reset(5),
            pong(9),
            put_control(GOAWAY, &[&[0; 8]]),
            put_control(4, &[&[0; 4]]),
        ]
        .concat();
        let expected = [
            Frame::SynStream { id: 1, fin: true, headers: "headers".into() },
            Frame::Data { id: 1, fin: false, data: "hello".into() },
            Frame::Data { id: 3, fin: true, data: "".into() },
            Frame::Reset { id: 5 },
            Frame::Ping { id: 9 },
            Frame::GoAway,
            Frame::Other,
        ];
        for cut in [1, 7, 1000] {
            let (mut decoder, mut buffer, mut seen) = (FrameDecoder, BytesMut::new(), Vec::new());
            for part in sent.chunks(cut) {
                buffer.extend_from_slice(part);
                while let Some(frame) = decoder.decode(&mut buffer).unwrap() {
                    seen.push(frame);
                }
            }
            assert_eq!(seen, expected, "in parts of {cut}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let check = |bytes: &[u8], expected: &str| {
            let error = FrameDecoder.decode(&mut BytesMut::from(bytes)).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(&[0, 0, 0, 1, 0, 255, 255, 255], "a frame of 16777215 bytes is longer than 1048576");
        check(&[0x80, 2, 0, 1, 0, 0, 0, 0], "a control frame of another version than SPDY/3");
        check(&[0x80, 3, 0, 6, 0, 0, 0, 1, 0], "a control frame of type 6 is too short");
        // The beginning of a request that never was upgraded.
        check(b"GET / HTTP/1.1\r\n", "a frame of 2115668 bytes is longer than 1048576");
    }
}
