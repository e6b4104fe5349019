//! One file's data key, expanded: what blocks, header and xattrs are sealed with.
//!
//! | key | derivation from the data key |
//! |---|---|
//! | blocks of a generation | `subkey_with("kmsfs v1 file blocks", generation u32 big-endian)`, the volume's cipher |
//! | header MAC | `subkey("kmsfs v1 file header")`, keyed BLAKE3 |
//! | xattrs | `subkey("kmsfs v1 file xattrs")`, always AES-256-GCM-SIV |
//!
//! A generation ends when its random nonces are used up; old blocks keep the generation they were
//! written in.

use crate::crypto::{AeadKey, Cipher, Key, NONCE_LEN, TAG_LEN, kdf};
use parking_lot::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// How many generations' block keys are kept expanded. A file rarely has more than one.
const GENERATIONS_KEPT: usize = 4;

/// One file's data key, expanded as needed. Expanding costs about a microsecond, so it is done once per
/// file and generation and not once per block.
pub struct FileKey {
    cipher: Cipher,
    dek: Key,
    header: Key,
    /// Bytes sealed under the keys of an epoch; see [`zone_key`](super::zone_key).
    sealed: Option<Arc<AtomicU64>>,
    xattrs: OnceLock<AeadKey>,
    /// The most recently expanded last.
    blocks: RwLock<Vec<(u32, Arc<AeadKey>)>>,
}

impl FileKey {
    /// The keys that come of a data key; `cipher` is for blocks.
    pub fn new(cipher: Cipher, dek: Key) -> FileKey {
        let header = kdf::subkey("kmsfs v1 file header", &dek);
        FileKey { cipher, dek, header, sealed: None, xattrs: OnceLock::new(), blocks: RwLock::default() }
    }

    /// The same; what is sealed with it counts in `sealed`, in bytes of plaintext.
    pub(super) fn counting(self, sealed: Arc<AtomicU64>) -> FileKey {
        FileKey { sealed: Some(sealed), ..self }
    }

    /// Seals a block of `generation`.
    pub fn seal_block(
        &self,
        generation: u32,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        plain: &[u8],
        out: &mut [u8],
    ) -> [u8; TAG_LEN] {
        if let Some(sealed) = &self.sealed {
            sealed.fetch_add(plain.len() as u64, Ordering::Relaxed);
        }
        self.block_key(generation).seal_into(nonce, aad, plain, out)
    }

    /// The data key itself, to be wrapped anew.
    pub(super) fn dek(&self) -> &Key {
        &self.dek
    }

    /// The cipher of blocks.
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// The key of blocks written in `generation`.
    pub fn block_key(&self, generation: u32) -> Arc<AeadKey> {
        let find = |keys: &[(u32, Arc<AeadKey>)]| {
            keys.iter().find(|(of, _)| *of == generation).map(|(_, key)| Arc::clone(key))
        };
        if let Some(key) = find(&self.blocks.read()) {
            return key;
        }
        let mut keys = self.blocks.write();
        if let Some(key) = find(&keys) {
            return key; // another thread was faster
        }
        let derived = kdf::subkey_with("kmsfs v1 file blocks", &self.dek, &generation.to_be_bytes());
        let key = Arc::new(AeadKey::new(self.cipher, &derived));
        if keys.len() == GENERATIONS_KEPT {
            keys.remove(0);
        }
        keys.push((generation, Arc::clone(&key)));
        key
    }

    /// The key of the header's MAC.
    pub fn header_mac_key(&self) -> &Key {
        &self.header
    }

    /// The key of xattr values, always AES-256-GCM-SIV.
    pub fn xattr_key(&self) -> &AeadKey {
        self.xattrs.get_or_init(|| {
            AeadKey::new(Cipher::Aes256GcmSiv, &kdf::subkey("kmsfs v1 file xattrs", &self.dek))
        })
    }
}

impl std::fmt::Debug for FileKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileKey").field("cipher", &self.cipher).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn sealed(key: &AeadKey) -> Vec<u8> {
        let mut out = vec![0; 5];
        let tag = key.seal_into(&[0; 12], b"", b"block", &mut out);
        [out, tag.to_vec()].concat()
    }

    fn file_key(cipher: Cipher) -> FileKey {
        FileKey::new(cipher, Key::from_bytes(&mut [7; 32]))
    }

    #[test]
    fn generations_have_keys_of_their_own_however_many_are_kept() {
        let key = file_key(Cipher::Aes256Gcm);
        let first: Vec<_> = (0..10).map(|generation| sealed(&key.block_key(generation))).collect();
        for (generation, expected) in first.iter().enumerate().rev() {
            assert_eq!(&sealed(&key.block_key(generation as u32)), expected);
        }
        let distinct: std::collections::HashSet<_> = first.iter().collect();
        assert_eq!(distinct.len(), first.len());
        assert!(key.blocks.read().len() <= GENERATIONS_KEPT);
        assert!(Arc::ptr_eq(&key.block_key(0), &key.block_key(0)));
    }

    #[test]
    fn xattrs_do_not_depend_on_the_volume_cipher() {
        let keys = Cipher::ALL.map(file_key);
        assert!(keys.iter().all(|key| key.xattr_key().cipher() == Cipher::Aes256GcmSiv));
        assert!(keys.iter().all(|key| sealed(key.xattr_key()) == sealed(keys[0].xattr_key())));
        assert_ne!(sealed(keys[0].xattr_key()), sealed(&keys[0].block_key(0)));
        assert_ne!(keys[0].header_mac_key(), &keys[0].dek);
    }
}
