//! What two node processes say to each other over a Unix stream socket.
//!
//! A frame is its length (4 bytes, little endian, of what follows), a kind (1 byte) and a body; an address is 16
//! bytes (IPv4 mapped into IPv6) and a port. Descriptors travel beside the bytes: every `Connect` brings exactly
//! one, in the order of the frames, however the kernel cuts the stream.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, recvmsg, sendmsg,
};
use tokio::{io::Interest, net::UnixStream};

use super::carry::Outcome;
use crate::{
    descriptor,
    network::{self, MAX_DATAGRAM},
};

/// Most descriptors in one message; the kernel's limit is 253.
pub(super) const MAX_DESCRIPTORS: usize = 64;
const MAX_FRAME: usize = MAX_DATAGRAM + 64;
const ADDRESS: usize = 18;

/// One message between nodes.
#[derive(Debug)]
pub(super) enum Frame<F = OwnedFd> {
    /// Brings a connection: `fd` is the far end of one that `from` made to `to`.
    Connect { call: u64, from: SocketAddr, to: SocketAddr, hops: u8, fd: F },
    /// What became of a `Connect`.
    Answer { call: u64, answer: Answer },
    /// One datagram.
    Datagram { from: SocketAddr, to: SocketAddr, hops: u8, payload: Bytes },
    /// Nobody listens where a datagram of `from` to `to` was to go.
    Unreachable { from: SocketAddr, to: SocketAddr },
}

/// What became of a connection at the node that it was brought to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It waits in an accept queue.
    Taken = 0,
    Refused = 1,
    TimedOut = 2,
    NoRoute = 3,
    /// Refused by a port that a server listened on and does no more.
    Left = 4,
}

impl Answer {
    pub(super) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Ok(_) => Self::Taken,
            Err(failed) => match failed.error.kind() {
                io::ErrorKind::TimedOut => Self::TimedOut,
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkDown => Self::NoRoute,
                _ if failed.left => Self::Left,
                _ => Self::Refused,
            },
        }
    }

    pub(super) fn into_result(self) -> io::Result<()> {
        match self {
            Self::Taken => Ok(()),
            Self::Refused | Self::Left => Err(network::refused()),
            Self::TimedOut => Err(network::timed_out()),
            Self::NoRoute => Err(network::no_route()),
        }
    }
}

impl<F> Frame<F> {
    /// Appends the frame and returns the descriptor that must go with it.
    pub(super) fn encode(self, out: &mut BytesMut) -> Option<F> {
        match self {
            Self::Connect { call, from, to, hops, fd } => {
                put_head(out, 1, 9 + 2 * ADDRESS);
                out.put_u64_le(call);
                out.put_u8(hops);
                put_address(out, from);
                put_address(out, to);
                Some(fd)
            }
            Self::Answer { call, answer } => {
                put_head(out, 2, 9);
                out.put_u64_le(call);
                out.put_u8(answer as u8);
                None
            }
            Self::Datagram { from, to, hops, payload } => {
                put_head(out, 3, 1 + 2 * ADDRESS + payload.len());
                out.put_u8(hops);
                put_address(out, from);
                put_address(out, to);
                out.put(payload);
                None
            }
            Self::Unreachable { from, to } => {
                put_head(out, 4, 2 * ADDRESS);
                put_address(out, from);
                put_address(out, to);
                None
            }
        }
    }
}

fn put_head(out: &mut BytesMut, kind: u8, body: usize) {
    out.reserve(5 + body);
    out.put_u32_le(u32::try_from(body + 1).expect("frames are small"));
    out.put_u8(kind);
}

fn put_address(out: &mut BytesMut, address: SocketAddr) {
    let ip = match address.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    out.put_slice(&ip.octets());
    out.put_u16_le(address.port());
}

fn get_address(body: &mut Bytes) -> Result<SocketAddr, io::Error> {
    let ip = Ipv6Addr::from_bits(body.try_get_u128().map_err(|_| garbled("cut short"))?);
    let port = body.try_get_u16_le().map_err(|_| garbled("cut short"))?;
    Ok(SocketAddr::new(IpAddr::V6(ip).to_canonical(), port))
}

