//! The keystore and its image in memory, kept alike.
//!
//! Using a key reads memory only. Two things keep memory true: every change of this process is committed
//! before it is applied, and the changes of others are looked for ten times a second by a thread, or on
//! the spot by whoever uses a key and finds the last look more than [`FRESH`] ago. If looking fails, or takes
//! for ever, keys are not used: a key that was disabled elsewhere must not go on here because a disk went away.
//! Such an *outage* is counted, so that who caches what a key gave learns that nobody can vouch for it.
//!
//! Lock order: `store`, then `table`. `table` is never held across a call into SQLite except for reading, while
//! `store` keeps every writer out.

use super::call::Call;
use super::clock::{Clock, Timestamp, to_millis};
use super::due::{self, Due};
use super::error::{Error, Result};
use super::grant::GrantId;
use super::key::KeyRecord;
use super::key_pairs::KeyPairs;
use super::keystore::{self, Change, Entry, Item, Keystore, Manifest, Mark, RecordKey, Rows, Unlock};
use super::last_use::{LastUse, LastUses, UseOf};
use super::material::RotationType;
use super::state::Operation;
use super::table::{Draft, Table};
use crate::crypto::passphrase::Argon2Params;
use crate::kms::arn::KeyId;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How old the last look at the keystore may be when a key is used.
const FRESH: Duration = Duration::from_millis(300);
/// No look that succeeded for this long is an outage, though none has failed: the disk does not answer. With the
/// tenth of a second after which a mount notices, well below the second that is promised.
const SILENT: Duration = Duration::from_millis(600);
/// How long who uses a key waits for the keystore, if somebody else keeps it busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Core {
    pub(super) clock: Arc<dyn Clock>,
    /// Overrides the tuned cost of passphrases.
    pub(super) cost: Option<Argon2Params>,
    pub(super) store: Mutex<Store>,
    /// Private keys in use.
    pub(super) key_pairs: KeyPairs,
    pub(super) last_uses: LastUses,
    table: RwLock<Table>,
    generation: AtomicU64,
    started: Instant,
    /// When the last look at the keystore began, in [`Core::nanos`]; [`NEVER`] if it failed.
    looked: AtomicU64,
    outages: AtomicU64,
    superseded: AtomicBool,
}

/// No look vouches for what memory shows.
const NEVER: u64 = 0;

/// The keystore, and how far memory follows it.
pub(super) struct Store {
    pub(super) keystore: Keystore,
    /// The mark of the state that was read last; `None` if memory may lag behind.
    seen: Option<Mark>,
}

impl Core {
    /// Reads and verifies all of `keystore`.
    pub(super) fn new(
        keystore: Keystore,
        clock: Arc<dyn Clock>,
        cost: Option<Argon2Params>,
    ) -> keystore::Result<Core> {
        let core = Core {
            table: RwLock::new(Table::new(Arc::clone(&clock))),
            clock,
            cost,
            store: Mutex::new(Store { keystore, seen: None }),
            key_pairs: KeyPairs::new(),
            last_uses: LastUses::default(),
            generation: AtomicU64::new(0),
            started: Instant::now(),
            looked: AtomicU64::new(NEVER),
            outages: AtomicU64::new(0),
            superseded: AtomicBool::new(false),
        };
        core.look()?;
        core.store.lock().keystore.trust()?;
        Ok(core)
    }

    /// The time, as it is recorded.
    pub(super) fn now(&self) -> Timestamp {
        to_millis(self.clock.now())
    }

    /// The generation of the last change that memory shows, new shred secrets left aside.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// How often the keystore could not be read any more. Once an outage is counted, no key is used before the
    /// keystore was read again.
    pub(super) fn outages(&self) -> u64 {
        let looked = self.looked.load(Ordering::Acquire);
        if looked != NEVER && self.age(looked) > SILENT && self.lose(looked) {
            log::error!("the keystore does not answer: its keys are not used until it does");
        }
        self.outages.load(Ordering::Acquire)
    }

