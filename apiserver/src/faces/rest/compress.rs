//! Compressed answers, as Kubernetes sends them: gzip at its lowest level for what is longer than 128 KiB, if the client
//! takes it. Watches and streams are never compressed.

use std::io::Write;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, header};

/// Shorter answers are sent as they are.
pub(super) const THRESHOLD: usize = 128 * 1024;

/// Whether the client takes gzip.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let refused = |part: &str| {
        let weight = part.split(';').find_map(|word| word.trim().strip_prefix("q="));
        weight.is_some_and(|weight| weight.parse() == Ok(0.0))
    };
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| {
            let coding = part.split(';').next().unwrap_or("").trim();
            (coding.eq_ignore_ascii_case("gzip") || coding == "*") && !refused(part)
        })
}

/// Pieces of text as pieces of one gzip stream.
pub(super) struct Gzip<I> {
    pieces: I,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<I: Iterator<Item = Bytes>> Gzip<I> {
    pub(super) fn new(pieces: I) -> Self {
        let encoder = GzEncoder::new(Vec::with_capacity(THRESHOLD / 4), Compression::fast());
        Self { pieces, encoder: Some(encoder) }
    }
}

impl<I: Iterator<Item = Bytes>> Iterator for Gzip<I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let encoder = self.encoder.as_mut()?;
        for piece in self.pieces.by_ref() {
            encoder.write_all(&piece).expect("memory takes all");
            if !encoder.get_ref().is_empty() {
                return Some(std::mem::take(encoder.get_mut()).into());
            }
        }
        let rest = self.encoder.take()?.finish().expect("memory takes all");
        Some(rest.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use http::HeaderValue;

    use super::*;

    #[test]
    fn pieces_make_one_stream() {
        let pieces: Vec<Bytes> = (0..50u8).map(|byte| Bytes::from(vec![byte; 10_000])).collect();
        let packed: Vec<u8> = Gzip::new(pieces.clone().into_iter()).flatten().collect();
        assert!(packed.len() < 10_000);
        let mut text = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut text).unwrap();
        assert_eq!(text, pieces.concat());
    }

    #[test]
    fn the_client_says_whether_it_takes_gzip() {
        let check = |value: &'static str, expected| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(accepts_gzip(&headers), expected, "{value}");
        };
        check("gzip", true);
        check("deflate, gzip;q=0.5", true);
        check("*", true);
        check("identity", false);
        check("gzip;q=0", false);
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
