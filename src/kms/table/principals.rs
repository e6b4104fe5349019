//! All users and roles in memory.

use crate::kms::keystore::Stored;
use crate::kms::principal::{PrincipalId, PrincipalKind, PrincipalRecord};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Users and roles, by everything that names one.
#[derive(Default)]
pub(in crate::kms) struct Principals {
    by_id: HashMap<PrincipalId, Arc<Stored<PrincipalRecord>>>,
    by_name: BTreeMap<(PrincipalKind, String), PrincipalId>,
    by_access_key: HashMap<String, PrincipalId>,
    by_uid: HashMap<u32, PrincipalId>,
}

impl Principals {
    /// All of them, users first, by name.
    pub(in crate::kms) fn all(&self) -> impl Iterator<Item = &Arc<Stored<PrincipalRecord>>> {
        self.by_name.values().filter_map(|id| self.stored(*id))
    }

    /// The user or role of this name. Its ARN is `arn:aws:iam::ACCOUNT:user/NAME` or `…:role/NAME`.
    pub(in crate::kms) fn named(
        &self,
        kind: PrincipalKind,
        name: &str,
    ) -> Option<&Arc<Stored<PrincipalRecord>>> {
        self.stored(*self.by_name.get(&(kind, name.to_owned()))?)
    }

    /// Who has the access key of this id, active or not.
    pub(in crate::kms) fn of_access_key(&self, id: &str) -> Option<&Arc<Stored<PrincipalRecord>>> {
        self.stored(*self.by_access_key.get(id)?)
    }

    /// Who a user of this machine is.
    pub(in crate::kms) fn of_uid(&self, uid: u32) -> Option<&Arc<Stored<PrincipalRecord>>> {
        self.stored(*self.by_uid.get(&uid)?)
    }

    /// The user or role of this id.
    pub(in crate::kms) fn get(&self, id: PrincipalId) -> Option<&PrincipalRecord> {
        self.stored(id).map(|stored| &stored.record)
    }

    pub(super) fn stored(&self, id: PrincipalId) -> Option<&Arc<Stored<PrincipalRecord>>> {
        self.by_id.get(&id)
    }

    pub(super) fn put(&mut self, stored: Arc<Stored<PrincipalRecord>>) {
        let principal = &stored.record;
        let id = principal.id;
        self.remove(id);
        self.by_name.insert((principal.kind, principal.name.clone()), id);
        self.by_access_key.extend(principal.access_keys.iter().map(|key| (key.id.clone(), id)));
        self.by_uid.extend(principal.unix_uids.iter().map(|uid| (*uid, id)));
        self.by_id.insert(id, stored);
    }

    /// Names that another principal has taken over meanwhile stay with that one.
    pub(super) fn remove(&mut self, id: PrincipalId) {
        let Some(stored) = self.by_id.remove(&id) else { return };
        let principal = stored.record.clone();
        let name = (principal.kind, principal.name);
        if self.by_name.get(&name) == Some(&id) {
            self.by_name.remove(&name);
        }
        for key in principal.access_keys {
            if self.by_access_key.get(&key.id) == Some(&id) {
                self.by_access_key.remove(&key.id);
            }
        }
        for uid in principal.unix_uids {
            if self.by_uid.get(&uid) == Some(&id) {
                self.by_uid.remove(&uid);
            }
        }
    }
}
