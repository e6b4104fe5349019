//! What is set for the keystore as a whole.

use super::arn::{DEFAULT_ACCOUNT, DEFAULT_REGION};

/// The keystore's settings, sealed, as one row. There is no row until one of them is set.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct SettingsRecord {
    /// The account that owns all keys, 12 digits.
    pub(super) account: String,
    /// The region in ARNs.
    pub(super) region: String,
}

impl Default for SettingsRecord {
    fn default() -> SettingsRecord {
        SettingsRecord { account: DEFAULT_ACCOUNT.into(), region: DEFAULT_REGION.into() }
    }
}
