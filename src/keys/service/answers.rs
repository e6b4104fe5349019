//! What a KMS's answers say.

use crate::crypto::{KEY_LEN, Key};
use crate::keys::{Error, ErrorKind, KeyInfo};
use crate::kms::KeyState;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::borrow::Cow;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The members of an answer to `GenerateDataKey`, `Encrypt` or `Decrypt` that are read here. Plaintexts are borrowed
/// from the answer, which is zeroed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Answer<'a> {
    #[serde(borrow, default)]
    plaintext: Cow<'a, str>,
    #[serde(borrow, default)]
    ciphertext_blob: Cow<'a, str>,
    #[serde(borrow, default)]
    key_id: Cow<'a, str>,
}

impl Answer<'_> {
    /// The data key.
    pub(super) fn key(&self) -> Result<Key, Error> {
        key(&self.plaintext)
    }

    /// The wrapped key.
    pub(super) fn blob(&self) -> Result<Vec<u8>, Error> {
        match STANDARD.decode(&*self.ciphertext_blob) {
            Ok(blob) if !blob.is_empty() => Ok(blob),
            _ => Err(nonsense()),
        }
    }

    /// The CMK that was used.
    pub(super) fn key_id(&self) -> Result<[u8; 16], Error> {
        key_id(&self.key_id)
    }
}

/// The 32 bytes that a member holds.
pub(super) fn key(text: &str) -> Result<Key, Error> {
    Key::try_fill_with(|out| {
        let mut bytes = Zeroizing::new([0; KEY_LEN + 3]); // what decoding may write at most
        match STANDARD.decode_slice(text, &mut *bytes) {
            Ok(KEY_LEN) => {
                out.copy_from_slice(&bytes[..KEY_LEN]);
                Ok(())
            }
            _ => Err(Error::new(ErrorKind::Invalid, "the wrapped key has an odd length")),
        }
    })
}

/// The 128 bits that a key's id consists of: `UUID`, or `mrk-` and 32 digits for a key of several regions; alone or at
/// the end of an ARN.
pub fn cmk_id(id: &str) -> Option<[u8; 16]> {
    let last = id.rsplit('/').next().unwrap_or(id);
    Uuid::try_parse(last.strip_prefix("mrk-").unwrap_or(last)).ok().map(Uuid::into_bytes)
}

fn key_id(id: &str) -> Result<[u8; 16], Error> {
    cmk_id(id).ok_or_else(nonsense)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    key_metadata: Metadata,
}

/// Specification and usage came later than the rest and may be left out.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    arn: String,
    key_id: String,
    key_state: String,
    key_spec: Option<String>,
    key_usage: Option<String>,
}

/// What an answer to `DescribeKey` says of a key, if the key can be used now.
///
/// # Errors
/// `Disabled`; `Unsuitable` if it is of a kind that is unknown here; `Unavailable` if this is no such answer.
pub(super) fn usable_key(answer: &[u8]) -> Result<KeyInfo, Error> {
    let key = parse::<Described>(answer)?.key_metadata;
    let hint = match key.key_state.as_str() {
        "Enabled" => {
            let unsuitable = |error: crate::kms::Error| {
                Error::new(ErrorKind::Unsuitable, format_args!("{}: {error}", key.arn))
            };
            let spec = key.key_spec.as_deref().unwrap_or("SYMMETRIC_DEFAULT");
            let usage = key.key_usage.as_deref().unwrap_or("ENCRYPT_DECRYPT");
            return Ok(KeyInfo {
                id: key_id(&key.key_id)?,
                state: KeyState::Enabled,
                spec: spec.parse().map_err(unsuitable)?,
                usage: usage.parse().map_err(unsuitable)?,
                arn: key.arn,
            });
        }
        "Disabled" => "is disabled: enable it first",
        "PendingImport" => "has no key material: import it first",
        "PendingDeletion" | "PendingReplicaDeletion" => {
            "is pending deletion: cancel the deletion and enable it first"
        }
        state => {
            return Err(Error::new(ErrorKind::Disabled, format_args!("{} is in the state {state}", key.arn)));
        }
    };
    Err(Error::new(ErrorKind::Disabled, format_args!("{} {hint}", key.arn)))
}

/// Reads an answer.
///
/// # Errors
/// `Unavailable` if it is none.
pub(super) fn parse<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(answer).map_err(|_| nonsense())
}

pub(super) fn nonsense() -> Error {
    Error::new(ErrorKind::Unavailable, "the KMS's answer is not that of a KMS")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_id_in_all_its_names() {
        let id = "1234abcd-12ab-34cd-56ef-1234567890ab";
        let bytes = Uuid::try_parse(id).unwrap().into_bytes();
        for name in [
            id,
            "mrk-1234abcd12ab34cd56ef1234567890ab",
            "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:aws-cn:kms:cn-north-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
        ] {
            assert_eq!(key_id(name).unwrap(), bytes, "{name}");
        }
        for name in ["", "alias/x", "mrk-", "arn:aws:kms:us-west-2:111122223333:key/", "1234abcd"] {
            assert_eq!(key_id(name).unwrap_err().kind(), ErrorKind::Unavailable, "{name}");
        }
    }

    #[test]
    fn what_a_description_leaves_out_is_what_keys_were_before_it_was_told() {
        let answer = br#"{"KeyMetadata": {"Arn": "arn:x", "KeyId": "1234abcd-12ab-34cd-56ef-1234567890ab",
            "KeyState": "Enabled", "KeyUsage": null}}"#;
        let key = usable_key(answer).unwrap();
        assert!(key.spec.is_symmetric() && key.usage.to_string() == "ENCRYPT_DECRYPT");
    }
}
