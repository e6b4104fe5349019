//! All batches of shred secrets in memory; the secrets themselves are not.

use crate::kms::arn::KeyId;
use crate::kms::keystore::Stored;
use crate::kms::secrets::{BatchId, BatchRecord};
use std::collections::HashMap;
use std::sync::Arc;

/// Batches, by their ids.
#[derive(Default)]
pub(in crate::kms) struct Batches(HashMap<BatchId, Arc<Stored<BatchRecord>>>);

impl Batches {
    /// The batch of this id.
    pub(in crate::kms) fn get(&self, id: BatchId) -> Option<&BatchRecord> {
        self.stored(id).map(|stored| &stored.record)
    }

    /// The batches whose secrets the users of a CMK may have. Looks at all there are.
    pub(in crate::kms) fn of(&self, cmk: KeyId) -> impl Iterator<Item = &BatchRecord> {
        self.0.values().map(|stored| &stored.record).filter(move |batch| batch.keys.contains(&cmk))
    }

    pub(super) fn stored(&self, id: BatchId) -> Option<&Arc<Stored<BatchRecord>>> {
        self.0.get(&id)
    }

    pub(super) fn put(&mut self, stored: Arc<Stored<BatchRecord>>) {
        self.0.insert(stored.record.id, stored);
    }

    pub(super) fn remove(&mut self, id: BatchId) {
        self.0.remove(&id);
    }
}
