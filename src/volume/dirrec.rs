//! The record in every directory: who the directory is, and where it belongs. Pure codec, no I/O.
//!
//! ```text
//!   0   8  magic "KMSFSdir"          24  64  sealed: 24 16 own id
//!   8   1  format (1)                                40 16 parent's id
//!   9   3  zero                                      56 16 previous parent's id, or zero
//!  12  12  nonce                                     72 16 zone that begins here, or zero
//!                                    88  16  tag
//! ```
//! Sealed with AES-256-GCM-SIV under the records key; AAD = bytes 0..12 ‖ volume id.
//!
//! A directory's own id enters the encryption of every name in it, so a record put in another directory's place
//! makes the names there unreadable; the parent's id makes a directory refuse to be moved by anyone but kmsfs.
//! A directory moves to another parent in this order: the record names the new parent, and the old one as
//! the previous; that is made durable; the directory is renamed. The record holds on either side of a crash.
//!
//! What lies below a directory is in the zone that begins there, or else in the zone of the directory above; below the
//! root, in none. So a zone begins or ends by one record, and directories that move take along what begins at them.

use super::keys::VolumeKeys;
use super::{Error, Result};
use crate::crypto::{NONCE_LEN, TAG_LEN, random};
use crate::keys::{NO_ZONE, ZoneId};

/// A random name of a directory, the same for its whole life.
pub type DirId = [u8; 16];

/// Name of the record's file in every lower directory.
pub const RECORD: &str = "kmsfs.dir";
/// Bytes of a record's file.
pub const RECORD_LEN: usize = TAG_AT + TAG_LEN;

const MAGIC: &[u8; 8] = b"KMSFSdir";
const FORMAT: u8 = 1;
const NONCE_AT: usize = 12;
const SEALED_AT: usize = NONCE_AT + NONCE_LEN;
const SEALED_LEN: usize = 4 * size_of::<DirId>();
const TAG_AT: usize = SEALED_AT + SEALED_LEN;

const NO_DIR: DirId = [0; 16];

const _: () = assert!(RECORD_LEN == 104, "the table above");

/// Who a directory is, and where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The directory itself. Never zero.
    pub id: DirId,
    /// The directory it is in; zero for the root.
    pub parent: DirId,
    /// The directory it was in before its last move, which a crash may have kept from happening; else zero.
    pub previous: DirId,
    /// The zone that begins at the directory; [`NO_ZONE`] if none does.
    pub zone: ZoneId,
}

impl Record {
    /// The record of a new volume's root.
    pub fn root() -> Record {
        Record { id: random::array(), parent: NO_DIR, previous: NO_DIR, zone: NO_ZONE }
    }

    /// Whether the directory is the volume's root. A directory that somebody put in the root's place is not.
    pub fn is_root(&self) -> bool {
        self.parent == NO_DIR
    }

    /// Whether the directory may be found in the directory `parent`.
    pub fn belongs_in(&self, parent: &DirId) -> bool {
        *parent != NO_DIR && (self.parent == *parent || self.previous == *parent)
    }
}

impl VolumeKeys {
    /// The bytes of the record's file.
    pub fn seal_record(&self, record: &Record) -> Vec<u8> {
        let mut file = vec![0; RECORD_LEN];
        file[..8].copy_from_slice(MAGIC);
        file[8] = FORMAT;
        let nonce = random::array::<NONCE_LEN>();
        file[NONCE_AT..SEALED_AT].copy_from_slice(&nonce);
        let ids = [record.id, record.parent, record.previous, record.zone];
        file[SEALED_AT..TAG_AT].copy_from_slice(ids.as_flattened());
        let aad = self.record_aad(&file);
        let tag = self.records.seal_in_place(&nonce, &aad, &mut file[SEALED_AT..TAG_AT]);
        file[TAG_AT..].copy_from_slice(&tag);
        file
    }

    /// Reads the bytes of a record's file.
    ///
    /// # Errors
    /// [`Error::Corrupt`] unless they are a record that this volume's key sealed.
    pub fn open_record(&self, file: &[u8]) -> Result<Record> {
        let corrupt = |why: &dyn std::fmt::Display| Error::corrupt(RECORD, why);
        let Ok(file) = <&[u8; RECORD_LEN]>::try_from(file) else {
            return Err(corrupt(&format_args!("{} bytes instead of {RECORD_LEN}", file.len())));
        };
        if file[..8] != *MAGIC {
            return Err(corrupt(&"not a directory record"));
        }
        let nonce = file[NONCE_AT..SEALED_AT].try_into().expect("the nonce's bytes");
        let tag = file[TAG_AT..].try_into().expect("the tag's bytes");
        let mut ids = [NO_DIR; 4];
        self.records
            .open_into(nonce, &self.record_aad(file), &file[SEALED_AT..TAG_AT], tag, ids.as_flattened_mut())
            .map_err(|_| corrupt(&"not authentic: altered, or from another volume"))?;
        if file[8] != FORMAT || file[9..NONCE_AT] != [0; 3] {
            return Err(corrupt(&"authentic, but not of this format"));
        }
        if ids[0] == NO_DIR {
            return Err(corrupt(&"the directory has no id"));
        }
        Ok(Record { id: ids[0], parent: ids[1], previous: ids[2], zone: ids[3] })
    }

