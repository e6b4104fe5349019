//! Zones: subtrees of a volume with a CMK of their own, and what a file's header tells of its wrapped data key.

use super::{KeyProvider, WrappedKey};
use crate::crypto::{KEY_LEN, TAG_LEN};
use crate::kms::SecretId;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A random name of a zone, the same for its whole life.
pub type ZoneId = [u8; 16];

/// The zone of everything that is in no other: the volume itself.
pub const NO_ZONE: ZoneId = [0; 16];

/// How the data keys of a zone's files are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WrapMode {
    /// Each by the CMK: a KMS call for every file that is made or opened. Every use of a file is in the KMS's log.
    #[default]
    Direct,
    /// By a *zone key*, which the CMK wraps: a KMS call for many files. The header holds the wrapped zone key too, so
    /// every file is complete in itself.
    ZoneKey,
}

impl fmt::Display for WrapMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WrapMode::Direct => "direct",
            WrapMode::ZoneKey => "zone-key",
        })
    }
}

impl FromStr for WrapMode {
    type Err = String;

    fn from_str(text: &str) -> Result<WrapMode, String> {
        match text {
            "direct" => Ok(WrapMode::Direct),
            "zone-key" => Ok(WrapMode::ZoneKey),
            _ => Err(format!("wrap mode {text:?} is neither direct nor zone-key")),
        }
    }
}

/// A file's data key, as its header holds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Envelope {
    /// The zone whose CMK it is, or was when this was written.
    pub zone: ZoneId,
    /// What wraps it.
    pub mode: WrapMode,
    /// The wrapped key. With a zone key, id and material are those of the CMK that wraps the zone key.
    pub wrapped: WrappedKey,
    /// The shred secret under which the wrapped key is sealed besides.
    pub secret: Option<SecretId>,
    /// The data key before this one, while the file is being rekeyed.
    pub previous: Option<PreviousKey>,
}

/// The data key that a file had before the one it has, and under which some of its blocks may still be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PreviousKey {
    /// The first block-key generation of the new data key; blocks of earlier ones are under the previous.
    pub first: u32,
    /// The previous data key, sealed under the new one; see [`FileKey`](super::FileKey).
    pub sealed: [u8; KEY_LEN + TAG_LEN],
}

/// A CMK of a zone, and who can use it.
#[derive(Clone)]
pub struct Cmk {
    /// Its KMS.
    pub provider: Arc<dyn KeyProvider>,
    /// Its ARN.
    pub arn: String,
    /// Its id, as [`WrappedKey::key_id`] tells it.
    pub id: [u8; 16],
}

impl fmt::Debug for Cmk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cmk").field("arn", &self.arn).field("kms", &self.provider.description()).finish()
    }
}

/// The keys of a zone.
#[derive(Debug, Clone)]
pub struct Zone {
    /// Which zone.
    pub id: ZoneId,
    /// Its name, in the encryption context of every key; `None` for [`NO_ZONE`].
    pub name: Option<String>,
    /// What wraps the keys of new files.
    pub cmk: Cmk,
    /// CMKs that files not yet rewrapped may still be under. No other CMK opens a file of the zone: somebody with a key
    /// of their own at the same KMS could otherwise pass files of theirs off as the volume's.
    pub former: Vec<Cmk>,
    /// How new keys are wrapped.
    pub wrap: WrapMode,
    /// Whether new files have a shred secret.
    pub shreddable: bool,
}

impl Zone {
    /// The CMK with the id `id`, if the zone has it or had it.
    pub(super) fn cmk_of(&self, id: &[u8; 16]) -> Option<&Cmk> {
        std::iter::once(&self.cmk).chain(&self.former).find(|cmk| cmk.id == *id)
    }
}
