//! The keystore: the KMS's database, whose rows are sealed.
//!
//! What a thief of the file learns: how many keys, versions, grants and principals there are, how long their
//! records are, when slots were made, the slots' labels. What one who writes to the file can do: destroy it, or put an old copy of the whole back. Every
//! smaller change is noticed when the rows are read ([`seal`]).
//!
//! Every change is one transaction that bumps the *generation*, and once acknowledged survives a power cut. Other
//! processes see the database's [`Mark`] differ and read the rows whose `changed` is newer than what they know.
//!
//! From the bottom: a [`database`] keeps rows; [`schema`] says which; [`seal`] protects them; [`record`], [`material`],
//! [`cmk`], [`secrets`] and [`slots`] know what is in them; [`rows`] reads and writes them.

mod cmk;
mod copy;
mod counter;
mod database;
mod error;
mod location;
mod material;
mod postgres;
mod record;
mod rekey;
mod rows;
mod schema;
mod seal;
mod secrets;
mod slots;
mod sqlite;
mod zeroize;

pub use counter::{Age, Counter};
pub use error::{Error, Result};
pub use location::Location;
pub use postgres::Server;
pub use slots::{QuorumKey, QuorumShape, SlotInfo, SlotKind, Unlock};

pub(super) use cmk::Entry;
pub(super) use copy::{back_up, restore};
pub(super) use database::Mark;
pub(super) use material::{Material, NewMaterial};
pub(super) use record::{RecordKey, Stored};
pub(super) use rows::{Item, Rows, Write};
pub(super) use seal::{Manifest, RowDigest};
pub(super) use zeroize::{finish as finish_zeroizing, zeroize};

use self::postgres::Postgres;
use super::arn::KeyId;
use super::clock::Timestamp;
use super::secrets::SecretId;
use crate::crypto::passphrase::Argon2Params;
use crate::crypto::secret::Key;
use crate::crypto::{kdf, random};
use database::{Access, Database, Transaction, Value};
use seal::Seals;
pub(super) use slots::Slot;
use sqlite::Sqlite;
use std::sync::Arc;

/// What unlocking a keystore yields. Shared, so that the slow work on slots needs no lock.
pub(super) struct Vault {
    location: Location,
    id: [u8; 16],
    root: Key,
    seals: Seals,
}

impl Vault {
    fn new(location: &Location, id: [u8; 16], root: Key) -> Vault {
        let seals = Seals::new(location.clone(), id, &root);
        Vault { location: location.clone(), id, root, seals }
    }

    /// The keystore's id.
    pub(super) fn id(&self) -> &[u8; 16] {
        &self.id
    }

    /// A key for a purpose of its own, the same for all who have the keystore open.
    pub(super) fn subkey(&self, context: &'static str) -> Key {
        kdf::subkey(context, &self.root)
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

    /// Fills the tables of a new keystore: its own row, and a slot.
    fn write_first(&self, transaction: &Transaction<'_>, slot: &Slot, now: Timestamp) -> Result<()> {
        let manifest = Manifest { generation: 1, ..Manifest::default() };
        let mac = self.seals.mac(&manifest, &slots::encode(&self.id, std::slice::from_ref(slot)));
        slots::write(transaction, &self.id, slot)?;
        transaction.execute(
            "INSERT INTO keystore VALUES (1, $1, $2, $3, $4)",
            &[
                Value::Bytes(&self.id),
                Value::Int(slots::millis(now)),
                manifest.generation.into(),
                Value::Bytes(&mac),
            ],
        )
    }
}

/// What can be seen of a keystore without its root key. Nobody vouches for it before it is opened.
#[derive(Debug, Clone)]
pub struct Locked {
    /// Its id, which it keeps for good.
    pub id: [u8; 16],
    /// The ways to unlock it, in the order of their numbers.
    pub slots: Vec<SlotInfo>,
    /// Which of its states it is in.
    pub counter: Counter,
}

/// An open, unlocked keystore. Nothing is read or changed with a root key that is not the keystore's any more.
pub(super) struct Keystore {
    database: Box<dyn Database>,
    vault: Arc<Vault>,
    unlocked_by: u32,
}

impl Keystore {
    /// Makes a keystore with one slot.
    pub(super) fn create(
        location: &Location,
        unlock: &Unlock,
        label: String,
        now: Timestamp,
        cost: Option<Argon2Params>,
    ) -> Result<()> {
        unlock.check()?;
        let fill = |database: &dyn Database| {
            let transaction = Transaction::begin(database, Access::Create)?;
            if database.format()? > 0 {
                return Err(Error::Exists(location.clone()));
            }
            schema::migrate(database, &transaction)?;
            let vault = Vault::new(location, random::array(), Key::random());
            let slot = vault.seal_slot(unlock, (1, label), now, cost)?;
            vault.write_first(&transaction, &slot, now)?;
            transaction.commit()
        };
        match location {
            Location::File(path) => Sqlite::create(path, |sqlite| fill(sqlite)),
            Location::Postgres(server) => fill(&Postgres::connect(server)?),
        }
    }

