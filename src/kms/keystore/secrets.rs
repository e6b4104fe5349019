//! Rows of shred secrets. Their batches are records; see [`crate::kms::secrets`].

use super::Vault;
use super::database::{Transaction, Value};
use super::error::Result;
use super::seal::Row;
use crate::crypto::secret::Key;
use crate::kms::secrets::{BatchId, SecretId};

/// Adds the secrets of a new batch.
pub(super) fn insert(
    vault: &Vault,
    transaction: &Transaction<'_>,
    batch: BatchId,
    secrets: &[Key],
) -> Result<()> {
    for (number, secret) in (0..).zip(secrets) {
        let sealed = vault.seals.seal(Row::Secret(SecretId::new(batch, number)), secret.expose());
        transaction.execute(
            "INSERT INTO secret VALUES ($1, $2, $3)",
            &[Value::Bytes(batch.as_bytes()), number.into(), Value::Bytes(&sealed)],
        )?;
    }
    Ok(())
}

/// Removes secrets of a batch.
pub(super) fn delete(transaction: &Transaction<'_>, batch: BatchId, numbers: &[u32]) -> Result<()> {
    numbers.iter().try_for_each(|number| {
        transaction.execute(
            "DELETE FROM secret WHERE batch = $1 AND number = $2",
            &[Value::Bytes(batch.as_bytes()), (*number).into()],
        )
    })
}

/// Removes all secrets of a batch.
pub(super) fn delete_all(transaction: &Transaction<'_>, batch: BatchId) -> Result<()> {
    transaction.execute("DELETE FROM secret WHERE batch = $1", &[Value::Bytes(batch.as_bytes())])
}

/// Reads one secret; `None` if it has no row.
///
/// # Errors
/// `Tampered`, if the row is not what was written there.
pub(super) fn read(vault: &Vault, transaction: &Transaction<'_>, id: SecretId) -> Result<Option<Key>> {
    let row = Row::Secret(id);
    let mut found = None;
    transaction.query(
        "SELECT sealed FROM secret WHERE batch = $1 AND number = $2",
        &[Value::Bytes(id.batch().as_bytes()), id.number().into()],
        |columns| {
            let secret = vault.seals.open(row, columns.bytes(0)?)?.into_key();
            found = Some(secret.map_err(|_| vault.seals.tampered("the length of a shred secret"))?);
            Ok(())
        },
    )?;
    Ok(found)
}
