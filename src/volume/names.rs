//! Names of entries: from plaintext to lower directory and back. Pure codec, no I/O.
//!
//! ```text
//! encrypted name = GCM-SIV(names key, nonce = directory id[0..12], AAD = directory id, name) ‖ tag
//! lower name     = base64url(encrypted name)                         names of up to 175 bytes
//!                | "kmsfs.long." base64url(BLAKE3(encrypted name))   longer names
//! ```
//! base64url is that of RFC 4648 without padding; trailing bits are zero, so each name has one spelling. Its
//! alphabet has no dot: no lower name but kmsfs's own begins with `kmsfs.`.
//!
//! Encryption is deterministic within a directory, so that a lookup is one encryption and one lower lookup. Equal
//! names in different directories differ, since the random directory id is nonce and AAD. GCM-SIV is what makes
//! a fixed nonce safe: it reveals only that two names are equal, and those are never in one directory. The
//! length of a name is not hidden.
//!
//! A long name's entry says nothing of the name but its hash, so a *sidecar*, `<lower name>.name`, holds
//! base64url(encrypted name).

use super::dirrec::DirId;
use super::keys::VolumeKeys;
use super::{Error, Result};
use crate::crypto::{NONCE_LEN, TAG_LEN};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Longest plaintext name, in bytes.
pub const NAME_MAX: usize = 255;
/// Longest plaintext name that fits a lower name of 255 bytes when encrypted, in bytes.
pub const SHORT_MAX: usize = 175;
/// Every lower entry of kmsfs's own begins so, and no other.
pub const RESERVED: &str = "kmsfs.";
/// Begins the entry of a long name, and its sidecar.
pub const LONG: &str = "kmsfs.long.";
/// Ends a sidecar's name.
pub const SIDECAR: &str = ".name";
/// Where ext4 and others keep what their own check finds: no entry of a volume in the root of such a filesystem.
pub const LOST_FOUND: &str = "lost+found";
/// Longest content of a sidecar, in bytes.
pub const SIDECAR_MAX: usize = encoded_len(NAME_MAX + TAG_LEN);

const _: () = assert!(encoded_len(SHORT_MAX + TAG_LEN) == 255, "lower names are at most 255 bytes");
const _: () = assert!(encoded_len(SHORT_MAX + 1 + TAG_LEN) > 255, "no shorter than need be");

/// Length of the base64url text of `len` bytes.
pub(super) const fn encoded_len(len: usize) -> usize {
    (len * 4).div_ceil(3)
}

/// Where an entry lies in its lower directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LowerName {
    /// Name of the entry.
    pub name: OsString,
    /// What has to lie beside the entry of a long name.
    pub sidecar: Option<Sidecar>,
}

/// The file that keeps a long name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// Name of the file.
    pub name: OsString,
    /// All of its content.
    pub content: Vec<u8>,
}

impl VolumeKeys {
    /// The lower name of `name` in the directory `dir`.
    ///
    /// Whether `name` may be a name is the caller's to check: one that [`VolumeKeys::decrypt_name`] refuses is
    /// encrypted all the same.
    pub fn encrypt_name(&self, dir: &DirId, name: &OsStr) -> LowerName {
        let name = name.as_bytes();
        let mut sealed = Vec::with_capacity(name.len() + TAG_LEN);
        sealed.extend_from_slice(name);
        let tag = self.names.seal_in_place(nonce(dir), dir, &mut sealed);
        sealed.extend_from_slice(&tag);
        if name.len() <= SHORT_MAX {
            return LowerName { name: BASE64URL.encode(&sealed).into(), sidecar: None };
        }
        let entry = long_entry(&sealed);
        let sidecar = Sidecar {
            name: format!("{entry}{SIDECAR}").into(),
            content: BASE64URL.encode(&sealed).into_bytes(),
        };
        LowerName { name: entry.into(), sidecar: Some(sidecar) }
    }

    /// The plaintext name that `encrypted` stands for in the directory `dir`: the lower name of an entry, or the
    /// content of a sidecar.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for whatever kmsfs did not put into this directory.
    pub fn decrypt_name(&self, dir: &DirId, encrypted: &[u8]) -> Result<OsString> {
        self.open_name(dir, encrypted).map(|(name, _)| name).map_err(|why| foreign(encrypted, why))
    }

