//! Signing keys, kept for the next request of the same client.

use super::authorization::Authorization;
use crate::crypto::SecretBytes;
use crate::crypto::hmac::HmacKey;
use crate::sigv4::{SERVICE, signing_key};
use lru::LruCache;
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many are kept. A client needs one for each of its access keys and regions a day.
const KEPT: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// Signing keys that have verified a signature. Only those: nobody without a secret access key can push out
/// others.
#[derive(Debug)]
pub struct SigningKeys {
    kept: Mutex<LruCache<String, Arc<HmacKey>>>,
    found: AtomicU64,
    missed: AtomicU64,
}

/// How well [`SigningKeys`] serve.
#[derive(Debug, Clone, Copy)]
pub struct SigningKeyFigures {
    /// How many are kept.
    pub kept: usize,
    /// How often one was there.
    pub found: u64,
    /// How often none was.
    pub missed: u64,
}

impl Default for SigningKeys {
    fn default() -> SigningKeys {
        SigningKeys {
            kept: Mutex::new(LruCache::new(KEPT)),
            found: AtomicU64::new(0),
            missed: AtomicU64::new(0),
        }
    }
}

impl SigningKeys {
    /// The signing key for the scope of `authorization`; `secret` is that of its access key, which never changes
    /// as long as the access key exists.
    pub fn get(&self, authorization: &Authorization<'_>, secret: &SecretBytes) -> Arc<HmacKey> {
        let kept = self.kept.lock().get(authorization.credential).map(Arc::clone);
        let counter = if kept.is_some() { &self.found } else { &self.missed };
        counter.fetch_add(1, Ordering::Relaxed);
        kept.unwrap_or_else(|| {
            Arc::new(signing_key(secret, authorization.date, authorization.region, SERVICE))
        })
    }

    /// How well they serve.
    pub fn figures(&self) -> SigningKeyFigures {
        SigningKeyFigures {
            kept: self.kept.lock().len(),
            found: self.found.load(Ordering::Relaxed),
            missed: self.missed.load(Ordering::Relaxed),
        }
    }

    /// Keeps a key that [`SigningKeys::get`] gave and that was the right one.
    pub fn keep(&self, authorization: &Authorization<'_>, key: &Arc<HmacKey>) {
        let mut kept = self.kept.lock();
        if !kept.contains(authorization.credential) {
            kept.put(authorization.credential.to_owned(), Arc::clone(key));
        }
    }
}
