//! Header blocks of SPDY/3: names and values, compressed over the whole connection with a dictionary that both sides
//! know (draft-mbelshe-httpbis-spdy-00, section 2.6.10).

use bytes::{Buf, BufMut, Bytes};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// A block that inflates to more is refused.
const MAX_BLOCK: usize = 64 * 1024;

/// The words of the dictionary that are preceded by their length, and what follows them.
const WORDS: &[&str] = &[
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];
const REST: &str = concat!(
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505",
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request",
    "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented",
    "503 Service Unavailable",
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT",
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,",
    "text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8",
    "charset=iso-8859-1,utf-,*,enq=0.",
);

fn dictionary() -> Vec<u8> {
    let mut dictionary = Vec::with_capacity(1423);
    for word in WORDS {
        put_text(&mut dictionary, word);
    }
    dictionary.put_slice(REST.as_bytes());
    dictionary
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_u32(u32::try_from(text.len()).expect("a short text"));
    out.put_slice(text.as_bytes());
}

/// Why a header block could not be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a header block that cannot be read: {0}")]
pub(super) struct HeaderError(&'static str);

/// The headers of a stream, names in lower case.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers(Vec<(String, String)>);

impl Headers {
    /// The value of a header; empty when it is not there.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

/// Reads the header blocks of one direction of a connection, in order.
pub(super) struct HeaderReader(Decompress);

impl HeaderReader {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// # Errors
    /// When the block is damaged, or longer than a block may be. The connection cannot be read on then.
    pub(super) fn read(&mut self, compressed: &[u8]) -> Result<Headers, HeaderError> {
        parse(&self.inflate(compressed)?)
    }

    fn inflate(&mut self, mut input: &[u8]) -> Result<Bytes, HeaderError> {
        let mut out = Vec::with_capacity(1024);
        loop {
            let (read, written) = (self.0.total_in(), self.0.total_out());
            let step = self.0.decompress_vec(input, &mut out, FlushDecompress::Sync);
            let consumed = usize::try_from(self.0.total_in() - read).expect("less than the input");
            input = &input[consumed..];
            if let Err(error) = step {
                if error.needs_dictionary().is_none() {
                    return Err(HeaderError("it is damaged"));
                }
                self.0
                    .set_dictionary(&dictionary())
                    .map_err(|_| HeaderError("its dictionary is another one"))?;
                continue;
            }
            let full = out.len() == out.capacity();
            if out.len() > MAX_BLOCK {
                return Err(HeaderError("it is too long"));
            }
            if input.is_empty() && !full {
                return Ok(out.into());
            }
            if full {
                out.reserve(out.capacity());
            } else if consumed == 0 && self.0.total_out() == written {
                return Err(HeaderError("it is damaged"));
            }
        }
    }
}

fn parse(mut block: &[u8]) -> Result<Headers, HeaderError> {
    const SHORT: HeaderError = HeaderError("it ends early");
    let count = block.try_get_u32().map_err(|_| SHORT)?;
    let mut text = || {
        let length = block.try_get_u32().map_err(|_| SHORT)? as usize;
        let (text, rest) = block.split_at_checked(length).ok_or(SHORT)?;
        block = rest;
        Ok(String::from_utf8_lossy(text).into_owned())
    };
    let mut headers = Vec::new();
    for _ in 0..count {
        let name = text()?.to_ascii_lowercase();
        headers.push((name, text()?));
    }
    Ok(Headers(headers))
}

/// Writes the header blocks of one direction of a connection, in order.
pub(super) struct HeaderWriter(Compress);

impl HeaderWriter {
    pub(super) fn new() -> Self {
        let mut compress = Compress::new(Compression::fast(), true);
        compress.set_dictionary(&dictionary()).expect("nothing was compressed before");
        Self(compress)
    }

    pub(super) fn write(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        block.put_u32(u32::try_from(headers.len()).expect("few headers"));
        for (name, value) in headers {
            put_text(&mut block, name);
            put_text(&mut block, value);
        }
        // Room for data that does not compress, and for the marks of the flush.
        let mut out = Vec::with_capacity(block.len() + 128);
        self.0
            .compress_vec(&block, &mut out, FlushCompress::Sync)
            .expect("there is room for all of it");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of every SPDY/3 connection's headers, known from captures: zlib's header and the dictionary's
    /// Adler-32.
    #[test]
    fn the_dictionary_is_the_published_one() {
        assert_eq!(dictionary().len(), 1423);
        let mut start = HeaderWriter::new().write(&[("a", "b")]);
        start.truncate(6);
        assert_eq!(start[2..], [0xe3, 0xc6, 0xa7, 0xc2]);
    }

    #[test]
    fn blocks_are_read_in_order() {
        let (mut writer, mut reader) = (HeaderWriter::new(), HeaderReader::new());
        let long = "x".repeat(20_000);
        for value in ["error", "data", "", &long] {
            let block = writer.write(&[("streamType", value), ("port", "80")]);
            let headers = reader.read(&block).unwrap();
            assert_eq!((headers.get("streamtype"), headers.get("port")), (value, "80"));
        }
    }

    #[test]
    fn damaged_blocks_are_errors() {
        assert!(HeaderReader::new().read(b"not zlib at all").is_err());
        let huge = "y".repeat(MAX_BLOCK + 1);
        let block = HeaderWriter::new().write(&[("name", &huge)]);
        assert_eq!(HeaderReader::new().read(&block), Err(HeaderError("it is too long")));
        assert_eq!(parse(&[0, 0, 0, 9, 0, 0]), Err(HeaderError("it ends early")));
        assert_eq!(parse(&[255; 8]), Err(HeaderError("it ends early")));
    }
}
