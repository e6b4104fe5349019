//! HTTP/1.1, as little of it as a client of AWS's services needs: answers that tell where they end.

use std::io::{self, Read};
use zeroize::Zeroizing;

/// Largest answer that is read, in bytes. A KMS's answers about one key are far smaller.
const ANSWER_MAX: usize = 4 << 20;

/// A POST request with its headers, to be sent as it is.
pub(super) fn post(headers: &[(&str, &str)], body: &[u8]) -> Zeroizing<Vec<u8>> {
    request("POST", "/", headers, body)
}

/// The same with another method and path.
pub(super) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(1024 + body.len()));
    bytes.extend_from_slice(format!("{method} {path} HTTP/1.1\r\n").as_bytes());
    for (name, value) in headers {
        for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// The status code.
    pub(super) status: u16,
    /// The body.
    pub(super) body: Zeroizing<Vec<u8>>,
    /// Whether the connection can be used again.
    pub(super) keep_alive: bool,
}

/// Reads an answer from `stream`. `None` if the stream ends before its first byte: the server closed a connection
/// that it took for idle.
///
/// # Errors
/// Those of the stream; `InvalidData` for what is no answer, or one that does not tell where it ends.
pub(super) fn read(stream: &mut impl Read) -> io::Result<Option<Answer>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    let head = loop {
        if let Some(head) = parse_head(&bytes)? {
            break head;
        }
        if !read_some(stream, &mut bytes)? {
            return if bytes.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    };
    let (body, end) = loop {
        let body = match head.length {
            Some(length) => {
                piece(&bytes, head.body_at, length)?.map(|(body, end)| (body.to_vec().into(), end))
            }
            None => join_chunks(&bytes, head.body_at)?,
        };
        match body {
            Some(body) => break body,
            None if read_some(stream, &mut bytes)? => {}
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    };
    // Bytes that nobody asked for: what they are is anybody's guess.
    let keep_alive = head.keep_alive && bytes.len() == end;
    Ok(Some(Answer { status: head.status, body, keep_alive }))
}

/// Whether there was anything.
fn read_some(stream: &mut impl Read, bytes: &mut Zeroizing<Vec<u8>>) -> io::Result<bool> {
    let mut buffer = Zeroizing::new([0; 4096]);
    let count = stream.read(&mut *buffer)?;
    if bytes.len() + count > ANSWER_MAX {
        return Err(invalid("the answer is too long"));
    }
    if bytes.capacity() - bytes.len() < count {
        let mut larger = Zeroizing::new(Vec::with_capacity(2 * bytes.capacity() + count));
        larger.extend_from_slice(bytes);
        *bytes = larger;
    }
    bytes.extend_from_slice(&buffer[..count]);
    Ok(count > 0)
}

/// The `length` bytes of `bytes` from `start`, and where they end, once all of them are there.
fn piece(bytes: &[u8], start: usize, length: usize) -> io::Result<Option<(&[u8], usize)>> {
    let end = start.checked_add(length).filter(|end| *end <= ANSWER_MAX);
    let end = end.ok_or_else(|| invalid("the answer is too long"))?;
    Ok(bytes.get(start..end).map(|piece| (piece, end)))
}

/// A body that comes in chunks, and where it ends, once all of it is there (RFC 9112, 7.1).
fn join_chunks(bytes: &[u8], mut at: usize) -> io::Result<Option<(Zeroizing<Vec<u8>>, usize)>> {
    let malformed = || invalid("the answer's chunks are malformed");
    let mut body = Zeroizing::new(Vec::with_capacity(bytes.len()));
    loop {
        let Some(end) = bytes[at..].windows(2).position(|two| two == b"\r\n").map(|line| at + line) else {
            return Ok(None);
        };
        let line = std::str::from_utf8(&bytes[at..end]).map_err(|_| malformed())?;
        let digits = line.split(';').next().unwrap_or(line).trim();
        let length = usize::from_str_radix(digits, 16).map_err(|_| malformed())?;
        let Some((chunk, end)) = piece(bytes, end + 2, length)? else { return Ok(None) };
        let Some((mark, end)) = piece(bytes, end, 2)? else { return Ok(None) };
        // Nobody sends trailers here.
        if mark != b"\r\n" {
            return Err(malformed());
        }
        if length == 0 {
            return Ok(Some((body, end)));
        }
        body.extend_from_slice(chunk);
        at = end;
    }
}

struct Head {
    status: u16,
    /// `None`: in chunks.
    length: Option<usize>,
    keep_alive: bool,
    body_at: usize,
}

/// The head, once all of it is there.
fn parse_head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| invalid("the answer's head is no text"))?;
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let (version, rest) = first.split_once(' ').unwrap_or_default();
    let status = rest.get(..3).and_then(|status| status.parse().ok());
    let status = status.filter(|_| ["HTTP/1.1", "HTTP/1.0"].contains(&version));
    let status = status.ok_or_else(|| invalid("this is no HTTP/1.1"))?;
    let (mut length, mut chunked, mut keep_alive) = (None, false, version == "HTTP/1.1");
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("a header has no value"))?;
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                let number = value.trim().parse().map_err(|_| invalid("the answer's length is no number"))?;
                if length.replace(number).is_some() {
                    return Err(invalid("the answer has two lengths"));
                }
            }
            "transfer-encoding" if value.trim().eq_ignore_ascii_case("chunked") => chunked = true,
            "transfer-encoding" => return Err(invalid("the answer has a strange encoding")),
            "connection" => keep_alive &= !value.trim().eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    if length.is_some() == chunked {
        return Err(invalid("the answer does not tell where it ends"));
    }
    Ok(Some(Head { status, length, keep_alive, body_at: end + 4 }))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives its bytes in pieces.
    struct Pieces<'a>(Vec<&'a [u8]>);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(piece) = self.0.first_mut() else { return Ok(0) };
            let count = piece.read(buffer)?;
            if piece.is_empty() {
                self.0.remove(0);
            }
            Ok(count)
        }
    }

    const GOOD: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nx: y\r\n\r\n{}";

    #[test]
    fn an_answer_is_read_however_it_arrives() {
        for at in 1..GOOD.len() {
            let answer = read(&mut Pieces(vec![&GOOD[..at], &GOOD[at..]])).unwrap().unwrap();
            assert_eq!((answer.status, answer.body.as_slice(), answer.keep_alive), (400, &b"{}"[..], true));
        }
        let long = [b"HTTP/1.1 200 OK\r\ncontent-length: 20000\r\n\r\n".to_vec(), vec![7; 20_000]].concat();
        assert_eq!(read(&mut &long[..]).unwrap().unwrap().body.as_slice(), [7; 20_000]);
    }

    #[test]
    fn chunks_are_joined_however_they_arrive() {
        const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n";
        for at in 1..CHUNKED.len() {
            let answer = read(&mut Pieces(vec![&CHUNKED[..at], &CHUNKED[at..]])).unwrap().unwrap();
            assert_eq!((answer.body.as_slice(), answer.keep_alive), (&b"abc0123456789"[..], true));
            assert_eq!(read(&mut &CHUNKED[..at]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn the_end_of_a_connection_is_told() {
        assert!(read(&mut &b""[..]).unwrap().is_none());
        for at in 1..GOOD.len() {
            assert_eq!(read(&mut &GOOD[..at]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
        let closing = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: close\r\n\r\n";
        assert!(!read(&mut &closing[..]).unwrap().unwrap().keep_alive);
        let old = b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n";
        assert!(!read(&mut &old[..]).unwrap().unwrap().keep_alive);
        let more = [GOOD, b"HTTP"].concat();
        assert!(!read(&mut &more[..]).unwrap().unwrap().keep_alive);
    }

    #[test]
    fn other_answers_are_refused() {
        let endless = [b"HTTP/1.1 200 OK\r\n".to_vec(), vec![b'x'; ANSWER_MAX]].concat();
        for bytes in [
            &b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n",
            b"\xff\xff\r\n\r\n",
            &endless,
        ] {
            assert_eq!(read(&mut &bytes[..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    proptest! {
        #[test]
        fn nonsense_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&mut &bytes[..]);
            let _ = read(&mut &[b"HTTP/1.1 200 OK\r\n", &bytes[..], b"\r\n\r\n"].concat()[..]);
            let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n";
            let _ = read(&mut &[&chunked[..], &bytes[..]].concat()[..]);
        }
    }
}
