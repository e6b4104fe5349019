//! What is set for the keystore as a whole.

use super::arn::{DEFAULT_ACCOUNT, DEFAULT_REGION};
use crate::crypto::{KEY_LEN, Key};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserializer, Serializer, de::Error as _};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The keystore's settings, sealed, as one row. There is no row until one of them is set.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct SettingsRecord {
    /// The account that owns all keys, 12 digits.
    pub(super) account: String,
    /// The region in ARNs.
    pub(super) region: String,
    /// The key of the audit logs, where the root key no longer gives it: it was replaced, and the logs go on.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "write",
        deserialize_with = "read"
    )]
    pub(super) audit_key: Option<Arc<Key>>,
}

impl Default for SettingsRecord {
    fn default() -> SettingsRecord {
        SettingsRecord { account: DEFAULT_ACCOUNT.into(), region: DEFAULT_REGION.into(), audit_key: None }
    }
}

/// Base64 digits of a key.
const DIGITS: usize = KEY_LEN.div_ceil(3) * 4;

fn write<S: Serializer>(key: &Option<Arc<Key>>, serializer: S) -> Result<S::Ok, S::Error> {
    let Some(key) = key else { return serializer.serialize_none() };
    let mut digits = Zeroizing::new([0; DIGITS]);
    let written = STANDARD.encode_slice(key.expose(), &mut *digits).expect("the digits of a key fit");
    serializer.serialize_str(std::str::from_utf8(&digits[..written]).expect("base64 is ASCII"))
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<Key>>, D::Error> {
    struct Visitor;
    impl serde::de::Visitor<'_> for Visitor {
        type Value = Arc<Key>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a key in base64")
        }
        fn visit_str<E: serde::de::Error>(self, digits: &str) -> Result<Arc<Key>, E> {
            // A decoder asks for room in threes.
            let mut bytes = Zeroizing::new([0; DIGITS / 4 * 3]);
            let length = STANDARD.decode_slice(digits, &mut *bytes).map_err(|_| E::custom("no base64"))?;
            match length == KEY_LEN {
                true => Ok(Arc::new(Key::fill_with(|key| key.copy_from_slice(&bytes[..KEY_LEN])))),
                false => Err(E::invalid_length(length, &self)),
            }
        }
    }
    deserializer.deserialize_str(Visitor).map(Some).map_err(D::Error::custom)
}
