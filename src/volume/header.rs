//! The file header: 1024 bytes at the start of every regular lower file. Pure codec, no I/O.
//!
//! Two sectors of 512 bytes, each complete in itself: who the file is (immutable) and one *slot* (mutable).
//! Slots are written in turn, the higher generation is in force, so a write that a crash tore costs nothing but the
//! newer slot. Only recovery makes that allowance ([`decode_after_crash`]); otherwise a sector that does not
//! authenticate is damage ([`decode`]), or else whoever writes the lower directory could undo the last slot by
//! breaking it. The slot holds the wrapped data key and the *sealed length*: a file whose lower size disagrees with it
//! was cut or grown by somebody else.
//!
//! ```text
//!   0   8  magic "KMSFSv1\0"        64   4  key material version
//!   8   1  format (1)               68   2  length of the wrapped key
//!   9   1  cipher                   70   2  zero
//!  10   6  zero                     72  16  CMK id
//!  16  16  file id                  88  40  zero (room for an integrity root)
//!  32   8  slot generation         128 252  wrapped key, zero-padded
//!  40   8  sealed length           380   4  first block-key generation of the data key; zero: no previous one
//!  48   4  flags                   384  48  previous data key, sealed under the data key
//!  52   4  block-key generation    432  16  id of the shred secret; zero: none
//!  56   8  seals reserved          448   8  durable length
//!                                  456  16  zone id; zero: the volume's own
//!                                  472   8  zero
//!                                  480  32  MAC: keyed BLAKE3 over bytes 0..480
//! ```
//! Flags: 1 the file may have holes, 2 the data key is wrapped by a zone key ([`keys::WrapMode`]).
//! Integers are little-endian. The MAC key derives from the data key, which is the file's until it is rekeyed: once any
//! slot's wrapped key opens, it tells of both slots whether they are genuine, and with a previous data key in it it also
//! tells of a slot that was written under that. Nothing of a slot is believed before.

use super::geometry::HEADER_LEN;
use super::{Error, Result};
use crate::crypto::{Cipher, mac};
use crate::keys::{self, Envelope, FileKey, PreviousKey, WrapMode, WrappedKey};
use crate::kms::SecretId;
use std::fmt::Display;
use std::sync::Arc;

/// Bytes of one sector.
pub const SECTOR: usize = HEADER_LEN as usize / 2;
/// The longest wrapped key a slot can hold.
pub const MAX_WRAPPED: usize = keys::WRAPPED_MAX;
/// The format this program writes.
pub const FORMAT: u8 = 1;
/// The generation of a new file's slot; the other sector is zero then, and never again.
pub const FIRST_GENERATION: u64 = 2;

const MAGIC: &[u8; 8] = b"KMSFSv1\0";
const MAC_AT: usize = SECTOR - 32;
const WRAPPED_AT: usize = 128;
const PREVIOUS_AT: usize = 380;
const SECRET_AT: usize = 432;
const DURABLE_AT: usize = 448;
const ZONE_AT: usize = 456;
const FLAG_SPARSE: u32 = 1;
const FLAG_ZONE_KEY: u32 = 2;

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
    pub envelope: Envelope,
}

