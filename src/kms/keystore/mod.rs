//! The keystore: the KMS's database, an SQLite file whose rows are sealed.
//!
//! What a thief of the file learns: how many keys, versions, grants and principals there are, how long their
//! records are, when slots were made, the slots' labels. What one who writes to the file can do: destroy it, or put an old copy of the whole back. Every
//! smaller change is noticed when the rows are read ([`seal`]).
//!
//! Every change is one transaction that bumps the *generation*; SQLite runs in WAL mode with
//! `synchronous=FULL`, so a change that was acknowledged survives a power cut. Other processes see it by
//! SQLite's `data_version` and read the rows whose `changed` is newer than what they know.

mod cmk;
mod error;
mod file;
mod material;
mod record;
mod rows;
mod schema;
mod seal;
mod slots;

pub use error::{Error, Result};
pub use slots::{SlotInfo, SlotKind, Unlock};

pub(super) use cmk::Entry;
pub(super) use material::NewMaterial;
pub(super) use record::{RecordKey, Stored};
pub(super) use rows::{Item, Rows, Write};
pub(super) use seal::{Manifest, RowDigest};

use super::arn::KeyId;
use super::clock::Timestamp;
use crate::crypto::passphrase::Argon2Params;
use crate::crypto::random;
use crate::crypto::secret::Key;
use file::Identity;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use seal::Seals;
pub(super) use slots::Slot;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What unlocking a keystore yields. Shared, so that the slow work on slots needs no lock.
pub(super) struct Vault {
    path: PathBuf,
    id: [u8; 16],
    root: Key,
    seals: Seals,
}

impl Vault {
    fn new(path: &Path, id: [u8; 16], root: Key) -> Vault {
        let seals = Seals::new(path.to_owned(), id, &root);
        Vault { path: path.to_owned(), id, root, seals }
    }

    /// Seals the root key under `unlock`, as slot `id`. A passphrase takes about a second: to find its cost, unless
    /// `cost` gives it, and to pay it.
    pub(super) fn seal_slot(
        &self,
        unlock: &Unlock,
        (id, label): (u32, String),
        now: Timestamp,
        cost: Option<Argon2Params>,
    ) -> Result<Slot> {
        Slot::seal(&self.id, &self.root, unlock, (id, label, now), cost)
    }
}

/// An open, unlocked keystore.
pub(super) struct Keystore {
    identity: Identity,
    connection: Connection,
    vault: Arc<Vault>,
    unlocked_by: u32,
}

impl Keystore {
    /// Makes a keystore with one slot. The file appears at once and whole, with mode 0600.
    pub(super) fn create(
        path: &Path,
        unlock: &Unlock,
        label: String,
        now: Timestamp,
        cost: Option<Argon2Params>,
    ) -> Result<()> {
        unlock.check()?;
        let draft = file::Draft::create(path)?;
        let connection = connect(draft.temporary())?;
        let vault = Vault::new(path, random::array(), Key::random());
        let slot = vault.seal_slot(unlock, (1, label), now, cost)?;
        let manifest = Manifest { generation: 1, ..Manifest::default() };
        let mac = vault.seals.mac(&manifest, &slots::encode(&vault.id, std::slice::from_ref(&slot)));

        let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
        schema::create(&transaction)?;
        slots::write(&transaction, &vault.id, &slot)?;
        transaction.execute(
            "INSERT INTO keystore VALUES (1, ?1, ?2, ?3, ?4)",
            rusqlite::params![vault.id, slots::millis(now), manifest.generation as i64, mac],
        )?;
        transaction.commit()?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // Closing ends the log, so that the one file is all there is to publish.
        connection.close().map_err(|(_, error)| error)?;
        draft.publish()
    }

    /// Opens and unlocks the keystore at `path`.
    pub(super) fn open(path: &Path, unlock: &Unlock) -> Result<Keystore> {
        file::check(path)?;
        let identity = Identity::of(path)?;
        let logged = file::has_log(path);
        let connection = connect(path)?;
        // Until the keystore is known to be whole, closing it must not move the log into it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, logged)?;
        let (id, unlocked_by, root) = unlock_root(path, &connection, unlock).map_err(|e| e.at(path))?;
        Ok(Keystore { identity, connection, vault: Arc::new(Vault::new(path, id, root)), unlocked_by })
    }

    /// Says which slot `unlock` opens, changing nothing.
    pub(super) fn test(path: &Path, unlock: &Unlock) -> Result<u32> {
        Keystore::open(path, unlock).map(|keystore| keystore.unlocked_by)
    }

    /// Lets SQLite tidy up when the keystore is closed; called once its rows have been verified.
    pub(super) fn trust(&self) -> Result<()> {
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        Ok(())
    }

    /// Its secrets.
    pub(super) fn vault(&self) -> Arc<Vault> {
        Arc::clone(&self.vault)
    }

    /// The slots, in the order of their numbers.
    pub(super) fn slots(&self) -> Result<Vec<SlotInfo>> {
        let slots = self.read_slots(&self.connection).map_err(|e| e.at(&self.vault.path))?;
        Ok(slots.into_iter().map(|slot| slot.info).collect())
    }