    /// Opens and unlocks the keystore at `location`.
    pub(super) fn open(location: &Location, unlock: &Unlock) -> Result<Keystore> {
        let database = connect(location)?;
        let (id, unlocked_by, root) = unlock_root(location, &*database, unlock)?;
        Ok(Keystore { database, vault: Arc::new(Vault::new(location, id, root)), unlocked_by })
    }

    /// What can be seen of the keystore at `location`, which stays locked.
    pub(super) fn inspect(location: &Location) -> Result<Locked> {
        let (id, slots, counter) = read_locked(location, &*connect(location)?)?;
        Ok(Locked { id, slots: slots.into_iter().map(|slot| slot.info).collect(), counter })
    }

    /// Says which slot `unlock` opens, changing nothing.
    pub(super) fn test(location: &Location, unlock: &Unlock) -> Result<u32> {
        Keystore::open(location, unlock).map(|keystore| keystore.unlocked_by)
    }

    /// Lets the database tidy up, and brings an older keystore to this release's format; called once its rows have
    /// been verified.
    pub(super) fn trust(&self) -> Result<()> {
        self.database.trust()?;
        if self.database.format()? == schema::FORMAT {
            return Ok(());
        }
        let transaction = Transaction::begin(&*self.database, Access::Write)?;
        schema::migrate(&*self.database, &transaction)?;
        transaction.commit()
    }

    /// Its secrets.
    pub(super) fn vault(&self) -> Arc<Vault> {
        Arc::clone(&self.vault)
    }

    /// The slots, in the order of their numbers.
    pub(super) fn slots(&self) -> Result<Vec<SlotInfo>> {
        let slots = self.read_slots(&Transaction::begin(&*self.database, Access::Read)?)?;
        Ok(slots.into_iter().map(|slot| slot.info).collect())
    }

    /// The number of the slot that unlocked it.
    pub(super) fn unlocked_by(&self) -> u32 {
        self.unlocked_by
    }

    /// See [`Database::mark`].
    pub(super) fn mark(&self) -> Result<Mark> {
        self.database.mark()
    }

    /// Reads what changed after generation `since`; everything, if that is 0.
    pub(super) fn read(&self, since: u64, known: &dyn Fn(KeyId) -> Option<Arc<Entry>>) -> Result<Rows> {
        self.read_in(&Transaction::begin(&*self.database, Access::Read)?, since, known)
    }

    /// Begins a change. Other processes' changes wait until it is committed or dropped.
    pub(super) fn begin(&self) -> Result<Change<'_>> {
        let transaction = Transaction::begin(&*self.database, Access::Write)?;
        Ok(Change { keystore: self, transaction })
    }

    /// A shred secret; `None` if it has no row.
    ///
    /// # Errors
    /// `Tampered`, if the row is not what was written there.
    pub(super) fn secret(&self, id: SecretId) -> Result<Option<Key>> {
        secrets::read(&self.vault, &Transaction::begin(&*self.database, Access::Read)?, id)
    }