impl Slot {
    fn flags(&self) -> u32 {
        let sparse = if self.sparse { FLAG_SPARSE } else { 0 };
        match self.envelope.mode {
            WrapMode::Direct => sparse,
            WrapMode::ZoneKey => sparse | FLAG_ZONE_KEY,
        }
    }
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
        s[48..52].copy_from_slice(&slot.flags().to_le_bytes());
        s[52..56].copy_from_slice(&slot.key_generation.to_le_bytes());
        s[56..64].copy_from_slice(&slot.seals.to_le_bytes());
        let Envelope { zone, wrapped: WrappedKey { key_id, material, blob }, secret, previous, .. } =
            &slot.envelope;
        s[64..68].copy_from_slice(&material.to_le_bytes());
        assert!(blob.len() <= MAX_WRAPPED, "a wrapped key of {} bytes", blob.len());
        s[68..70].copy_from_slice(&(blob.len() as u16).to_le_bytes());
        s[72..88].copy_from_slice(key_id);
        s[WRAPPED_AT..WRAPPED_AT + blob.len()].copy_from_slice(blob);
        if let Some(PreviousKey { first, sealed }) = previous {
            s[PREVIOUS_AT..PREVIOUS_AT + 4].copy_from_slice(&first.to_le_bytes());
            s[PREVIOUS_AT + 4..SECRET_AT].copy_from_slice(sealed);
        }
        if let Some(secret) = secret {
            s[SECRET_AT..DURABLE_AT].copy_from_slice(secret.as_bytes());
        }
        s[DURABLE_AT..ZONE_AT].copy_from_slice(&slot.durable_len.to_le_bytes());
        s[ZONE_AT..ZONE_AT + zone.len()].copy_from_slice(zone);
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
    /// Was it written under `key`, or before that under the one that it replaces?
    fn is_of(&self, key: &FileKey) -> bool {
        self.verify(key) || key.previous().is_some_and(|previous| self.verify(previous))
    }

    fn verify(&self, key: &FileKey) -> bool {
        let tag: &[u8; 32] = self.bytes[MAC_AT..].try_into().expect("32 bytes behind MAC_AT");
        mac::verify(key.header_mac_key(), &[&self.bytes[..MAC_AT]], tag)
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
        && u32_at(s, 48) & !(FLAG_SPARSE | FLAG_ZONE_KEY) == 0
        && u32_at(s, 52) > 0
        && zero(10..16)
        && zero(70..72)
        && zero(88..128)
        && zero(WRAPPED_AT + wrapped_len..PREVIOUS_AT)
        && (u32_at(s, PREVIOUS_AT) > 0 || zero(PREVIOUS_AT..SECRET_AT))
        && zero(ZONE_AT + 16..MAC_AT);
    if !well_formed {
        return None;
    }
    let slot = Slot {
        generation: u64_at(s, 32),
        sealed_len: u64_at(s, 40),
        durable_len: u64_at(s, DURABLE_AT),
        sparse: u32_at(s, 48) & FLAG_SPARSE != 0,
        key_generation: u32_at(s, 52),
        seals: u64_at(s, 56),
        envelope: Envelope {
            zone: s[ZONE_AT..ZONE_AT + 16].try_into().expect("sixteen bytes"),
            mode: if u32_at(s, 48) & FLAG_ZONE_KEY != 0 { WrapMode::ZoneKey } else { WrapMode::Direct },
            wrapped: WrappedKey {
                key_id: s[72..88].try_into().expect("sixteen bytes"),
                material: u32_at(s, 64),
                blob: s[WRAPPED_AT..WRAPPED_AT + wrapped_len].to_vec(),
            },
            secret: (!zero(SECRET_AT..DURABLE_AT))
                .then(|| SecretId::from_bytes(s[SECRET_AT..DURABLE_AT].try_into().expect("sixteen bytes"))),
            previous: (!zero(PREVIOUS_AT..SECRET_AT)).then(|| PreviousKey {
                first: u32_at(s, PREVIOUS_AT),
                sealed: s[PREVIOUS_AT + 4..SECRET_AT].try_into().expect("48 bytes"),
            }),
        },
    };
    let header = Header {
        file_id: s[16..32].try_into().expect("sixteen bytes"),
        cipher: Cipher::try_from(s[9]).ok()?,
        slot,
    };
    Some(Unverified { bytes: s, header })
}

/// The well-formed slots, each in the sector its generation belongs in; the newer first.
fn slots(bytes: &[u8]) -> Vec<Unverified<'_>> {
    let sectors = (0..2).zip(bytes.chunks_exact(SECTOR));
    let mut slots: Vec<_> = sectors
        .filter_map(|(sector, bytes)| parse(bytes).filter(|u| u.header.slot.generation % 2 == sector))
        .collect();
    slots.sort_by_key(|u| std::cmp::Reverse(u.header.slot.generation));
    slots
}