    /// The number of the slot that unlocked it.
    pub(super) fn unlocked_by(&self) -> u32 {
        self.unlocked_by
    }

    /// A number that differs after another connection changed the keystore.
    ///
    /// # Errors
    /// `Replaced` if another file is at the keystore's path: this one can no longer be trusted to be what
    /// other processes change.
    pub(super) fn data_version(&self) -> Result<i64> {
        if Identity::of(&self.vault.path).ok() != Some(self.identity) {
            return Err(Error::Replaced(self.vault.path.clone()));
        }
        self.connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(|e| Error::from(e).at(&self.vault.path))
    }

    /// Reads what changed after generation `since`; everything, if that is 0.
    pub(super) fn read(&self, since: u64, known: &dyn Fn(KeyId) -> Option<Arc<Entry>>) -> Result<Rows> {
        let read = || {
            let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Deferred)?;
            self.read_in(&transaction, since, known)
        };
        read().map_err(|e| e.at(&self.vault.path))
    }

    /// Begins a change. Other processes' changes wait until it is committed or dropped.
    pub(super) fn begin(&self) -> Result<Change<'_>> {
        let begun = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate);
        let transaction = begun.map_err(|e| Error::from(e).at(&self.vault.path))?;
        Ok(Change { keystore: self, transaction })
    }

    /// Overwrites what destroyed rows left in the log. Where another process reads just now it is left to
    /// the next checkpoint.
    pub(super) fn scrub_log(&self) -> Result<()> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    fn read_in(
        &self,
        connection: &Connection,
        since: u64,
        known: &dyn Fn(KeyId) -> Option<Arc<Entry>>,
    ) -> Result<Rows> {
        let slots = slots::encode(&self.vault.id, &self.read_slots(connection)?);
        rows::read(&self.vault, connection, slots, since, known)
    }

    fn read_slots(&self, connection: &Connection) -> Result<Vec<Slot>> {
        slots::read(&self.vault.path, connection, &self.vault.id)
    }
}

/// A change of the keystore in progress; dropped without a commit, it never happened.
pub(super) struct Change<'a> {
    keystore: &'a Keystore,
    transaction: Transaction<'a>,
}

impl Change<'_> {
    /// Reads what other processes changed after generation `since`.
    pub(super) fn read(&self, since: u64, known: &dyn Fn(KeyId) -> Option<Arc<Entry>>) -> Result<Rows> {
        let read = self.keystore.read_in(&self.transaction, since, known);
        read.map_err(|e| e.at(&self.keystore.vault.path))
    }

    /// Writes or removes a record as of `generation`; of a CMK, `before` is what it was.
    pub(super) fn write(&self, generation: u64, write: Write, before: Option<&Entry>) -> Result<Item> {
        rows::write(&self.keystore.vault, &self.transaction, generation, write, before)
    }

    /// The slots, in the order of their numbers.
    pub(super) fn slots(&self) -> Result<Vec<SlotInfo>> {
        let slots = self.keystore.read_slots(&self.transaction)?;
        Ok(slots.into_iter().map(|slot| slot.info).collect())
    }

    /// Writes a slot, over the one of the same number if there is one.
    pub(super) fn put_slot(&self, slot: &Slot) -> Result<()> {
        slots::write(&self.transaction, &self.keystore.vault.id, slot)
    }

    /// Removes slot `id`, unless it is the last.
    pub(super) fn remove_slot(&self, id: u32) -> Result<()> {
        let slots = self.slots()?;
        if slots.iter().all(|slot| slot.id != id) {
            return Err(Error::NoSuchSlot(id));
        }
        if slots.len() == 1 {
            return Err(Error::LastSlot(id));
        }
        slots::delete(&self.transaction, id)
    }

    /// Makes the change durable, with the manifest that covers it.
    pub(super) fn commit(self, manifest: &Manifest) -> Result<()> {
        let vault = &self.keystore.vault;
        let slots = slots::encode(&vault.id, &self.keystore.read_slots(&self.transaction)?);
        let mac = vault.seals.mac(manifest, &slots);
        self.transaction.execute(
            "UPDATE keystore SET generation = ?1, manifest = ?2",
            rusqlite::params![manifest.generation as i64, mac],
        )?;
        self.transaction.commit()?;
        Ok(())
    }
}

/// Opens the database file, which exists.
fn connect(path: &Path) -> Result<Connection> {
    // The connection is used by one thread at a time, under the KMS's lock.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|e| Error::from(e).at(path))?;
    schema::configure(&connection).map_err(|e| e.at(path))?;
    Ok(connection)
}

/// The keystore's id, the slot that opened, and the root key.
fn unlock_root(path: &Path, connection: &Connection, unlock: &Unlock) -> Result<([u8; 16], u32, Key)> {
    let (id, slots) = {
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
        let id: [u8; 16] = transaction.query_row("SELECT id FROM keystore", [], |row| row.get(0))?;
        let slots = slots::read(path, &transaction, &id)?;
        (id, slots)
    };
    if slots.is_empty() {
        return Err(Error::Tampered { path: path.to_owned(), what: "it has no slot".into() });
    }
    let (slot, root) = slots::open_any(path, &id, &slots, unlock)?;
    Ok((id, slot, root))
}
