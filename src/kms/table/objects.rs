//! All objects of the token in memory.

use crate::kms::keystore::Stored;
use crate::kms::token::{Object, ObjectId, PIN_CLASS};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Objects, by their ids and by their owners.
#[derive(Default)]
pub(in crate::kms) struct Objects {
    by_id: HashMap<ObjectId, Arc<Stored<Arc<Object>>>>,
    by_owner: HashMap<String, Own>,
    pins: HashMap<String, ObjectId>,
}

/// The objects of an owner.
#[derive(Default)]
struct Own {
    ids: BTreeSet<ObjectId>,
    /// Of all of them, in bytes.
    size: usize,
}

impl Objects {
    /// The object of this id.
    pub(in crate::kms) fn get(&self, id: ObjectId) -> Option<Arc<Object>> {
        self.stored(id).map(|stored| Arc::clone(&stored.record))
    }

    /// How many there are, PINs too.
    pub(in crate::kms) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How many there are of an owner, and how many bytes.
    pub(in crate::kms) fn count(&self, owner: &str) -> (usize, usize) {
        self.by_owner.get(owner).map_or((0, 0), |own| (own.ids.len(), own.size))
    }

    /// The ids of all that belong to owners of whom `is_meant` says so, their PINs too.
    pub(in crate::kms) fn of_owners(&self, is_meant: impl Fn(&str) -> bool) -> Vec<ObjectId> {
        let all = self.by_id.iter().filter(|(_, stored)| is_meant(stored.record.owner()));
        all.map(|(id, _)| *id).collect()
    }

    /// Who has any, or a PIN.
    pub(in crate::kms) fn owners(&self) -> impl Iterator<Item = &str> {
        self.by_owner.keys().chain(self.pins.keys()).map(String::as_str)
    }

    /// Those of an owner.
    pub(in crate::kms) fn of(&self, owner: &str) -> impl Iterator<Item = Arc<Object>> {
        let own = self.by_owner.get(owner).into_iter().flat_map(|own| &own.ids);
        own.filter_map(|id| self.get(*id))
    }

    /// The object that an owner's PIN is.
    pub(in crate::kms) fn pin(&self, owner: &str) -> Option<Arc<Object>> {
        self.get(*self.pins.get(owner)?)
    }

    pub(super) fn stored(&self, id: ObjectId) -> Option<&Arc<Stored<Arc<Object>>>> {
        self.by_id.get(&id)
    }

    pub(super) fn put(&mut self, stored: Arc<Stored<Arc<Object>>>) {
        let (id, owner) = (stored.record.id(), stored.record.owner().to_owned());
        self.remove(id);
        match stored.record.class() {
            PIN_CLASS => {
                self.pins.insert(owner, id);
            }
            _ => {
                let own = self.by_owner.entry(owner).or_default();
                own.ids.insert(id);
                own.size += stored.record.size();
            }
        }
        self.by_id.insert(id, stored);
    }

    pub(super) fn remove(&mut self, id: ObjectId) {
        let Some(stored) = self.by_id.remove(&id) else { return };
        let owner = stored.record.owner();
        if self.pins.get(owner) == Some(&id) {
            self.pins.remove(owner);
        }
        if let Some(own) = self.by_owner.get_mut(owner)
            && own.ids.remove(&id)
        {
            own.size -= stored.record.size();
            if own.ids.is_empty() {
                self.by_owner.remove(owner);
            }
        }
    }
}
