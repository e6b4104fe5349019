//! A keystore in a file of its own, which SQLite keeps.
//!
//! SQLite runs in WAL mode with `synchronous=FULL`: a change that was acknowledged survives a power cut. What others
//! changed shows in its `data_version`, which counts writes of any kind, so that whoever touches the rows of a
//! keystore in use is noticed at once.

mod file;

use super::database::{Access, Database, Mark, Row, Value};
use super::error::{Error, Result};
use super::schema::Dialect;
use file::Identity;
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, ToSql};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `kmsK`, in SQLite's header: tells a keystore from other databases.
const APPLICATION_ID: u32 = 0x6b6d_734b;

/// How long a process waits for another one's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// More than there are statements.
const STATEMENTS: usize = 32;

/// See the module.
pub(super) struct Sqlite {
    path: PathBuf,
    identity: Identity,
    connection: Connection,
}

impl Sqlite {
    /// Makes the file, with the tables that `fill` defines and what it puts into them. It appears at once and whole,
    /// with mode 0600.
    pub(super) fn create(path: &Path, fill: impl FnOnce(&Sqlite) -> Result<()>) -> Result<()> {
        let draft = file::Draft::create(path)?;
        let sqlite = Sqlite::connect(draft.temporary())?;
        sqlite.connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(sqlite.error())?;
        fill(&sqlite)?;
        sqlite.connection.pragma_update(None, "journal_mode", "WAL").map_err(sqlite.error())?;
        // Closing ends the log, so that the one file is all there is to publish.
        sqlite.connection.close().map_err(|(_, error)| error_at(path)(error))?;
        draft.publish()
    }

    /// Opens the file, which must be a keystore of a format that is known here.
    pub(super) fn open(path: &Path) -> Result<Sqlite> {
        file::check(path)?;
        let logged = file::has_log(path);
        let sqlite = Sqlite::connect(path)?;
        // Until the keystore is known to be whole, closing it must not move the log into it.
        let set = sqlite.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, logged);
        set.map_err(sqlite.error())?;
        Ok(sqlite)
    }

    /// Opens a file that exists.
    fn connect(path: &Path) -> Result<Sqlite> {
        let identity = Identity::of(path)?;
        // The connection is used by one thread at a time, under the KMS's lock.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(error_at(path))?;
        configure(&connection).map_err(error_at(path))?;
        Ok(Sqlite { path: path.to_owned(), identity, connection })
    }

    fn error(&self) -> impl Fn(rusqlite::Error) -> Error {
        error_at(&self.path)
    }

    /// Says whether all of the log went into the file.
    fn checkpoint(&self, sql: &str) -> Result<bool> {
        let blocked = self.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        blocked.map(|blocked| blocked == 0).map_err(self.error())
    }

    fn batch(&self, sql: &str) -> Result<()> {
        let run = || self.connection.prepare_cached(sql)?.execute([]);
        run().map(drop).map_err(self.error())
    }
}

const DIALECT: Dialect =
    Dialect { int: "INTEGER", bytes: "BLOB", text: "TEXT", table: "STRICT, WITHOUT ROWID" };

/// Whether there is anything at `path`.
pub(super) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Sets what SQLite keeps per connection.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // A tampered schema must not run code of its own.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Destroyed material is overwritten, not merely unlinked.
    connection.pragma_update(None, "secure_delete", true)
}

impl Database for Sqlite {
    fn begin(&self, access: Access) -> Result<()> {
        self.batch(match access {
            Access::Read => "BEGIN DEFERRED",
            Access::Write | Access::Create => "BEGIN IMMEDIATE",
        })
    }