fn garbled(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("node frame is {what}"))
}

/// Collects bytes and descriptors until they make frames.
#[derive(Default)]
pub(super) struct FrameReader {
    bytes: BytesMut,
    descriptors: VecDeque<OwnedFd>,
}

impl FrameReader {
    /// Returns the next frame, `None` at the end of the stream. Not safe to cancel midway only in that bytes already
    /// read stay here.
    ///
    /// # Errors
    /// The socket's; `InvalidData` for what is no frame.
    pub(super) async fn next(&mut self, stream: &UnixStream) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.parse()? {
                return Ok(Some(frame));
            }
            if self.read(stream).await? == 0 {
                return if self.bytes.is_empty() { Ok(None) } else { Err(garbled("cut short")) };
            }
        }
    }

    async fn read(&mut self, stream: &UnixStream) -> io::Result<usize> {
        self.bytes.reserve(16 * 1024);
        stream
            .async_io(Interest::READABLE, || {
                let mut chunk = [0; 16 * 1024];
                let mut space =
                    [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let parts = &mut [IoSliceMut::new(&mut chunk)];
                let received = recvmsg(stream, parts, &mut control, RECEIVE_FLAGS)?;
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                        self.descriptors.extend(descriptors);
                    }
                }
                self.bytes.extend_from_slice(&chunk[..received.bytes]);
                Ok(received.bytes)
            })
            .await
    }

    fn parse(&mut self) -> io::Result<Option<Frame>> {
        let Some(head) = self.bytes.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
        if !(1..=MAX_FRAME).contains(&length) {
            return Err(garbled("of impossible length"));
        }
        if self.bytes.len() < 4 + length {
            return Ok(None);
        }
        self.bytes.advance(4);
        let mut body = self.bytes.split_to(length).freeze();
        let cut = |_| garbled("cut short");
        let frame = match body.get_u8() {
            1 => {
                let call = body.try_get_u64_le().map_err(cut)?;
                let hops = body.try_get_u8().map_err(cut)?;
                let (from, to) = (get_address(&mut body)?, get_address(&mut body)?);
                let fd = self.descriptors.pop_front();
                Frame::Connect {
                    call,
                    from,
                    to,
                    hops,
                    fd: fd.ok_or_else(|| garbled("without its descriptor"))?,
                }
            }
            2 => {
                let call = body.try_get_u64_le().map_err(cut)?;
                let answer = match body.try_get_u8().map_err(cut)? {
                    0 => Answer::Taken,
                    1 => Answer::Refused,
                    2 => Answer::TimedOut,
                    3 => Answer::NoRoute,
                    4 => Answer::Left,
                    _ => return Err(garbled("an unknown answer")),
                };
                Frame::Answer { call, answer }
            }
            3 => {
                let hops = body.try_get_u8().map_err(cut)?;
                let (from, to) = (get_address(&mut body)?, get_address(&mut body)?);
                Frame::Datagram { from, to, hops, payload: body }
            }
            4 => Frame::Unreachable { from: get_address(&mut body)?, to: get_address(&mut body)? },
            _ => return Err(garbled("of unknown kind")),
        };
        Ok(Some(frame))
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const RECEIVE_FLAGS: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const RECEIVE_FLAGS: RecvFlags = RecvFlags::empty();

/// Writes bytes, and at most [`MAX_DESCRIPTORS`] descriptors with the first of them.
pub(super) async fn write(
    stream: &UnixStream,
    mut bytes: &[u8],
    mut descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = stream
            .async_io(Interest::WRITABLE, || {
                let mut space =
                    [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !descriptors.is_empty() {
                    let fits = control.push(SendAncillaryMessage::ScmRights(descriptors));
                    debug_assert!(fits, "at most MAX_DESCRIPTORS");
                }
                let parts = &[IoSlice::new(bytes)];
                Ok(sendmsg(stream.as_fd(), parts, &mut control, descriptor::SEND_FLAGS)?)
            })
            .await?;
        bytes = &bytes[written..];
        descriptors = &[];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn frames_and_descriptors_arrive_in_order() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (from, to) = (address("10.244.1.2:40000"), address("[2001:db8::1]:80"));
        let mut bytes = BytesMut::new();
        let mut descriptors = vec![];
        let payload = Bytes::from(vec![7; MAX_DATAGRAM]);
        for call in 0..50 {
            // Descriptors that can be told apart: each pipe holds the number of its call.
            let (reader, mut writer) = std::io::pipe().unwrap();
            std::io::Write::write_all(&mut writer, &[u8::try_from(call).unwrap()]).unwrap();
            let fd = OwnedFd::from(reader);
            descriptors.extend(Frame::Connect { call, from, to, hops: 3, fd }.encode(&mut bytes));
            Frame::<OwnedFd>::Answer { call, answer: Answer::Refused }.encode(&mut bytes);
        }
        let datagram = Frame::<OwnedFd>::Datagram { from, to, hops: 1, payload: payload.clone() };
        datagram.encode(&mut bytes);
        Frame::<OwnedFd>::Unreachable { from, to }.encode(&mut bytes);
        let sending = async {
            let borrowed: Vec<_> = descriptors.iter().map(|fd: &OwnedFd| fd.as_fd()).collect();
            write(&ours, &bytes, &borrowed).await.unwrap();
            // A pause in the middle of a frame is no end of it.
            for part in [&bytes[..3], &bytes[3..40], &bytes[40..]] {
                write(&ours, part, if part.len() == 3 { &borrowed } else { &[] }).await.unwrap();
            }
            rustix::net::shutdown(&ours, rustix::net::Shutdown::Write).unwrap();
        };
        let receiving = async {
            let mut reader = FrameReader::default();
            for _ in 0..2 {
                for expected in 0..50 {
                    let Some(Frame::Connect { call, from: f, to: t, hops: 3, fd }) =
                        reader.next(&theirs).await.unwrap()
                    else {
                        panic!("no connect")
                    };
                    assert_eq!((call, f, t), (expected, from, to));
                    assert!(fd.as_raw_fd() > 2);
                    let Some(Frame::Answer { call, answer: Answer::Refused }) =
                        reader.next(&theirs).await.unwrap()
                    else {
                        panic!("no answer")
                    };
                    assert_eq!(call, expected);
                }
                let Some(Frame::Datagram { payload: got, hops: 1, .. }) =
                    reader.next(&theirs).await.unwrap()
                else {
                    panic!("no datagram")
                };
                assert!(got == payload);
                let Some(Frame::Unreachable { .. }) = reader.next(&theirs).await.unwrap() else {
                    panic!("no word of it")
                };
            }
            assert!(reader.next(&theirs).await.unwrap().is_none());
        };
        tokio::join!(sending, receiving);
    }

    #[tokio::test]
    async fn garbage_ends_the_link() {
        let check = async |bytes: &[u8], expected: &str| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            write(&ours, bytes, &[]).await.unwrap();
            drop(ours);
            let error = FrameReader::default().next(&theirs).await.unwrap_err();
            assert_eq!(error.to_string(), expected, "{bytes:?}");
        };
        check(&[0, 0, 0, 0], "node frame is of impossible length").await;
        check(&[255, 255, 255, 255], "node frame is of impossible length").await;
        check(&[1, 0, 0, 0, 9], "node frame is of unknown kind").await;
        check(&[1, 0, 0, 0, 2], "node frame is cut short").await;
        check(&[9, 0, 0, 0, 2, 1], "node frame is cut short").await;
        let mut answer = vec![10, 0, 0, 0, 2];
        answer.extend([0; 8]);
        answer.push(9);
        check(&answer, "node frame is an unknown answer").await;
        let mut connect = vec![46, 0, 0, 0, 1];
        connect.extend([0; 45]);
        check(&connect, "node frame is without its descriptor").await;
    }
}
