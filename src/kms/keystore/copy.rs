//! Copies of a keystore, made and put back without opening it: rows go as they are, sealed.
//!
//! A copy is itself a keystore in a file, whatever database the original is in. It holds the rows and nothing else:
//! none of what a database keeps of rows that are gone.

use super::counter::Counter;
use super::database::{Access, Database, Row, Transaction, Value};
use super::postgres::Postgres;
use super::sqlite::Sqlite;
use super::{Error, Location, Result, connect, schema};
use std::path::Path;

/// A table, and the statements that copy it.
struct Table {
    /// The format of the keystore that has it first.
    since: u32,
    columns: &'static [Column],
    read: &'static str,
    write: &'static str,
    clear: &'static str,
}

#[derive(Clone, Copy)]
enum Column {
    Int,
    Bytes,
    Text,
}

use Column::{Bytes, Int, Text};

/// Every table of [`schema`].
const TABLES: &[Table] = &[
    Table {
        since: 1,
        columns: &[Int, Bytes, Int, Int, Bytes],
        read: "SELECT one, id, created, generation, manifest FROM keystore",
        write: "INSERT INTO keystore VALUES ($1, $2, $3, $4, $5)",
        clear: "DELETE FROM keystore",
    },
    Table {
        since: 1,
        columns: &[Int, Int, Text, Int, Bytes, Int, Int, Int, Bytes, Bytes],
        read: "SELECT id, kind, label, created, salt, memory_kib, passes, lanes, sealed, checksum FROM slot",
        write: "INSERT INTO slot VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        clear: "DELETE FROM slot",
    },
    Table {
        since: 1,
        columns: &[Int, Bytes, Int, Bytes],
        read: "SELECT kind, id, changed, sealed FROM record",
        write: "INSERT INTO record VALUES ($1, $2, $3, $4)",
        clear: "DELETE FROM record",
    },
    Table {
        since: 1,
        columns: &[Int, Bytes, Int],
        read: "SELECT kind, id, changed FROM removed",
        write: "INSERT INTO removed VALUES ($1, $2, $3)",
        clear: "DELETE FROM removed",
    },
    Table {
        since: 1,
        columns: &[Bytes, Int, Bytes],
        read: "SELECT cmk, version, sealed FROM material",
        write: "INSERT INTO material VALUES ($1, $2, $3)",
        clear: "DELETE FROM material",
    },
    Table {
        since: 2,
        columns: &[Int, Bytes],
        read: "SELECT slot, verifier FROM quorum",
        write: "INSERT INTO quorum VALUES ($1, $2)",
        clear: "DELETE FROM quorum",
    },
    Table {
        since: 3,
        columns: &[Bytes, Int, Bytes],
        read: "SELECT batch, number, sealed FROM secret",
        write: "INSERT INTO secret VALUES ($1, $2, $3)",
        clear: "DELETE FROM secret",
    },
];

/// Copies the keystore at `location`, in use or not, to the new file `to`.
///
/// # Errors
/// `Exists` if there is such a file; those of reading and writing. No file is left behind.
pub(in crate::kms) fn back_up(location: &Location, to: &Path) -> Result<()> {
    let database = connect(location)?;
    let from = Source::begin(&*database)?;
    Sqlite::create(to, |file| from.to_new(file, &to.into()))
}

/// Puts the copy in the file `from` in the place of the keystore at `location`, in one transaction; makes that if there is
/// none. `over` is the counter of the keystore that is there, as the caller knows it.
///
/// # Errors
/// `Conflict` if the keystore has another counter; `Exists` if there is one and `over` is `None`. It is as it was then.
pub(in crate::kms) fn restore(from: &Path, location: &Location, over: Option<Counter>) -> Result<()> {
    let file = Sqlite::open(from)?;
    let from = Source::begin(&file)?;
    match (over, location) {
        (Some(over), _) => from.to_existing(&*connect(location)?, location, over),
        (None, Location::File(path)) => Sqlite::create(path, |file| from.to_new(file, location)),
        (None, Location::Postgres(server)) => from.to_new(&Postgres::connect(server)?, location),
    }
}

/// A keystore that is copied, as of one moment.
struct Source<'a> {
    transaction: Transaction<'a>,
    format: u32,
}

impl Source<'_> {
    fn begin(database: &dyn Database) -> Result<Source<'_>> {
        let transaction = Transaction::begin(database, Access::Read)?;
        Ok(Source { format: database.format()?, transaction })
    }

    fn to_new(&self, database: &dyn Database, location: &Location) -> Result<()> {
        let to = Transaction::begin(database, Access::Create)?;
        if database.format()? > 0 {
            return Err(Error::Exists(location.clone()));
        }
        schema::migrate(database, &to)?;
        self.rows_to(&to)?;
        to.commit()
    }

    fn to_existing(&self, database: &dyn Database, location: &Location, known: Counter) -> Result<()> {
        let to = Transaction::begin(database, Access::Write)?;
        if Counter::read(&to)? != Some(known) {
            return Err(Error::Conflict(location.clone()));
        }
        schema::migrate(database, &to)?;
        TABLES.iter().try_for_each(|table| to.execute(table.clear, &[]))?;
        self.rows_to(&to)?;
        to.commit()?;
        database.scrub()
    }

    /// Tables that the copy is too old for stay empty, as they are where an old keystore is brought to this format.
    fn rows_to(&self, to: &Transaction<'_>) -> Result<()> {
        for table in TABLES.iter().filter(|table| table.since <= self.format) {
            self.transaction.query(table.read, &[], |row| to.execute(table.write, &table.values(row)?))?;
        }
        Ok(())
    }
}

impl Table {
    fn values<'r>(&self, row: &'r dyn Row) -> Result<Vec<Value<'r>>> {
        let columns = (0..).zip(self.columns);
        let value = |(at, column): (usize, &Column)| {
            Ok(match column {
                Int => Value::Int(row.int(at)?),
                Bytes => Value::Bytes(row.bytes(at)?),
                Text => Value::Text(row.text(at)?),
            })
        };
        columns.map(value).collect()
    }
}
