//! One file's data key, expanded: what blocks, header and xattrs are sealed with.
//!
//! | key | derivation from the data key |
//! |---|---|
//! | blocks of a generation | `subkey_with("kmsfs v1 file blocks", generation u32 big-endian)`, the volume's cipher |
//! | header MAC | `subkey("kmsfs v1 file header")`, keyed BLAKE3 |
//! | xattrs | `subkey("kmsfs v1 file xattrs")`, always AES-256-GCM-SIV |
//! | previous data key | `subkey("kmsfs v1 previous data key")`, AES-256-GCM-SIV, zero nonce, AAD file id ‖ first generation |
//!
//! A generation ends when its random nonces are used up; old blocks keep the generation they were
//! written in.
//!
//! While a file is being rekeyed it has two data keys: the one that its header wraps, and the previous one, sealed under
//! the first. Generations go on counting, so a block's generation tells which of the two it is under. The zero nonce
//! is sound, since one data key is ever sealed under another.

use super::{Cmk, Error, ErrorKind, PreviousKey, Zone, ZoneId};
use crate::crypto::{AeadKey, Cipher, KEY_LEN, Key, NONCE_LEN, TAG_LEN, kdf, mac};
use crate::kms::SecretId;
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
    shred: Option<Arc<Shred>>,
    previous: Option<Previous>,
}

/// The shred secret of a file.
pub(super) struct Shred {
    pub(super) id: SecretId,
    pub(super) secret: Key,
    /// A CMK that it is bound to.
    pub(super) cmk: Cmk,
    /// The zone it was made for.
    pub(super) zone: ZoneId,
}

impl Shred {
    /// Whether it can serve in `zone` too: it is for one context, and at one KMS.
    pub(super) fn serves(&self, zone: &Zone) -> bool {
        self.zone == zone.id && Arc::ptr_eq(&self.cmk.provider, &zone.cmk.provider)
    }
}

/// The data key of a file before the one it has.
struct Previous {
    sealed: PreviousKey,
    key: Arc<FileKey>,
}

impl FileKey {
    /// The keys that come of a data key; `cipher` is for blocks.
    pub fn new(cipher: Cipher, dek: Key) -> FileKey {
        let header = kdf::subkey("kmsfs v1 file header", &dek);
        FileKey {
            cipher,
            dek,
            header,
            sealed: None,
            xattrs: OnceLock::new(),
            blocks: RwLock::default(),
            shred: None,
            previous: None,
        }
    }

    /// The same; what is sealed with it counts in `sealed`, in bytes of plaintext.
    pub(super) fn counting(self, sealed: Arc<AtomicU64>) -> FileKey {
        FileKey { sealed: Some(sealed), ..self }
    }

    /// The same, of a file with a shred secret or without.
    pub(super) fn with_shred(self, shred: Option<Arc<Shred>>) -> FileKey {
        FileKey { shred, ..self }
    }

    pub(super) fn shred(&self) -> Option<&Arc<Shred>> {
        self.shred.as_ref()
    }

    /// The same, of `file` while it is being rekeyed from `key`: blocks from generation `first` on are under this one.
    pub(crate) fn replacing(self, file: &[u8; 16], key: &Arc<FileKey>, first: u32) -> FileKey {
        let mut sealed = [0; KEY_LEN + TAG_LEN];
        let (text, tag) = sealed.split_at_mut(KEY_LEN);
        let aad = previous_aad(file, first);
        tag.copy_from_slice(&self.previous_sealer().seal_into(&[0; NONCE_LEN], &aad, key.dek.expose(), text));
        let sealed = PreviousKey { first, sealed };
        FileKey { previous: Some(Previous { sealed, key: Arc::clone(key) }), ..self }
    }

