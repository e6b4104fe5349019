//! All rows that the manifest covers: reading what changed, writing a change.

use super::Vault;
use super::cmk::{self, Entry};
use super::database::{Row, Transaction, Value};
use super::error::{Error, Result};
use super::material::NewMaterial;
use super::record::{Record, RecordKey, Stored};
use super::seal::{Manifest, RowDigest};
use super::secrets;
use crate::crypto::secret::Key;
use crate::kms::approvals::Approvals;
use crate::kms::arn::KeyId;
use crate::kms::grant::GrantRecord;
use crate::kms::key::KeyRecord;
use crate::kms::principal::PrincipalRecord;
use crate::kms::secrets::BatchRecord;
use crate::kms::settings::SettingsRecord;
use crate::kms::token::Object;
use std::sync::Arc;

/// For how many generations removed records are remembered. Whoever has not looked for longer reads everything
/// anew.
const REMEMBERED: u64 = 4096;

/// A record that was read or written, or the removal of one.
pub(in crate::kms) enum Item {
    /// A CMK, with its material.
    Cmk(Arc<Entry>),
    /// A grant.
    Grant(Arc<Stored<GrantRecord>>),
    /// A user or role.
    Principal(Arc<Stored<PrincipalRecord>>),
    /// The settings.
    Settings(Arc<Stored<SettingsRecord>>),
    /// A batch of shred secrets, without them.
    Batch(Arc<Stored<BatchRecord>>),
    /// What custodians approve.
    Approvals(Arc<Stored<Approvals>>),
    /// An object of the token.
    Object(Arc<Stored<Arc<Object>>>),
    /// The record is gone.
    Removed(RecordKey),
}

impl Item {
    /// Which record it is.
    pub(in crate::kms) fn key(&self) -> RecordKey {
        match self {
            Item::Cmk(entry) => RecordKey::Cmk(entry.record.id),
            Item::Grant(grant) => grant.record.key(),
            Item::Principal(principal) => principal.record.key(),
            Item::Settings(settings) => settings.record.key(),
            Item::Batch(batch) => batch.record.key(),
            Item::Approvals(approvals) => approvals.record.key(),
            Item::Object(object) => object.record.key(),
            Item::Removed(key) => *key,
        }
    }

    /// Of the record's row, and of its material's; `None` if it is gone.
    pub(in crate::kms) fn digest(&self) -> Option<RowDigest> {
        match self {
            Item::Cmk(entry) => Some(entry.digest()),
            Item::Grant(grant) => Some(grant.digest()),
            Item::Principal(principal) => Some(principal.digest()),
            Item::Settings(settings) => Some(settings.digest()),
            Item::Batch(batch) => Some(batch.digest()),
            Item::Approvals(approvals) => Some(approvals.digest()),
            Item::Object(object) => Some(object.digest()),
            Item::Removed(_) => None,
        }
    }
}

/// A record to be written, or removed.
pub(in crate::kms) enum Write {
    /// A CMK with new versions of its material. Versions that its record does not name any more are destroyed.
    Cmk(KeyRecord, Vec<NewMaterial>),
    /// A grant.
    Grant(GrantRecord),
    /// A user or role.
    Principal(PrincipalRecord),
    /// The settings.
    Settings(SettingsRecord),
    /// A new batch of shred secrets, with all of them.
    NewBatch(BatchRecord, Vec<Key>),
    /// A batch of shred secrets, of which these are destroyed.
    Batch(BatchRecord, Vec<u32>),
    /// What custodians approve.
    Approvals(Approvals),
    /// An object of the token.
    Object(Arc<Object>),
    /// The record goes, and what belongs to it. A CMK's never does: it stays behind without material.
    Remove(RecordKey),
}

/// What was read: records that changed, and the MAC that the manifest over all rows must have.
pub(in crate::kms) struct Rows {
    pub(in crate::kms) generation: u64,
    /// Removals first: a record may have come back.
    pub(in crate::kms) items: Vec<Item>,
    vault: Arc<Vault>,
    slots: Vec<u8>,
    mac: [u8; 32],
}

impl Rows {
    /// Whether the keystore's rows, all of them, are those of `manifest`.
    pub(in crate::kms) fn verify(&self, manifest: &Manifest) -> bool {
        self.vault.seals.verify(manifest, &self.slots, &self.mac)
    }

    /// The error that `what` does not verify.
    pub(in crate::kms) fn tampered(&self, what: &str) -> Error {
        self.vault.seals.tampered(what)
    }
}

const ALL: &str = "SELECT kind, id, changed, sealed FROM record";
pub(super) const CHANGED: &str = "SELECT kind, id, changed, sealed FROM record WHERE changed > $1";
pub(super) const REMOVED: &str = "SELECT kind, id FROM removed WHERE changed > $1";
pub(super) const FORGET: &str = "DELETE FROM removed WHERE changed <= $1";

