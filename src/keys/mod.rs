//! Where data keys come from: providers, and the cache in front of them.
//!
//! A *provider* wraps and unwraps data keys with a CMK, wherever that lives. A [`Keyring`] is what a mounted
//! volume holds: its [`Zone`]s, each with a CMK at a provider, and a cache of the data keys of files in use. Nothing
//! here reads or writes files.

mod cache;
mod calls;
mod circuit;
mod dek;
mod error;
mod keyring;
mod local;
mod pool;
mod secrets;
mod service;
mod sources;
mod token;
mod watch;
mod zone;
mod zone_key;

pub use cache::CacheLimits;
pub use calls::Trouble;
pub use dek::FileKey;
pub use error::{Error, ErrorKind};
pub use keyring::{CacheStats, Keyring, Material};
pub use local::LocalProvider;
pub use secrets::{SecretStore, secret_store};
pub use service::{Caller, Endpoint, Place, ServiceProvider, cmk_id};
pub use sources::Sources;
pub use token::{Pin, TokenProvider, TokenUri};
pub use watch::Watch;
pub use zone::{Cmk, Envelope, NO_ZONE, PreviousKey, WrapMode, Zone, ZoneId};

use crate::crypto::Key;
use crate::kms::{EncryptionContext, KeySpec, KeyState, KeyUsage};
use std::fmt::Write;

/// Longest wrapped key in a file header, in bytes.
pub const WRAPPED_MAX: usize = 252;

/// A data key encrypted by a CMK.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WrappedKey {
    /// The CMK's id; zero if the provider has none of 16 bytes.
    pub key_id: [u8; 16],
    /// The version of the CMK's material; 0 if the provider does not tell.
    pub material: u32,
    /// What the provider needs to unwrap it, at most [`WRAPPED_MAX`] bytes.
    pub blob: Vec<u8>,
}

/// What a data key is for; it unwraps for nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Context<'a> {
    /// The volume's id.
    pub volume: [u8; 16],
    /// The name of the zone; `None` in the volume's own.
    pub zone: Option<&'a str>,
    /// What in the volume.
    pub purpose: Purpose,
}

/// What in a volume a data key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Names, directory records, the config.
    Volume,
    /// Wrapping the data keys of files.
    ZoneKey,
    /// Shred secrets of files.
    Secrets,
    /// The file with this id.
    File([u8; 16]),
}

impl Context<'_> {
    /// The encryption context under which a KMS wraps the key, as it appears in a KMS's log:
    /// `{kmsfs:volume: <hex>, kmsfs:file: <hex>}`, with `volume-key`, `zone-key` or `secrets` in the place of a file's id;
    /// and `kmsfs:zone: <name>` in a zone.
    pub fn to_encryption_context(&self) -> EncryptionContext {
        let file = match &self.purpose {
            Purpose::Volume => "volume-key".to_owned(),
            Purpose::ZoneKey => "zone-key".to_owned(),
            Purpose::Secrets => "secrets".to_owned(),
            Purpose::File(id) => hex(id),
        };
        let context =
            EncryptionContext::new().with("kmsfs:volume", hex(&self.volume)).with("kmsfs:file", file);
        match self.zone {
            Some(zone) => context.with("kmsfs:zone", zone),
            None => context,
        }
    }
}

fn hex(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes every write");
    }
    text
}

/// What a provider tells of a CMK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its ARN, which the volume's config records.
    pub arn: String,
    /// Its id; zero if the provider has none of 16 bytes.
    pub id: [u8; 16],
    /// Whether it can be used.
    pub state: KeyState,
    /// What kind of key it is.
    pub spec: KeySpec,
    /// What it may be used for.
    pub usage: KeyUsage,
}

/// A KMS as the filesystem sees it. Calls block, and may come from any thread.
pub trait KeyProvider: Send + Sync {
    /// A new data key, and the same wrapped by `cmk`.
    ///
    /// # Errors
    /// Any [`ErrorKind`] but `Invalid`.
    fn generate(&self, cmk: &str, context: &Context<'_>) -> Result<(Key, WrappedKey), Error>;

    /// Wraps a key that exists already.
    ///
    /// # Errors
    /// As [`KeyProvider::generate`].
    fn wrap(&self, cmk: &str, key: &Key, context: &Context<'_>) -> Result<WrappedKey, Error>;

    /// Unwraps a data key that `cmk` has wrapped.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if it was altered or wrapped in another context; otherwise any other kind.
    fn unwrap_key(&self, cmk: &str, wrapped: &WrappedKey, context: &Context<'_>) -> Result<Key, Error>;

    /// A number that changes whenever a key's state, material or name may have changed: also when it can no
    /// longer be told whether they have. Cheap.
    fn generation(&self) -> u64;

    /// Finds the CMK that `name` (id, ARN or alias) names, and checks that it can serve a volume now.
    ///
    /// # Errors
    /// `NotFound`, `Disabled`, `Denied`, `Unsuitable`, `Unavailable`, each saying what to do.
    fn resolve(&self, name: &str) -> Result<KeyInfo, Error>;

    /// What it is, for people: `local:/path/keystore.db`.
    fn description(&self) -> String;

    /// What a call costs.
    fn cost(&self) -> CallCost;

    /// Its shred secrets; `None` if it keeps none, and no zone of it can be shreddable.
    fn secrets(&self) -> Option<&dyn SecretStore>;
}

/// What a call to a KMS costs whoever waits for it, and whoever pays for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallCost {
    /// Microseconds: it is in this process.
    Nothing,
    /// Tens of microseconds: another process of this machine.
    Machine,
    /// A way through a network, or to a device, and perhaps money.
    Network,
}

impl CallCost {
    /// How the data keys of a new volume are wrapped, unless somebody says otherwise.
    pub fn wrap_mode(self) -> WrapMode {
        match self {
            CallCost::Nothing | CallCost::Machine => WrapMode::Direct,
            CallCost::Network => WrapMode::ZoneKey,
        }
    }
}

#[cfg(test)]
mod tests;
