//! Extended attributes: names and values. Pure codec, no I/O.
//!
//! ```text
//! lower name  = namespace ".kmsfs." base64url(GCM-SIV(xattr names key, nonce = 0, AAD = volume id, name) ‖ tag)
//! lower value = nonce[12] ‖ GCM-SIV(key, nonce, AAD, value) ‖ tag[16]
//! ```
//! The whole name is encrypted, its namespace included. `trusted.*` and `security.*` keep their namespace on the
//! lower filesystem, and with it who may read and write them; everything else goes to `user.*`.
//!
//! | holder | key | AAD |
//! |---|---|---|
//! | regular file | the file's own ([`seal_value`]) | name |
//! | directory | xattr values key | volume id ‖ 1 ‖ directory id ‖ name |
//! | anything else | xattr values key | volume id ‖ 0 ‖ name |
//!
//! So a value fits under no other name, and those of files and directories fit no other file or directory.

use super::dirrec::DirId;
use super::keys::{SEAL_OVERHEAD, VolumeKeys, open_random, seal_random};
use super::names::encoded_len;
use super::{Error, Result};
use crate::crypto::{AeadKey, NONCE_LEN, TAG_LEN};
use crate::keys::FileKey;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Longest name, in bytes, that fits a lower name of 255 bytes when encrypted: `user.*`. The other namespaces
/// take three bytes less at most; the lower filesystem refuses what is too long with `ERANGE`.
pub const XATTR_NAME_MAX: usize = 167;
/// Bytes that sealing adds to a value.
pub const VALUE_OVERHEAD: usize = SEAL_OVERHEAD;

const NAMESPACES: [&str; 2] = ["trusted", "security"];
const MARK: &str = ".kmsfs.";
const NONCE: [u8; NONCE_LEN] = [0; NONCE_LEN];

const _: () = assert!("user".len() + MARK.len() + encoded_len(XATTR_NAME_MAX + TAG_LEN) <= 255);
const _: () = assert!("user".len() + MARK.len() + encoded_len(XATTR_NAME_MAX + 1 + TAG_LEN) > 255);

impl VolumeKeys {
    /// The lower name of the attribute `name`.
    pub fn encrypt_xattr(&self, name: &OsStr) -> OsString {
        let mut sealed = name.as_bytes().to_vec();
        let tag = self.xattr_names.seal_in_place(&NONCE, &self.volume, &mut sealed);
        sealed.extend_from_slice(&tag);
        format!("{}{MARK}{}", lower_namespace(name.as_bytes()), BASE64URL.encode(sealed)).into()
    }

    /// The attribute's name from its lower name; `None` for whatever kmsfs did not name.
    pub fn decrypt_xattr(&self, lower: &OsStr) -> Option<OsString> {
        let (namespace, text) = lower.to_str()?.split_once(MARK)?;
        let sealed = BASE64URL.decode(text).ok()?;
        let (body, tag) = sealed.split_last_chunk::<TAG_LEN>()?;
        let mut name = vec![0; body.len()];
        self.xattr_names.open_into(&NONCE, &self.volume, body, tag, &mut name).ok()?;
        let fits = !name.is_empty() && !name.contains(&0) && lower_namespace(&name) == namespace;
        fits.then(|| OsString::from_vec(name))
    }

    /// Seals the value of the attribute `name` of the directory `dir`, or of something that is neither directory
    /// nor regular file.
    pub fn seal_xattr(&self, dir: Option<&DirId>, name: &OsStr, value: &[u8]) -> Vec<u8> {
        seal_random(&self.xattr_values, &self.holder_aad(dir, name), value)
    }

    /// Opens what [`VolumeKeys::seal_xattr`] made of the same attribute.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is not that.
    pub fn open_xattr(&self, dir: Option<&DirId>, name: &OsStr, sealed: &[u8]) -> Result<Vec<u8>> {
        open(&self.xattr_values, &self.holder_aad(dir, name), name, sealed)
    }

    fn holder_aad(&self, dir: Option<&DirId>, name: &OsStr) -> Vec<u8> {
        let mut aad = Vec::with_capacity(64);
        aad.extend_from_slice(&self.volume);
        aad.push(u8::from(dir.is_some()));
        aad.extend_from_slice(dir.map_or(&[], |id| id.as_slice()));
        aad.extend_from_slice(name.as_bytes());
        aad
    }
}

/// Seals the value of the attribute `name` of the regular file whose xattr key is `key`.
pub fn seal_value(key: &AeadKey, name: &OsStr, value: &[u8]) -> Vec<u8> {
    seal_random(key, name.as_bytes(), value)
}

/// Opens what [`seal_value`] made of the same attribute of the same file.
///
/// # Errors
/// [`Error::Corrupt`] if it is not that.
pub fn open_value(key: &AeadKey, name: &OsStr, sealed: &[u8]) -> Result<Vec<u8>> {
    open(key, name.as_bytes(), name, sealed)
}

/// Opens what [`seal_value`] made of the same attribute of the file whose data key is `key`; while the file is being
/// rekeyed, also under its previous one.
///
/// # Errors
/// As [`open_value`].
pub fn open_value_of(key: &FileKey, name: &OsStr, sealed: &[u8]) -> Result<Vec<u8>> {
    let previous = || key.previous().and_then(|key| open_value(key.xattr_key(), name, sealed).ok());
    open_value(key.xattr_key(), name, sealed).or_else(|e| previous().ok_or(e))
}

