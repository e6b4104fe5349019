//! The canonical request: the one text of a request that both sides can compute, whatever happened to the
//! order and spacing of its headers on the way.
//!
//! ```text
//! METHOD \n path \n query \n (name:value \n)… \n signed names \n hex(SHA-256(body))
//! ```
//!
//! For services other than S3, the path is normalised, and encoded once more than it is on the wire.

use super::hex;
use crate::crypto::Hash;
use hyper::HeaderMap;
use hyper::http::HeaderValue;

/// What of a request is signed.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// `POST`.
    pub method: &'a str,
    /// The path on the wire.
    pub path: &'a str,
    /// What follows `?` on the wire; empty if nothing does.
    pub query: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The names of the signed ones, joined with `;`: lower case, in ascending order.
    pub signed_headers: &'a str,
    /// The body.
    pub body: &'a [u8],
}

impl Signed<'_> {
    /// The canonical request; `None` if a signed header is missing.
    pub fn canonical(&self) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(self.method.as_bytes());
        out.push(b'\n');
        canonical_path(self.path, &mut out);
        out.push(b'\n');
        canonical_query(self.query, &mut out);
        out.push(b'\n');
        for name in self.signed_headers.split(';') {
            let mut values = self.headers.get_all(name).iter();
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            canonical_value(values.next()?, &mut out);
            for value in values {
                out.push(b',');
                canonical_value(value, &mut out);
            }
            out.push(b'\n');
        }
        out.push(b'\n');
        out.extend_from_slice(self.signed_headers.as_bytes());
        out.push(b'\n');
        out.extend_from_slice(hex(&Hash::Sha256.digest(self.body)).as_bytes());
        Some(out)
    }
}

/// Without the spaces around it, and runs of spaces as one.
fn canonical_value(value: &HeaderValue, out: &mut Vec<u8>) {
    let mut words = value.as_bytes().split(|&byte| byte == b' ' || byte == b'\t').filter(|w| !w.is_empty());
    if let Some(first) = words.next() {
        out.extend_from_slice(first);
    }
    for word in words {
        out.push(b' ');
        out.extend_from_slice(word);
    }
}

/// Without `.`, `..` and empty segments; a slash at the end stays.
fn canonical_path(path: &str, out: &mut Vec<u8>) {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    for segment in &segments {
        out.push(b'/');
        encode(segment.as_bytes(), out);
    }
    let last = path.rsplit('/').next();
    if segments.is_empty() || matches!(last, Some("" | "." | "..")) {
        out.push(b'/');
    }
}

/// Parameters decoded, encoded in the one way of the standard, in the order of their names and values.
fn canonical_query(query: &str, out: &mut Vec<u8>) {
    let encoded = |text: &str| {
        let mut encoded = Vec::with_capacity(text.len());
        encode(&decode(text), &mut encoded);
        encoded
    };
    let mut pairs: Vec<_> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encoded(name), encoded(value)))
        .collect();
    pairs.sort_unstable();
    for (at, (name, value)) in pairs.iter().enumerate() {
        if at > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value);
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte),
            _ => {
                out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
            }
        }
    }
}

/// Undoes percent-encoding; what is not encoded properly stands for itself.
fn decode(text: &str) -> Vec<u8> {
    let (mut rest, mut out) = (text.as_bytes(), Vec::with_capacity(text.len()));
    while let [first, tail @ ..] = rest {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if digit(*high).is_some() && digit(*low).is_some() => {
                let value = 16 * digit(*high).unwrap_or(0) + digit(*low).unwrap_or(0);
                out.push(value as u8);
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(path: &str) -> String {
        let mut out = Vec::new();
        canonical_path(path, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn query(query: &str) -> String {
        let mut out = Vec::new();
        canonical_query(query, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn paths_are_normalised_and_encoded_once_more() {
        for (wire, canonical) in [
            ("/", "/"),
            ("", "/"),
            ("/a/./b/../c", "/a/c"),
            ("//a//b//", "/a/b/"),
            ("/a/..", "/"),
            ("/../..", "/"),
            ("/a%20b", "/a%2520b"),
            ("/a b", "/a%20b"),
        ] {
            assert_eq!(path(wire), canonical, "{wire}");
        }
    }

    #[test]
    fn queries_are_sorted_and_have_one_encoding() {
        for (wire, canonical) in [
            ("", ""),
            ("b=2&a=1", "a=1&b=2"),
            ("a=2&a=1", "a=1&a=2"),
            ("a", "a="),
            ("a=b=c", "a=b%3Dc"),
            ("%61=%7e%2f", "a=~%2F"),
            ("a=%", "a=%25"),
            ("a=%4", "a=%254"),
            ("a=+", "a=%2B"),
        ] {
            assert_eq!(query(wire), canonical, "{wire}");
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut encoded = Vec::new();
            encode(&bytes, &mut encoded);
            prop_assert_eq!(decode(std::str::from_utf8(&encoded).unwrap()), bytes);
        }
    }
}
