//! The keystore and its image in memory, kept alike.
//!
//! Using a key reads memory only. Two things keep memory true: every change of this process is committed
//! before it is applied, and the changes of others are looked for ten times a second by a thread, or on
//! the spot by whoever uses a key and finds the last look more than [`FRESH`] ago. If looking fails, keys
//! are not used: a key that was disabled elsewhere must not go on here because a disk went away.
//!
//! Lock order: `store`, then `table`. `table` is never held across a call into SQLite except for reading, while
//! `store` keeps every writer out.

use super::clock::{Clock, Timestamp, to_millis};
use super::error::{Error, Result};
use super::key::{KeyRecord, KeyState, RotationType};
use super::keystore::{self, Change, Entry, Keystore, Manifest, Rows};
use super::table::{Draft, Table};
use crate::crypto::passphrase::Argon2Params;
use crate::kms::arn::KeyId;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How old the last look at the keystore may be when a key is used.
const FRESH: Duration = Duration::from_millis(300);

/// See the module.
pub(super) struct Core {
    pub(super) clock: Arc<dyn Clock>,
    /// Overrides the tuned cost of passphrases.
    pub(super) cost: Option<Argon2Params>,
    pub(super) store: Mutex<Store>,
    table: RwLock<Table>,
    generation: AtomicU64,
    started: Instant,
    /// Nanoseconds from `started` to the last successful look at the keystore.
    looked: AtomicU64,
}

/// The keystore, and how far memory follows it.
pub(super) struct Store {
    pub(super) keystore: Keystore,
    /// SQLite's number of the state that was read last; `None` if memory may lag behind.
    seen: Option<i64>,
}

impl Core {
    /// Reads and verifies all of `keystore`.
    pub(super) fn new(
        keystore: Keystore,
        clock: Arc<dyn Clock>,
        cost: Option<Argon2Params>,
    ) -> keystore::Result<Core> {
        let core = Core {
            clock,
            cost,
            store: Mutex::new(Store { keystore, seen: None }),
            table: RwLock::default(),
            generation: AtomicU64::new(0),
            started: Instant::now(),
            looked: AtomicU64::new(0),
        };
        core.look()?;
        core.store.lock().keystore.trust()?;
        Ok(core)
    }

    /// The time, as it is recorded.
    pub(super) fn now(&self) -> Timestamp {
        to_millis(self.clock.now())
    }

