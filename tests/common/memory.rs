//! A volume in a temporary directory, its key in memory, opened as a mount opens it but without a kernel.

#![allow(dead_code, reason = "every test program uses a part of it")]

use kmsfs::crypto::{AeadKey, Cipher, Key};
use kmsfs::fs::{Backing, Filesystem};
use kmsfs::keys::{
    CallCost, Context, Error, ErrorKind, KeyInfo, KeyProvider, SecretStore, Sources, WrappedKey,
};
use kmsfs::kms::{KeySpec, KeyState, KeyUsage};
use kmsfs::volume::lower::{Lower, SystemLower};
use kmsfs::volume::{Durability, Options, Volume};
use std::path::Path;
use std::sync::Arc;

/// A KMS whose keys are one, under as many names and ids as are asked for.
struct OneKey(AeadKey);

fn id_of(name: &str) -> [u8; 16] {
    [name.len() as u8; 16]
}

impl OneKey {
    fn new() -> OneKey {
        OneKey(AeadKey::new(Cipher::Aes256GcmSiv, &Key::from_bytes(&mut [7; 32])))
    }

    fn aad(context: &Context<'_>) -> Vec<u8> {
        format!("{context:?}").into_bytes()
    }
}

impl KeyProvider for OneKey {
    fn generate(&self, cmk: &str, context: &Context<'_>) -> Result<(Key, WrappedKey), Error> {
        let key = Key::random();
        let wrapped = self.wrap(cmk, &key, context)?;
        Ok((key, wrapped))
    }

    fn wrap(&self, cmk: &str, key: &Key, context: &Context<'_>) -> Result<WrappedKey, Error> {
        let mut blob = key.expose().to_vec();
        let tag = self.0.seal_in_place(&[0; 12], &OneKey::aad(context), &mut blob);
        blob.extend(tag);
        Ok(WrappedKey { key_id: id_of(cmk), material: 1, blob })
    }

    fn unwrap_key(&self, _: &str, wrapped: &WrappedKey, context: &Context<'_>) -> Result<Key, Error> {
        let invalid = || Error::new(ErrorKind::Invalid, "not a wrapped key of this KMS");
        let (sealed, tag) = wrapped.blob.split_last_chunk::<16>().ok_or_else(invalid)?;
        let mut key: [u8; 32] = sealed.try_into().map_err(|_| invalid())?;
        self.0.open_in_place(&[0; 12], &OneKey::aad(context), &mut key, tag).map_err(|_| invalid())?;
        Ok(Key::from_bytes(&mut key))
    }

    fn generation(&self) -> u64 {
        0
    }

    fn resolve(&self, name: &str) -> Result<KeyInfo, Error> {
        Ok(KeyInfo {
            arn: name.into(),
            id: id_of(name),
            state: KeyState::Enabled,
            spec: KeySpec::SymmetricDefault,
            usage: KeyUsage::EncryptDecrypt,
        })
    }

    fn description(&self) -> String {
        "one key in memory".into()
    }

    fn cost(&self) -> CallCost {
        CallCost::Nothing
    }

    fn secrets(&self) -> Option<&dyn SecretStore> {
        None
    }
}

/// A volume that can be opened again and again.
pub struct Scratch {
    lower: tempfile::TempDir,
}

impl Scratch {
    /// An empty volume.
    #[allow(dead_code, reason = "some tests choose the place")]
    pub fn new() -> Scratch {
        Scratch::new_in(tempfile::tempdir().unwrap())
    }

    /// An empty volume in the empty directory `lower`.
    pub fn new_in(lower: tempfile::TempDir) -> Scratch {
        Volume::create(lower.path(), &OneKey::new(), "local:", "the key", Cipher::Aes256GcmSiv, None, false)
            .unwrap();
        Scratch { lower }
    }

    /// The lower directory, for those who tamper.
    pub fn lower(&self) -> &Path {
        self.lower.path()
    }

    /// Opens it. What was opened before must have been shut down.
    #[allow(dead_code, reason = "some tests open it in their own way")]
    pub fn open(&self) -> Filesystem {
        let opened = open_volume(self.lower.path(), Arc::new(SystemLower), Durability::Process);
        let Volume { lower, root, config, keys, store, .. } = opened.unwrap();
        Filesystem::new(Backing { lower, root, config, keys, store }).unwrap()
    }

    /// The lower directory.
    #[allow(dead_code, reason = "not every test looks below")]
    pub fn path(&self) -> &Path {
        self.lower.path()
    }
}

/// Opens the volume in `dir` through the calls of `lower`.
pub fn open_volume(
    dir: &Path,
    lower: Arc<dyn Lower>,
    durability: Durability,
) -> kmsfs::volume::Result<Volume> {
    let sources = Sources::one("local:", Arc::new(OneKey::new()));
    Volume::open(lower, dir, sources, Options { durability, ..Options::default() })
}
