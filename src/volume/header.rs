//! The file header: 1024 bytes at the start of every regular lower file. Pure codec, no I/O.
//!
//! Two sectors of 512 bytes, each complete in itself: who the file is (immutable) and one *slot* (mutable).
//! Slots are written in turn, the higher valid generation wins, so a torn sector costs nothing but the newer
//! slot. The slot holds the wrapped data key and the *sealed length*: a file whose lower size disagrees with it
//! was cut or grown by somebody else.
//!
//! ```text
//!   0   8  magic "KMSFSv1\0"        64   4  key material version
//!   8   1  format (1)               68   2  length of the wrapped key
//!   9   1  cipher                   70   2  zero
//!  10   6  zero                     72  16  CMK id
//!  16  16  file id                  88  40  zero (room for an integrity root)
//!  32   8  slot generation         128 320  wrapped key, zero-padded
//!  40   8  sealed length           448   8  durable length
//!  48   4  flags (1: sparse)       456  24  zero
//!  52   4  block-key generation    480  32  MAC: keyed BLAKE3 over bytes 0..480
//!  56   8  seals reserved
//! ```
//! Integers are little-endian. The MAC key derives from the data key, so the wrapped key is opened first and
//! nothing else of a slot is believed before its MAC holds.

use super::geometry::HEADER_LEN;
use super::{Error, Result};
use crate::crypto::Cipher;
use crate::crypto::mac;
use crate::keys::FileKey;
use crate::keys::WrappedKey;
use std::sync::Arc;

/// Bytes of one sector.
pub const SECTOR: usize = HEADER_LEN as usize / 2;
/// The longest wrapped key a slot can hold.
pub const MAX_WRAPPED: usize = 320;
/// The format this program writes.
pub const FORMAT: u8 = 1;

const MAGIC: &[u8; 8] = b"KMSFSv1\0";
const MAC_AT: usize = SECTOR - 32;
const WRAPPED_AT: usize = 128;
const FLAG_SPARSE: u32 = 1;

/// A random name of a file, the same for its whole life.
pub type FileId = [u8; 16];

/// The mutable part of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Counts the slots written; the parity tells the sector.
    pub generation: u64,
    /// Plaintext length at the last seal.
    pub sealed_len: u64,
    /// Plaintext below this was made durable by an fsync: blocks there never excuse themselves with a power cut.
    pub durable_len: u64,
    /// A zero tag entry is a hole, not an attack.
    pub sparse: bool,
    /// Which block key new blocks are sealed under; from 1.
    pub key_generation: u32,
    /// Upper bound on the blocks sealed so far under that key.
    pub seals: u64,
    /// The data key, wrapped.
    pub wrapped: WrappedKey,
}

/// A verified header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Who the file is.
    pub file_id: FileId,
    /// How its blocks are sealed.
    pub cipher: Cipher,
    /// The slot in force.
    pub slot: Slot,
}

impl Header {
    /// The sector to be written for the current slot, and its offset in the file.
    ///
    /// # Panics
    /// If the wrapped key is longer than [`MAX_WRAPPED`]; whoever takes in a wrapped key checks that.
    pub fn encode(&self, key: &FileKey) -> ([u8; SECTOR], u64) {
        let slot = &self.slot;
        let mut s = [0u8; SECTOR];
        s[..8].copy_from_slice(MAGIC);
        s[8] = FORMAT;
        s[9] = self.cipher.code();
        s[16..32].copy_from_slice(&self.file_id);
        s[32..40].copy_from_slice(&slot.generation.to_le_bytes());
        s[40..48].copy_from_slice(&slot.sealed_len.to_le_bytes());
        s[48..52].copy_from_slice(&(if slot.sparse { FLAG_SPARSE } else { 0 }).to_le_bytes());
        s[52..56].copy_from_slice(&slot.key_generation.to_le_bytes());
        s[56..64].copy_from_slice(&slot.seals.to_le_bytes());
        s[64..68].copy_from_slice(&slot.wrapped.material.to_le_bytes());
        let blob = &slot.wrapped.blob;
        assert!(blob.len() <= MAX_WRAPPED, "a wrapped key of {} bytes", blob.len());
        s[68..70].copy_from_slice(&(blob.len() as u16).to_le_bytes());
        s[72..88].copy_from_slice(&slot.wrapped.key_id);
        s[WRAPPED_AT..WRAPPED_AT + blob.len()].copy_from_slice(blob);
        s[448..456].copy_from_slice(&slot.durable_len.to_le_bytes());
        let tag = mac::mac(key.header_mac_key(), &[&s[..MAC_AT]]);
        s[MAC_AT..].copy_from_slice(&tag);
        (s, (slot.generation % 2) * SECTOR as u64)
    }
}

