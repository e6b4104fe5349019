//! What a grant is: leave for one principal to use one CMK, given apart from the key policy.

use super::arn::KeyId;
use super::clock::Timestamp;
use std::collections::BTreeMap;
use std::fmt;

/// The id of a grant: 32 random bytes, shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct GrantId([u8; 32]);

impl GrantId {
    /// The id with these bytes.
    pub(super) fn from_bytes(bytes: [u8; 32]) -> GrantId {
        GrantId(bytes)
    }

    /// The id's 32 bytes.
    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantId({self})")
    }
}

/// The encryption contexts that a grant is good for.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct GrantConstraints {
    /// The call's context must be exactly this.
    pub(super) encryption_context_equals: Option<BTreeMap<String, String>>,
    /// The call's context must contain all of this.
    pub(super) encryption_context_subset: Option<BTreeMap<String, String>>,
}

/// A grant as the keystore holds it, sealed, as one row. Never changed once made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct GrantRecord {
    pub(super) id: GrantId,
    /// The CMK it belongs to, and with which it goes.
    pub(super) key: KeyId,
    /// The caller's name for it; a repeated request of the same name makes no second grant.
    pub(super) name: Option<String>,
    /// The ARN of who may use the key.
    pub(super) grantee: String,
    /// The ARN of who may retire the grant.
    pub(super) retiring: Option<String>,
    /// AWS KMS's names of what is granted, such as `Decrypt`.
    pub(super) operations: Vec<String>,
    pub(super) constraints: GrantConstraints,
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub(super) created: Timestamp,
    /// The account that it was made in.
    pub(super) issuing_account: String,
    /// The grant token that CreateGrant returned.
    pub(super) token: String,
}