    /// Whether the keystore has another root key by now, or none.
    pub(super) fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Acquire)
    }

    /// What the keystore holds, no older than [`FRESH`].
    ///
    /// # Errors
    /// `KeyUnavailableException` if the keystore cannot be read any more.
    pub(super) fn table(&self) -> Result<RwLockReadGuard<'_, Table>> {
        if !self.is_fresh() {
            let unavailable = |e: &dyn Display| format!("keys cannot be used just now: {e}");
            let asked = Instant::now();
            let store = self.store.try_lock_for(PATIENCE);
            let mut store =
                store.ok_or_else(|| Error::KeyUnavailable(unavailable(&"the keystore does not answer")))?;
            self.look_since(asked, &mut store).map_err(|e| Error::KeyUnavailable(unavailable(&e)))?;
        }
        Ok(self.table.read())
    }

    /// What memory shows, however old.
    pub(super) fn recent(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read()
    }

    /// Notes that a call used a key.
    pub(super) fn used(&self, entry: &Entry, call: &Call<'_>, operation: Operation) {
        if let Some(operation) = UseOf::by(operation) {
            let last_use = LastUse { operation, at: self.now(), request_id: call.request_id };
            self.last_uses.note(entry.record.id, last_use);
        }
    }

    /// Records last uses that are later than the recorded ones by more than `margin`.
    pub(super) fn record_uses(&self, margin: time::Duration) -> Result<()> {
        let is_due = |table: &Table, key, noted: &LastUse| {
            table.get(key).is_some_and(|entry| {
                let recorded = entry.record.last_use;
                recorded.is_none_or(|recorded| noted.at - recorded.at > margin)
            })
        };
        let mut notes = self.last_uses.all();
        let table = self.recent();
        notes.retain(|(key, noted)| is_due(&table, *key, noted));
        drop(table);
        if notes.is_empty() {
            return Ok(());
        }
        self.change(|draft| {
            for (key, noted) in &notes {
                if let Some(entry) = draft.table.get(*key).filter(|_| is_due(draft.table, *key, noted)) {
                    draft.put(KeyRecord { last_use: Some(*noted), ..entry.record.clone() });
                }
            }
            Ok(())
        })?;
        for (key, noted) in notes {
            self.last_uses.recorded(key, noted);
        }
        Ok(())
    }

    /// As [`Core::table`], and with the grants that the call has tokens of, as far as they exist: another process may
    /// have made one just now.
    pub(super) fn table_for(&self, call: &Call<'_>) -> Result<RwLockReadGuard<'_, Table>> {
        let table = self.table()?;
        let is_known =
            |token: &String| GrantId::of_token(token).is_some_and(|id| table.grants().get(id).is_some());
        if call.grant_tokens.iter().all(is_known) {
            return Ok(table);
        }
        drop(table);
        self.look().map_err(|e| Error::KeyUnavailable(format!("keys cannot be used just now: {e}")))?;
        self.table()
    }

    /// Looks for changes that other processes made.
    pub(super) fn look(&self) -> keystore::Result<()> {
        let asked = Instant::now();
        self.look_since(asked, &mut self.store.lock())
    }

    /// Looks for changes, unless whoever held the lock before has done so since `asked`.
    fn look_since(&self, asked: Instant, store: &mut Store) -> keystore::Result<()> {
        let before = self.looked.load(Ordering::Acquire);
        if before > self.nanos(asked) {
            return Ok(());
        }
        let begun = self.nanos(Instant::now());
        let looked = store.keystore.mark().and_then(|mark| {
            self.follow(&mut store.seen, mark, &|since, known| store.keystore.read(since, known))
        });
        if let Err(keystore::Error::Rekeyed(_) | keystore::Error::Zeroized(_)) = looked {
            self.superseded.store(true, Ordering::Release);
        }
        match looked {
            Ok(()) => self.looked.store(begun, Ordering::Release),
            Err(_) if before != NEVER => {
                self.lose(before);
            }
            Err(_) => {}
        }
        looked
    }

    /// Begins an outage, unless one has begun, or a look succeeded, since the look of `before`; says whether it
    /// did. In this order, so that who sees the count finds no key served any more.
    fn lose(&self, before: u64) -> bool {
        let lost = self.looked.compare_exchange(before, NEVER, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if lost {
            self.outages.fetch_add(1, Ordering::AcqRel);
        }
        lost
    }

    /// Changes records: what `edit` puts into the draft is committed as one transaction, all of it or nothing.
    pub(super) fn change<T>(&self, edit: impl FnOnce(&mut Draft<'_>) -> Result<T>) -> Result<T> {
        self.transact(false, |_, draft| edit(draft))
    }

    /// Changes slots, and records with them, as one transaction.
    pub(super) fn change_slots<T, E: From<keystore::Error>>(
        &self,
        edit: impl FnOnce(&Change<'_>, &mut Draft<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.transact(true, edit)
    }

    /// Without `slots`, a draft into which nothing was put is no change.
    fn transact<T, E: From<keystore::Error>>(
        &self,
        slots: bool,
        edit: impl FnOnce(&Change<'_>, &mut Draft<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut guard = self.store.lock();
        let store = &mut *guard;
        let change = store.keystore.begin()?;
        let mark = change.mark()?;
        self.follow(&mut store.seen, mark, &|since, known| change.read(since, known))?;

        let table = self.table.read();
        let mut draft = Draft::new(&table, self.now());
        let result = edit(&change, &mut draft)?;
        let generation = table.manifest().generation + 1;
        let mut items = Vec::new();
        for (key, write) in draft.into_staged() {
            let before = match key {
                RecordKey::Cmk(id) => table.get(id).map(Arc::as_ref),
                _ => None,
            };
            items.push(change.write(generation, write, before)?);
        }
        if items.is_empty() && !slots {
            return Ok(result);
        }
        let manifest = table.plan(generation, &items);
        drop(table);
        commit(change, &manifest, mark, &mut store.seen)?;
        self.apply(manifest, items);
        Ok(result)
    }

    /// Gives the keystore another root key; see [`Change::rekey`].
    pub(super) fn rekey(&self, unlock: &Unlock) -> keystore::Result<()> {
        let mut guard = self.store.lock();
        let store = &mut *guard;
        let change = store.keystore.begin()?;
        let mark = change.mark()?;
        self.follow(&mut store.seen, mark, &|since, known| change.read(since, known))?;
        store.seen = None;
        store.seen = Some(change.rekey(unlock, self.now(), mark)?);
        if let Err(error) = store.keystore.scrub() {
            log::warn!("rows as they were under the old root key are left in the keystore's log: {error}");
        }
        Ok(())
    }

    /// Destroys the material of keys whose deletion date has come, and imported material that expires; rotates keys
    /// whose rotation is due.
    pub(super) fn run_due(&self) -> Result<()> {
        let now = self.now();
        if self.table.read().due(now).next().is_none() {
            return Ok(());
        }
        let destroyed = self.change(|draft| {
            let mut destroyed = Vec::new();
            for entry in draft.table.due(now) {
                let mut record = entry.record.clone();
                match due::next(&record) {
                    Some((_, Due::Destruction)) => {
                        destroyed.push(record.id);
                        draft.put_destroyed(record);
                    }
                    Some((_, Due::Rotation)) => {
                        if let Some(schedule) = &mut record.rotation {
                            schedule.next = now + time::Duration::days(schedule.period_days.into());
                        }
                        draft.put_rotated(record, RotationType::Automatic);
                    }
                    Some((_, Due::Expiry(version))) => {
                        destroyed.push(record.id);
                        record.forget_material(version);
                        draft.put(record);
                    }
                    None => {}
                }
            }
            Ok(destroyed)
        })?;
        for id in &destroyed {
            log::warn!("key {id}: material is destroyed, since its date has come");
        }
        if !destroyed.is_empty() {
            self.scrub()?;
        }
        Ok(())
    }

    /// Overwrites what destroyed material left in the keystore's log.
    pub(super) fn scrub(&self) -> Result<()> {
        Ok(self.store.lock().keystore.scrub()?)
    }

    /// Brings memory up to what `read` gives, if `mark` says that others wrote to the keystore since it was `seen`.
    fn follow(&self, seen: &mut Option<Mark>, mark: Mark, read: &ReadRows<'_>) -> keystore::Result<()> {
        if *seen != Some(mark) {
            self.refresh(read)?;
            *seen = Some(mark);
        }
        Ok(())
    }

    fn refresh(&self, read: &ReadRows<'_>) -> keystore::Result<()> {
        let table = self.table.read();
        let since = table.manifest().generation;
        let known = |id| table.get(id).cloned();
        let rows = read(since, &known)?;
        if rows.generation < since {
            return Err(rows.tampered("its generation, which went back,"));
        }
        let planned = table.plan(rows.generation, &rows.items);
        // Whoever wrote without a new generation was not kmsfs, or touched what is not ours: read it all.
        if rows.generation > since && rows.verify(&planned) {
            drop(table);
            self.apply(planned, rows.items);
            return Ok(());
        }
        let rows = read(0, &known)?;
        drop(table);
        let mut fresh = Table::new(Arc::clone(&self.clock));
        let planned = fresh.plan(rows.generation, &rows.items);
        if !rows.verify(&planned) {
            return Err(rows.tampered("the set of its rows"));
        }
        fresh.apply(planned, rows.items);
        *self.table.write() = fresh;
        self.generation.store(planned.generation, Ordering::Release);
        Ok(())
    }

    fn apply(&self, manifest: Manifest, items: Vec<Item>) {
        let mut table = self.table.write();
        // Of new shred secrets nobody can have cached anything: mounts make them while they make files, and must not
        // lose all their data keys each time.
        // And no volume uses the token's objects.
        let is_news = |item: &Item| match item {
            Item::Batch(batch) => table.batches().get(batch.record.id).is_none(),
            Item::Object(_) | Item::Removed(RecordKey::Object(_)) => true,
            _ => false,
        };
        let is_change = items.is_empty() || !items.iter().all(is_news);
        table.apply(manifest, items);
        drop(table);
        if is_change {
            self.generation.store(manifest.generation, Ordering::Release);
        }
    }

    pub(super) fn is_fresh(&self) -> bool {
        let looked = self.looked.load(Ordering::Acquire);
        looked != NEVER && self.age(looked) <= FRESH
    }

    fn age(&self, looked: u64) -> Duration {
        Duration::from_nanos(self.nanos(Instant::now()).saturating_sub(looked))
    }

    /// A moment as a number: nanoseconds since `started`, and one more, so that it is never [`NEVER`].
    fn nanos(&self, moment: Instant) -> u64 {
        let since = moment.duration_since(self.started).as_nanos();
        u64::try_from(since).map_or(u64::MAX, |nanos| nanos.saturating_add(1))
    }
}

/// Reads rows newer than a generation, given what is known of a CMK.
type ReadRows<'f> = dyn Fn(u64, &dyn Fn(KeyId) -> Option<Arc<Entry>>) -> keystore::Result<Rows> + 'f;

/// After a failed commit nobody knows whether it happened, so memory must be read anew.
fn commit(
    change: Change<'_>,
    manifest: &Manifest,
    before: Mark,
    seen: &mut Option<Mark>,
) -> keystore::Result<()> {
    *seen = None;
    *seen = Some(change.commit(manifest, before)?);
    Ok(())
}
