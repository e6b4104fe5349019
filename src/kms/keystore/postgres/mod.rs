//! A keystore in a database of a PostgreSQL server, for several KMS servers on the same keys.
//!
//! The tables are in the schema `kmsfs`; one more, `format`, has the keystore's format. What others changed shows in
//! the generation, which every change raises.
//!
//! **Writers** take turns: each locks the table `keystore` before it reads anything, so that it reads the newest
//! state, and its transaction is SERIALIZABLE besides, in case somebody writes without asking. Should the server
//! still refuse a transaction because of another one, it is run again: its statements are kept, and since their
//! content is sealed for one generation, they are right as long as the generation is still the one before.
//! **Readers** read one snapshot and lock nobody out.
//!
//! **A lost connection** fails what is in progress. What was being committed is then unknown, as after any failed
//! commit, and everything is read anew.

mod passfile;
mod server;
mod session;
mod tls;

pub use server::Server;

use super::database::{Access, Database, Mark, Row, Value};
use super::error::{Error, Result};
use super::schema::{Dialect, FORMAT};
use session::{Owned, Session, Worker};
use std::sync::mpsc;

const DIALECT: Dialect = Dialect { int: "BIGINT", bytes: "BYTEA", text: "TEXT", table: "" };

/// See the module.
pub(super) struct Postgres {
    server: Server,
    worker: Worker,
}

impl Postgres {
    /// Connects to a server, whatever its database holds.
    pub(super) fn connect(server: &Server) -> Result<Postgres> {
        let worker = Worker::spawn(server.clone())?;
        let postgres = Postgres { server: server.clone(), worker };
        postgres.worker.call(|session| session.connect())?;
        Ok(postgres)
    }

    /// Connects to a server whose database holds a keystore of a format that is known here.
    pub(super) fn open(server: &Server) -> Result<Postgres> {
        let postgres = Postgres::connect(server)?;
        match postgres.format()? {
            0 => Err(Error::Missing(server.location())),
            1..=FORMAT => Ok(postgres),
            found => Err(Error::Newer { location: server.location(), found, known: FORMAT }),
        }
    }

    fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Session) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.worker.call(job)
    }
}

impl Database for Postgres {
    fn begin(&self, access: Access) -> Result<()> {
        self.call(move |session| session.begin(access))
    }

    fn execute(&self, sql: &'static str, values: &[Value<'_>]) -> Result<()> {
        let values = own(values);
        self.call(move |session| session.execute(sql, values))
    }

    fn query(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<()>,
    ) -> Result<()> {
        let values = own(values);
        let rows = self.worker.stream(move |session, results: &mpsc::SyncSender<Result<postgres::Row>>| {
            if let Err(error) = session.query(sql, &values, results) {
                // Whoever asked has stopped at an error of its own.
                let _ = results.send(Err(error));
            }
        });
        for row in rows {
            each(&PostgresRow { row: &row?, server: &self.server })?;
        }
        Ok(())
    }

    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    fn format(&self) -> Result<u32> {
        self.call(Session::format)
    }

    fn define(&self, format: u32, statements: &str) -> Result<()> {
        let statements = format!(
            "{statements};
             CREATE TABLE IF NOT EXISTS format (one BIGINT PRIMARY KEY CHECK (one = 1), version BIGINT NOT NULL);
             INSERT INTO format VALUES (1, {format}) ON CONFLICT (one) DO UPDATE SET version = excluded.version;"
        );
        self.call(move |session| session.batch(&statements))
    }

    fn commit(&self) -> Result<()> {
        self.call(Session::commit)
    }

    fn roll_back(&self) {
        self.worker.call(Session::roll_back);
    }

    /// # Errors
    /// `Replaced` if another keystore is in the database, `Unreachable`.
    fn mark(&self) -> Result<Mark> {
        self.call(Session::generation).map(Mark)
    }

    fn mark_after_commit(&self, _before: Mark, generation: u64) -> Mark {
        Mark(generation as i64)
    }

    /// Warns of a server that loses what it has acknowledged.
    fn trust(&self) -> Result<()> {
        self.call(|session| {
            let row = session.first("SELECT current_setting('fsync')")?;
            if row.is_some_and(|row| row.get::<_, &str>(0) == "off") {
                log::warn!("the PostgreSQL server runs with fsync=off: a power cut loses keys");
            }
            Ok(())
        })
    }

    /// Lets the server reuse the space of destroyed material at once. It does not overwrite it: what remains in free
    /// space, in the server's log and its archives is as long-lived as those.
    fn scrub(&self) -> Result<()> {
        self.call(|session| session.batch("VACUUM material, record, secret"))
    }

    /// Overwrites nothing, as [`Database::scrub`].
    fn erase(&self) -> Result<bool> {
        self.call(|session| session.batch("VACUUM slot, quorum, record, removed, material, secret"))?;
        Ok(false)
    }
}

fn own(values: &[Value<'_>]) -> Vec<Owned> {
    let own = |value: &Value<'_>| match *value {
        Value::Int(number) => Owned::Int(number),
        Value::Bytes(bytes) => Owned::Bytes(bytes.to_vec()),
        Value::Text(text) => Owned::Text(text.to_owned()),
    };
    values.iter().map(own).collect()
}

struct PostgresRow<'a> {
    row: &'a postgres::Row,
    server: &'a Server,
}

impl PostgresRow<'_> {
    fn get<'r, T: postgres::types::FromSql<'r>>(&'r self, column: usize) -> Result<T> {
        self.row.try_get(column).map_err(|_| self.mismatch(column))
    }
}

impl Row for PostgresRow<'_> {
    fn int(&self, column: usize) -> Result<i64> {
        self.get(column)
    }

    fn bytes(&self, column: usize) -> Result<&[u8]> {
        self.get(column)
    }

    fn text(&self, column: usize) -> Result<&str> {
        self.get(column)
    }

    fn mismatch(&self, column: usize) -> Error {
        let what = format!("column {column} of a row is not of its type or length");
        Error::Tampered { location: self.server.location(), what }
    }
}
