//! Targets of symbolic links. Pure codec, no I/O.
//!
//! ```text
//! lower target = base64url(nonce[12] ‖ GCM-SIV(targets key, nonce, AAD = volume id, target) ‖ tag[16])
//! ```
//! The AAD names no directory and no link: links are renamed and hard-linked without being rewritten. So one
//! who writes the lower directory can put one link's target in the place of another's.
//!
//! Linux takes lower targets of up to 4095 bytes, which is a plaintext of up to [`TARGET_MAX`]. A longer one is
//! sealed all the same, for lower filesystems that take it; Linux's own answer `ENAMETOOLONG`.

use super::keys::{SEAL_OVERHEAD, VolumeKeys, open_random, seal_random};
use super::names::encoded_len;
use super::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Longest target that fits a lower target of 4095 bytes, in bytes.
pub const TARGET_MAX: usize = 3043;

const _: () = assert!(encoded_len(TARGET_MAX + SEAL_OVERHEAD) <= 4095);
const _: () = assert!(encoded_len(TARGET_MAX + 1 + SEAL_OVERHEAD) > 4095);

impl VolumeKeys {
    /// What the lower link points to.
    pub fn seal_target(&self, target: &OsStr) -> OsString {
        BASE64URL.encode(seal_random(&self.targets, &self.volume, target.as_bytes())).into()
    }

    /// What the link points to, from what the lower link points to.
    ///
    /// # Errors
    /// [`Error::Corrupt`] unless this volume's key sealed it.
    pub fn open_target(&self, lower: &OsStr) -> Result<OsString> {
        let corrupt = |why| Error::corrupt("symbolic link", why);
        let sealed = BASE64URL.decode(lower.as_bytes()).map_err(|_| corrupt("not a sealed target"))?;
        let target = open_random(&self.targets, &self.volume, &sealed)
            .map_err(|_| corrupt("the target is not authentic: altered, or from another volume"))?;
        if target.is_empty() || target.contains(&0) {
            return Err(corrupt("the target is not one a link can have"));
        }
        Ok(OsString::from_vec(target))
    }

    /// Length of a target, from the length of the lower one.
    pub fn target_len(lower: u64) -> u64 {
        (lower / 4 * 3 + lower % 4 * 3 / 4).saturating_sub(SEAL_OVERHEAD as u64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::crypto::Key;
    use proptest::prelude::*;

    fn keys() -> VolumeKeys {
        VolumeKeys::new(&Key::from_bytes(&mut [1; 32]), [2; 16])
    }

    #[test]
    fn targets_of_every_length_round_trip() {
        let keys = keys();
        for len in (1..200).chain([TARGET_MAX, TARGET_MAX + 1, 4095]) {
            let target = OsString::from("t".repeat(len));
            let lower = keys.seal_target(&target);
            assert_eq!(lower.len() <= 4095, len <= TARGET_MAX, "{len} bytes");
            assert_eq!(VolumeKeys::target_len(lower.len() as u64), len as u64);
            assert_eq!(keys.open_target(&lower).unwrap(), target);
        }
    }

    #[test]
    fn equal_targets_look_different() {
        assert_ne!(keys().seal_target(OsStr::new("a")), keys().seal_target(OsStr::new("a")));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let lower = keys().seal_target(OsStr::new("../some/where")).into_vec();
        for bit in 0..lower.len() * 8 {
            let mut bad = lower.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let opened = keys().open_target(&OsString::from_vec(bad));
            assert!(matches!(opened, Err(Error::Corrupt { .. })), "bit {bit}");
        }
    }

    #[test]
    fn foreign_links_and_impossible_targets_are_refused() {
        for foreign in ["", "/etc/passwd", "AAAA"] {
            assert!(keys().open_target(OsStr::new(foreign)).is_err(), "{foreign:?}");
        }
        for nonsense in ["", "a\0b"] {
            assert!(keys().open_target(&keys().seal_target(OsStr::new(nonsense))).is_err(), "{nonsense:?}");
        }
        let other = VolumeKeys::new(&Key::from_bytes(&mut [1; 32]), [3; 16]);
        assert!(other.open_target(&keys().seal_target(OsStr::new("a"))).is_err(), "another volume id");
    }

    #[test]
    fn no_lower_length_overflows() {
        for lower in [0, 1, 37, u64::MAX - 1, u64::MAX] {
            assert!(VolumeKeys::target_len(lower) <= lower);
        }
    }

    proptest! {
        #[test]
        fn any_target_round_trips(bytes in proptest::collection::vec(1u8.., 1..600)) {
            let target = OsString::from_vec(bytes);
            prop_assert_eq!(keys().open_target(&keys().seal_target(&target)).unwrap(), target);
        }

        #[test]
        fn any_bytes_are_refused_without_panic(bytes: Vec<u8>) {
            prop_assert!(keys().open_target(&OsString::from_vec(bytes)).is_err());
        }
    }
}
