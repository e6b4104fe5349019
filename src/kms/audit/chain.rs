//! Lines and the chain through them.
//!
//! A line is a JSON object on one line. Its last two members are its number and its chain value:
//!
//! ```text
//! {"event":"call",…,"sequence":42,"chain":"<64 lower-case hex digits>"}
//! └────────────── body ───────────────┘
//! chain value = BLAKE3-keyed(key, "line" ‖ chain value of the line before ‖ body)   (see crypto::mac)
//! ```
//!
//! So a line authenticates itself, its number, and everything before it. Nobody without the key can make the
//! line that follows another, hence nobody can alter, remove, add or move one and repair the chain.

use super::event::Event;
use crate::crypto::mac;
use crate::crypto::secret::Key;
use std::fmt;
use std::io::Write;

/// What ends a body, and what ends a line before its line break.
const CHAIN: &[u8] = b",\"chain\":\"";
const END: &[u8] = b"\"}";
const SEQUENCE: &[u8] = b",\"sequence\":";

/// The key of a keystore's audit logs. Whoever has it can write any log; it comes from the keystore's first
/// root key and is known to nobody who cannot unlock the keystore.
pub struct ChainKey(Key);

impl ChainKey {
    /// The key that `key` is, which must serve nothing else.
    pub fn new(key: Key) -> ChainKey {
        ChainKey(key)
    }

    /// A MAC of `parts` for a `purpose` of its own.
    pub(super) fn mac(&self, purpose: &str, parts: [&[u8]; 2]) -> Hash {
        Hash(mac::mac(&self.0, &[purpose.as_bytes(), parts[0], parts[1]]))
    }

    /// Whether `found` is the MAC of `parts`.
    pub(super) fn verify(&self, purpose: &str, parts: [&[u8]; 2], found: &Hash) -> bool {
        mac::verify(&self.0, &[purpose.as_bytes(), parts[0], parts[1]], &found.0)
    }
}

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainKey(…)")
    }
}

/// A chain value, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash(pub(super) [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(hex(&self.0, &mut [0; 64]))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Hash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Hash, &'static str> {
        unhex(text.as_bytes()).map(Hash).ok_or("expected 64 lower-case hex digits")
    }
}

impl serde::Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The end of a chain: the number and the chain value of its last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Link {
    /// How many lines the log has had.
    pub sequence: u64,
    /// The last line's chain value.
    pub chain: Hash,
}

impl Link {
    /// Before the first line.
    pub(super) const START: Link = Link { sequence: 0, chain: Hash([0; 32]) };

    /// Appends the line of `event` to `out`, its line break included, and returns the end of the longer chain.
    pub(super) fn write(self, key: &ChainKey, event: &Event, out: &mut Vec<u8>) -> Link {
        let start = out.len();
        let sequence = self.sequence + 1;
        serde_json::to_writer(&mut *out, event).expect("an event is an object with names for keys");
        out.pop(); // its closing brace
        write!(out, ",\"sequence\":{sequence}").expect("memory takes every write");
        let chain = key.mac("line", [&self.chain.0, &out[start..]]);
        out.extend_from_slice(CHAIN);
        out.extend_from_slice(hex(&chain.0, &mut [0; 64]).as_bytes());
        out.extend_from_slice(END);
        out.push(b'\n');
        Link { sequence, chain }
    }

    /// The end of the chain when `line` (without its line break) is appended.
    ///
    /// # Errors
    /// Why it cannot be the next line.
    pub(super) fn follow(self, key: &ChainKey, line: &[u8]) -> Result<Link, Fault> {
        let (body, link) = parse(line).ok_or(Fault::NoLine)?;
        if link.sequence != self.sequence + 1 {
            return Err(Fault::Sequence { found: link.sequence, expected: self.sequence + 1 });
        }
        match key.verify("line", [&self.chain.0, body], &link.chain) {
            true => Ok(link),
            false => Err(Fault::Altered),
        }
    }

    /// Whether `end`, the last bytes of a log, are those of the line with this chain value.
    pub(super) fn ends(&self, end: &[u8]) -> bool {
        end.strip_suffix(b"\"}\n")
            .is_some_and(|end| end.ends_with(hex(&self.chain.0, &mut [0; 64]).as_bytes()))
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, self.chain)
    }
}

impl std::str::FromStr for Link {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Link, &'static str> {
        let (sequence, chain) = text.split_once(':').ok_or("expected SEQUENCE:CHAIN")?;
        let sequence = sequence.parse().map_err(|_| "expected a sequence number before the colon")?;
        Ok(Link { sequence, chain: chain.parse()? })
    }
}

/// Why a line does not follow the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It has not the form of a line.
    NoLine,
    /// Its number is not the next one.
    Sequence {
        /// Its number.
        found: u64,
        /// The next one.
        expected: u64,
    },
    /// Its chain value is not that of its bytes after the line before.
    Altered,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NoLine => f.write_str("is not a line of an audit log"),
            Fault::Sequence { found, expected } => write!(
                f,
                "has number {found} where {expected} must follow: lines were removed, added or moved"
            ),
            Fault::Altered => f.write_str("was altered: its chain value does not verify"),
        }
    }
}

/// A line's body and the end of the chain that it claims to be.
pub(super) fn parse(line: &[u8]) -> Option<(&[u8], Link)> {
    let rest = line.strip_suffix(END)?;
    let (rest, digits) = rest.split_last_chunk::<64>()?;
    let chain = Hash(unhex(digits)?);
    let body = rest.strip_suffix(CHAIN)?;
    let at = body.windows(SEQUENCE.len()).rposition(|window| window == SEQUENCE)? + SEQUENCE.len();
    let sequence = str::from_utf8(&body[at..]).ok()?.parse().ok()?;
    Some((body, Link { sequence, chain }))
}

/// `bytes` as hex digits, in `out`.
pub(super) fn hex<'a>(bytes: &[u8], out: &'a mut [u8]) -> &'a str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    str::from_utf8(out).expect("hex digits are ASCII")
}

/// The bytes that `digits` stand for. Each value has one spelling, in lower case.
pub(super) fn unhex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}
