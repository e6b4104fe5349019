//! The keys of one mounted volume.

use super::cache::{CacheKey, CacheLimits, CacheStats, DekCache};
use super::watch::Watch;
use super::{Context, Error, FileKey, KeyProvider, Purpose, WrappedKey};
use crate::crypto::Cipher;
use std::sync::Arc;

/// A provider, a volume's CMK, and the cache of its files' data keys. Shared by all threads.
pub struct Keyring {
    provider: Arc<dyn KeyProvider>,
    cmk: String,
    volume: [u8; 16],
    cipher: Cipher,
    cache: DekCache,
}

impl Keyring {
    /// The keys of `volume`, whose new files' keys are wrapped by `cmk` and whose blocks are sealed with
    /// `cipher`.
    pub fn new(
        provider: Arc<dyn KeyProvider>,
        cmk: String,
        volume: [u8; 16],
        cipher: Cipher,
        limits: CacheLimits,
    ) -> Keyring {
        Keyring { provider, cmk, volume, cipher, cache: DekCache::new(limits) }
    }

    /// The CMK that wraps the keys of new files.
    pub fn cmk(&self) -> &str {
        &self.cmk
    }

    /// The provider.
    pub fn provider(&self) -> &Arc<dyn KeyProvider> {
        &self.provider
    }

    /// The cipher of the volume's blocks.
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// A new key for a new file.
    ///
    /// # Errors
    /// As [`KeyProvider::generate`].
    pub fn create(&self, file_id: &[u8; 16]) -> Result<(Arc<FileKey>, WrappedKey), Error> {
        self.cache.add(|| {
            let (dek, wrapped) = self.provider.generate(&self.cmk, &self.context(file_id))?;
            Ok((cache_key(file_id, &wrapped), Arc::new(FileKey::new(self.cipher, dek)), wrapped))
        })
    }

    /// The key of a file, whose header has it wrapped.
    ///
    /// # Errors
    /// As [`KeyProvider::unwrap_key`].
    pub fn open(&self, file_id: &[u8; 16], wrapped: &WrappedKey) -> Result<Arc<FileKey>, Error> {
        self.cache.get(cache_key(file_id, wrapped), || {
            let dek = self.provider.unwrap_key(wrapped, &self.context(file_id))?;
            Ok(Arc::new(FileKey::new(self.cipher, dek)))
        })
    }

    /// The cache's figures.
    pub fn stats(&self) -> CacheStats {
        self.cache.stats()
    }

    /// Empties the cache: every key is asked for again. Keys in use stay with their users.
    pub fn flush(&self) {
        self.cache.flush();
    }

    /// Starts to watch the provider: within 100 ms of a change of any key the cache is emptied, then `on_change`
    /// is called, on a thread of its own, until the watch is dropped. It must not drop the watch itself.
    pub fn watch(self: &Arc<Self>, on_change: Box<dyn Fn() + Send + Sync>) -> Watch {
        Watch::spawn(Arc::clone(self), on_change)
    }

    fn context(&self, file_id: &[u8; 16]) -> Context {
        Context { volume: self.volume, purpose: Purpose::File(*file_id) }
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring")
            .field("provider", &self.provider.description())
            .field("cmk", &self.cmk)
            .field("cipher", &self.cipher)
            .finish_non_exhaustive()
    }
}

fn cache_key(file_id: &[u8; 16], wrapped: &WrappedKey) -> CacheKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&wrapped.key_id).update(&wrapped.material.to_be_bytes()).update(&wrapped.blob);
    let mut digest = [0; 16];
    hasher.finalize_xof().fill(&mut digest);
    (*file_id, digest)
}
