//! What time alone brings about for a CMK, and when.

use super::clock::Timestamp;
use super::key::{KeyRecord, KeyState};

/// What becomes due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// The waiting period of the deletion is over: the material is destroyed.
    Destruction,
    /// The rotation period is over.
    Rotation,
}

/// What becomes due next for a CMK, if anything ever does, and when.
pub(super) fn next(record: &KeyRecord) -> Option<(Timestamp, Due)> {
    match record.state {
        _ if record.destroyed.is_some() => None,
        KeyState::PendingDeletion => Some((record.deletion_date?, Due::Destruction)),
        // A disabled key rotates once it is enabled again.
        KeyState::Enabled => Some((record.rotation.as_ref()?.next, Due::Rotation)),
        KeyState::Disabled | KeyState::PendingImport => None,
    }
}
