//! The keystore's tables, and how SQLite is told to treat them.
//!
//! | table | a row is |
//! |---|---|
//! | `keystore` | the keystore itself: id, generation, and the manifest over all other rows |
//! | `slot` | one way to unlock: the root key sealed under a passphrase or a key file |
//! | `record` | what describes one CMK, grant or principal, or the settings; sealed |
//! | `material` | one version of a CMK's key material, sealed |
//! | `removed` | a record that is gone, for a while |
//!
//! `changed` is the generation that last changed a record, or removed it, so that other processes read only what
//! is new. What is removed needs no seal: a removal that is left out or made up shows in the manifest.

use super::error::Result;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::time::Duration;

/// `kmsK`, in SQLite's header: tells a keystore from other databases.
pub(super) const APPLICATION_ID: u32 = 0x6b6d_734b;

/// The keystore's format, in SQLite's header (`user_version`).
pub(super) const FORMAT: u32 = 1;

/// How long a process waits for another one's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

const TABLES: &str = "
    CREATE TABLE keystore (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        id BLOB NOT NULL,
        created INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        manifest BLOB NOT NULL
    ) STRICT;
    CREATE TABLE slot (
        id INTEGER PRIMARY KEY,
        kind INTEGER NOT NULL,
        label TEXT NOT NULL,
        created INTEGER NOT NULL,
        salt BLOB NOT NULL,
        memory_kib INTEGER NOT NULL,
        passes INTEGER NOT NULL,
        lanes INTEGER NOT NULL,
        sealed BLOB NOT NULL,
        checksum BLOB NOT NULL
    ) STRICT;
    CREATE TABLE record (
        kind INTEGER NOT NULL,
        id BLOB NOT NULL,
        changed INTEGER NOT NULL,
        sealed BLOB NOT NULL,
        PRIMARY KEY (kind, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX record_changed ON record (changed);
    CREATE TABLE removed (
        kind INTEGER NOT NULL,
        id BLOB NOT NULL,
        changed INTEGER NOT NULL,
        PRIMARY KEY (kind, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX removed_changed ON removed (changed);
    CREATE TABLE material (
        cmk BLOB NOT NULL,
        version INTEGER NOT NULL,
        sealed BLOB NOT NULL,
        PRIMARY KEY (cmk, version)
    ) STRICT, WITHOUT ROWID;
";

/// Makes the tables of an empty keystore.
pub(super) fn create(connection: &Connection) -> Result<()> {
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", FORMAT)?;
    connection.execute_batch(TABLES)?;
    Ok(())
}

/// Sets what SQLite keeps per connection.
pub(super) fn configure(connection: &Connection) -> Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // A tampered schema must not run code of its own.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Destroyed material is overwritten, not merely unlinked.
    connection.pragma_update(None, "secure_delete", true)?;
    Ok(())
}
