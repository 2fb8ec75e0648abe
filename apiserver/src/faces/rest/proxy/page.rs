//! A proxied page whose links are rewritten while it passes, compressed or not.

use std::io::{self, Write};

use axum::body::Body;
use bytes::Bytes;
use flate2::{
    Compression,
    write::{DeflateDecoder, DeflateEncoder, GzEncoder, MultiGzDecoder},
};
use futures::StreamExt;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::{html::Rewriter, location::Place};

/// How a body is encoded.
enum Coding {
    Plain,
    Gzip(MultiGzDecoder<Vec<u8>>, GzEncoder<Vec<u8>>),
    Deflate(DeflateDecoder<Vec<u8>>, DeflateEncoder<Vec<u8>>),
}

impl Coding {
    /// None for an encoding that is not understood: such a page passes as it is.
    fn named(encoding: &str) -> Option<Self> {
        let level = Compression::default();
        Some(match encoding {
            "" => Self::Plain,
            "gzip" => {
                Self::Gzip(MultiGzDecoder::new(Vec::new()), GzEncoder::new(Vec::new(), level))
            }
            "deflate" => {
                let decoder = DeflateDecoder::new(Vec::new());
                Self::Deflate(decoder, DeflateEncoder::new(Vec::new(), level))
            }
            _ => return None,
        })
    }

    fn decode(&mut self, piece: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(piece.to_vec()),
            Self::Gzip(decoder, _) => {
                decoder.write_all(piece)?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Self::Deflate(decoder, _) => {
                decoder.write_all(piece)?;
                Ok(std::mem::take(decoder.get_mut()))
            }
        }
    }

    /// What was decoded last, at the end of the input.
    fn decode_end(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(Vec::new()),
            Self::Gzip(decoder, _) => {
                decoder.try_finish()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Self::Deflate(decoder, _) => {
                decoder.try_finish()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
        }
    }

    fn encode(&mut self, piece: Vec<u8>, end: bool) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(piece),
            Self::Gzip(_, encoder) => {
                encoder.write_all(&piece)?;
                if end {
                    encoder.try_finish()?;
                } else {
                    encoder.flush()?;
                }
                Ok(std::mem::take(encoder.get_mut()))
            }
            Self::Deflate(_, encoder) => {
                encoder.write_all(&piece)?;
                if end {
                    encoder.try_finish()?;
                } else {
                    encoder.flush()?;
                }
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }
}

/// The page as the client gets it; the body back where its encoding is not understood.
pub(super) fn rewritten(body: Incoming, encoding: &str, place: Place) -> Result<Body, Incoming> {
    let Some(mut coding) = Coding::named(encoding) else { return Err(body) };
    let mut rewriter = Rewriter::new(move |url: &str| place.rewrite(url));
    let pieces = body.into_data_stream().map(Some);
    let pieces = pieces.chain(futures::stream::once(async { None }));
    let pieces = pieces.map(move |piece| -> io::Result<Bytes> {
        let out = match piece {
            Some(piece) => {
                let text = coding.decode(&piece.map_err(io::Error::other)?)?;
                let text = rewriter.push(&text);
                coding.encode(text, false)?
            }
            None => {
                let mut text = rewriter.push(&coding.decode_end()?);
                text.extend(rewriter.finish());
                coding.encode(text, true)?
            }
        };
        Ok(out.into())
    });
    Ok(Body::from_stream(pieces))
}
