//! Records: the rows that describe something. A CMK, a grant, a principal, a batch of shred secrets, the settings,
//! approvals, an object of the token.
//!
//! A record is JSON, sealed, in the one table `record`. Its kind and id stand in the open beside it.

use super::error::Result;
use super::seal::{Row, RowDigest, Seals};
use crate::crypto::secret::SecretBytes;
use crate::kms::approvals::Approvals;
use crate::kms::arn::KeyId;
use crate::kms::grant::{GrantId, GrantRecord};
use crate::kms::key::KeyRecord;
use crate::kms::principal::{PrincipalId, PrincipalRecord};
use crate::kms::secrets::{BatchId, BatchRecord};
use crate::kms::settings::SettingsRecord;
use crate::kms::token::{Object, ObjectId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;

/// Names a record: its kind and its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::kms) enum RecordKey {
    /// A CMK.
    Cmk(KeyId),
    /// A grant.
    Grant(GrantId),
    /// A user or role.
    Principal(PrincipalId),
    /// The settings, of which there is one row at most. Its id is empty.
    Settings,
    /// A batch of shred secrets.
    Batch(BatchId),
    /// What custodians approve, one row at most. Its id is empty.
    Approvals,
    /// An object of the token.
    Object(ObjectId),
}

impl RecordKey {
    /// The kind's number, as stored and as associated data; 2 and 7 are no records ([`Row`]).
    pub(super) fn kind(&self) -> u8 {
        match self {
            RecordKey::Cmk(_) => 1,
            RecordKey::Grant(_) => 3,
            RecordKey::Principal(_) => 4,
            RecordKey::Settings => 5,
            RecordKey::Batch(_) => 6,
            RecordKey::Approvals => 9,
            RecordKey::Object(_) => 8,
        }
    }

    /// The id's bytes.
    pub(super) fn id(&self) -> &[u8] {
        match self {
            RecordKey::Cmk(id) => id.as_bytes(),
            RecordKey::Grant(id) => id.as_bytes(),
            RecordKey::Principal(id) => id.as_bytes(),
            RecordKey::Settings | RecordKey::Approvals => &[],
            RecordKey::Batch(id) => id.as_bytes(),
            RecordKey::Object(id) => id.as_bytes(),
        }
    }

    /// The record that a row names; `None` if the kind is unknown or the id is not one of that kind.
    pub(super) fn parse(kind: i64, id: &[u8]) -> Option<RecordKey> {
        match (kind, id) {
            (1, id) => Some(RecordKey::Cmk(KeyId::from_bytes(id.try_into().ok()?))),
            (3, id) => Some(RecordKey::Grant(GrantId::from_bytes(id.try_into().ok()?))),
            (4, id) => Some(RecordKey::Principal(PrincipalId::from_bytes(id.try_into().ok()?))),
            (5, []) => Some(RecordKey::Settings),
            (6, id) => Some(RecordKey::Batch(BatchId::from_bytes(id.try_into().ok()?))),
            (9, []) => Some(RecordKey::Approvals),
            (8, id) => Some(RecordKey::Object(ObjectId::from_bytes(id.try_into().ok()?))),
            _ => None,
        }
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordKey::Cmk(id) => write!(f, "key {id}"),
            RecordKey::Grant(id) => write!(f, "grant {id}"),
            RecordKey::Principal(id) => write!(f, "principal {id}"),
            RecordKey::Settings => write!(f, "the settings"),
            RecordKey::Batch(id) => write!(f, "batch {id} of secrets"),
            RecordKey::Approvals => write!(f, "the approvals"),
            RecordKey::Object(id) => write!(f, "object {id}"),
        }
    }
}

/// What can be a record.
pub(in crate::kms) trait Record: Serialize + DeserializeOwned {
    /// Its name among the records.
    fn key(&self) -> RecordKey;
}

impl Record for KeyRecord {
    fn key(&self) -> RecordKey {
        RecordKey::Cmk(self.id)
    }
}

impl Record for GrantRecord {
    fn key(&self) -> RecordKey {
        RecordKey::Grant(self.id)
    }
}

impl Record for PrincipalRecord {
    fn key(&self) -> RecordKey {
        RecordKey::Principal(self.id)
    }
}

impl Record for SettingsRecord {
    fn key(&self) -> RecordKey {
        RecordKey::Settings
    }
}

impl Record for BatchRecord {
    fn key(&self) -> RecordKey {
        RecordKey::Batch(self.id)
    }
}

impl Record for Approvals {
    fn key(&self) -> RecordKey {
        RecordKey::Approvals
    }
}

impl Record for Arc<Object> {
    fn key(&self) -> RecordKey {
        RecordKey::Object(self.id())
    }
}

/// A record that has a row.
#[derive(Debug)]
pub(in crate::kms) struct Stored<R> {
    /// What the row says.
    pub(in crate::kms) record: R,
    digest: RowDigest,
}

impl<R: Record> Stored<R> {
    /// Unseals the row of `key` as of generation `changed`.
    pub(super) fn open(seals: &Seals, key: RecordKey, changed: u64, sealed: &[u8]) -> Result<Stored<R>> {
        let row = Row::Record(key, changed);
        let json = seals.open(row, sealed)?;
        let record = serde_json::from_slice(json.expose())
            .map_err(|e| seals.tampered(format_args!("the record of {key} ({e})")))?;
        Ok(Stored { record, digest: seals.digest(row, sealed) })
    }

    /// Seals `record` as of `generation`; gives the row's content too.
    pub(super) fn seal(seals: &Seals, generation: u64, record: R) -> (Stored<R>, Vec<u8>) {
        let row = Row::Record(record.key(), generation);
        let sealed = seals.seal(row, to_json(&record).expose());
        let digest = seals.digest(row, &sealed);
        (Stored { record, digest }, sealed)
    }
}

impl<R> Stored<R> {
    /// The digest of the row.
    pub(in crate::kms) fn digest(&self) -> RowDigest {
        self.digest
    }
}

/// JSON in locked memory, since a record may hold secrets. It is measured first, so that no buffer grows and
/// leaves copies behind.
fn to_json(record: &impl Serialize) -> SecretBytes {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    const PLAIN: &str = "a record is plain data with string keys";
    let mut length = Count(0);
    serde_json::to_writer(&mut length, record).expect(PLAIN);
    let mut json = SecretBytes::zeroed(length.0);
    serde_json::to_writer(json.expose_mut(), record).expect(PLAIN);
    json
}