/// What a header claims, unverified: good for showing it, not for believing it.
pub fn claimed(bytes: &[u8]) -> Option<Header> {
    claims(bytes).next()
}

/// What both slots of a header claim, the newer first; as [`claimed`].
pub fn claims(bytes: &[u8]) -> impl Iterator<Item = Header> {
    slots(bytes).into_iter().map(|u| u.header)
}

/// The file id a header claims, unverified: good for finding a file, not for believing it.
pub fn claimed_file_id(bytes: &[u8]) -> Option<FileId> {
    claimed(bytes).map(|header| header.file_id)
}

/// Reads a header: opens the data key with `open_key` and verifies both slots with it.
///
/// `file` names the lower file in errors.
///
/// # Errors
/// [`Error::Corrupt`] if any part of it is not what kmsfs wrote; the key error of the slot in force, if its wrapped
/// key could not be opened for another reason than tampering.
pub fn decode(
    bytes: &[u8],
    file: &dyn Display,
    open_key: impl Fn(&FileId, &Envelope) -> std::result::Result<Arc<FileKey>, keys::Error>,
) -> Result<(Header, Arc<FileKey>)> {
    match decode_after_crash(bytes, file, open_key)? {
        (header, key, false) => Ok((header, key)),
        (_, _, true) => Err(Error::corrupt(file, "one of the header's two slots is not authentic")),
    }
}

/// As [`decode`], but where one slot does not authenticate, the other is in force: a crash may have torn it. The
/// third value tells that it is so.
///
/// # Errors
/// As [`decode`], if no slot is authentic.
pub fn decode_after_crash(
    bytes: &[u8],
    file: &dyn Display,
    open_key: impl Fn(&FileId, &Envelope) -> std::result::Result<Arc<FileKey>, keys::Error>,
) -> Result<(Header, Arc<FileKey>, bool)> {
    if bytes.len() < HEADER_LEN as usize {
        return Err(Error::corrupt(file, format_args!("only {} bytes of header", bytes.len())));
    }
    let slots = slots(bytes);
    let mut why = "no well-formed header";
    let mut refused: Vec<Option<keys::Error>> = Vec::new();
    for (i, slot) in slots.iter().enumerate() {
        let asked = |u: &Unverified<'_>| (u.header.file_id, u.header.slot.envelope.clone());
        if i > 0 && asked(&slots[i - 1]) == asked(slot) {
            break; // and the same answer
        }
        let key = match open_key(&slot.header.file_id, &slot.header.slot.envelope) {
            Ok(key) => key,
            Err(e) => {
                why = "the wrapped data key is not authentic";
                refused.push(Some(e));
                continue;
            }
        };
        // A slot that began a rekeying is under a key that no older slot knows. As long as nobody can say whether it is
        // genuine, it is not for an older one to take its place.
        let unknown = |e: &keys::Error| e.kind() != keys::ErrorKind::Invalid;
        let mut newer = slots.iter().zip(&refused);
        if newer.any(|(u, e)| u.header.slot.envelope.previous.is_some() && e.as_ref().is_some_and(unknown)) {
            break;
        }
        refused.push(None);
        match slots.iter().position(|u| u.verify(&key)) {
            None => why = "the header's MAC does not hold",
            Some(in_force) if in_force >= i => {
                let header = slots[in_force].header.clone();
                let torn = !is_whole(bytes, &slots, &header, &key);
                return Ok((header, key, torn));
            }
            // The newer slot is genuine. That the key of an older one still opens does not count: whoever wrapped the
            // data key anew meant the new CMK to decide.
            Some(_) => break,
        }
    }
    match refused.into_iter().flatten().find(|e| e.kind() != keys::ErrorKind::Invalid) {
        Some(e) => Err(e.into()),
        None => Err(Error::corrupt(file, why)),
    }
}