    /// See [`Database::scrub`].
    pub(super) fn scrub(&self) -> Result<()> {
        self.database.scrub()
    }

    fn read_in(
        &self,
        transaction: &Transaction<'_>,
        since: u64,
        known: &dyn Fn(KeyId) -> Option<Arc<Entry>>,
    ) -> Result<Rows> {
        let slots = slots::encode(&self.vault.id, &self.read_slots(transaction)?);
        rows::read(&self.vault, transaction, slots, since, known)
    }

    /// # Errors
    /// `Rekeyed` if they seal another root key: a slot of custodians has another number then. `Zeroized`.
    fn read_slots(&self, transaction: &Transaction<'_>) -> Result<Vec<Slot>> {
        let slots = slots::read(&self.vault.location, transaction, &self.vault.id)?;
        match &*slots {
            [Slot { info, .. }] if info.is_of_quorum() && info.id != self.unlocked_by => {
                Err(Error::Rekeyed(self.vault.location.clone()))
            }
            [] if zeroize::is_zeroized(transaction)? => Err(Error::Zeroized(self.vault.location.clone())),
            _ => Ok(slots),
        }
    }
}

/// A change of the keystore in progress; dropped without a commit, it never happened.
pub(super) struct Change<'a> {
    keystore: &'a Keystore,
    transaction: Transaction<'a>,
}

impl Change<'_> {
    /// See [`Database::mark`].
    pub(super) fn mark(&self) -> Result<Mark> {
        self.keystore.mark()
    }

    /// Reads what other processes changed after generation `since`.
    pub(super) fn read(&self, since: u64, known: &dyn Fn(KeyId) -> Option<Arc<Entry>>) -> Result<Rows> {
        self.keystore.read_in(&self.transaction, since, known)
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

    /// Makes the change durable, with the manifest that covers it. Gives the mark of the new state, where `before`
    /// was that of the old one.
    pub(super) fn commit(self, manifest: &Manifest, before: Mark) -> Result<Mark> {
        let vault = &self.keystore.vault;
        let slots = slots::encode(&vault.id, &self.keystore.read_slots(&self.transaction)?);
        self.write_manifest(manifest, &vault.seals.mac(manifest, &slots))?;
        self.transaction.commit()?;
        Ok(self.keystore.database.mark_after_commit(before, manifest.generation))
    }

    fn write_manifest(&self, manifest: &Manifest, mac: &[u8; 32]) -> Result<()> {
        self.transaction.execute(
            "UPDATE keystore SET generation = $1, manifest = $2",
            &[manifest.generation.into(), Value::Bytes(mac)],
        )
    }
}

fn connect(location: &Location) -> Result<Box<dyn Database>> {
    Ok(match location {
        Location::File(path) => Box::new(Sqlite::open(path)?),
        Location::Postgres(server) => Box::new(Postgres::open(server)?),
    })
}

/// The keystore's id, the slot that opened, and the root key.
fn unlock_root(
    location: &Location,
    database: &dyn Database,
    unlock: &Unlock,
) -> Result<([u8; 16], u32, Key)> {
    let (id, slots, _) = read_locked(location, database)?;
    let (slot, root) = slots::open_any(location, &id, &slots, unlock)?;
    Ok((id, slot, root))
}

/// What can be read of a keystore without its root key: its id, its slots, its counter.
fn read_locked(location: &Location, database: &dyn Database) -> Result<([u8; 16], Vec<Slot>, Counter)> {
    let tampered = |what: &str| Error::Tampered { location: location.clone(), what: what.into() };
    let transaction = Transaction::begin(database, Access::Read)?;
    let id = transaction.first("SELECT id FROM keystore", |row| row.array(0))?;
    let (Some(id), Some(counter)) = (id, Counter::read(&transaction)?) else {
        return Err(tampered("it has no id"));
    };
    let slots = slots::read(location, &transaction, &id)?;
    match slots.is_empty() {
        true if zeroize::is_zeroized(&transaction)? => Err(Error::Zeroized(location.clone())),
        true => Err(tampered("it has no slot")),
        false => Ok((id, slots, counter)),
    }
}