/// Reads records that changed after generation `since`. `known` gives what the caller has of a CMK, whose
/// material need not be unsealed again.
pub(super) fn read(
    vault: &Arc<Vault>,
    transaction: &Transaction<'_>,
    slots: Vec<u8>,
    since: u64,
    known: &dyn Fn(KeyId) -> Option<Arc<Entry>>,
) -> Result<Rows> {
    let head = transaction
        .first("SELECT generation, manifest FROM keystore", |row| Ok((row.number(0)?, row.array(1)?)))?;
    let (generation, mac) = head.ok_or_else(|| vault.seals.tampered("a keystore without its row"))?;
    let mut items = Vec::new();
    if since > 0 {
        read_removed(vault, transaction, since, &mut items)?;
    }
    let mut materials = cmk::read_materials(vault, transaction, since, known)?;
    let read = |row: &dyn Row| {
        let (key, changed, sealed) = (key(vault, row)?, row.number(2)?, row.bytes(3)?);
        items.push(match key {
            RecordKey::Cmk(id) => {
                let materials = materials.remove(&id).unwrap_or_default();
                Item::Cmk(Arc::new(cmk::open(vault, id, changed, sealed, materials)?))
            }
            RecordKey::Grant(_) => Item::Grant(Arc::new(Stored::open(&vault.seals, key, changed, sealed)?)),
            RecordKey::Principal(_) => {
                Item::Principal(Arc::new(Stored::open(&vault.seals, key, changed, sealed)?))
            }
            RecordKey::Settings => {
                Item::Settings(Arc::new(Stored::open(&vault.seals, key, changed, sealed)?))
            }
            RecordKey::Batch(_) => Item::Batch(Arc::new(Stored::open(&vault.seals, key, changed, sealed)?)),
            RecordKey::Approvals => {
                Item::Approvals(Arc::new(Stored::open(&vault.seals, key, changed, sealed)?))
            }
            RecordKey::Object(_) => Item::Object(Arc::new(Stored::open(&vault.seals, key, changed, sealed)?)),
        });
        Ok(())
    };
    match since {
        0 => transaction.query(ALL, &[], read)?,
        _ => transaction.query(CHANGED, &[since.into()], read)?,
    }
    Ok(Rows { generation, items, vault: Arc::clone(vault), slots, mac })
}

fn read_removed(
    vault: &Vault,
    transaction: &Transaction<'_>,
    since: u64,
    items: &mut Vec<Item>,
) -> Result<()> {
    transaction.query(REMOVED, &[since.into()], |row| {
        items.push(Item::Removed(key(vault, row)?));
        Ok(())
    })
}

/// Of a row that begins with kind and id.
fn key(vault: &Vault, row: &dyn Row) -> Result<RecordKey> {
    let kind = row.int(0)?;
    let key = RecordKey::parse(kind, row.bytes(1)?);
    key.ok_or_else(|| vault.seals.tampered(format_args!("a row of kind {kind}")))
}

/// Writes one record as of `generation`. `before` is what was known of it, if it is a CMK.
pub(super) fn write(
    vault: &Arc<Vault>,
    transaction: &Transaction<'_>,
    generation: u64,
    write: Write,
    before: Option<&Entry>,
) -> Result<Item> {
    Ok(match write {
        Write::Cmk(record, materials) => {
            let stored = put(vault, transaction, generation, record)?;
            Item::Cmk(Arc::new(cmk::write_materials(vault, transaction, stored, materials, before)?))
        }
        Write::Grant(record) => Item::Grant(Arc::new(put(vault, transaction, generation, record)?)),
        Write::Principal(record) => Item::Principal(Arc::new(put(vault, transaction, generation, record)?)),
        Write::Settings(record) => Item::Settings(Arc::new(put(vault, transaction, generation, record)?)),
        Write::Object(record) => Item::Object(Arc::new(put(vault, transaction, generation, record)?)),
        Write::NewBatch(record, new) => {
            secrets::insert(vault, transaction, record.id, &new)?;
            Item::Batch(Arc::new(put(vault, transaction, generation, record)?))
        }
        Write::Batch(record, destroyed) => {
            secrets::delete(transaction, record.id, &destroyed)?;
            Item::Batch(Arc::new(put(vault, transaction, generation, record)?))
        }
        Write::Approvals(record) => Item::Approvals(Arc::new(put(vault, transaction, generation, record)?)),
        Write::Remove(key) => {
            if let RecordKey::Batch(id) = key {
                secrets::delete_all(transaction, id)?;
            }
            remove(transaction, generation, key)?;
            Item::Removed(key)
        }
    })
}

fn put<R: Record>(
    vault: &Vault,
    transaction: &Transaction<'_>,
    generation: u64,
    record: R,
) -> Result<Stored<R>> {
    let key = record.key();
    let (stored, sealed) = Stored::seal(&vault.seals, generation, record);
    transaction.execute(
        "INSERT INTO record VALUES ($1, $2, $3, $4) \
         ON CONFLICT (kind, id) DO UPDATE SET changed = excluded.changed, sealed = excluded.sealed",
        &[key.kind().into(), Value::Bytes(key.id()), generation.into(), Value::Bytes(&sealed)],
    )?;
    Ok(stored)
}

/// Removes a record, for other processes to see, and forgets removals that are long past.
fn remove(transaction: &Transaction<'_>, generation: u64, key: RecordKey) -> Result<()> {
    let (kind, id) = (key.kind().into(), Value::Bytes(key.id()));
    transaction.execute("DELETE FROM record WHERE kind = $1 AND id = $2", &[kind, id])?;
    transaction.execute(
        "INSERT INTO removed VALUES ($1, $2, $3) \
         ON CONFLICT (kind, id) DO UPDATE SET changed = excluded.changed",
        &[kind, id, generation.into()],
    )?;
    let past = generation.saturating_sub(REMEMBERED);
    transaction.execute(FORGET, &[past.into()])
}
