//! All grants in memory.

use crate::kms::arn::KeyId;
use crate::kms::clock::Timestamp;
use crate::kms::grant::{GrantId, GrantRecord};
use crate::kms::keystore::Stored;
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

/// Grants, by everything they are looked for by.
#[derive(Default)]
pub(in crate::kms) struct Grants {
    by_id: HashMap<GrantId, Arc<Stored<GrantRecord>>>,
    by_cmk: HashMap<KeyId, OfCmk>,
    /// Those with a retiring principal, by its ARN.
    retirable: HashMap<String, BTreeSet<Position>>,
}

/// Grants are listed in the order of their creation; those of the same millisecond by id.
type Position = (Timestamp, GrantId);

/// The grants of one CMK.
#[derive(Default)]
struct OfCmk {
    in_order: BTreeSet<Position>,
    by_grantee: HashMap<String, BTreeSet<GrantId>>,
}

impl Grants {
    /// The grant of this id.
    pub(in crate::kms) fn get(&self, id: GrantId) -> Option<&GrantRecord> {
        self.stored(id).map(|stored| &stored.record)
    }

    /// The grants of a CMK, in order.
    pub(in crate::kms) fn of(&self, cmk: KeyId) -> impl Iterator<Item = &GrantRecord> {
        self.of_after(cmk, None)
    }

    /// The grants of a CMK, in order, after a position or all.
    pub(in crate::kms) fn of_after(
        &self,
        cmk: KeyId,
        after: Option<Position>,
    ) -> impl Iterator<Item = &GrantRecord> {
        let of_cmk = self.by_cmk.get(&cmk).into_iter();
        of_cmk.flat_map(move |of_cmk| self.at(&of_cmk.in_order, after))
    }

    /// How many grants a CMK has.
    pub(in crate::kms) fn count(&self, cmk: KeyId) -> usize {
        self.by_cmk.get(&cmk).map_or(0, |of_cmk| of_cmk.in_order.len())
    }

    /// The grants of a CMK to the principal of this ARN, in no order.
    pub(in crate::kms) fn to(&self, cmk: KeyId, grantee: &str) -> impl Iterator<Item = &GrantRecord> {
        let of_cmk = self.by_cmk.get(&cmk);
        let ids = of_cmk.and_then(|of_cmk| of_cmk.by_grantee.get(grantee)).into_iter().flatten();
        ids.filter_map(|id| self.get(*id))
    }

    /// The grants that the principal of this ARN may retire, in order, after a position or all.
    pub(in crate::kms) fn retirable_after(
        &self,
        retiring: &str,
        after: Option<Position>,
    ) -> impl Iterator<Item = &GrantRecord> {
        let positions = self.retirable.get(retiring).into_iter();
        positions.flat_map(move |positions| self.at(positions, after))
    }

    /// All grants, in no order.
    pub(in crate::kms) fn all(&self) -> impl Iterator<Item = &GrantRecord> {
        self.by_id.values().map(|stored| &stored.record)
    }

    fn at<'a>(
        &'a self,
        positions: &'a BTreeSet<Position>,
        after: Option<Position>,
    ) -> impl Iterator<Item = &'a GrantRecord> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        positions.range((from, Bound::Unbounded)).filter_map(|(_, id)| self.get(*id))
    }

    pub(super) fn stored(&self, id: GrantId) -> Option<&Arc<Stored<GrantRecord>>> {
        self.by_id.get(&id)
    }

    pub(super) fn put(&mut self, stored: Arc<Stored<GrantRecord>>) {
        let grant = &stored.record;
        self.remove(grant.id);
        let position = (grant.created, grant.id);
        let of_cmk = self.by_cmk.entry(grant.key).or_default();
        of_cmk.in_order.insert(position);
        of_cmk.by_grantee.entry(grant.grantee.clone()).or_default().insert(grant.id);
        if let Some(retiring) = &grant.retiring {
            self.retirable.entry(retiring.clone()).or_default().insert(position);
        }
        self.by_id.insert(grant.id, stored);
    }

    pub(super) fn remove(&mut self, id: GrantId) {
        let Some(stored) = self.by_id.remove(&id) else { return };
        let grant = &stored.record;
        let position = (grant.created, grant.id);
        if let Some(of_cmk) = self.by_cmk.get_mut(&grant.key) {
            of_cmk.in_order.remove(&position);
            remove_from(&mut of_cmk.by_grantee, &grant.grantee, &grant.id);
            if of_cmk.in_order.is_empty() {
                self.by_cmk.remove(&grant.key);
            }
        }
        if let Some(retiring) = &grant.retiring {
            remove_from(&mut self.retirable, retiring, &position);
        }
    }
}

/// Removes an item from the set under `key`, and a set that has become empty.
fn remove_from<T: Ord>(sets: &mut HashMap<String, BTreeSet<T>>, key: &str, item: &T) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(item);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}
