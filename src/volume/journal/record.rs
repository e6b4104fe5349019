//! Journal records: the byte layout, and nothing else. `docs/format.md` has the table.
//!
//! ```text
//!   0   4  magic "KJR1"             64   8  count (blocks)
//!   4   1  kind                     72   8  modification time, seconds
//!   5   3  zero                     80   4  modification time, nanoseconds
//!   8   4  payload length           84   4  plaintext length of the last block
//!  12   4  zero                     88  32  digest: keyed BLAKE3 of the payload
//!  16   8  record number           120  32  MAC: keyed BLAKE3 of bytes 0..120
//!  24   8  segment number          152   8  zero
//!  32  16  file id                 160   …  payload
//!  48   8  plaintext length after
//!  56   8  first block
//! ```
//! The payload of *blocks* and of *cut* is `count` tag entries followed by `count` ciphertexts, each 4096 bytes
//! but the last. The payload of *path* is the file's lower path. *Hole* and *length* have none.

use super::super::block::TagEntry;
use super::super::geometry::{BLOCK_LEN, ENTRY_LEN};
use super::super::header::FileId;
use super::super::lower::Timespec;
use crate::crypto::mac;
use crate::crypto::secret::Key;

/// Bytes in front of the payload.
pub const RECORD_HEADER: usize = 160;
/// The longest payload a reader accepts: a whole 1 MiB write and its entries, with room.
pub const MAX_PAYLOAD: usize = 4 << 20;

const MAGIC: &[u8; 4] = b"KJR1";
const MAC_AT: usize = 120;

/// What a record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The lower path of a file, before its first other record in an epoch.
    Path = 1,
    /// New contents of a run of blocks.
    Blocks = 2,
    /// The file was cut to a length; its new last block, if that is short, comes along.
    Cut = 3,
    /// A run of blocks became a hole.
    Hole = 4,
    /// The file became longer by a hole.
    Length = 5,
}

impl Kind {
    fn from_code(code: u8) -> Option<Kind> {
        [Kind::Path, Kind::Blocks, Kind::Cut, Kind::Hole, Kind::Length].into_iter().find(|k| *k as u8 == code)
    }
}

/// The fixed part of a record. Fields a kind has no use for are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// What it tells.
    pub kind: Kind,
    /// Of which file.
    pub file: FileId,
    /// Plaintext length after it ([`Kind::Cut`], [`Kind::Length`]).
    pub len_after: u64,
    /// First block.
    pub first: u64,
    /// How many blocks.
    pub count: u64,
    /// Plaintext length of the last of them.
    pub last_len: u32,
    /// The file's modification time after it.
    pub mtime: Timespec,
}

/// Where a record stands: both numbers only ever grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Number of the record in the journal.
    pub lsn: u64,
    /// Number of its segment.
    pub segment: u64,
}

impl Record {
    /// Payload bytes in front of the ciphertext of block `index` of the record.
    pub fn ciphertext_at(&self, index: u64) -> usize {
        self.count as usize * ENTRY_LEN + index as usize * BLOCK_LEN
    }

    /// Plaintext (and ciphertext) length of block `index` of the record.
    pub fn block_len(&self, index: u64) -> usize {
        if index + 1 == self.count { self.last_len as usize } else { BLOCK_LEN }
    }

    /// The length a payload of this record must have; `None` for [`Kind::Path`], whose payload is free.
    fn payload_len(&self) -> Option<u64> {
        let (entry, block) = (ENTRY_LEN as u64, BLOCK_LEN as u64);
        match self.kind {
            Kind::Path => None,
            Kind::Hole | Kind::Length => Some(0),
            Kind::Blocks | Kind::Cut if self.count == 0 => Some(0),
            Kind::Blocks | Kind::Cut => {
                let whole = self.count.checked_sub(1)?.checked_mul(block)?;
                self.count.checked_mul(entry)?.checked_add(whole)?.checked_add(u64::from(self.last_len))
            }
        }
    }