/// A sector as read: well-formed, not yet believed.
struct Unverified<'a> {
    bytes: &'a [u8],
    header: Header,
}

impl Unverified<'_> {
    fn verify(self, key: &FileKey) -> Option<Header> {
        let tag: &[u8; 32] = self.bytes[MAC_AT..].try_into().expect("32 bytes behind MAC_AT");
        mac::verify(key.header_mac_key(), &[&self.bytes[..MAC_AT]], tag).then_some(self.header)
    }
}

fn u64_at(s: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(s[at..at + 8].try_into().expect("eight bytes"))
}

fn u32_at(s: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(s[at..at + 4].try_into().expect("four bytes"))
}

fn parse(s: &[u8]) -> Option<Unverified<'_>> {
    let wrapped_len = usize::from(u16::from_le_bytes([s[68], s[69]]));
    let zero = |r: std::ops::Range<usize>| s[r].iter().all(|b| *b == 0);
    let well_formed = s[..8] == *MAGIC
        && s[8] == FORMAT
        && wrapped_len <= MAX_WRAPPED
        && u32_at(s, 48) & !FLAG_SPARSE == 0
        && u32_at(s, 52) > 0
        && zero(10..16)
        && zero(70..72)
        && zero(88..128)
        && zero(WRAPPED_AT + wrapped_len..448)
        && zero(456..MAC_AT);
    if !well_formed {
        return None;
    }
    let slot = Slot {
        generation: u64_at(s, 32),
        sealed_len: u64_at(s, 40),
        durable_len: u64_at(s, 448),
        sparse: u32_at(s, 48) & FLAG_SPARSE != 0,
        key_generation: u32_at(s, 52),
        seals: u64_at(s, 56),
        wrapped: WrappedKey {
            key_id: s[72..88].try_into().expect("sixteen bytes"),
            material: u32_at(s, 64),
            blob: s[WRAPPED_AT..WRAPPED_AT + wrapped_len].to_vec(),
        },
    };
    let header = Header {
        file_id: s[16..32].try_into().expect("sixteen bytes"),
        cipher: Cipher::try_from(s[9]).ok()?,
        slot,
    };
    Some(Unverified { bytes: s, header })
}

/// What a header claims, unverified: good for showing it, not for believing it.
pub fn claimed(bytes: &[u8]) -> Option<Header> {
    let headers = bytes.chunks_exact(SECTOR).take(2).filter_map(parse).map(|u| u.header);
    headers.max_by_key(|header| header.slot.generation)
}

/// The file id a header claims, unverified: good for finding a file, not for believing it.
pub fn claimed_file_id(bytes: &[u8]) -> Option<FileId> {
    bytes.chunks_exact(SECTOR).take(2).find_map(parse).map(|u| u.header.file_id)
}

