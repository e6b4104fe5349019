//! What time alone brings about for a CMK, and when.

use super::clock::Timestamp;
use super::key::{KeyRecord, KeyState};
use super::material::MaterialInfo;

/// What becomes due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// The waiting period of the deletion is over: the material is destroyed.
    Destruction,
    /// The rotation period is over.
    Rotation,
    /// Imported material, of this version, expires.
    Expiry(u32),
}

/// What becomes due next for a CMK, if anything ever does, and when.
pub(super) fn next(record: &KeyRecord) -> Option<(Timestamp, Due)> {
    if record.destroyed.is_some() {
        return None;
    }
    let by_state = match record.state {
        KeyState::PendingDeletion => record.deletion_date.map(|date| (date, Due::Destruction)),
        // A disabled key rotates once it is enabled again.
        KeyState::Enabled => record.rotation.as_ref().map(|schedule| (schedule.next, Due::Rotation)),
        KeyState::Disabled | KeyState::PendingImport => None,
    };
    let expires = |material: &MaterialInfo| Some((material.expires()?, Due::Expiry(material.version)));
    record.materials.iter().filter_map(expires).chain(by_state).min_by_key(|(date, _)| *date)
}