    /// The plaintext name of the long entry `entry` of the directory `dir`, whose sidecar holds `sidecar`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the sidecar is not authentic, or is that of another entry.
    pub fn decrypt_long_name(&self, dir: &DirId, entry: &OsStr, sidecar: &[u8]) -> Result<OsString> {
        let refuse = |why| foreign(entry.as_bytes(), why);
        let (name, sealed) = self.open_name(dir, sidecar).map_err(refuse)?;
        // A short name has its own place; here it would be a second entry of that name.
        if name.len() <= SHORT_MAX || entry != OsStr::new(&long_entry(&sealed)) {
            return Err(refuse("its .name file belongs to another entry"));
        }
        Ok(name)
    }

    /// The plaintext, and the encrypted bytes it came from.
    fn open_name(&self, dir: &DirId, text: &[u8]) -> std::result::Result<(OsString, Vec<u8>), &'static str> {
        if text.len() > SIDECAR_MAX {
            return Err("too long for an encrypted name");
        }
        let sealed = BASE64URL.decode(text).map_err(|_| "not an encrypted name")?;
        let (body, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or("too short for an encrypted name")?;
        let mut name = vec![0; body.len()];
        self.names
            .open_into(nonce(dir), dir, body, tag, &mut name)
            .map_err(|_| "not a name of this directory: altered, or put here by someone else")?;
        if !is_name(&name) {
            return Err("decrypts to what cannot be a name");
        }
        Ok((OsString::from_vec(name), sealed))
    }
}

/// Whether `name` can name an entry of a directory.
fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
        && name.len() <= NAME_MAX
        && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

fn nonce(dir: &DirId) -> &[u8; NONCE_LEN] {
    dir.first_chunk().expect("an id is longer than a nonce")
}

fn long_entry(sealed: &[u8]) -> String {
    let mut entry = String::with_capacity(LONG.len() + encoded_len(32));
    entry.push_str(LONG);
    BASE64URL.encode_string(blake3::hash(sealed).as_bytes(), &mut entry);
    entry
}