    /// The bytes in front of the nonce, and the volume's id.
    fn record_aad(&self, file: &[u8]) -> [u8; NONCE_AT + 16] {
        let mut aad = [0; NONCE_AT + 16];
        aad[..NONCE_AT].copy_from_slice(&file[..NONCE_AT]);
        aad[NONCE_AT..].copy_from_slice(&self.volume);
        aad
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::crypto::Key;

    fn keys(byte: u8) -> VolumeKeys {
        VolumeKeys::new(&Key::from_bytes(&mut [byte; 32]), [byte; 16])
    }

    fn record() -> Record {
        Record { id: [1; 16], parent: [2; 16], previous: [3; 16], zone: [4; 16] }
    }

    /// Seals `ids` behind `start`, well or not.
    fn seal(keys: &VolumeKeys, start: &[u8; NONCE_AT], ids: [DirId; 4]) -> Vec<u8> {
        let mut file = [&start[..], &[9; NONCE_LEN], ids.as_flattened()].concat();
        let aad = keys.record_aad(&file);
        let tag = keys.records.seal_in_place(&[9; NONCE_LEN], &aad, &mut file[SEALED_AT..]);
        [file, tag.to_vec()].concat()
    }

    #[test]
    fn records_survive_the_codec() {
        for record in [record(), Record::root()] {
            let file = keys(1).seal_record(&record);
            assert_eq!(file.len(), RECORD_LEN);
            assert_eq!(keys(1).open_record(&file).unwrap(), record);
        }
        assert_ne!(keys(1).seal_record(&record()), keys(1).seal_record(&record()), "nonces are random");
    }

    #[test]
    fn a_directory_belongs_below_either_parent_and_the_root_below_none() {
        assert!(record().belongs_in(&[2; 16]) && record().belongs_in(&[3; 16]));
        let settled = Record { previous: NO_DIR, ..record() };
        for elsewhere in [[1; 16], [3; 16], NO_DIR] {
            assert!(!settled.belongs_in(&elsewhere), "{elsewhere:?}");
        }
        assert!(Record::root().is_root() && !settled.is_root());
        assert!(!Record::root().belongs_in(&NO_DIR), "no directory has the root in it");
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let file = keys(1).seal_record(&record());
        for bit in 0..file.len() * 8 {
            let mut bad = file.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(keys(1).open_record(&bad), Err(Error::Corrupt { .. })), "bit {bit}");
        }
    }

    #[test]
    fn other_lengths_and_other_volumes_are_refused() {
        let file = keys(1).seal_record(&record());
        for len in 0..RECORD_LEN {
            assert!(matches!(keys(1).open_record(&file[..len]), Err(Error::Corrupt { .. })), "{len} bytes");
        }
        assert!(keys(1).open_record(&[&file[..], &[0]].concat()).is_err());
        assert!(keys(2).open_record(&file).is_err(), "another key");
        let same_key = VolumeKeys::new(&Key::from_bytes(&mut [1; 32]), [2; 16]);
        assert!(same_key.open_record(&file).is_err(), "another volume id");
    }

    #[test]
    fn authentic_nonsense_is_refused() {
        let keys = keys(1);
        let good = *b"KMSFSdir\x01\0\0\0";
        let ids = [[1; 16], [2; 16], NO_DIR, NO_DIR];
        assert!(keys.open_record(&seal(&keys, &good, ids)).is_ok());
        assert!(keys.open_record(&seal(&keys, b"KMSFSdir\x02\0\0\0", ids)).is_err(), "format");
        assert!(keys.open_record(&seal(&keys, b"KMSFSdir\x01\0\0\x01", ids)).is_err(), "reserved byte");
        assert!(keys.open_record(&seal(&keys, &good, [NO_DIR, [2; 16], NO_DIR, NO_DIR])).is_err(), "no id");
    }

    #[test]
    fn a_directory_belongs_where_it_is_and_where_it_just_was() {
        assert!(record().belongs_in(&[2; 16]) && record().belongs_in(&[3; 16]));
        assert!(!record().belongs_in(&[1; 16]) && !record().belongs_in(&[4; 16]));
        assert!(!Record::root().belongs_in(&NO_DIR), "the root is in no directory");
    }
}
