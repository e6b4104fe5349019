//! The keystore's tables, the same in every database.
//!
//! | table | a row is |
//! |---|---|
//! | `keystore` | the keystore itself: id, generation, and the manifest over all other rows |
//! | `slot` | one way to unlock: the root key sealed under a passphrase, a key file or a shared secret |
//! | `quorum` | what verifies the shares of that secret |
//! | `record` | what describes one CMK, grant, principal or batch of shred secrets, or the settings; sealed |
//! | `material` | one version of a CMK's key material, sealed |
//! | `secret` | one shred secret, sealed |
//! | `removed` | a record that is gone, for a while |
//!
//! `changed` is the generation that last changed a record, or removed it, so that other processes read only what
//! is new. What is removed needs no seal: a removal that is left out or made up shows in the manifest.

use super::database::{Database, Transaction};
use super::error::Result;

/// How tables come from one format to the next, the first from none. Each is run once, in the transaction that
/// raises the keystore's format, and never changes once it was released.
///
/// `{int}`, `{bytes}` and `{text}` are types: 64-bit signed numbers, bytes and UTF-8 text of any length; `{table}` is
/// what the database wants after a table's columns.
const MIGRATIONS: [&str; 3] = [
    "
    CREATE TABLE keystore (
        one {int} PRIMARY KEY CHECK (one = 1),
        id {bytes} NOT NULL,
        created {int} NOT NULL,
        generation {int} NOT NULL,
        manifest {bytes} NOT NULL
    ) {table};
    CREATE TABLE slot (
        id {int} PRIMARY KEY,
        kind {int} NOT NULL,
        label {text} NOT NULL,
        created {int} NOT NULL,
        salt {bytes} NOT NULL,
        memory_kib {int} NOT NULL,
        passes {int} NOT NULL,
        lanes {int} NOT NULL,
        sealed {bytes} NOT NULL,
        checksum {bytes} NOT NULL
    ) {table};
    CREATE TABLE record (
        kind {int} NOT NULL,
        id {bytes} NOT NULL,
        changed {int} NOT NULL,
        sealed {bytes} NOT NULL,
        PRIMARY KEY (kind, id)
    ) {table};
    CREATE INDEX record_changed ON record (changed);
    CREATE TABLE removed (
        kind {int} NOT NULL,
        id {bytes} NOT NULL,
        changed {int} NOT NULL,
        PRIMARY KEY (kind, id)
    ) {table};
    CREATE INDEX removed_changed ON removed (changed);
    CREATE TABLE material (
        cmk {bytes} NOT NULL,
        version {int} NOT NULL,
        sealed {bytes} NOT NULL,
        PRIMARY KEY (cmk, version)
    ) {table};
",
    "
    CREATE TABLE quorum (
        slot {int} PRIMARY KEY,
        verifier {bytes} NOT NULL
    ) {table};
",
    "
    CREATE TABLE secret (
        batch {bytes} NOT NULL,
        number {int} NOT NULL,
        sealed {bytes} NOT NULL,
        PRIMARY KEY (batch, number)
    ) {table};
",
];

/// The format that this release reads and writes.
pub(super) const FORMAT: u32 = MIGRATIONS.len() as u32;

/// How a database spells what [`MIGRATIONS`] leaves open.
pub(super) struct Dialect {
    pub(super) int: &'static str,
    pub(super) bytes: &'static str,
    pub(super) text: &'static str,
    pub(super) table: &'static str,
}

impl Dialect {
    fn spell(&self, sql: &str) -> String {
        let Dialect { int, bytes, text, table } = self;
        let pairs = [("{int}", int), ("{bytes}", bytes), ("{text}", text), ("{table}", table)];
        pairs.iter().fold(sql.to_owned(), |sql, (name, spelt)| sql.replace(name, spelt))
    }
}

/// Brings the tables of a keystore, or of an empty database, to [`FORMAT`].
pub(super) fn migrate(database: &dyn Database, transaction: &Transaction<'_>) -> Result<()> {
    let found = database.format()?;
    for (format, migration) in (1..).zip(MIGRATIONS).filter(|(format, _)| *format > found) {
        transaction.define(format, &database.dialect().spell(migration))?;
    }
    Ok(())
}
