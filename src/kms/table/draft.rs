//! A change in the making: reads the table, collects what is to be written.

use super::Table;
use crate::crypto::{KEY_LEN, Key, SecretBytes, random};
use crate::kms::approvals::Approvals;
use crate::kms::call::Call;
use crate::kms::clock::Timestamp;
use crate::kms::error::Result;
use crate::kms::grant::GrantRecord;
use crate::kms::key::{KeyRecord, KeyState};
use crate::kms::keystore::{NewMaterial, RecordKey, Write};
use crate::kms::material::{MaterialId, MaterialInfo, RotationType};
use crate::kms::principal::PrincipalRecord;
use crate::kms::secrets::BatchRecord;
use crate::kms::settings::SettingsRecord;
use crate::kms::token::{Object, ObjectId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module. What is put or removed does not show in `table`, which stays as it was before the change.
pub(in crate::kms) struct Draft<'a> {
    pub(in crate::kms) table: &'a Table,
    pub(in crate::kms) now: Timestamp,
    staged: BTreeMap<RecordKey, Write>,
}

impl<'a> Draft<'a> {
    pub(in crate::kms) fn new(table: &'a Table, now: Timestamp) -> Draft<'a> {
        Draft { table, now, staged: BTreeMap::new() }
    }

    /// Has `record` written, unless it says what is known already. Material that it does not name any more is
    /// destroyed.
    pub(in crate::kms) fn put(&mut self, record: KeyRecord) {
        let known = self.table.get(record.id).is_some_and(|entry| entry.record == record);
        if !known || self.staged.contains_key(&RecordKey::Cmk(record.id)) {
            self.put_with(record, Vec::new());
        }
    }

    /// Has `record` written with `materials`, which it names: new versions, or a version anew.
    pub(in crate::kms) fn put_with(&mut self, record: KeyRecord, materials: Vec<NewMaterial>) {
        self.staged.insert(RecordKey::Cmk(record.id), Write::Cmk(record, materials));
    }

    /// Has `record` written with `secret` as the next version of its key material.
    pub(in crate::kms) fn put_material(
        &mut self,
        mut record: KeyRecord,
        rotation: RotationType,
        secret: SecretBytes,
    ) {
        let version = record.current_material() + 1;
        let id = MaterialId::of(record.id, secret.expose());
        record.materials.push(MaterialInfo { version, id, created: self.now, rotation, imported: None });
        self.put_with(record, vec![NewMaterial { version, secret }]);
    }

    /// Has `record`, that of a symmetric key, written with a new version of key material.
    pub(in crate::kms) fn put_rotated(&mut self, record: KeyRecord, rotation: RotationType) {
        let mut secret = SecretBytes::zeroed(KEY_LEN);
        random::fill(secret.expose_mut());
        self.put_material(record, rotation, secret);
    }

    /// Has the key's material destroyed, its grants removed, and the shred secrets that are its alone. Its record stays behind, without aliases.
    pub(in crate::kms) fn put_destroyed(&mut self, mut record: KeyRecord) {
        for grant in self.table.grants().of(record.id) {
            self.staged.insert(RecordKey::Grant(grant.id), Write::Remove(RecordKey::Grant(grant.id)));
        }
        for known in self.table.batches().of(record.id) {
            let mut batch = match self.staged.get(&RecordKey::Batch(known.id)) {
                Some(Write::Batch(batch, _)) => batch.clone(),
                _ => known.clone(),
            };
            batch.keys.retain(|key| *key != record.id);
            self.put_batch(batch, Vec::new());
        }
        record.state = KeyState::PendingDeletion;
        record.destroyed = Some(self.now);
        record.materials.clear();
        record.aliases.clear();
        record.rotation = None;
        self.put(record);
    }

    /// Has a grant written. It is of a CMK that exists, which the caller has made sure of.
    pub(in crate::kms) fn put_grant(&mut self, record: GrantRecord) {
        self.staged.insert(RecordKey::Grant(record.id), Write::Grant(record));
    }

    /// Has a user or role written. Its name, access keys and user ids are no other principal's, which the caller
    /// has made sure of.
    pub(in crate::kms) fn put_principal(&mut self, record: PrincipalRecord) {
        self.staged.insert(RecordKey::Principal(record.id), Write::Principal(record));
    }

    /// Has a new batch of shred secrets written, with all of them.
    pub(in crate::kms) fn put_secrets(&mut self, record: BatchRecord, secrets: Vec<Key>) {
        self.staged.insert(RecordKey::Batch(record.id), Write::NewBatch(record, secrets));
    }

    /// Has a batch written, of which these secrets are destroyed; removed, if none is left or nobody may have them.
    pub(in crate::kms) fn put_batch(&mut self, record: BatchRecord, destroyed: Vec<u32>) {
        let key = RecordKey::Batch(record.id);
        let over = record.is_dead() || record.keys.is_empty();
        self.staged.insert(key, if over { Write::Remove(key) } else { Write::Batch(record, destroyed) });
    }

    /// Has an object of the token written.
    pub(in crate::kms) fn put_object(&mut self, object: Arc<Object>) {
        self.staged.insert(RecordKey::Object(object.id()), Write::Object(object));
    }

    /// Has an object of the token removed.
    pub(in crate::kms) fn remove_object(&mut self, id: ObjectId) {
        self.remove(RecordKey::Object(id));
    }

    /// Has the settings written.
    pub(in crate::kms) fn put_settings(&mut self, record: SettingsRecord) {
        self.staged.insert(RecordKey::Settings, Write::Settings(record));
    }

    /// Refuses `operation` unless custodians approve it, as many as are needed. What they signed is used up by the change.
    ///
    /// # Errors
    /// `AccessDeniedException` if it comes without approvals; what is wrong with them.
    pub(in crate::kms) fn approve(&mut self, call: &Call<'_>, operation: &str) -> Result<()> {
        let mut approvals = self.approvals();
        let Some(approved) = approvals.judge(call, operation, self.now)? else { return Ok(()) };
        approvals.spend(&approved, self.now);
        self.put_approvals(approvals);
        if let Some(trace) = call.trace {
            trace.approved(approved);
        }
        Ok(())
    }

    /// What custodians approve, with what this change does to it.
    pub(in crate::kms) fn approvals(&self) -> Approvals {
        match self.staged.get(&RecordKey::Approvals) {
            Some(Write::Approvals(approvals)) => approvals.clone(),
            _ => self.table.approvals().cloned().unwrap_or_default(),
        }
    }

    /// Has what custodians approve written.
    pub(in crate::kms) fn put_approvals(&mut self, record: Approvals) {
        self.staged.insert(RecordKey::Approvals, Write::Approvals(record));
    }

    /// Has a grant or principal removed.
    pub(in crate::kms) fn remove(&mut self, key: RecordKey) {
        self.staged.insert(key, Write::Remove(key));
    }

    pub(in crate::kms) fn into_staged(self) -> impl Iterator<Item = (RecordKey, Write)> {
        self.staged.into_iter()
    }
}
