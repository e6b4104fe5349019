//! Shred secrets: what is destroyed so that no copy of a file opens any more.
//!
//! In a *shreddable* zone each file has a secret of its own at the KMS, and its wrapped data key is sealed under that
//! secret besides. Secrets give no secrecy that the CMK does not give; they are there to be destroyed, one by one. They
//! are made in batches ahead of the files, since to make one takes a commit of the KMS's database, and are durable there
//! before any header names them.
//!
//! ```text
//! blob ‖ tag 16: AES-256-GCM-SIV under subkey_with("kmsfs v1 shred secret", secret, file id),
//!                zero nonce, AAD volume id ‖ CMK id ‖ material u32 big-endian
//! ```
//! The zero nonce is sound: the sealing key is the file's own, and GCM-SIV (RFC 8452) of two wrapped keys of one file
//! under it tells at most whether they are equal.

use super::{Context, Error, ErrorKind, KeyProvider, WrappedKey};
use crate::crypto::{AeadKey, Cipher, Key, NONCE_LEN, TAG_LEN, kdf};
use crate::kms::SecretId;
use parking_lot::Mutex;

/// Keeps shred secrets. Calls block, and may come from any thread.
pub trait SecretStore: Send + Sync {
    /// Makes `count` secrets for those who may use `cmk` in `context`; 1 to [`crate::kms::SECRETS_MAX`]. They are durable.
    ///
    /// # Errors
    /// As [`KeyProvider::generate`].
    fn create(&self, cmk: &str, count: usize, context: &Context<'_>) -> Result<Vec<(SecretId, Key)>, Error>;

    /// A secret that was made in the same context.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if it was destroyed; as [`KeyProvider::unwrap_key`].
    fn get(&self, id: SecretId, context: &Context<'_>) -> Result<Key, Error>;

    /// Lets those who may use `cmk` have a secret, too.
    ///
    /// # Errors
    /// As [`SecretStore::get`] and [`SecretStore::create`].
    fn bind(&self, id: SecretId, cmk: &str, context: &Context<'_>) -> Result<(), Error>;

    /// Destroys secrets, at most [`crate::kms::SECRETS_MAX`] of them. Returns how many there were to destroy.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`], [`ErrorKind::Unavailable`].
    fn destroy(&self, ids: &[SecretId]) -> Result<usize, Error>;
}

/// Where a KMS keeps shred secrets.
///
/// # Errors
/// [`ErrorKind::Unsuitable`] if it keeps none.
pub fn secret_store(provider: &dyn KeyProvider) -> Result<&dyn SecretStore, Error> {
    provider.secrets().ok_or_else(|| {
        let kms = provider.description();
        let what = format_args!(
            "{kms} keeps no shred secrets: files can be made shreddable with local: or a kmsfs service"
        );
        Error::new(ErrorKind::Unsuitable, what)
    })
}

/// Seals a wrapped data key of `file` under the file's secret.
pub(super) fn seal(secret: &Key, volume: &[u8; 16], file: &[u8; 16], wrapped: WrappedKey) -> WrappedKey {
    let aad = aad(volume, &wrapped);
    let WrappedKey { key_id, material, mut blob } = wrapped;
    let tag = sealer(secret, file).seal_in_place(&[0; NONCE_LEN], &aad, &mut blob);
    blob.extend_from_slice(&tag);
    WrappedKey { key_id, material, blob }
}

/// Opens what [`seal`] made.
///
/// # Errors
/// [`ErrorKind::Invalid`] unless this secret sealed it for that file.
pub(super) fn open(
    secret: &Key,
    volume: &[u8; 16],
    file: &[u8; 16],
    sealed: &WrappedKey,
) -> Result<WrappedKey, Error> {
    let invalid = || Error::new(ErrorKind::Invalid, "the wrapped key is not what this file's secret sealed");
    let (text, tag) = sealed.blob.split_last_chunk::<TAG_LEN>().ok_or_else(invalid)?;
    let mut blob = text.to_vec();
    let aad = aad(volume, sealed);
    sealer(secret, file).open_in_place(&[0; NONCE_LEN], &aad, &mut blob, tag).map_err(|_| invalid())?;
    Ok(WrappedKey { blob, ..*sealed })
}

fn sealer(secret: &Key, file: &[u8; 16]) -> AeadKey {
    AeadKey::new(Cipher::Aes256GcmSiv, &kdf::subkey_with("kmsfs v1 shred secret", secret, file))
}

fn aad(volume: &[u8; 16], wrapped: &WrappedKey) -> Vec<u8> {
    [&volume[..], &wrapped.key_id, &wrapped.material.to_be_bytes()].concat()
}

/// Secrets that were made ahead for new files.
pub(super) struct Batch(Mutex<Vec<(SecretId, Key)>>);

impl Batch {
    pub(super) fn new(secrets: Vec<(SecretId, Key)>) -> Batch {
        Batch(Mutex::new(secrets))
    }

    /// One of them, if any is left.
    pub(super) fn take(&self) -> Option<(SecretId, Key)> {
        self.0.lock().pop()
    }
}

/// How many secrets are made at first, and at most: a mount that makes one file must not leave hundreds unused.
const FIRST: usize = 16;
const MOST: usize = 256;

/// How many to make after `made` were used up.
pub(super) fn next_size(made: usize) -> usize {
    (made * 4).clamp(FIRST, MOST)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const VOLUME: [u8; 16] = [1; 16];
    const FILE: [u8; 16] = [2; 16];

    fn wrapped() -> WrappedKey {
        WrappedKey { key_id: [3; 16], material: 4, blob: vec![5; 80] }
    }

    #[test]
    fn a_wrapped_key_opens_for_its_file_and_secret_only() {
        let secret = Key::random();
        let sealed = seal(&secret, &VOLUME, &FILE, wrapped());
        assert_eq!(open(&secret, &VOLUME, &FILE, &sealed).unwrap(), wrapped());
        assert!(sealed.blob.windows(8).all(|w| w != [5; 8]));
        let refused = [
            open(&Key::random(), &VOLUME, &FILE, &sealed),
            open(&secret, &FILE, &FILE, &sealed),
            open(&secret, &VOLUME, &VOLUME, &sealed),
            open(&secret, &VOLUME, &FILE, &WrappedKey { material: 5, ..sealed.clone() }),
            open(&secret, &VOLUME, &FILE, &WrappedKey { key_id: [4; 16], ..sealed.clone() }),
        ];
        for outcome in refused {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Invalid);
        }
        for len in 0..sealed.blob.len() {
            let short = WrappedKey { blob: sealed.blob[..len].to_vec(), ..sealed.clone() };
            assert!(open(&secret, &VOLUME, &FILE, &short).is_err(), "{len} bytes");
        }
    }
}
