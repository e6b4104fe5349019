//! Another root key: every sealed row is sealed anew, in one transaction.
//!
//! It is the one thing that helps against somebody who can open the keystore and shall not any more. Their copies of the
//! keystore, and what is in those, they can open for good.
//!
//! Nothing is sealed anew that does not verify: what somebody else wrote to the keystore would come out as ours.

use super::database::Value;
use super::record::RecordKey;
use super::seal::{Manifest, Row, RowDigest, Seals};
use super::slots::{self, Unlock};
use super::{Change, Error, Mark, Result, Vault};
use crate::crypto::secret::Key;
use crate::kms::arn::KeyId;
use crate::kms::clock::Timestamp;
use crate::kms::secrets::{BatchId, SecretId};

impl Change<'_> {
    /// Gives the keystore another root key, which `unlock`, of the next set of shares, opens and nothing else. Durable
    /// when it returns; whoever has the keystore open, the caller too, has to open it again.
    ///
    /// # Errors
    /// `Conflict` unless its one slot is one of custodians, with the shares before those of `unlock`; `Tampered` if a row
    /// does not verify. Then nothing has changed.
    pub(in crate::kms) fn rekey(self, unlock: &Unlock, now: Timestamp, before: Mark) -> Result<Mark> {
        let old = &self.keystore.vault;
        let known = self.keystore.read_slots(&self.transaction)?;
        let conflict = || Error::Conflict(old.location.clone());
        let [slot] = &*known else { return Err(conflict()) };
        let new = Vault::new(&old.location, old.id, Key::random());
        // The number tells the root key: see Keystore::read_slots.
        let number = slot.info.id.checked_add(1).unwrap_or(1);
        let sealed = new.seal_slot(unlock, (number, slot.info.label.clone()), now, None)?;
        if !slot.info.has_shares_before(&sealed.info) {
            return Err(conflict());
        }
        let resealed = self.seal_rows_anew(&new, &slots::encode(&old.id, &known))?;

        slots::delete(&self.transaction, slot.info.id)?;
        slots::write(&self.transaction, &new.id, &sealed)?;
        let manifest = Manifest { generation: resealed.generation + 1, ..resealed };
        let mac = new.seals.mac(&manifest, &slots::encode(&new.id, &[sealed]));
        self.write_manifest(&manifest, &mac)?;
        self.transaction.commit()?;
        Ok(self.keystore.database.mark_after_commit(before, manifest.generation))
    }

    /// Seals all rows for `new`, once those that the manifest covers have been verified. Gives the manifest that they
    /// have then, as of the same generation.
    fn seal_rows_anew(&self, new: &Vault, slots: &[u8]) -> Result<Manifest> {
        let old = &self.keystore.vault.seals;
        let head = self
            .transaction
            .first("SELECT generation, manifest FROM keystore", |row| Ok((row.number(0)?, row.array(1)?)))?;
        let (generation, mac) = head.ok_or_else(|| old.tampered("a keystore without its row"))?;
        let mut resealing =
            Resealing { old, new: &new.seals, before: RowDigest::default(), after: RowDigest::default() };
        let records = self.reseal_records(&mut resealing)?;
        self.reseal_materials(&mut resealing)?;
        let manifest = Manifest { generation, records, rows: resealing.before };
        if !old.verify(&manifest, slots, &mac) {
            return Err(old.tampered("the set of its rows"));
        }
        let manifest = Manifest { rows: resealing.after, ..manifest };
        self.reseal_secrets(&mut resealing)?;
        Ok(manifest)
    }

    fn reseal_records(&self, resealing: &mut Resealing<'_>) -> Result<u64> {
        let mut rows = Vec::new();
        self.transaction.query("SELECT kind, id, changed, sealed FROM record", &[], |row| {
            let kind = row.int(0)?;
            let key = RecordKey::parse(kind, row.bytes(1)?)
                .ok_or_else(|| resealing.old.tampered(format_args!("a row of kind {kind}")))?;
            rows.push((key, row.number(2)?, row.bytes(3)?.to_vec()));
            Ok(())
        })?;
        let count = rows.len() as u64;
        for (key, changed, sealed) in rows {
            let sealed = resealing.row(Row::Record(key, changed), &sealed)?;
            self.transaction.execute(
                "UPDATE record SET sealed = $1 WHERE kind = $2 AND id = $3",
                &[Value::Bytes(&sealed), key.kind().into(), Value::Bytes(key.id())],
            )?;
        }
        Ok(count)
    }

    fn reseal_materials(&self, resealing: &mut Resealing<'_>) -> Result<()> {
        let mut rows = Vec::new();
        self.transaction.query("SELECT cmk, version, sealed FROM material", &[], |row| {
            rows.push((KeyId::from_bytes(row.array(0)?), row.number::<u32>(1)?, row.bytes(2)?.to_vec()));
            Ok(())
        })?;
        for (cmk, version, sealed) in rows {
            let sealed = resealing.row(Row::Material(cmk, version), &sealed)?;
            self.transaction.execute(
                "UPDATE material SET sealed = $1 WHERE cmk = $2 AND version = $3",
                &[Value::Bytes(&sealed), Value::Bytes(cmk.as_bytes()), version.into()],
            )?;
        }
        Ok(())
    }

    /// Batch by batch: there may be as many as there are files.
    fn reseal_secrets(&self, resealing: &mut Resealing<'_>) -> Result<()> {
        let mut batches: Vec<BatchId> = Vec::new();
        self.transaction.query("SELECT DISTINCT batch FROM secret", &[], |row| {
            batches.push(BatchId::from_bytes(row.array(0)?));
            Ok(())
        })?;
        for batch in batches {
            let mut rows = Vec::new();
            self.transaction.query(
                "SELECT number, sealed FROM secret WHERE batch = $1",
                &[Value::Bytes(batch.as_bytes())],
                |row| {
                    rows.push((row.number::<u32>(0)?, row.bytes(1)?.to_vec()));
                    Ok(())
                },
            )?;
            for (number, sealed) in rows {
                let sealed = resealing.row(Row::Secret(SecretId::new(batch, number)), &sealed)?;
                self.transaction.execute(
                    "UPDATE secret SET sealed = $1 WHERE batch = $2 AND number = $3",
                    &[Value::Bytes(&sealed), Value::Bytes(batch.as_bytes()), number.into()],
                )?;
            }
        }
        Ok(())
    }
}

/// Rows on their way from one root key to another, and the digests of those that have passed.
struct Resealing<'a> {
    old: &'a Seals,
    new: &'a Seals,
    before: RowDigest,
    after: RowDigest,
}

impl Resealing<'_> {
    fn row(&mut self, row: Row, sealed: &[u8]) -> Result<Vec<u8>> {
        let plain = self.old.open(row, sealed)?;
        self.before = self.before ^ self.old.digest(row, sealed);
        let sealed = self.new.seal(row, plain.expose());
        self.after = self.after ^ self.new.digest(row, &sealed);
        Ok(sealed)
    }
}
