//! All grants in memory.

use crate::kms::arn::KeyId;
use crate::kms::clock::Timestamp;
use crate::kms::grant::{GrantId, GrantRecord};
use crate::kms::keystore::Stored;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Grants, by id and by the CMK that they belong to.
#[derive(Default)]
pub(in crate::kms) struct Grants {
    by_id: HashMap<GrantId, Arc<Stored<GrantRecord>>>,
    by_cmk: HashMap<KeyId, InOrder>,
}

/// The grants of one CMK, in the order of their creation.
type InOrder = BTreeMap<(Timestamp, GrantId), Arc<Stored<GrantRecord>>>;

impl Grants {
    /// The grant of this id.
    #[allow(dead_code, reason = "for the operations on grants and principals, which are being written")]
    pub(in crate::kms) fn get(&self, id: GrantId) -> Option<&GrantRecord> {
        self.stored(id).map(|stored| &stored.record)
    }

    /// The grants of a CMK in the order of their creation; those of the same millisecond by id.
    pub(in crate::kms) fn of(&self, cmk: KeyId) -> impl Iterator<Item = &GrantRecord> {
        self.by_cmk.get(&cmk).into_iter().flat_map(|grants| grants.values().map(|stored| &stored.record))
    }

    /// All grants, in no order.
    #[allow(dead_code, reason = "for the operations on grants and principals, which are being written")]
    pub(in crate::kms) fn all(&self) -> impl Iterator<Item = &GrantRecord> {
        self.by_id.values().map(|stored| &stored.record)
    }

    pub(super) fn stored(&self, id: GrantId) -> Option<&Arc<Stored<GrantRecord>>> {
        self.by_id.get(&id)
    }

    pub(super) fn put(&mut self, stored: Arc<Stored<GrantRecord>>) {
        let grant = &stored.record;
        self.remove(grant.id);
        let of_cmk = self.by_cmk.entry(grant.key).or_default();
        of_cmk.insert((grant.created, grant.id), Arc::clone(&stored));
        self.by_id.insert(grant.id, stored);
    }

    pub(super) fn remove(&mut self, id: GrantId) {
        let Some(stored) = self.by_id.remove(&id) else { return };
        let grant = &stored.record;
        if let Some(of_cmk) = self.by_cmk.get_mut(&grant.key) {
            of_cmk.remove(&(grant.created, grant.id));
            if of_cmk.is_empty() {
                self.by_cmk.remove(&grant.key);
            }
        }
    }
}