/// Is the sector beside that of `in_force` what was written there, too?
fn is_whole(bytes: &[u8], slots: &[Unverified<'_>], in_force: &Header, key: &FileKey) -> bool {
    let generation = in_force.slot.generation;
    let other = (generation + 1) % 2;
    if generation == FIRST_GENERATION {
        return bytes[other as usize * SECTOR..][..SECTOR].iter().all(|b| *b == 0);
    }
    slots.iter().any(|u| u.header.slot.generation % 2 == other && u.is_of(key))
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
                envelope: Envelope {
                    zone: [8; 16],
                    mode: WrapMode::ZoneKey,
                    wrapped: WrappedKey { key_id: [7; 16], material: 2, blob: vec![5; 100] },
                    secret: None,
                    previous: None,
                },
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

    /// The header in force, and whether the other slot is torn.
    fn read_after_crash(bytes: &[u8]) -> Result<(Header, bool)> {
        decode_after_crash(bytes, &"f", |_, _| Ok(key(1))).map(|(h, _, torn)| (h, torn))
    }

    fn is_corrupt<T>(result: Result<T>) -> bool {
        matches!(result, Err(Error::Corrupt { .. }))
    }

    #[test]
    fn the_newer_slot_is_in_force() {
        assert_eq!(read(&image(&[4, 5])).expect("two valid slots"), header(5));
        assert_eq!(read(&image(&[6, 5])).expect("two valid slots"), header(6));
        assert_eq!(read(&image(&[2])).expect("a new file"), header(2));
    }

    #[test]
    fn only_a_crash_excuses_a_slot_that_is_not_authentic() {
        let mut torn = image(&[4, 5]);
        torn[SECTOR + 200] ^= 1;
        assert!(is_corrupt(read(&torn)));
        assert_eq!(read_after_crash(&torn).expect("one valid slot"), (header(4), true));
        torn[200] ^= 1;
        assert!(is_corrupt(read_after_crash(&torn)));

        // Zeroed, or never written; put into the other's place.
        let one = image(&[5]);
        let twice = [&one[SECTOR..], &one[SECTOR..]].concat();
        for bytes in [one, twice] {
            assert!(is_corrupt(read(&bytes)));
            assert_eq!(read_after_crash(&bytes).expect("one valid slot"), (header(5), true));
        }
        let whole = image(&[4, 5]);
        assert_eq!(read_after_crash(&whole).expect("two valid slots"), (header(5), false));
    }

    /// A header whose newer slot begins a rekeying, and its new data key.
    fn rekeyed() -> (Vec<u8>, Arc<FileKey>) {
        let mut newer = header(5);
        let new = FileKey::new(Cipher::Aes256GcmSiv, Key::from_bytes(&mut [2; 32]));
        let new = Arc::new(new.replacing(&newer.file_id, &key(1), 4));
        newer.slot.key_generation = 4;
        newer.slot.envelope.wrapped.blob = vec![6; 100];
        newer.slot.envelope.secret = Some(SecretId::from_bytes([8; 16]));
        newer.slot.envelope.previous = new.sealed_previous().cloned();
        let mut bytes = image(&[4]);
        bytes[SECTOR..].copy_from_slice(&newer.encode(&new).0);
        (bytes, new)
    }

    #[test]
    fn a_file_that_is_being_rekeyed_has_slots_of_two_data_keys() {
        let (bytes, new) = rekeyed();
        let open = |_: &FileId, envelope: &Envelope| match envelope.previous {
            Some(_) => Ok(Arc::clone(&new)),
            None => Ok(key(1)),
        };
        let (header, _) = decode(&bytes, &"f", open).expect("both slots are genuine");
        assert_eq!(header.slot.generation, 5);
        assert_eq!(header.slot.envelope.previous.as_ref(), new.sealed_previous());
        let mut torn = bytes.clone();
        torn[SECTOR + 40] ^= 1;
        assert!(is_corrupt(decode(&torn, &"f", open)));
        let (header, _, was_torn) = decode_after_crash(&torn, &"f", open).expect("the older slot is whole");
        assert_eq!((header.slot.generation, was_torn), (4, true));
    }

    #[test]
    fn no_older_slot_takes_the_place_of_a_rekeying_whose_key_is_refused() {
        let (bytes, _) = rekeyed();
        for (kind, is_kept) in
            [(ErrorKind::Disabled, true), (ErrorKind::Unavailable, true), (ErrorKind::Invalid, false)]
        {
            let open = |_: &FileId, envelope: &Envelope| match envelope.previous {
                Some(_) => Err(KeyError::new(kind, "refused")),
                None => Ok(key(1)),
            };
            let outcome = decode_after_crash(&bytes, &"f", open);
            assert_eq!(matches!(outcome, Err(Error::Key(_))), is_kept, "{kind:?}");
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for bytes in [image(&[2]), image(&[4, 5])] {
            for bit in 0..bytes.len() * 8 {
                let mut bad = bytes.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(is_corrupt(read(&bad)), "bit {bit} went unnoticed");
            }
        }
    }

    #[test]
    fn another_key_is_corruption_and_a_missing_key_is_not() {
        let bytes = image(&[4, 5]);
        assert!(is_corrupt(decode(&bytes, &"f", |_, _| Ok(key(2)))));
        let disabled = |_: &FileId, _: &Envelope| Err(KeyError::new(ErrorKind::Disabled, "disabled"));
        assert!(matches!(decode(&bytes, &"f", disabled), Err(Error::Key(_))));
    }

    /// A header whose newer slot has the data key wrapped anew, and what comes of it where the new wrap's key gives
    /// `error`.
    fn rewrapped(break_newer: bool, error: ErrorKind) -> Result<(Header, bool)> {
        let mut newer = header(5);
        newer.slot.envelope.wrapped.blob = vec![6; 100];
        let mut bytes = image(&[4]);
        bytes[SECTOR..].copy_from_slice(&newer.encode(&key(1)).0);
        if break_newer {
            bytes[SECTOR + 40] ^= 1;
        }
        let open = |_: &FileId, envelope: &Envelope| match envelope.wrapped.blob[0] {
            6 => Err(KeyError::new(error, "refused")),
            _ => Ok(key(1)),
        };
        decode_after_crash(&bytes, &"f", open).map(|(header, _, torn)| (header, torn))
    }

    #[test]
    fn a_genuine_slot_counts_even_if_its_key_is_refused_and_a_torn_one_does_not() {
        for error in [ErrorKind::Disabled, ErrorKind::NotFound, ErrorKind::Unavailable, ErrorKind::Denied] {
            let refused = rewrapped(false, error);
            assert!(matches!(&refused, Err(Error::Key(e)) if e.kind() == error), "{refused:?}");
            assert_eq!(rewrapped(true, error).expect("the older slot"), (header(4), true));
        }
        assert!(is_corrupt(rewrapped(false, ErrorKind::Invalid)));
        assert_eq!(rewrapped(true, ErrorKind::Invalid).expect("the older slot"), (header(4), true));
    }

    #[test]
    fn short_input_is_refused() {
        for len in [0, 1, 511, 1023] {
            assert!(is_corrupt(read(&image(&[2])[..len])));
        }
    }

    #[test]
    fn the_claimed_id_needs_no_key() {
        assert_eq!(claimed_file_id(&image(&[9])), Some(*b"0123456789abcdef"));
        assert_eq!(claimed_file_id(&[0; 1024]), None);
        assert_eq!(claimed(&image(&[4, 5])), Some(header(5)), "the newer one");
    }
}
