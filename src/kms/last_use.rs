//! When each key was last used.
//!
//! Using a key writes nothing to the keystore: its last use is noted in memory. Notes go into the keys' records once an
//! hour, since every write makes all who cache data keys ask anew, and when the KMS is closed. So a crash loses at most
//! the last hour's notes, and other processes see them as late.

use super::arn::KeyId;
use super::clock::Timestamp;
use super::state::Operation;
use parking_lot::Mutex;
use std::collections::HashMap;
use time::Duration;
use uuid::Uuid;

/// How often notes are recorded.
pub(super) const RECORDED_EVERY: std::time::Duration = std::time::Duration::from_secs(3600);
/// How much later than the recorded use one must be to be recorded when the KMS is closed: a program that runs for one
/// operation, again and again, need not write each time.
pub(super) const MARGIN_WHEN_CLOSED: Duration = Duration::MINUTE;

/// The last successful cryptographic operation with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LastUse {
    /// What it was.
    pub operation: UseOf,
    /// When.
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub at: Timestamp,
    /// The id of the request, if it came over a network.
    pub request_id: Option<Uuid>,
}

/// What GetKeyLastUsage returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUsageHistory {
    /// The key.
    pub key: KeyId,
    /// When it was created. It has been tracked since.
    pub created: Timestamp,
    /// Its last use, if it was ever used.
    pub last_use: Option<LastUse>,
}

macro_rules! uses {
    ($($variant:ident),+) => {
        /// An operation that uses a key's material.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[allow(missing_docs, reason = "AWS KMS's own names")]
        pub enum UseOf { $($variant),+ }

        impl UseOf {
            /// AWS KMS's name for it.
            pub fn name(self) -> &'static str {
                match self { $(UseOf::$variant => stringify!($variant)),+ }
            }
        }
    };
}

uses!(
    Decapsulate,
    Decrypt,
    DeriveSharedSecret,
    Encapsulate,
    Encrypt,
    GenerateDataKey,
    GenerateDataKeyPair,
    GenerateDataKeyPairWithoutPlaintext,
    GenerateDataKeyWithoutPlaintext,
    GenerateMac,
    ReEncrypt,
    Sign,
    Verify,
    VerifyMac
);

impl UseOf {
    /// The use that an operation makes of a key, if any.
    pub(super) fn by(operation: Operation) -> Option<UseOf> {
        Some(match operation {
            Operation::Decapsulate => UseOf::Decapsulate,
            Operation::Encapsulate => UseOf::Encapsulate,
            Operation::Decrypt => UseOf::Decrypt,
            Operation::DeriveSharedSecret => UseOf::DeriveSharedSecret,
            Operation::Encrypt => UseOf::Encrypt,
            Operation::GenerateDataKey => UseOf::GenerateDataKey,
            Operation::GenerateDataKeyPair => UseOf::GenerateDataKeyPair,
            Operation::GenerateDataKeyPairWithoutPlaintext => UseOf::GenerateDataKeyPairWithoutPlaintext,
            Operation::GenerateDataKeyWithoutPlaintext => UseOf::GenerateDataKeyWithoutPlaintext,
            Operation::GenerateMac => UseOf::GenerateMac,
            Operation::ReEncryptFrom | Operation::ReEncryptTo => UseOf::ReEncrypt,
            Operation::Sign => UseOf::Sign,
            Operation::Verify => UseOf::Verify,
            Operation::VerifyMac => UseOf::VerifyMac,
            _ => return None,
        })
    }
}

/// Last uses that no record has yet.
#[derive(Default)]
pub(super) struct LastUses {
    notes: Mutex<HashMap<KeyId, LastUse>>,
}

impl LastUses {
    /// Notes that a key was used just now.
    pub(super) fn note(&self, key: KeyId, last_use: LastUse) {
        self.notes.lock().insert(key, last_use);
    }

    /// The note about a key.
    pub(super) fn get(&self, key: KeyId) -> Option<LastUse> {
        self.notes.lock().get(&key).copied()
    }

    /// All notes.
    pub(super) fn all(&self) -> Vec<(KeyId, LastUse)> {
        self.notes.lock().iter().map(|(key, last_use)| (*key, *last_use)).collect()
    }

    /// Drops a note that a record has now, unless there is a newer one.
    pub(super) fn recorded(&self, key: KeyId, last_use: LastUse) {
        let mut notes = self.notes.lock();
        if notes.get(&key) == Some(&last_use) {
            notes.remove(&key);
        }
    }
}

/// The later of a recorded use and a noted one.
pub(super) fn later(recorded: Option<LastUse>, noted: Option<LastUse>) -> Option<LastUse> {
    recorded.into_iter().chain(noted).max_by_key(|last_use| last_use.at)
}
