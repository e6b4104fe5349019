//! Versions of key material, apart from the secrets.

use super::arn::KeyId;
use super::clock::Timestamp;
use super::spec::ExpirationModel;
use crate::crypto::kdf;
use std::fmt;

/// Identifies key material within its CMK, also after it was destroyed: 32 bytes that follow from the CMK's id and the
/// material, and that tell nothing of either. Shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MaterialId([u8; 32]);

impl MaterialId {
    /// The id of `secret` as material of `key`: `BLAKE3-derive-key("kmsfs kms v1 material id", secret, key)`, as in
    /// [`kdf::fingerprint`]. For a key pair the secret may as well be its public key, which does not depend on
    /// how the private key is encoded.
    pub(super) fn of(key: KeyId, secret: &[u8]) -> MaterialId {
        MaterialId(kdf::fingerprint("kmsfs kms v1 material id", secret, key.as_bytes()))
    }

    /// Reads 64 hexadecimal digits in lower case.
    pub(super) fn parse(text: &str) -> Option<MaterialId> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let mut id = [0; 32];
        if !rest.is_empty() || pairs.len() != id.len() {
            return None;
        }
        for (byte, [high, low]) in id.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(MaterialId(id))
    }
}

impl fmt::Display for MaterialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MaterialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MaterialId({self})")
    }
}

impl serde::Serialize for MaterialId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for MaterialId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<MaterialId, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        MaterialId::parse(&text).ok_or_else(|| serde::de::Error::custom("not the id of key material"))
    }
}

/// How a version of key material came to be the one that encrypts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum RotationType {
    /// It is the key's first.
    Initial,
    /// The rotation period was over.
    Automatic,
    /// The operator asked for it.
    OnDemand,
    /// It has not yet: it was imported and waits for RotateKeyOnDemand.
    Pending,
}

/// What is special about imported material.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Imported {
    /// Whether the keystore holds it just now: it may have expired or been deleted, to be imported again.
    pub present: bool,
    /// When it goes away by itself, if ever.
    #[serde(with = "time::serde::timestamp::milliseconds::option")]
    pub valid_to: Option<Timestamp>,
    /// The operator's words about it.
    pub description: String,
}

impl Imported {
    /// Whether it goes away by itself.
    pub fn expiration(&self) -> ExpirationModel {
        match self.valid_to {
            Some(_) => ExpirationModel::Expires,
            None => ExpirationModel::DoesNotExpire,
        }
    }
}

/// One version of a CMK's key material; the current version encrypts, every version decrypts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MaterialInfo {
    /// Counts from 1.
    pub version: u32,
    /// Its name in AWS KMS's API.
    pub id: MaterialId,
    /// Since when it is the one that encrypts, or was; for a pending one, when it was first imported.
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub created: Timestamp,
    /// How it came to be the one that encrypts.
    pub rotation: RotationType,
    /// If it was imported.
    pub imported: Option<Imported>,
}

impl MaterialInfo {
    /// Whether the keystore holds it.
    pub fn is_present(&self) -> bool {
        self.imported.as_ref().is_none_or(|imported| imported.present)
    }

    /// When it goes away by itself.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        self.imported.as_ref().filter(|imported| imported.present)?.valid_to
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_depends_on_key_and_material() {
        let key = KeyId::from_bytes([1; 16]);
        let id = MaterialId::of(key, b"material");
        assert_eq!(MaterialId::parse(&id.to_string()), Some(id));
        assert_ne!(MaterialId::of(key, b"materiam"), id);
        assert_ne!(MaterialId::of(KeyId::from_bytes([2; 16]), b"material"), id);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<MaterialId>(&json).unwrap(), id);
        for text in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"A".repeat(64)] {
            assert_eq!(MaterialId::parse(text), None, "{text}");
        }
    }
}