    /// The record's header for a payload whose [`digest`] is known.
    pub fn encode(
        &self,
        at: Position,
        payload_len: usize,
        digest: &[u8; 32],
        key: &Key,
    ) -> [u8; RECORD_HEADER] {
        let mut h = [0u8; RECORD_HEADER];
        h[..4].copy_from_slice(MAGIC);
        h[4] = self.kind as u8;
        h[8..12].copy_from_slice(&(payload_len as u32).to_le_bytes());
        h[16..24].copy_from_slice(&at.lsn.to_le_bytes());
        h[24..32].copy_from_slice(&at.segment.to_le_bytes());
        h[32..48].copy_from_slice(&self.file);
        h[48..56].copy_from_slice(&self.len_after.to_le_bytes());
        h[56..64].copy_from_slice(&self.first.to_le_bytes());
        h[64..72].copy_from_slice(&self.count.to_le_bytes());
        h[72..80].copy_from_slice(&self.mtime.sec.to_le_bytes());
        h[80..84].copy_from_slice(&self.mtime.nsec.to_le_bytes());
        h[84..88].copy_from_slice(&self.last_len.to_le_bytes());
        h[88..120].copy_from_slice(digest);
        let tag = mac::mac(key, &[&h[..MAC_AT]]);
        h[MAC_AT..152].copy_from_slice(&tag);
        h
    }
}

/// The digest of a payload, as a record's header carries it.
pub fn digest(payload: &[u8], key: &Key) -> [u8; 32] {
    mac::mac(key, &[b"payload", payload])
}

/// Reads one record at the start of `bytes`: the record, where it stands, its payload.
///
/// `None` if there is no whole, authentic, well-formed record: the end of a segment.
pub fn decode<'a>(bytes: &'a [u8], key: &Key) -> Option<(Record, Position, &'a [u8])> {
    let h = bytes.get(..RECORD_HEADER)?;
    let u64_at = |at: usize| u64::from_le_bytes(h[at..at + 8].try_into().expect("eight bytes"));
    let u32_at = |at: usize| u32::from_le_bytes(h[at..at + 4].try_into().expect("four bytes"));
    if h[..4] != *MAGIC || h[152..] != [0; 8] {
        return None;
    }
    let tag: &[u8; 32] = h[MAC_AT..152].try_into().expect("32 bytes");
    if !mac::verify(key, &[&h[..MAC_AT]], tag) {
        return None;
    }
    let record = Record {
        kind: Kind::from_code(h[4])?,
        file: h[32..48].try_into().expect("sixteen bytes"),
        len_after: u64_at(48),
        first: u64_at(56),
        count: u64_at(64),
        last_len: u32_at(84),
        mtime: Timespec { sec: u64_at(72) as i64, nsec: u32_at(80) },
    };
    let len = u32_at(8) as usize;
    if len > MAX_PAYLOAD || record.last_len as usize > BLOCK_LEN || record.mtime.nsec >= 1_000_000_000 {
        return None;
    }
    if record.payload_len().is_some_and(|want| want != len as u64) {
        return None;
    }
    let payload = bytes.get(RECORD_HEADER..RECORD_HEADER + len)?;
    let want: &[u8; 32] = h[88..120].try_into().expect("32 bytes");
    if digest(payload, key) != *want {
        return None;
    }
    Some((record, Position { lsn: u64_at(16), segment: u64_at(24) }, payload))
}

/// The tag entries at the head of a payload of `count` blocks.
pub fn entries(payload: &[u8], count: u64) -> impl Iterator<Item = TagEntry> + '_ {
    payload.chunks_exact(ENTRY_LEN).take(count as usize).map(TagEntry::decode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::from_bytes(&mut [1; 32])
    }

    fn sample() -> (Record, Vec<u8>) {
        let record = Record {
            kind: Kind::Blocks,
            file: [2; 16],
            len_after: 0,
            first: 9,
            count: 2,
            last_len: 10,
            mtime: Timespec { sec: -3, nsec: 4 },
        };
        (record, vec![6; 2 * ENTRY_LEN + BLOCK_LEN + 10])
    }

    fn image() -> Vec<u8> {
        let (record, payload) = sample();
        let at = Position { lsn: 77, segment: 5 };
        let mut bytes = record.encode(at, payload.len(), &digest(&payload, &key()), &key()).to_vec();
        bytes.extend_from_slice(&payload);
        bytes
    }

    #[test]
    fn records_survive_the_codec() {
        let (record, payload) = sample();
        let bytes = image();
        let (got, at, got_payload) = decode(&bytes, &key()).expect("authentic");
        assert_eq!((got, at, got_payload), (record, Position { lsn: 77, segment: 5 }, &payload[..]));
        assert_eq!(got.ciphertext_at(1) + got.block_len(1), payload.len());
    }

    #[test]
    fn every_flipped_byte_ends_the_journal() {
        let bytes = image();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x40;
            assert!(decode(&bad, &key()).is_none(), "byte {at} went unnoticed");
        }
        assert!(decode(&bytes[..bytes.len() - 1], &key()).is_none());
        assert!(decode(&bytes, &Key::from_bytes(&mut [2; 32])).is_none());
    }
}
