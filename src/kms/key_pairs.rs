//! Private keys, parsed: parsing an RSA key costs about as much as signing with it.
//!
//! At most [`KEPT`] of them are kept. One is good as long as its material is; what belongs to material that was
//! destroyed goes with the next [`KeyPairs::sweep`], a second later at most.

use super::arn::KeyId;
use super::error::{Error, Result};
use super::keystore::{Entry, Material};
use crate::crypto::asymmetric::{self, PrivateKey};
use lru::LruCache;
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use std::sync::{Arc, Weak};

/// Most private keys that are kept. An RSA-4096 key takes some 10 KiB.
const KEPT: NonZeroUsize = NonZeroUsize::new(1024).expect("it is not zero");

/// See the module.
pub(super) struct KeyPairs {
    kept: Mutex<LruCache<KeyId, Kept>>,
}

struct Kept {
    of: Weak<Material>,
    key: Arc<PrivateKey>,
}

impl KeyPairs {
    pub(super) fn new() -> KeyPairs {
        KeyPairs { kept: Mutex::new(LruCache::new(KEPT)) }
    }

    /// The private key of a CMK that is a key pair and can be used.
    ///
    /// # Errors
    /// `KMSInternalException` if its material cannot be unsealed or is no such key.
    pub(super) fn get(&self, entry: &Entry) -> Result<Arc<PrivateKey>> {
        let record = &entry.record;
        let material = entry.material(record.current_material());
        let material = material.expect("a key that can be used has its current material");
        if let Some(kept) = self.kept.lock().get(&record.id)
            && std::ptr::eq(kept.of.as_ptr(), Arc::as_ptr(material))
        {
            return Ok(Arc::clone(&kept.key));
        }
        let key_type = record.spec.key_type().expect("the caller has made sure that it is a key pair");
        let key = Arc::new(material.expose(|pkcs8| PrivateKey::from_pkcs8(key_type, pkcs8))??);
        self.kept.lock().put(record.id, Kept { of: Arc::downgrade(material), key: Arc::clone(&key) });
        Ok(key)
    }

    /// Forgets keys whose material is gone.
    pub(super) fn sweep(&self) {
        let mut kept = self.kept.lock();
        let gone: Vec<_> =
            kept.iter().filter(|(_, kept)| kept.of.strong_count() == 0).map(|(id, _)| *id).collect();
        for id in gone {
            kept.pop(&id);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.kept.lock().len()
    }
}

/// What goes wrong with a key of ours, whatever was asked of it.
impl From<asymmetric::Error> for Error {
    fn from(error: asymmetric::Error) -> Error {
        Error::Internal(error.to_string())
    }
}