    fn execute(&self, sql: &'static str, values: &[Value<'_>]) -> Result<()> {
        let run = || self.connection.prepare_cached(sql)?.execute(rusqlite::params_from_iter(values));
        run().map(drop).map_err(self.error())
    }

    fn query(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<()>,
    ) -> Result<()> {
        let mut statement = self.connection.prepare_cached(sql).map_err(self.error())?;
        let mut rows = statement.query(rusqlite::params_from_iter(values)).map_err(self.error())?;
        while let Some(row) = rows.next().map_err(self.error())? {
            each(&SqliteRow { row, path: &self.path })?;
        }
        Ok(())
    }

    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    fn format(&self) -> Result<u32> {
        let format = self.connection.pragma_query_value(None, "user_version", |row| row.get(0));
        format.map_err(self.error())
    }

    fn define(&self, format: u32, statements: &str) -> Result<()> {
        self.connection.execute_batch(statements).map_err(self.error())?;
        self.connection.pragma_update(None, "user_version", format).map_err(self.error())
    }

    fn commit(&self) -> Result<()> {
        self.batch("COMMIT").inspect_err(|_| self.roll_back())
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit() {
            // It fails only where SQLite has rolled back by itself.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// # Errors
    /// `Replaced` if another file is at the keystore's path: this one can no longer be trusted to be what
    /// other processes change.
    fn mark(&self) -> Result<Mark> {
        if Identity::of(&self.path).ok() != Some(self.identity) {
            return Err(Error::Replaced(self.path.clone().into()));
        }
        let read = || self.connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0));
        read().map(Mark).map_err(self.error())
    }

    /// SQLite does not count a connection's own changes.
    fn mark_after_commit(&self, before: Mark, _generation: u64) -> Mark {
        before
    }

    fn trust(&self) -> Result<()> {
        let set = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
        set.map(drop).map_err(self.error())
    }

    /// Ends the log, in which destroyed rows can still be read. Where another process reads just now it is left to
    /// the next checkpoint.
    fn scrub(&self) -> Result<()> {
        self.checkpoint("PRAGMA wal_checkpoint(TRUNCATE)").map(drop)
    }

    /// Pages with rows are overwritten when those are deleted (`secure_delete`). The log is overwritten here, before it is
    /// cut: while this connection keeps writers out, and all of the log is in the file, nobody reads it.
    fn erase(&self) -> Result<bool> {
        if !self.checkpoint("PRAGMA wal_checkpoint(RESTART)")? {
            return Ok(false);
        }
        self.begin(Access::Write)?;
        let overwritten = file::overwrite_log(&self.path);
        self.roll_back();
        overwritten?;
        self.checkpoint("PRAGMA wal_checkpoint(TRUNCATE)")
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Value::Int(number) => ValueRef::Integer(number),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

struct SqliteRow<'a> {
    row: &'a rusqlite::Row<'a>,
    path: &'a Path,
}

impl SqliteRow<'_> {
    fn get(&self, column: usize) -> Result<ValueRef<'_>> {
        self.row.get_ref(column).map_err(error_at(self.path))
    }
}

impl Row for SqliteRow<'_> {
    fn int(&self, column: usize) -> Result<i64> {
        self.get(column)?.as_i64().map_err(|_| self.mismatch(column))
    }

    fn bytes(&self, column: usize) -> Result<&[u8]> {
        self.get(column)?.as_blob().map_err(|_| self.mismatch(column))
    }

    fn text(&self, column: usize) -> Result<&str> {
        self.get(column)?.as_str().map_err(|_| self.mismatch(column))
    }

    fn mismatch(&self, column: usize) -> Error {
        let what = format!("column {column} of a row is not of its type or length");
        Error::Tampered { location: self.path.into(), what }
    }
}

/// Damage that SQLite met is [`Error::Tampered`].
fn error_at(path: &Path) -> impl Fn(rusqlite::Error) -> Error {
    let path = path.to_owned();
    move |error| {
        let (location, what) = ((&path).into(), error.to_string());
        match is_damage(&error) {
            true => Error::Tampered { location, what },
            false => Error::Database { location, what },
        }
    }
}

/// Whether SQLite found its file broken, or tables or columns other than kmsfs's.
fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::{Error, ErrorCode};
    match error {
        Error::SqlInputError { .. } => true,
        other => matches!(
            other.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::database::Transaction;
    use super::super::{cmk, rows, schema};
    use super::*;

    #[test]
    fn what_changed_is_found_without_looking_at_the_rest() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keystore.db");
        let fill = |sqlite: &Sqlite| {
            let transaction = Transaction::begin(sqlite, Access::Create)?;
            schema::migrate(sqlite, &transaction)?;
            transaction.commit()
        };
        Sqlite::create(&path, fill).unwrap();
        let sqlite = Sqlite::open(&path).unwrap();
        for sql in [cmk::CHANGED, rows::CHANGED, rows::REMOVED, rows::FORGET] {
            let mut statement = sqlite.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let steps = statement.query_map([1], |row| row.get(3)).unwrap();
            let steps: Vec<String> = steps.map(rusqlite::Result::unwrap).collect();
            assert!(steps.iter().any(|step| step.starts_with("SEARCH")), "{sql}: {steps:?}");
            assert!(!steps.iter().any(|step| step.starts_with("SCAN")), "{sql}: {steps:?}");
        }
    }
}
