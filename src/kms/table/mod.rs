//! What the keystore holds, in memory: what operations read instead of the database.
//!
//! Finding anything takes a few comparisons however much there is, and so does taking over a change.

mod draft;
mod grants;
mod principals;

pub(super) use draft::Draft;

use super::arn::{DEFAULT_ACCOUNT, KeyId, KeyRef, alias_arn};
use super::clock::Timestamp;
use super::due;
use super::error::{Error, Result};
use super::keystore::{Entry, Item, Manifest, RecordKey, RowDigest, Stored};
use super::settings::SettingsRecord;
use grants::Grants;
use principals::Principals;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Everything as of one generation of the keystore.
#[derive(Default)]
pub(super) struct Table {
    manifest: Manifest,
    entries: BTreeMap<KeyId, Arc<Entry>>,
    aliases: BTreeMap<String, KeyId>,
    due: BTreeSet<(Timestamp, KeyId)>,
    grants: Grants,
    principals: Principals,
    settings: Option<Arc<Stored<SettingsRecord>>>,
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

    /// The CMKs for which something is due at `now`, the longest due first.
    pub(super) fn due(&self, now: Timestamp) -> impl Iterator<Item = &Arc<Entry>> {
        let due = self.due.iter().take_while(move |(date, _)| *date <= now);
        due.filter_map(|(_, id)| self.entries.get(id))
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

    /// All grants.
    pub(super) fn grants(&self) -> &Grants {
        &self.grants
    }

    /// All users and roles.
    pub(super) fn principals(&self) -> &Principals {
        &self.principals
    }

    /// The account that owns everything.
    pub(super) fn account(&self) -> &str {
        self.settings().map_or(DEFAULT_ACCOUNT, |settings| &settings.account)
    }

    /// What is set, if anything ever was.
    pub(super) fn settings(&self) -> Option<&SettingsRecord> {
        self.settings.as_ref().map(|stored| &stored.record)
    }

    /// The manifest of this table with `items` in the place of what it has of them, as of `generation`.
    pub(super) fn plan(&self, generation: u64, items: &[Item]) -> Manifest {
        let mut manifest = Manifest { generation, ..self.manifest };
        for item in items {
            let before = self.digest(item.key());
            let after = item.digest();
            manifest.records = manifest.records + u64::from(after.is_some()) - u64::from(before.is_some());
            manifest.rows = manifest.rows ^ before.unwrap_or_default() ^ after.unwrap_or_default();
        }
        manifest
    }

    /// Takes over `items`, whose manifest was planned and verified.
    pub(super) fn apply(&mut self, manifest: Manifest, items: Vec<Item>) {
        // All old names go before the first new one comes: an alias may have moved between two keys.
        for item in &items {
            if let RecordKey::Cmk(id) = item.key() {
                self.forget_names(id);
            }
        }
        for item in items {
            match item {
                Item::Cmk(entry) => self.put(entry),
                Item::Grant(grant) => self.grants.put(grant),
                Item::Principal(principal) => self.principals.put(principal),
                Item::Settings(settings) => self.settings = Some(settings),
                Item::Removed(RecordKey::Grant(id)) => self.grants.remove(id),
                Item::Removed(RecordKey::Principal(id)) => self.principals.remove(id),
                Item::Removed(RecordKey::Settings) => self.settings = None,
                Item::Removed(RecordKey::Cmk(id)) => {
                    self.entries.remove(&id);
                }
            }
        }
        self.manifest = manifest;
    }

    fn put(&mut self, entry: Arc<Entry>) {
        let id = entry.record.id;
        self.aliases.extend(entry.record.aliases.keys().map(|name| (name.clone(), id)));
        self.due.extend(due::next(&entry.record).map(|(date, _)| (date, id)));
        self.entries.insert(id, entry);
    }

    fn forget_names(&mut self, id: KeyId) {
        let Some(before) = self.entries.get(&id) else { return };
        for name in before.record.aliases.keys() {
            self.aliases.remove(name);
        }
        if let Some((date, _)) = due::next(&before.record) {
            self.due.remove(&(date, id));
        }
    }

    fn digest(&self, key: RecordKey) -> Option<RowDigest> {
        match key {
            RecordKey::Cmk(id) => self.get(id).map(|entry| entry.digest()),
            RecordKey::Grant(id) => self.grants.stored(id).map(|stored| stored.digest()),
            RecordKey::Principal(id) => self.principals.stored(id).map(|stored| stored.digest()),
            RecordKey::Settings => self.settings.as_ref().map(|stored| stored.digest()),
        }
    }
}