fn open(key: &AeadKey, aad: &[u8], name: &OsStr, sealed: &[u8]) -> Result<Vec<u8>> {
    open_random(key, aad, sealed).map_err(|_| {
        let file = format_args!("extended attribute {}", name.display()).to_string();
        Error::corrupt(file, "the value is not authentic: altered, or of another file or attribute")
    })
}

/// Whether the attribute `name` is a POSIX ACL, which is kept as it is: the lower kernel acts on it.
pub fn is_acl(name: &OsStr) -> bool {
    name == "system.posix_acl_access" || name == "system.posix_acl_default"
}

/// The namespace in which the attribute `name` lies on the lower filesystem.
fn lower_namespace(name: &[u8]) -> &'static str {
    let of = |namespace: &&&str| {
        name.strip_prefix(namespace.as_bytes()).is_some_and(|rest| rest.starts_with(b"."))
    };
    NAMESPACES.iter().find(of).copied().unwrap_or("user")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::crypto::{Cipher, Key};
    use proptest::prelude::*;

    fn keys() -> VolumeKeys {
        VolumeKeys::new(&Key::from_bytes(&mut [1; 32]), [2; 16])
    }

    fn file_key() -> AeadKey {
        AeadKey::new(Cipher::Aes256GcmSiv, &Key::from_bytes(&mut [3; 32]))
    }

    #[test]
    fn names_round_trip_in_their_namespace() {
        let namespaces = [
            ("user.mime_type", "user.kmsfs."),
            ("trusted.overlay.opaque", "trusted.kmsfs."),
            ("security.selinux", "security.kmsfs."),
            ("securityx.y", "user.kmsfs."),
            ("trusted", "user.kmsfs."),
        ];
        for (name, prefix) in namespaces {
            let lower = keys().encrypt_xattr(OsStr::new(name));
            assert!(lower.to_str().unwrap().starts_with(prefix), "{name}");
            assert_eq!(lower, keys().encrypt_xattr(OsStr::new(name)), "deterministic");
            assert_eq!(keys().decrypt_xattr(&lower).unwrap(), name);
        }
    }

    #[test]
    fn the_longest_name_fits() {
        let name = format!("user.{}", "x".repeat(XATTR_NAME_MAX - 5));
        assert_eq!(keys().encrypt_xattr(OsStr::new(&name)).len(), 255);
    }

    #[test]
    fn every_flipped_bit_of_a_name_is_refused() {
        let lower = keys().encrypt_xattr(OsStr::new("user.mime_type")).into_vec();
        for bit in 0..lower.len() * 8 {
            let mut bad = lower.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(keys().decrypt_xattr(&OsString::from_vec(bad)), None, "bit {bit}");
        }
    }

    #[test]
    fn a_name_does_not_move_to_another_namespace() {
        let lower = keys().encrypt_xattr(OsStr::new("trusted.secret")).into_string().unwrap();
        let exposed = lower.replacen("trusted", "user", 1);
        assert_eq!(keys().decrypt_xattr(OsStr::new(&exposed)), None);
    }

    #[test]
    fn values_open_for_their_holder_and_name_only() {
        let (keys, name, other) = (keys(), OsStr::new("user.a"), OsStr::new("user.b"));
        let (here, there) = ([4; 16], [5; 16]);
        for value in [&b""[..], b"value"] {
            let sealed = keys.seal_xattr(Some(&here), name, value);
            assert_eq!(sealed.len(), value.len() + VALUE_OVERHEAD);
            assert_eq!(keys.open_xattr(Some(&here), name, &sealed).unwrap(), value);
            assert!(keys.open_xattr(Some(&there), name, &sealed).is_err(), "another directory");
            assert!(keys.open_xattr(None, name, &sealed).is_err(), "no directory");
            assert!(keys.open_xattr(Some(&here), other, &sealed).is_err(), "another name");
            assert!(open_value(&file_key(), name, &sealed).is_err(), "a regular file");

            let sealed = keys.seal_xattr(None, name, value);
            assert_eq!(keys.open_xattr(None, name, &sealed).unwrap(), value);
            let sealed = seal_value(&file_key(), name, value);
            assert_eq!(open_value(&file_key(), name, &sealed).unwrap(), value);
            assert!(open_value(&file_key(), other, &sealed).is_err());
        }
    }

    #[test]
    fn every_flipped_bit_of_a_value_is_refused() {
        let name = OsStr::new("user.a");
        let sealed = seal_value(&file_key(), name, b"value");
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(open_value(&file_key(), name, &bad), Err(Error::Corrupt { .. })), "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert!(open_value(&file_key(), name, &sealed[..len]).is_err(), "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn any_name_round_trips(bytes in proptest::collection::vec(1u8.., 1..200)) {
            let name = OsString::from_vec(bytes);
            prop_assert_eq!(keys().decrypt_xattr(&keys().encrypt_xattr(&name)).unwrap(), name);
        }

        #[test]
        fn any_bytes_are_refused_without_panic(bytes: Vec<u8>) {
            prop_assert_eq!(keys().decrypt_xattr(OsStr::from_bytes(&bytes)), None);
            prop_assert!(keys().open_xattr(None, OsStr::new("user.a"), &bytes).is_err());
        }

        #[test]
        fn any_base64url_is_refused_without_panic(text in "user\\.kmsfs\\.[A-Za-z0-9_-]{0,200}") {
            prop_assert_eq!(keys().decrypt_xattr(OsStr::new(&text)), None);
        }
    }
}