    /// The generation that memory shows.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// All CMKs, no older than [`FRESH`].
    ///
    /// # Errors
    /// `KeyUnavailableException` if the keystore cannot be read any more.
    pub(super) fn table(&self) -> Result<RwLockReadGuard<'_, Table>> {
        if !self.is_fresh() {
            self.look().map_err(|e| Error::KeyUnavailable(format!("keys cannot be used just now: {e}")))?;
        }
        Ok(self.table.read())
    }

    /// Looks for changes that other processes made.
    pub(super) fn look(&self) -> keystore::Result<()> {
        let asked = Instant::now();
        let mut guard = self.store.lock();
        let store = &mut *guard;
        if self.looked_since(asked) {
            return Ok(()); // by whoever held the lock
        }
        let begun = Instant::now();
        let version = store.keystore.data_version()?;
        self.follow(&mut store.seen, version, &|since, known| store.keystore.read(since, known))?;
        self.looked.store(self.nanos(begun), Ordering::Release);
        Ok(())
    }

    /// Changes CMKs: what `edit` puts into the draft is committed as one transaction, all of it or nothing.
    pub(super) fn change<T>(&self, edit: impl FnOnce(&mut Draft<'_>) -> Result<T>) -> Result<T> {
        let mut guard = self.store.lock();
        let store = &mut *guard;
        let change = store.keystore.begin()?;
        let version = store.keystore.data_version()?;
        self.follow(&mut store.seen, version, &|since, known| change.read(since, known))?;

        let table = self.table.read();
        let mut draft = Draft::new(&table, self.now());
        let result = edit(&mut draft)?;
        let generation = table.manifest().generation + 1;
        let mut changed = Vec::new();
        for staged in draft.into_staged() {
            let before = table.get(staged.record.id).map(Arc::as_ref);
            changed.push(Arc::new(change.write(generation, staged.record, staged.materials, before)?));
        }
        if changed.is_empty() {
            return Ok(result);
        }
        let manifest = table.plan(generation, &changed);
        drop(table);
        commit(change, &manifest, &mut store.seen)?;
        self.apply(manifest, changed);
        Ok(result)
    }

    /// Changes slots, as one transaction.
    pub(super) fn change_slots<T>(
        &self,
        edit: impl FnOnce(&Change<'_>) -> keystore::Result<T>,
    ) -> keystore::Result<T> {
        let mut guard = self.store.lock();
        let store = &mut *guard;
        let change = store.keystore.begin()?;
        let version = store.keystore.data_version()?;
        self.follow(&mut store.seen, version, &|since, known| change.read(since, known))?;
        let result = edit(&change)?;
        let before = self.table.read().manifest();
        let manifest = Manifest { generation: before.generation + 1, ..before };
        commit(change, &manifest, &mut store.seen)?;
        self.apply(manifest, Vec::new());
        Ok(result)
    }

    /// Destroys the material of keys whose deletion date has come and rotates keys whose rotation is due.
    pub(super) fn run_due(&self) -> Result<()> {
        let now = self.now();
        if !self.table.read().entries().any(|entry| due(&entry.record, now).is_some()) {
            return Ok(());
        }
        let destroyed = self.change(|draft| {
            let mut destroyed = Vec::new();
            for entry in draft.table.entries() {
                let mut record = entry.record.clone();
                match due(&record, now) {
                    Some(Due::Destruction) => {
                        destroyed.push(record.id);
                        draft.put_destroyed(record);
                    }
                    Some(Due::Rotation) => {
                        if let Some(schedule) = &mut record.rotation {
                            schedule.next = now + time::Duration::days(schedule.period_days.into());
                        }
                        draft.put_rotated(record, RotationType::Automatic);
                    }
                    None => {}
                }
            }
            Ok(destroyed)
        })?;
        for id in &destroyed {
            log::warn!("{} is deleted: its waiting period is over", id.arn());
        }
        if !destroyed.is_empty() {
            self.store.lock().keystore.scrub_log()?;
        }
        Ok(())
    }

    /// Brings memory up to what `read` gives, if `version` says that others wrote to the keystore since it was `seen`.
    fn follow<'a>(
        &self,
        seen: &mut Option<i64>,
        version: i64,
        read: &ReadRows<'_, 'a>,
    ) -> keystore::Result<()> {
        if *seen != Some(version) {
            self.refresh(read)?;
            *seen = Some(version);
        }
        Ok(())
    }

    fn refresh<'a>(&self, read: &ReadRows<'_, 'a>) -> keystore::Result<()> {
        let table = self.table.read();
        let since = table.manifest().generation;
        let known = |id| table.get(id).cloned();
        let rows = read(since, &known)?;
        if rows.generation < since {
            return Err(rows.tampered("its generation, which went back,"));
        }
        let planned = table.plan(rows.generation, &rows.entries);
        // Whoever wrote without a new generation was not kmsfs, or touched what is not ours: read it all.
        if rows.generation > since && rows.verify(&planned) {
            drop(table);
            self.apply(planned, rows.entries);
            return Ok(());
        }
        let rows = read(0, &known)?;
        drop(table);
        let mut fresh = Table::default();
        let planned = fresh.plan(rows.generation, &rows.entries);
        if !rows.verify(&planned) {
            return Err(rows.tampered("the set of its rows"));
        }
        fresh.apply(planned, rows.entries);
        *self.table.write() = fresh;
        self.generation.store(planned.generation, Ordering::Release);
        Ok(())
    }

    fn apply(&self, manifest: Manifest, changed: Vec<Arc<Entry>>) {
        self.table.write().apply(manifest, changed);
        self.generation.store(manifest.generation, Ordering::Release);
    }

    fn is_fresh(&self) -> bool {
        let looked = self.started + Duration::from_nanos(self.looked.load(Ordering::Acquire));
        looked.elapsed() <= FRESH
    }

    fn looked_since(&self, moment: Instant) -> bool {
        self.looked.load(Ordering::Acquire) > self.nanos(moment)
    }

    fn nanos(&self, moment: Instant) -> u64 {
        u64::try_from(moment.duration_since(self.started).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Reads rows newer than a generation, given what is known of a CMK.
type ReadRows<'f, 'a> = dyn Fn(u64, &dyn Fn(KeyId) -> Option<Arc<Entry>>) -> keystore::Result<Rows<'a>> + 'f;

/// After a failed commit nobody knows whether it happened, so memory must be read anew.
fn commit(change: Change<'_>, manifest: &Manifest, seen: &mut Option<i64>) -> keystore::Result<()> {
    change.commit(manifest).inspect_err(|_| *seen = None)
}

/// What time alone brings about.
enum Due {
    Destruction,
    Rotation,
}

fn due(record: &KeyRecord, now: Timestamp) -> Option<Due> {
    match record.state {
        KeyState::PendingDeletion if record.deletion_date? <= now => Some(Due::Destruction),
        // A disabled key rotates once it is enabled again.
        KeyState::Enabled if record.rotation.as_ref()?.next <= now => Some(Due::Rotation),
        _ => None,
    }
}
