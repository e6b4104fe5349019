//! Checkpoints: what a log was at some moment, signed, for those who keep it elsewhere.
//!
//! The chain through a log's lines is of MACs, so whoever has its key can write another log whose chain is as good, and
//! nobody without the key can tell. A checkpoint has digests that take no key, of each segment as far as it had been
//! written, under an Ed25519 signature. Somebody who holds a checkpoint and the public key finds, with a copy of the log or
//! on the spot, whether anything that it covers was altered, removed or put in another's place, whoever did it.
//!
//! It is one line of JSON:
//!
//! ```text
//! {"version":1,"log":"<uuid>","time":"<RFC 3339>","sequence":42,"chain":"<64 hex>",
//!  "segments":[{"segment":1,"bytes":16384,"sha256":"<64 hex>"},…],"signature":"<128 hex>"}
//! └──────────────────────────── signed (RFC 8032) ──────────────┘
//! ```
//!
//! `sequence` and `chain` are the last line that it covers. A segment's digest is that of its first `bytes` bytes; segments
//! before the last had no more.

use super::chain::{ChainKey, Hash, Link, hex, unhex};
use super::directory::Directory;
use super::error::Error as LogError;
use super::event::timestamp;
use super::verify::{Break, Expectations, verify};
use crate::crypto::asymmetric::{self, KeyType, Message, PrivateKey, PublicKey, SignatureScheme};
use crate::crypto::secret::Key;
use crate::crypto::{self, Hasher};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use time::OffsetDateTime;
use uuid::Uuid;

const VERSION: u8 = 1;
const SIGNATURE: &str = ",\"signature\":\"";
const END: &str = "\"}";
/// How much of a segment is read at once.
const PIECE: usize = 256 << 10;

/// What signs the checkpoints of a keystore's logs. Derived from the keystore's root key, apart from the key of the chain.
pub struct CheckpointKey(Key);

impl CheckpointKey {
    /// The key that `seed` is, which must serve nothing else.
    pub fn new(seed: Key) -> CheckpointKey {
        CheckpointKey(seed)
    }

    /// The public half, a DER SubjectPublicKeyInfo (RFC 8410).
    ///
    /// # Errors
    /// [`CheckpointError::Crypto`].
    pub fn public_spki(&self) -> Result<Vec<u8>, CheckpointError> {
        Ok(PrivateKey::ed25519(&self.0)?.public_spki().to_vec())
    }

    /// The text of a checkpoint.
    pub(super) fn seal(&self, checkpoint: &Checkpoint) -> Result<String, CheckpointError> {
        let mut text =
            serde_json::to_string(checkpoint).expect("a checkpoint is an object with names for keys");
        text.pop(); // its closing brace
        let key = PrivateKey::ed25519(&self.0)?;
        let signature = key.sign(SignatureScheme::Ed25519, Message::Raw(text.as_bytes()))?;
        Ok(format!("{text}{SIGNATURE}{}{END}\n", hex(&signature, &mut [0; 128])))
    }
}

impl std::fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CheckpointKey(…)")
    }
}

/// What can go wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log is not what was written: there is nothing to vouch for.
    #[error("the log does not verify: {0}")]
    Broken(Break),
    /// It is no checkpoint of this version.
    #[error("this is no checkpoint of an audit log, or one of a later release")]
    Malformed,
    /// It was not signed with this key, or was altered.
    #[error("the checkpoint was altered, or another keystore's key signed it")]
    Signature,
    /// A key or a signature cannot be computed.
    #[error(transparent)]
    Crypto(#[from] asymmetric::Error),
}

/// A segment as far as it had been written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SegmentDigest {
    /// Its number.
    pub segment: u64,
    /// How many bytes it had.
    pub bytes: u64,
    /// The SHA-256 of these.
    pub sha256: Hash,
}

/// A digest in the making.
pub(super) struct SegmentHasher {
    segment: u64,
    bytes: u64,
    hasher: Hasher,
}

impl SegmentHasher {
    pub(super) fn new(segment: u64) -> SegmentHasher {
        SegmentHasher { segment, bytes: 0, hasher: Hasher::new(crypto::Hash::Sha256) }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hasher.update(bytes);
    }