fn foreign(text: &[u8], why: &str) -> Error {
    Error::corrupt(OsStr::from_bytes(text).display(), why)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::crypto::Key;
    use proptest::prelude::*;

    const DIR: DirId = [5; 16];

    fn keys() -> VolumeKeys {
        VolumeKeys::new(&Key::from_bytes(&mut [1; 32]), [2; 16])
    }

    fn name(len: usize) -> OsString {
        "n".repeat(len).into()
    }

    /// Encrypts, and decrypts as a listing does.
    fn round_trip(keys: &VolumeKeys, dir: &DirId, name: &OsStr) -> OsString {
        let lower = keys.encrypt_name(dir, name);
        assert!(lower.name.len() <= 255, "fits a lower name");
        match &lower.sidecar {
            None => keys.decrypt_name(dir, lower.name.as_bytes()).unwrap(),
            Some(sidecar) => {
                assert_eq!(keys.decrypt_name(dir, &sidecar.content).unwrap(), name);
                keys.decrypt_long_name(dir, &lower.name, &sidecar.content).unwrap()
            }
        }
    }

    #[test]
    fn names_of_every_length_round_trip() {
        let keys = keys();
        for len in 1..=NAME_MAX {
            let lower = keys.encrypt_name(&DIR, &name(len));
            assert_eq!(lower.sidecar.is_some(), len > SHORT_MAX, "{len} bytes");
            assert_eq!(lower.name.as_bytes().starts_with(RESERVED.as_bytes()), len > SHORT_MAX);
            assert_eq!(round_trip(&keys, &DIR, &name(len)), name(len));
            if let Some(sidecar) = lower.sidecar {
                assert!(sidecar.content.len() <= SIDECAR_MAX && sidecar.name.len() <= 255);
            }
        }
    }

    #[test]
    fn encryption_is_deterministic_in_a_directory_and_differs_between_them() {
        let lower = keys().encrypt_name(&DIR, &name(9));
        assert_eq!(lower, keys().encrypt_name(&DIR, &name(9)));
        assert_ne!(lower, keys().encrypt_name(&[6; 16], &name(9)));
        let mut tail = DIR;
        tail[15] ^= 1; // beyond the nonce
        assert_ne!(lower, keys().encrypt_name(&tail, &name(9)));
        assert!(keys().decrypt_name(&tail, lower.name.as_bytes()).is_err());
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let keys = keys();
        for len in [1, 2, 3, 50, SHORT_MAX] {
            let lower = keys.encrypt_name(&DIR, &name(len)).name.into_vec();
            for bit in 0..lower.len() * 8 {
                let mut bad = lower.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let refused = matches!(keys.decrypt_name(&DIR, &bad), Err(Error::Corrupt { .. }));
                assert!(refused, "{len} bytes, bit {bit}");
            }
        }
    }

    #[test]
    fn a_flipped_bit_of_a_long_name_is_refused() {
        let keys = keys();
        let lower = keys.encrypt_name(&DIR, &name(200));
        let content = lower.sidecar.unwrap().content;
        let refused = |entry: &[u8], content: &[u8]| {
            let opened = keys.decrypt_long_name(&DIR, OsStr::from_bytes(entry), content);
            matches!(opened, Err(Error::Corrupt { .. }))
        };
        for bit in 0..lower.name.len() * 8 {
            let mut bad = lower.name.as_bytes().to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(&bad, &content), "bit {bit} of the entry");
        }
        for bit in 0..content.len() * 8 {
            let mut bad = content.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(lower.name.as_bytes(), &bad), "bit {bit} of the sidecar");
        }
    }

    #[test]
    fn a_sidecar_serves_its_own_entry_only() {
        let keys = keys();
        let (a, b) = (keys.encrypt_name(&DIR, &name(200)), keys.encrypt_name(&DIR, &name(201)));
        assert!(keys.decrypt_long_name(&DIR, &a.name, &b.sidecar.unwrap().content).is_err());
        // A short name dressed up as a long one would be listed twice.
        let short = keys.encrypt_name(&DIR, &name(3)).name.into_vec();
        let entry = long_entry(&BASE64URL.decode(&short).unwrap());
        assert!(keys.decrypt_long_name(&DIR, OsStr::new(&entry), &short).is_err());
    }

    #[test]
    fn what_kmsfs_did_not_name_is_refused() {
        let keys = keys();
        for foreign in ["", "a", "README.md", "kmsfs.json", "AAAA", "AAAAAAAAAAAAAAAAAAAAAA", "\u{e9}"] {
            assert!(keys.decrypt_name(&DIR, foreign.as_bytes()).is_err(), "{foreign:?}");
        }
        assert!(keys.decrypt_name(&DIR, &vec![b'A'; 1 << 20]).is_err());
        let lower = keys.encrypt_name(&DIR, &name(9)).name.into_vec();
        assert!(keys.decrypt_name(&DIR, &[&lower[..], b"="].concat()).is_err(), "padding");
        let other = VolumeKeys::new(&Key::from_bytes(&mut [9; 32]), [2; 16]);
        assert!(other.decrypt_name(&DIR, &lower).is_err(), "another volume's key");
    }

    #[test]
    fn authentic_nonsense_is_refused() {
        let keys = keys();
        for nonsense in ["", ".", "..", "a/b", "a\0b", &"n".repeat(NAME_MAX + 1)] {
            let lower = keys.encrypt_name(&DIR, OsStr::new(nonsense));
            let text = lower.sidecar.map_or(lower.name.into_vec(), |sidecar| sidecar.content);
            assert!(keys.decrypt_name(&DIR, &text).is_err(), "{nonsense:?}");
        }
    }

    proptest! {
        #[test]
        fn any_name_round_trips(
            bytes in proptest::collection::vec(1u8.., 1..=NAME_MAX),
            dir: DirId,
        ) {
            let mut bytes = bytes;
            bytes.iter_mut().filter(|byte| **byte == b'/').for_each(|byte| *byte = b'_');
            prop_assume!(is_name(&bytes));
            let name = OsString::from_vec(bytes);
            prop_assert_eq!(round_trip(&keys(), &dir, &name), name);
        }

        #[test]
        fn any_bytes_are_refused_without_panic(bytes: Vec<u8>, entry: Vec<u8>) {
            prop_assert!(keys().decrypt_name(&DIR, &bytes).is_err());
            prop_assert!(keys().decrypt_long_name(&DIR, OsStr::from_bytes(&entry), &bytes).is_err());
        }

        #[test]
        fn any_base64url_is_refused_without_panic(text in "[A-Za-z0-9_-]{0,400}") {
            prop_assert!(keys().decrypt_name(&DIR, text.as_bytes()).is_err());
        }
    }
}
