//! The end of a keystore: nobody opens it again.
//!
//! First what seals its root key goes, in a transaction of its own: from then on all other rows are noise. Then they go
//! too, and what the database can overwrite is overwritten. What stays is the keystore's own row, so that whoever
//! looks is told what happened here: it has no slot, and a manifest that is nothing's.

use super::database::{Access, Transaction, Value};
use super::{Error, Location, Result, connect, schema};

/// The manifest of a keystore that was zeroized.
const NOTHING: [u8; 32] = [0; 32];

/// Destroys the keystore of this id. Says whether the database has overwritten what it kept of the rows.
///
/// # Errors
/// `Replaced` if another keystore is there. After any other error, see [`finish`].
pub(in crate::kms) fn zeroize(location: &Location, id: &[u8; 16]) -> Result<bool> {
    let database = connect(location)?;
    let transaction = Transaction::begin(&*database, Access::Write)?;
    if transaction.first("SELECT id FROM keystore", |row| row.array(0))? != Some(*id) {
        return Err(Error::Replaced(location.clone()));
    }
    transaction.execute("DELETE FROM slot", &[])?;
    transaction.execute("DELETE FROM quorum", &[])?;
    let manifest = Value::Bytes(&NOTHING);
    transaction.execute("UPDATE keystore SET manifest = $1, generation = generation + 1", &[manifest])?;
    transaction.commit()?;
    database.erase()?;
    finish(location)
}

/// Does the rest for a keystore whose destruction was interrupted: that has no slot any more. As [`zeroize()`].
///
/// # Errors
/// `Replaced` if the keystore there is another one, whole.
pub(in crate::kms) fn finish(location: &Location) -> Result<bool> {
    let database = connect(location)?;
    let transaction = Transaction::begin(&*database, Access::Write)?;
    if !is_zeroized(&transaction)? {
        return Err(Error::Replaced(location.clone()));
    }
    // An old one may lack a table.
    schema::migrate(&*database, &transaction)?;
    for sql in ["DELETE FROM material", "DELETE FROM secret", "DELETE FROM record", "DELETE FROM removed"] {
        transaction.execute(sql, &[])?;
    }
    transaction.commit()?;
    database.erase()
}

/// Whether a keystore that has no slots was zeroized.
pub(super) fn is_zeroized(transaction: &Transaction<'_>) -> Result<bool> {
    let manifest = transaction.first("SELECT manifest FROM keystore", |row| row.array(0))?;
    Ok(manifest == Some(NOTHING))
}
