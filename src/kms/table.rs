//! All CMKs in memory, unsealed: what operations read instead of the database.

use super::arn::{KeyId, KeyRef, alias_arn};
use super::clock::Timestamp;
use super::error::{Error, Result};
use super::key::{KeyRecord, KeyState, RotationType};
use super::keystore::{Entry, Manifest, Material};
use crate::crypto::secret::Key;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// All CMKs as of one generation of the keystore.
#[derive(Default)]
pub(super) struct Table {
    manifest: Manifest,
    entries: BTreeMap<KeyId, Arc<Entry>>,
    aliases: HashMap<String, KeyId>,
}

impl Table {
    pub(super) fn manifest(&self) -> Manifest {
        self.manifest
    }

    pub(super) fn get(&self, id: KeyId) -> Option<&Arc<Entry>> {
        self.entries.get(&id)
    }

    /// The CMKs that exist, by id.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values().filter(|entry| entry.record.destroyed.is_none())
    }

    /// The key that an alias points to.
    pub(super) fn alias(&self, name: &str) -> Option<KeyId> {
        self.aliases.get(name).copied()
    }

    /// The key that `text`, a key id, key ARN, alias name or alias ARN, names.
    pub(super) fn find(&self, text: &str) -> Result<&Arc<Entry>> {
        match KeyRef::parse(text)? {
            KeyRef::Id(id) => self.find_id(id),
            KeyRef::Alias(name) => match self.alias(name) {
                Some(id) => self.find_id(id),
                None => Err(Error::NotFound(format!("Alias {} is not found.", alias_arn(name)))),
            },
        }
    }

    pub(super) fn find_id(&self, id: KeyId) -> Result<&Arc<Entry>> {
        self.get(id).ok_or_else(|| Error::NotFound(format!("Key '{}' does not exist", id.arn())))
    }

    /// The manifest of this table with `changed` in the place of what it has of them, as of `generation`.
    pub(super) fn plan(&self, generation: u64, changed: &[Arc<Entry>]) -> Manifest {
        let mut manifest = Manifest { generation, ..self.manifest };
        for entry in changed {
            let before = self.get(entry.record.id).map(|entry| entry.digest());
            manifest.keys += u64::from(before.is_none());
            manifest.rows = manifest.rows ^ before.unwrap_or_default() ^ entry.digest();
        }
        manifest
    }

    /// Takes over `changed`, whose manifest was planned and verified.
    pub(super) fn apply(&mut self, manifest: Manifest, changed: Vec<Arc<Entry>>) {
        // All old names go before the first new one comes: an alias may have moved between two of them.
        for entry in &changed {
            if let Some(before) = self.entries.get(&entry.record.id) {
                for name in before.record.aliases.keys() {
                    self.aliases.remove(name);
                }
            }
        }
        for entry in changed {
            let id = entry.record.id;
            self.aliases.extend(entry.record.aliases.keys().map(|name| (name.clone(), id)));
            self.entries.insert(id, entry);
        }
        self.manifest = manifest;
    }
}

/// A change in the making: reads the table, collects what is to be written.
pub(super) struct Draft<'a> {
    pub(super) table: &'a Table,
    pub(super) now: Timestamp,
    staged: BTreeMap<KeyId, Staged>,
}

/// A CMK to be written.
pub(super) struct Staged {
    pub(super) record: KeyRecord,
    pub(super) materials: Vec<Material>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(table: &'a Table, now: Timestamp) -> Draft<'a> {
        Draft { table, now, staged: BTreeMap::new() }
    }

    /// Has `record` written, unless it says what is known already.
    pub(super) fn put(&mut self, record: KeyRecord) {
        self.put_with(record, Vec::new());
    }

    /// Has `record` written with a new version of key material.
    pub(super) fn put_rotated(&mut self, mut record: KeyRecord, rotation: RotationType) {
        let version = record.current_material() + 1;
        record.materials.push(super::key::MaterialInfo { version, created: self.now, rotation });
        self.put_with(record, vec![Material { version, key: Key::random() }]);
    }

    /// Has the key's material destroyed. Its record stays behind, without aliases.
    pub(super) fn put_destroyed(&mut self, mut record: KeyRecord) {
        record.state = KeyState::PendingDeletion;
        record.destroyed = Some(self.now);
        record.materials.clear();
        record.aliases.clear();
        record.rotation = None;
        self.put(record);
    }

    pub(super) fn into_staged(self) -> impl Iterator<Item = Staged> {
        self.staged.into_values()
    }

    fn put_with(&mut self, record: KeyRecord, materials: Vec<Material>) {
        let known = self.table.get(record.id).is_some_and(|entry| entry.record == record);
        if !known || self.staged.contains_key(&record.id) {
            self.staged.insert(record.id, Staged { record, materials });
        }
    }
}