    /// The same, of `file` whose header has a previous data key.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if that is not what was sealed there.
    pub(super) fn with_previous(self, file: &[u8; 16], previous: &PreviousKey) -> Result<FileKey, Error> {
        let (text, tag) = previous.sealed.split_last_chunk::<TAG_LEN>().expect("a tag behind the key");
        let aad = previous_aad(file, previous.first);
        let key =
            Key::try_fill_with(|out| self.previous_sealer().open_into(&[0; NONCE_LEN], &aad, text, tag, out));
        let key =
            key.map_err(|_| Error::new(ErrorKind::Invalid, "the previous data key is not authentic"))?;
        let key = Arc::new(FileKey::new(self.cipher, key));
        Ok(FileKey { previous: Some(Previous { sealed: previous.clone(), key }), ..self })
    }

    /// The same without its previous data key: nothing of the file is under that any more.
    #[must_use]
    pub fn without_previous(&self) -> FileKey {
        let dek = Key::fill_with(|out| out.copy_from_slice(self.dek.expose()));
        FileKey { sealed: self.sealed.clone(), shred: self.shred.clone(), ..FileKey::new(self.cipher, dek) }
    }

    /// The previous data key, while the file is being rekeyed.
    pub fn previous(&self) -> Option<&FileKey> {
        self.previous.as_ref().map(|previous| &*previous.key)
    }

    /// The previous data key, as a header has it.
    pub(crate) fn sealed_previous(&self) -> Option<&PreviousKey> {
        self.previous.as_ref().map(|previous| &previous.sealed)
    }

    fn previous_sealer(&self) -> AeadKey {
        AeadKey::new(Cipher::Aes256GcmSiv, &kdf::subkey("kmsfs v1 previous data key", &self.dek))
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
        if let Some(previous) = self.previous.as_ref().filter(|previous| generation < previous.sealed.first) {
            return previous.key.block_key(generation);
        }
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

    /// Tells the key from any other, and nothing of it; may be kept when the key is let go of.
    pub fn print(&self) -> [u8; mac::MAC_LEN] {
        mac::mac(&self.header, &[b"print"])
    }

    /// The key of xattr values, always AES-256-GCM-SIV.
    pub fn xattr_key(&self) -> &AeadKey {
        self.xattrs.get_or_init(|| {
            AeadKey::new(Cipher::Aes256GcmSiv, &kdf::subkey("kmsfs v1 file xattrs", &self.dek))
        })
    }
}

fn previous_aad(file: &[u8; 16], first: u32) -> [u8; 20] {
    let mut aad = [0; 20];
    aad[..16].copy_from_slice(file);
    aad[16..].copy_from_slice(&first.to_be_bytes());
    aad
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
    fn generations_tell_which_of_two_data_keys_a_block_is_under() {
        let (file, old) = ([1; 16], Arc::new(file_key(Cipher::Aes256Gcm)));
        let new = FileKey::new(Cipher::Aes256Gcm, Key::random()).replacing(&file, &old, 3);
        for generation in 0..3 {
            assert_eq!(sealed(&new.block_key(generation)), sealed(&old.block_key(generation)));
        }
        assert_ne!(sealed(&new.block_key(3)), sealed(&old.block_key(3)));
        let alone = new.without_previous();
        assert_eq!(sealed(&alone.block_key(3)), sealed(&new.block_key(3)));
        assert_ne!(sealed(&alone.block_key(2)), sealed(&old.block_key(2)));

        let previous = new.sealed_previous().unwrap();
        let again = new.without_previous().with_previous(&file, previous).unwrap();
        assert_eq!(sealed(&again.block_key(2)), sealed(&old.block_key(2)));
        assert_eq!(again.previous().unwrap().header_mac_key(), old.header_mac_key());
        let altered = |alter: fn(&mut PreviousKey)| {
            let mut bad = previous.clone();
            alter(&mut bad);
            new.without_previous().with_previous(&file, &bad).unwrap_err().kind()
        };
        assert_eq!(altered(|bad| bad.first += 1), ErrorKind::Invalid);
        assert_eq!(altered(|bad| bad.sealed[0] ^= 1), ErrorKind::Invalid);
        assert!(new.without_previous().with_previous(&[2; 16], previous).is_err(), "another file");
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