/// Reads a header: opens the data key with `open_key` and verifies the slot with it.
///
/// `file` names the lower file in errors.
///
/// # Errors
/// [`Error::Corrupt`] if no slot is well-formed, belongs to this file and carries a valid MAC; the key error
/// if the key could not be had for another reason than tampering.
pub fn decode(
    bytes: &[u8],
    file: &dyn std::fmt::Display,
    open_key: impl Fn(&FileId, &WrappedKey) -> std::result::Result<Arc<FileKey>, crate::keys::Error>,
) -> Result<(Header, Arc<FileKey>)> {
    if bytes.len() < HEADER_LEN as usize {
        return Err(Error::corrupt(file, format_args!("only {} bytes of header", bytes.len())));
    }
    let mut slots: Vec<_> = bytes.chunks_exact(SECTOR).take(2).filter_map(parse).collect();
    slots.sort_by_key(|u| std::cmp::Reverse(u.header.slot.generation));
    let mut why = "no well-formed header";
    for unverified in slots {
        match open_key(&unverified.header.file_id, &unverified.header.slot.wrapped) {
            Ok(key) => match unverified.verify(&key) {
                Some(header) => return Ok((header, key)),
                None => why = "the header's MAC does not hold",
            },
            Err(e) if e.kind() == crate::keys::ErrorKind::Invalid => {
                why = "the wrapped data key is not authentic"
            }
            Err(e) => return Err(e.into()),
        }
    }
    Err(Error::corrupt(file, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::secret::Key;
    use crate::keys::{Error as KeyError, ErrorKind};

    fn key(byte: u8) -> Arc<FileKey> {
        Arc::new(FileKey::new(Cipher::Aes256GcmSiv, Key::from_bytes(&mut [byte; 32])))
    }

    fn header(generation: u64) -> Header {
        Header {
            file_id: *b"0123456789abcdef",
            cipher: Cipher::Aes256GcmSiv,
            slot: Slot {
                generation,
                sealed_len: 1000 + generation,
                durable_len: 77,
                sparse: true,
                key_generation: 3,
                seals: 9,
                wrapped: WrappedKey { key_id: [7; 16], material: 2, blob: vec![5; 100] },
            },
        }
    }

    fn image(generations: &[u64]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN as usize];
        for g in generations {
            let (sector, at) = header(*g).encode(&key(1));
            bytes[at as usize..at as usize + SECTOR].copy_from_slice(&sector);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Header> {
        decode(bytes, &"f", |_, _| Ok(key(1))).map(|(h, _)| h)
    }

    #[test]
    fn the_newer_slot_wins_and_the_older_stands_in() {
        let mut bytes = image(&[4, 5]);
        assert_eq!(read(&bytes).expect("two valid slots"), header(5));
        bytes[SECTOR + 200] ^= 1;
        assert_eq!(read(&bytes).expect("one valid slot"), header(4));
        bytes[200] ^= 1;
        assert!(matches!(read(&bytes), Err(Error::Corrupt { .. })));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = image(&[4]);
        for bit in 0..SECTOR * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(read(&bad), Err(Error::Corrupt { .. })), "bit {bit} went unnoticed");
        }
    }

    #[test]
    fn another_key_is_corruption_and_a_missing_key_is_not() {
        let bytes = image(&[4]);
        assert!(matches!(decode(&bytes, &"f", |_, _| Ok(key(2))), Err(Error::Corrupt { .. })));
        let disabled = |_: &FileId, _: &WrappedKey| Err(KeyError::new(ErrorKind::Disabled, "disabled"));
        assert!(matches!(decode(&bytes, &"f", disabled), Err(Error::Key(_))));
    }

    #[test]
    fn short_input_is_refused() {
        for len in [0, 1, 511, 1023] {
            assert!(matches!(read(&image(&[4])[..len]), Err(Error::Corrupt { .. })));
        }
    }

    #[test]
    fn the_claimed_id_needs_no_key() {
        assert_eq!(claimed_file_id(&image(&[9])), Some(*b"0123456789abcdef"));
        assert_eq!(claimed_file_id(&[0; 1024]), None);
        assert_eq!(claimed(&image(&[4, 5])), Some(header(5)), "the newer one");
    }
}
