//! What a CMK is, apart from its key material.

use super::arn::{KeyId, Naming};
use super::clock::Timestamp;
use super::last_use::LastUse;
use super::material::{MaterialId, MaterialInfo, RotationType};
use super::policy::Written;
use super::small_map::SmallMap;
use super::spec::{
    EncapsulationAlgorithm, EncryptionAlgorithm, ExpirationModel, KeyAgreementAlgorithm, KeySpec, KeyUsage,
    MacAlgorithm, Origin, SigningAlgorithm,
};

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
    /// The account that owns it.
    pub account: String,
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
    /// The version of key material that encrypts now; 0 if none was imported yet.
    pub current_material: u32,
    /// Its id; symmetric keys only.
    pub current_material_id: Option<MaterialId>,
    /// Whether imported material goes away by itself; `None` while there is none.
    pub expiration: Option<ExpirationModel>,
    /// When the first of it does.
    pub valid_to: Option<Timestamp>,
}

impl KeyMetadata {
    /// The algorithms that the key encrypts with; none unless its usage is `ENCRYPT_DECRYPT`.
    pub fn encryption_algorithms(&self) -> &'static [EncryptionAlgorithm] {
        algorithms(self.usage == KeyUsage::EncryptDecrypt, self.spec.encryption_algorithms())
    }

    /// The algorithms that the key signs with; none unless its usage is `SIGN_VERIFY`.
    pub fn signing_algorithms(&self) -> &'static [SigningAlgorithm] {
        algorithms(self.usage == KeyUsage::SignVerify, self.spec.signing_algorithms())
    }

    /// The algorithm that the key computes MACs with; none unless its usage is `GENERATE_VERIFY_MAC`.
    pub fn mac_algorithm(&self) -> Option<MacAlgorithm> {
        self.spec.mac_algorithm()
    }

    /// The algorithms that the key agrees on secrets with; none unless its usage is `KEY_AGREEMENT`.
    pub fn key_agreement_algorithms(&self) -> &'static [KeyAgreementAlgorithm] {
        algorithms(self.usage == KeyUsage::KeyAgreement, KeyAgreementAlgorithm::ALL)
    }

    /// The algorithms that the key encapsulates secrets with; none unless its usage is `ENCAPSULATE_DECAPSULATE`.
    pub fn encapsulation_algorithms(&self) -> &'static [EncapsulationAlgorithm] {
        algorithms(self.usage == KeyUsage::EncapsulateDecapsulate, EncapsulationAlgorithm::ALL)
    }
}

fn algorithms<A>(used: bool, algorithms: &'static [A]) -> &'static [A] {
    if used { algorithms } else { &[] }
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
    /// The key.
    pub key: KeyId,
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
    pub(super) tags: SmallMap<String>,
    pub(super) aliases: SmallMap<AliasDates>,
    pub(super) rotation: Option<RotationSchedule>,
    pub(super) last_use: Option<LastUse>,
    /// The key policy; without one, the default of its management type holds.
    #[serde(deserialize_with = "Written::key_policy")]
    pub(super) policy: Option<Written>,
    pub(super) materials: Vec<MaterialInfo>,
}

impl KeyRecord {
    /// A new enabled symmetric key, without material yet.
    pub(super) fn new(manager: KeyManager, now: Timestamp) -> KeyRecord {
        KeyRecord {
            id: KeyId::random(),
            created: now,
            description: String::new(),
            state: KeyState::Enabled,
            deletion_date: None,
            destroyed: None,
            manager,
            spec: KeySpec::SymmetricDefault,
            usage: KeyUsage::EncryptDecrypt,
            origin: Origin::AwsKms,
            tags: SmallMap::new(),
            aliases: SmallMap::new(),
            rotation: None,
            last_use: None,
            policy: None,
            materials: Vec::new(),
        }
    }

    /// What a caller may see.
    pub(super) fn metadata(&self, naming: Naming<'_>) -> KeyMetadata {
        let present = || self.associated().filter(|material| material.is_present());
        KeyMetadata {
            id: self.id,
            arn: naming.key(self.id),
            account: naming.account.to_owned(),
            created: self.created,
            description: self.description.clone(),
            state: self.state,
            deletion_date: self.deletion_date,
            manager: self.manager,
            spec: self.spec,
            usage: self.usage,
            origin: self.origin,
            current_material: self.current_material(),
            current_material_id: self
                .current()
                .filter(|_| self.spec.is_symmetric())
                .map(|current| current.id),
            expiration: present().filter_map(|material| Some(material.imported.as_ref()?.expiration())).min(),
            valid_to: present().filter_map(MaterialInfo::expires).min(),
        }
    }

    /// Whether lists show it.
    pub(super) fn is_listed(&self) -> bool {
        self.manager != KeyManager::Owned
    }

    /// The versions that encrypt now or did once: what the key needs to be used.
    pub(super) fn associated(&self) -> impl DoubleEndedIterator<Item = &MaterialInfo> {
        self.materials.iter().filter(|material| material.rotation != RotationType::Pending)
    }

    /// The version that encrypts now; `None` before the first import and once the material is destroyed.
    pub(super) fn current(&self) -> Option<&MaterialInfo> {
        self.associated().next_back()
    }

    /// The version that was imported and waits for its rotation.
    pub(super) fn pending(&self) -> Option<&MaterialInfo> {
        self.materials.iter().find(|material| material.rotation == RotationType::Pending)
    }

    /// The number of the version that encrypts now; 0 if there is none.
    pub(super) fn current_material(&self) -> u32 {
        self.current().map_or(0, |material| material.version)
    }

    /// The versions of which the keystore holds the material, ascending.
    pub(super) fn stored_materials(&self) -> impl Iterator<Item = u32> {
        self.materials.iter().filter(|material| material.is_present()).map(|material| material.version)
    }

    /// Notes that imported material is gone: the key needs it again, unless it never encrypted.
    pub(super) fn forget_material(&mut self, version: u32) {
        self.materials
            .retain(|material| material.version != version || material.rotation != RotationType::Pending);
        for material in self.materials.iter_mut().filter(|material| material.version == version) {
            if let Some(imported) = &mut material.imported {
                imported.present = false;
                imported.valid_to = None;
            }
        }
        self.settle();
    }

    /// Brings the state in line with what material there is. A key with imported material can be used once all of it
    /// is there; that a key is disabled outlives no loss of material, since AWS KMS's states have no name for both.
    pub(super) fn settle(&mut self) {
        let complete = self.current().is_some() && self.associated().all(MaterialInfo::is_present);
        self.state = match self.state {
            KeyState::Enabled | KeyState::Disabled if !complete => KeyState::PendingImport,
            KeyState::PendingImport if complete => KeyState::Enabled,
            state => state,
        };
    }

    /// How many rotations of this type there were.
    pub(super) fn rotations(&self, of: RotationType) -> usize {
        self.materials.iter().filter(|material| material.rotation == of).count()
    }
}
