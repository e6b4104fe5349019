//! What a config says: the values, and which of them can be.

use super::super::header::MAX_WRAPPED;
use super::super::keys::VolumeId;
use crate::crypto::Cipher;
use crate::keys::{NO_ZONE, WrapMode, WrappedKey, ZoneId};

/// Longest URL or ARN, in bytes.
pub(super) const TEXT_MAX: usize = 2048;
/// Most zones of a volume, and former CMKs of a zone.
pub(super) const LIST_MAX: usize = 256;
/// Longest name of a zone, in bytes.
pub const ZONE_NAME_MAX: usize = 128;
/// The feature of a volume with zones or former CMKs.
pub(super) const ZONES: &str = "zones";
/// The feature of a volume some of whose files have shred secrets.
pub(super) const SHREDDABLE: &str = "shreddable";

/// What a new volume is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Who the volume is; the encryption context of the wrapped key names it too.
    pub volume_id: VolumeId,
    /// How file contents are sealed.
    pub cipher: Cipher,
    /// How the data keys of files in no zone are wrapped.
    pub wrap: WrapMode,
    /// Where the CMK lives: `local:`.
    pub kms: String,
    /// ARN of the CMK.
    pub cmk: String,
    /// The volume key, wrapped by the CMK.
    pub wrapped: WrappedKey,
    /// CMKs that files in no zone may still be under.
    pub former: Vec<CmkPlace>,
    /// Whether new files in no zone have a shred secret.
    pub shreddable: bool,
    /// The zones.
    pub zones: Vec<ZoneSettings>,
}

/// A CMK, and where it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CmkPlace {
    /// URL of its KMS.
    pub kms: String,
    /// Its ARN.
    pub arn: String,
    /// Its id.
    pub id: [u8; 16],
}

/// A subtree with a CMK of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneSettings {
    /// Directory records and file headers name it.
    pub id: ZoneId,
    /// People and encryption contexts name it. Never changes.
    pub name: String,
    /// What wraps the data keys of its new files.
    pub cmk: CmkPlace,
    /// How.
    pub wrap: WrapMode,
    /// CMKs that files of the zone may still be under.
    pub former: Vec<CmkPlace>,
    /// Whether its new files have a shred secret.
    pub shreddable: bool,
}

impl Settings {
    /// The CMK of files in no zone.
    pub fn cmk_place(&self) -> CmkPlace {
        CmkPlace { kms: self.kms.clone(), arn: self.cmk.clone(), id: self.wrapped.key_id }
    }

    /// URLs of all the KMSs that its keys live in, each once.
    pub fn sources(&self) -> Vec<&str> {
        let zones = self.zones.iter().flat_map(|zone| std::iter::once(&zone.cmk).chain(&zone.former));
        let places = self.former.iter().chain(zones).map(|cmk| cmk.kms.as_str());
        let mut sources = vec![self.kms.as_str()];
        for kms in places {
            if !sources.contains(&kms) {
                sources.push(kms);
            }
        }
        sources
    }
}

/// What whoever reads the config must know of.
pub(super) fn features(settings: &Settings) -> Vec<String> {
    let features = [(ZONES, has_zones(settings)), (SHREDDABLE, is_shreddable(settings))];
    features.into_iter().filter(|(_, has)| *has).map(|(feature, _)| feature.to_owned()).collect()
}

pub(super) fn has_zones(settings: &Settings) -> bool {
    !settings.former.is_empty() || !settings.zones.is_empty()
}

/// Whether any part of the volume is.
pub(super) fn is_shreddable(settings: &Settings) -> bool {
    settings.shreddable || settings.zones.iter().any(|zone| zone.shreddable)
}

/// What the types do not say of a config's values.
pub(super) fn check(settings: &Settings) -> Result<(), String> {
    let own = settings.cmk_place();
    let zones = &settings.zones;
    let lists = std::iter::once(&settings.former).chain(zones.iter().map(|zone| &zone.former));
    if zones.len() > LIST_MAX || lists.clone().any(|former| former.len() > LIST_MAX) {
        return Err(format!("more than {LIST_MAX} zones, or former CMKs of a zone"));
    }
    for cmk in std::iter::once(&own).chain(zones.iter().map(|zone| &zone.cmk)).chain(lists.flatten()) {
        for (what, text) in [("the KMS's URL", &cmk.kms), ("the CMK's ARN", &cmk.arn)] {
            check_text(what, text, TEXT_MAX)?;
        }
    }
    for (i, zone) in zones.iter().enumerate() {
        check_text("the name of a zone", &zone.name, ZONE_NAME_MAX)?;
        if zone.id == NO_ZONE || zones[..i].iter().any(|other| other.id == zone.id || other.name == zone.name)
        {
            return Err(format!("the zone {:?} has the name or the id of another", zone.name));
        }
    }
    match settings.wrapped.blob.len() {
        1..=MAX_WRAPPED => Ok(()),
        len => Err(format!("a wrapped key of {len} bytes, where 1 to {MAX_WRAPPED} are possible")),
    }
}

fn check_text(what: &str, text: &str, most: usize) -> Result<(), String> {
    match text.is_empty() || text.len() > most || text.chars().any(char::is_control) {
        true => Err(format!("{what} is empty, longer than {most} bytes or not printable")),
        false => Ok(()),
    }
}
