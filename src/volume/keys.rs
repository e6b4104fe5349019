//! The volume key, expanded: what everything in a volume but file contents is sealed with.
//!
//! | key | context string | used with |
//! |---|---|---|
//! | config | `kmsfs v1 volume config` | keyed BLAKE3: the MAC of `kmsfs.json` |
//! | journal | `kmsfs v1 volume journal` | keyed BLAKE3: the MACs of journal records |
//! | names | `kmsfs v1 volume names` | AES-256-GCM-SIV, deterministic |
//! | records | `kmsfs v1 volume directory records` | AES-256-GCM-SIV, random nonces |
//! | targets | `kmsfs v1 volume symlink targets` | AES-256-GCM-SIV, random nonces |
//! | xattr names | `kmsfs v1 volume xattr names` | AES-256-GCM-SIV, deterministic |
//! | xattr values | `kmsfs v1 volume xattr values` | AES-256-GCM-SIV, random nonces |
//!
//! Each is `kdf::subkey(context, volume key)`. The volume's cipher is for file contents only: names are
//! deterministic, which only GCM-SIV survives, and the rest is too small for speed to matter.
//!
//! What is done with the keys is in [`names`](super::names), [`dirrec`](super::dirrec),
//! [`symlink`](super::symlink) and [`xattrs`](super::xattrs), each of which extends [`VolumeKeys`].

use crate::crypto::{AeadKey, Cipher, Key, NONCE_LEN, NotAuthentic, TAG_LEN, kdf, random};

/// A random name of a volume, the same for its whole life.
pub type VolumeId = [u8; 16];

/// Bytes that [`seal_random`] adds to a plaintext.
pub(super) const SEAL_OVERHEAD: usize = NONCE_LEN + TAG_LEN;

/// The keys of a mounted volume, expanded. Shared by every thread.
pub struct VolumeKeys {
    pub(super) volume: VolumeId,
    pub(super) config: Key,
    pub(super) names: AeadKey,
    pub(super) records: AeadKey,
    pub(super) targets: AeadKey,
    pub(super) xattr_names: AeadKey,
    pub(super) xattr_values: AeadKey,
}

impl VolumeKeys {
    /// Expands the key of the volume `volume`.
    pub fn new(volume_key: &Key, volume: VolumeId) -> VolumeKeys {
        let expand = |context| AeadKey::new(Cipher::Aes256GcmSiv, &kdf::subkey(context, volume_key));
        VolumeKeys {
            volume,
            config: config_key(volume_key),
            names: expand("kmsfs v1 volume names"),
            records: expand("kmsfs v1 volume directory records"),
            targets: expand("kmsfs v1 volume symlink targets"),
            xattr_names: expand("kmsfs v1 volume xattr names"),
            xattr_values: expand("kmsfs v1 volume xattr values"),
        }
    }

    /// The volume these keys belong to.
    pub fn volume_id(&self) -> &VolumeId {
        &self.volume
    }
}

impl std::fmt::Debug for VolumeKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VolumeKeys").finish_non_exhaustive()
    }
}

/// The key of the config's MAC.
pub fn config_key(volume_key: &Key) -> Key {
    kdf::subkey("kmsfs v1 volume config", volume_key)
}

/// The key of the journal's MACs.
pub fn journal_key(volume_key: &Key) -> Key {
    kdf::subkey("kmsfs v1 volume journal", volume_key)
}

/// `nonce ‖ ciphertext ‖ tag`, with a random nonce.
pub(super) fn seal_random(key: &AeadKey, aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let nonce = random::array::<NONCE_LEN>();
    let mut sealed = Vec::with_capacity(plain.len() + SEAL_OVERHEAD);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plain);
    let tag = key.seal_in_place(&nonce, aad, &mut sealed[NONCE_LEN..]);
    sealed.extend_from_slice(&tag);
    sealed
}

/// Opens what [`seal_random`] made.
pub(super) fn open_random(key: &AeadKey, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, NotAuthentic> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(NotAuthentic)?;
    let (text, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(NotAuthentic)?;
    let mut plain = vec![0; text.len()];
    key.open_into(nonce, aad, text, tag, &mut plain)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn aead(byte: u8) -> AeadKey {
        AeadKey::new(Cipher::Aes256GcmSiv, &Key::from_bytes(&mut [byte; 32]))
    }

    #[test]
    fn each_use_has_a_key_of_its_own() {
        let volume_key = Key::from_bytes(&mut [1; 32]);
        assert_ne!(config_key(&volume_key), journal_key(&volume_key));
        let keys = VolumeKeys::new(&volume_key, [2; 16]);
        let all = [&keys.names, &keys.records, &keys.targets, &keys.xattr_names, &keys.xattr_values];
        for (i, sealer) in all.iter().enumerate() {
            let sealed = seal_random(sealer, b"", b"plain");
            for (j, opener) in all.iter().enumerate() {
                assert_eq!(open_random(opener, b"", &sealed).is_ok(), i == j, "key {i}, opened by {j}");
            }
        }
    }

    #[test]
    fn what_was_sealed_opens_with_the_same_key_and_aad_only() {
        let sealed = seal_random(&aead(1), b"aad", b"plain");
        assert_eq!(sealed.len(), 5 + SEAL_OVERHEAD);
        assert_eq!(open_random(&aead(1), b"aad", &sealed).unwrap(), b"plain");
        assert!(open_random(&aead(1), b"", &sealed).is_err());
        assert!(open_random(&aead(2), b"aad", &sealed).is_err());
        for len in 0..sealed.len() {
            assert!(open_random(&aead(1), b"aad", &sealed[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn nothing_of_the_keys_is_printed() {
        let keys = VolumeKeys::new(&Key::from_bytes(&mut [1; 32]), [2; 16]);
        assert_eq!(format!("{keys:?}"), "VolumeKeys { .. }");
    }
}