    pub(super) fn finish(self) -> SegmentDigest {
        let digest = self.hasher.finish();
        let sha256 = Hash(digest.try_into().expect("a SHA-256 has 32 bytes"));
        SegmentDigest { segment: self.segment, bytes: self.bytes, sha256 }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Checkpoint {
    pub(super) version: u8,
    /// The log's id.
    pub log: Uuid,
    /// When it was made, as its maker's clock said.
    #[serde(with = "timestamp")]
    pub time: OffsetDateTime,
    /// The last line that it covers.
    #[serde(flatten)]
    pub end: Link,
    /// What it covers.
    pub segments: Vec<SegmentDigest>,
}

/// What came of comparing a log with a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// How many segments were compared.
    pub segments: u64,
    /// Bytes that the log has gained since.
    pub since: u64,
    /// The first place where it is not what it was.
    pub broken: Option<Break>,
}

impl Checkpoint {
    /// Makes the text of a checkpoint of the log in `directory`, from segment `first` on if those before it were taken away.
    /// The log may be written meanwhile. It is verified: nobody should sign what somebody else wrote.
    ///
    /// # Errors
    /// [`CheckpointError::Broken`], [`CheckpointError::Log`], [`CheckpointError::Crypto`].
    pub fn make(
        directory: &Path,
        (chain, key): (&ChainKey, &CheckpointKey),
        first: Option<u64>,
        time: OffsetDateTime,
    ) -> Result<String, CheckpointError> {
        let report = verify(directory, chain, &Expectations { first, links: Vec::new() })?;
        if let Some(broken) = report.broken {
            return Err(CheckpointError::Broken(broken));
        }
        let missing = || LogError::Missing(directory.to_owned());
        let (log, end) = report.log.zip(report.end).ok_or_else(missing)?;
        key.seal(&Checkpoint { version: VERSION, log, time, end, segments: report.digests })
    }

    /// Reads a checkpoint that `key` signed.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`], [`CheckpointError::Signature`].
    pub fn open(text: &str, key: &PublicKey) -> Result<Checkpoint, CheckpointError> {
        let rest = text.trim_end().strip_suffix(END).ok_or(CheckpointError::Malformed)?;
        let (body, digits) = rest.rsplit_once(SIGNATURE).ok_or(CheckpointError::Malformed)?;
        let signature: [u8; 64] = unhex(digits.as_bytes()).ok_or(CheckpointError::Malformed)?;
        key.verify(SignatureScheme::Ed25519, Message::Raw(body.as_bytes()), &signature)
            .map_err(|_| CheckpointError::Signature)?;
        let checkpoint: Checkpoint =
            serde_json::from_str(&format!("{body}}}")).map_err(|_| CheckpointError::Malformed)?;
        match checkpoint.version {
            VERSION => Ok(checkpoint),
            _ => Err(CheckpointError::Malformed),
        }
    }

    /// Reads the public key of checkpoints, a DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`CheckpointError::Crypto`] if it is none.
    pub fn public_key(spki: &[u8]) -> Result<PublicKey, CheckpointError> {
        Ok(PublicKey::from_spki(KeyType::Ed25519, spki)?)
    }

    /// Compares the log in `directory` with this checkpoint, from segment `first` on if those before it were taken away.
    ///
    /// # Errors
    /// A segment cannot be read. What is missing is no error but the result.
    pub fn compare(&self, directory: &Path, first: Option<u64>) -> Result<Comparison, LogError> {
        let files = Directory::at(directory);
        let mut comparison = Comparison { segments: 0, since: 0, broken: None };
        let covered = self.segments.iter().filter(|known| Some(known.segment) >= first);
        for known in covered {
            let path = files.segment(known.segment);
            let is_last = self.segments.last() == Some(known);
            match compare_segment(&path, known, is_last)? {
                Ok(since) => comparison.since += since,
                Err(what) => {
                    comparison.broken = Some(Break { path, line: None, what });
                    return Ok(comparison);
                }
            }
            comparison.segments += 1;
        }
        let last = self.segments.last().map_or(0, |known| known.segment);
        if comparison.segments == 0 {
            let what = "is the last segment that the checkpoint covers: nothing was compared".to_owned();
            comparison.broken = Some(Break { path: files.segment(last), line: None, what });
            return Ok(comparison);
        }
        for segment in files.segments()?.into_iter().filter(|segment| *segment > last) {
            let path = files.segment(segment);
            comparison.since += path.metadata().map_err(LogError::io("look at", &path))?.len();
        }
        Ok(comparison)
    }
}

/// How many bytes a segment has gained since `known`, or what has become of it. Only the last one may gain any.
fn compare_segment(
    path: &Path,
    known: &SegmentDigest,
    is_last: bool,
) -> Result<Result<u64, String>, LogError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Err("is missing".to_owned()));
        }
        Err(error) => return Err(LogError::io("open", path)(error)),
    };
    let length = file.metadata().map_err(LogError::io("look at", path))?.len();
    let Some(since) = length.checked_sub(known.bytes) else {
        return Ok(Err(format!("has {length} bytes of the {} that it had: lines were cut off", known.bytes)));
    };
    if since > 0 && !is_last {
        return Ok(Err(format!("has gained {since} bytes, and another had followed it already")));
    }
    let mut hasher = SegmentHasher::new(known.segment);
    let mut piece = vec![0; PIECE];
    let mut rest = (&mut file).take(known.bytes);
    loop {
        match rest.read(&mut piece).map_err(LogError::io("read", path))? {
            0 => break,
            read => hasher.update(&piece[..read]),
        }
    }
    Ok(match hasher.finish() == *known {
        true => Ok(since),
        false => Err(format!("was altered: its first {} bytes are not what they were", known.bytes)),
    })
}
