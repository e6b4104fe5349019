//! What the keystore holds, in memory: what operations read instead of the database.
//!
//! Finding anything takes a few comparisons however much there is, and so does taking over a change.

mod batches;
mod draft;
mod grants;
mod objects;
mod principals;

pub(super) use draft::Draft;

use super::approvals::Approvals;
use super::arn::{DEFAULT_ACCOUNT, DEFAULT_REGION, KeyId, KeyRef, Naming};
use super::call::{Call, Caller};
use super::clock::{Clock, Timestamp, to_millis};
use super::default_policy::DefaultPolicies;
use super::due;
use super::error::{Error, Result};
use super::key::KeyRecord;
use super::keystore::{Entry, Item, Manifest, RecordKey, RowDigest, Stored};
use super::policy::Written;
use super::settings::SettingsRecord;
use batches::Batches;
use grants::Grants;
use objects::Objects;
use principals::Principals;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// Everything as of one generation of the keystore.
pub(super) struct Table {
    clock: Arc<dyn Clock>,
    manifest: Manifest,
    entries: BTreeMap<KeyId, Arc<Entry>>,
    aliases: BTreeMap<String, KeyId>,
    due: BTreeSet<(Timestamp, KeyId)>,
    grants: Grants,
    principals: Principals,
    batches: Batches,
    objects: Objects,
    settings: Option<Arc<Stored<SettingsRecord>>>,
    approvals: Option<Arc<Stored<Approvals>>>,
    default_policies: DefaultPolicies,
}

impl Table {
    /// What an empty keystore holds.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Table {
        Table {
            clock,
            manifest: Manifest::default(),
            entries: BTreeMap::new(),
            aliases: BTreeMap::new(),
            due: BTreeSet::new(),
            grants: Grants::default(),
            principals: Principals::default(),
            batches: Batches::default(),
            objects: Objects::default(),
            settings: None,
            approvals: None,
            default_policies: DefaultPolicies::new(DEFAULT_ACCOUNT),
        }
    }

    /// The time.
    pub(super) fn now(&self) -> Timestamp {
        to_millis(self.clock.now())
    }

    /// The key policy of a CMK: its own, or the default of its management type.
    pub(super) fn policy<'a>(&'a self, record: &'a KeyRecord) -> &'a Written {
        record.policy.as_ref().unwrap_or_else(|| self.default_policies.of(record.manager))
    }

    pub(super) fn manifest(&self) -> Manifest {
        self.manifest
    }

    pub(super) fn get(&self, id: KeyId) -> Option<&Arc<Entry>> {
        self.entries.get(&id)
    }

    /// The CMKs that exist, by id, after this one or all.
    pub(super) fn entries_after(&self, after: Option<KeyId>) -> impl Iterator<Item = &Arc<Entry>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.entries.range((from, Bound::Unbounded)).map(|(_, entry)| entry);
        entries.filter(|entry| entry.record.destroyed.is_none())
    }

    /// The aliases and the CMKs they point to, by name, after this one or all.
    pub(super) fn aliases_after<'a>(
        &'a self,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a str, &'a Arc<Entry>)> + use<'a> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let aliases = self.aliases.range::<str, _>((from, Bound::Unbounded));
        aliases.filter_map(move |(name, id)| Some((name.as_str(), self.get(*id)?)))
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

    /// How ARNs are written and read during `call`.
    pub(super) fn naming<'a>(&'a self, call: &Call<'a>) -> Naming<'a> {
        let settings = self.settings();
        let own_region = settings.map_or(DEFAULT_REGION, |settings| &settings.region);
        Naming {
            region: call.region.unwrap_or(own_region),
            account: self.account(),
            own_region,
            anywhere: call.caller == Caller::Filesystem,
        }
    }

    /// The key that `text`, a key id, key ARN, alias name or alias ARN, names.
    pub(super) fn find(&self, call: &Call<'_>, text: &str) -> Result<&Arc<Entry>> {
        let naming = self.naming(call);
        let id = match naming.parse(text)? {
            KeyRef::Id(id) => Some(id),
            KeyRef::Alias(name) => self.alias(name),
        };
        match id {
            Some(id) => self.find_id(call, id),
            None if text.starts_with("arn:") => Err(Error::NotFound(format!("Alias {text} is not found."))),
            None => Err(Error::NotFound(format!("Alias {} is not found.", naming.alias(text)))),
        }
    }

    pub(super) fn find_id(&self, call: &Call<'_>, id: KeyId) -> Result<&Arc<Entry>> {
        self.get(id)
            .ok_or_else(|| Error::NotFound(format!("Key '{}' does not exist", self.naming(call).key(id))))
    }

    /// All grants.
    pub(super) fn grants(&self) -> &Grants {
        &self.grants
    }

    /// All users and roles.
    pub(super) fn principals(&self) -> &Principals {
        &self.principals
    }

    /// All batches of shred secrets.
    pub(super) fn batches(&self) -> &Batches {
        &self.batches
    }

    /// All objects of the token.
    pub(super) fn objects(&self) -> &Objects {
        &self.objects
    }

    /// The account that owns everything.
    pub(super) fn account(&self) -> &str {
        self.settings().map_or(DEFAULT_ACCOUNT, |settings| &settings.account)
    }

    /// What is set, if anything ever was.
    pub(super) fn settings(&self) -> Option<&SettingsRecord> {
        self.settings.as_ref().map(|stored| &stored.record)
    }

    /// What custodians approve, if there ever was one.
    pub(super) fn approvals(&self) -> Option<&Approvals> {
        self.approvals.as_ref().map(|stored| &stored.record)
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
                Item::Settings(settings) => self.put_settings(Some(settings)),
                Item::Batch(batch) => self.batches.put(batch),
                Item::Approvals(approvals) => self.approvals = Some(approvals),
                Item::Object(object) => self.objects.put(object),
                Item::Removed(RecordKey::Grant(id)) => self.grants.remove(id),
                Item::Removed(RecordKey::Principal(id)) => self.principals.remove(id),
                Item::Removed(RecordKey::Settings) => self.put_settings(None),
                Item::Removed(RecordKey::Batch(id)) => self.batches.remove(id),
                Item::Removed(RecordKey::Approvals) => self.approvals = None,
                Item::Removed(RecordKey::Object(id)) => self.objects.remove(id),
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

    fn put_settings(&mut self, settings: Option<Arc<Stored<SettingsRecord>>>) {
        self.settings = settings;
        self.default_policies = DefaultPolicies::new(self.account());
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
            RecordKey::Batch(id) => self.batches.stored(id).map(|stored| stored.digest()),
            RecordKey::Approvals => self.approvals.as_ref().map(|stored| stored.digest()),
            RecordKey::Object(id) => self.objects.stored(id).map(|stored| stored.digest()),
        }
    }
}
