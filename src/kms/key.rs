//! What a CMK is, apart from its key material.

use super::arn::KeyId;
use super::clock::Timestamp;
use super::spec::{KeySpec, KeyUsage, Origin};
use std::collections::BTreeMap;

/// Shortest and longest waiting period of a deletion, in days.
pub const DELETION_DAYS: std::ops::RangeInclusive<u32> = 7..=30;
/// Waiting period of a deletion where none is given, in days.
pub const DELETION_DAYS_DEFAULT: u32 = 30;
/// Shortest and longest period of automatic rotation, in days.
pub const ROTATION_DAYS: std::ops::RangeInclusive<u32> = 90..=2560;
/// Period of automatic rotation where none is given, in days.
pub const ROTATION_DAYS_DEFAULT: u32 = 365;

/// Whether a key can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum KeyState {
    /// It can.
    Enabled,
    /// An operator switched it off; it can be switched on again.
    Disabled,
    /// Its material will be destroyed at its deletion date; until then the deletion can be cancelled.
    PendingDeletion,
    /// Its material is to be imported, for the first time or again.
    PendingImport,
}

/// Who manages a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum KeyManager {
    /// The operator: made by `CreateKey`.
    Customer,
    /// The filesystem: made on first use, usable by nobody else, view only for the operator.
    Service,
    /// The filesystem, for volumes to share: as [`KeyManager::Service`], and neither listed nor shown to principals.
    Owned,
}

/// Why there is a version of key material.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum RotationType {
    /// The key was created with it.
    Initial,
    /// The rotation period was over.
    Automatic,
    /// The operator asked for it.
    OnDemand,
}

/// One version of a CMK's key material; the highest version encrypts, every version decrypts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MaterialInfo {
    /// Counts from 1.
    pub version: u32,
    /// When it was made.
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub created: Timestamp,
    /// Why it was made.
    pub rotation: RotationType,
}

/// Automatic rotation of a key.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RotationSchedule {
    /// Days between rotations.
    pub period_days: u32,
    /// When the next one is due.
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub next: Timestamp,
}

/// A label an operator puts on a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// 1 to 128 characters.
    pub key: String,
    /// Up to 256 characters.
    pub value: String,
}

/// What `DescribeKey` tells of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMetadata {
    /// The key's id.
    pub id: KeyId,
    /// The key's ARN.
    pub arn: String,
    /// When it was created.
    pub created: Timestamp,
    /// The operator's words about it.
    pub description: String,
    /// Whether it can be used.
    pub state: KeyState,
    /// When its material will be destroyed, if that is pending.
    pub deletion_date: Option<Timestamp>,
    /// Who manages it.
    pub manager: KeyManager,
    /// What kind of key it is.
    pub spec: KeySpec,
    /// What it may be used for.
    pub usage: KeyUsage,
    /// Where its material comes from.
    pub origin: Origin,
    /// The version of key material that encrypts now.
    pub current_material: u32,
}

/// What `ListAliases` tells of an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasEntry {
    /// `alias/…`.
    pub name: String,
    /// The alias's ARN.
    pub arn: String,
    /// The key it points to.
    pub target: KeyId,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last pointed to a key.
    pub updated: Timestamp,
}

/// What `GetKeyRotationStatus` tells of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationStatus {
    /// Automatic rotation, if it is on. A key that is pending deletion does not rotate.
    pub schedule: Option<RotationSchedule>,
    /// How many on-demand rotations the key has had.
    pub on_demand: u32,
}

/// When an alias was made and last moved.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct AliasDates {
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub(super) created: Timestamp,
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub(super) updated: Timestamp,
}

/// Everything the keystore holds about a CMK apart from its key material. Stored sealed, as one row, so
/// neither a state nor an alias can be altered, and alias names do not show.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct KeyRecord {
    pub(super) id: KeyId,
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub(super) created: Timestamp,
    pub(super) description: String,
    pub(super) state: KeyState,
    #[serde(with = "time::serde::timestamp::milliseconds::option")]
    pub(super) deletion_date: Option<Timestamp>,
    /// When the material was destroyed. Such a record stays, as the proof that the key existed and so that
    /// every process learns of the destruction.
    #[serde(with = "time::serde::timestamp::milliseconds::option")]
    pub(super) destroyed: Option<Timestamp>,
    pub(super) manager: KeyManager,
    pub(super) spec: KeySpec,
    pub(super) usage: KeyUsage,
    pub(super) origin: Origin,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) aliases: BTreeMap<String, AliasDates>,
    pub(super) rotation: Option<RotationSchedule>,
    pub(super) materials: Vec<MaterialInfo>,
}

impl KeyRecord {
    /// A new enabled symmetric key, without material yet.
    pub(super) fn new(id: KeyId, manager: KeyManager, now: Timestamp) -> KeyRecord {
        KeyRecord {
            id,
            created: now,
            description: String::new(),
            state: KeyState::Enabled,
            deletion_date: None,
            destroyed: None,
            manager,
            spec: KeySpec::SymmetricDefault,
            usage: KeyUsage::EncryptDecrypt,
            origin: Origin::AwsKms,
            tags: BTreeMap::new(),
            aliases: BTreeMap::new(),
            rotation: None,
            materials: Vec::new(),
        }
    }

    /// What a caller may see.
    pub(super) fn metadata(&self) -> KeyMetadata {
        KeyMetadata {
            id: self.id,
            arn: self.id.arn(),
            created: self.created,
            description: self.description.clone(),
            state: self.state,
            deletion_date: self.deletion_date,
            manager: self.manager,
            spec: self.spec,
            usage: self.usage,
            origin: self.origin,
            current_material: self.current_material(),
        }
    }

    /// The version that encrypts now; 0 once the material is destroyed.
    pub(super) fn current_material(&self) -> u32 {
        self.materials.last().map_or(0, |material| material.version)
    }

    /// The versions of which the keystore holds the material, ascending.
    pub(super) fn stored_materials(&self) -> impl Iterator<Item = u32> {
        self.materials.iter().map(|material| material.version)
    }

    /// How many rotations of this type there were.
    pub(super) fn rotations(&self, of: RotationType) -> usize {
        self.materials.iter().filter(|material| material.rotation == of).count()
    }
}
