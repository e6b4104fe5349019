//! The one interface between sealed rows and the database that keeps them.
//!
//! It is as narrow as one text of SQL for every database allows: transactions, statements with values, rows. What
//! the tables are is in [`super::schema`]; what a database does in its own way (making a keystore, telling what
//! others changed, scrubbing) is a method here.

use super::error::{Error, Result};
use super::schema::Dialect;

/// A connection to a keystore's database. Used by one thread at a time, and in one transaction at a time.
///
/// Statements number their values `$1`, `$2`, …, in the order in which they first occur.
pub(super) trait Database: Send {
    /// Begins a transaction. One that writes keeps other writers out from here on; what it reads is the newest
    /// state there is. One that reads sees one state, and waits for nobody.
    fn begin(&self, access: Access) -> Result<()>;

    /// Runs a statement that gives no rows.
    fn execute(&self, sql: &'static str, values: &[Value<'_>]) -> Result<()>;

    /// Calls `each` with every row that a statement gives, and stops at its first error.
    fn query(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<()>,
    ) -> Result<()>;

    /// How the database spells types.
    fn dialect(&self) -> &'static Dialect;

    /// The format of the tables; 0 if there are none.
    fn format(&self) -> Result<u32>;

    /// Runs the statements that bring the tables to `format`, and records that they have it.
    fn define(&self, format: u32, statements: &str) -> Result<()>;

    /// Ends the transaction and makes what it wrote durable. After an error nobody knows whether it did.
    fn commit(&self) -> Result<()>;

    /// Ends the transaction, which never happened.
    fn roll_back(&self);

    /// Tells the database's states apart: the mark differs after another connection changed the keystore.
    ///
    /// # Errors
    /// Any that says that this connection no longer sees what others change.
    fn mark(&self) -> Result<Mark>;

    /// The mark after this connection has committed `generation`, where it was `before`.
    fn mark_after_commit(&self, before: Mark, generation: u64) -> Mark;

    /// Lets the database tidy up; called once the keystore's rows have been verified.
    fn trust(&self) -> Result<()>;

    /// Overwrites what destroyed rows left behind, as far as the database lets it.
    fn scrub(&self) -> Result<()>;

    /// As [`Database::scrub`], at the end of a keystore: takes its time, and says whether everything is overwritten
    /// that the database kept of the rows.
    fn erase(&self) -> Result<bool>;
}

/// See [`Database::mark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kms) struct Mark(pub(super) i64);

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// It makes a keystore where there is none.
    Create,
    /// It changes a keystore.
    Write,
    /// It reads.
    Read,
}

/// A value of a statement.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Int(i64),
    Bytes(&'a [u8]),
    Text(&'a str),
}

impl From<u64> for Value<'_> {
    /// For generations and the like, which do not reach 2^63.
    fn from(number: u64) -> Self {
        Value::Int(number as i64)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Value::Int(number.into())
    }
}

impl From<u8> for Value<'_> {
    fn from(number: u8) -> Self {
        Value::Int(number.into())
    }
}

/// A row of a result. Columns count from 0.
pub(super) trait Row {
    /// A number.
    fn int(&self, column: usize) -> Result<i64>;
    /// Bytes.
    fn bytes(&self, column: usize) -> Result<&[u8]>;
    /// Text.
    fn text(&self, column: usize) -> Result<&str>;
    /// The error that a column holds what kmsfs never put there.
    fn mismatch(&self, column: usize) -> Error;
}

impl dyn Row + '_ {
    /// A number that fits `T`.
    pub(super) fn number<T: TryFrom<i64>>(&self, column: usize) -> Result<T> {
        T::try_from(self.int(column)?).map_err(|_| self.mismatch(column))
    }

    /// Bytes of a fixed length.
    pub(super) fn array<const N: usize>(&self, column: usize) -> Result<[u8; N]> {
        self.bytes(column)?.try_into().map_err(|_| self.mismatch(column))
    }
}

/// A transaction in progress; dropped without a commit, it never happened.
pub(super) struct Transaction<'a> {
    database: &'a dyn Database,
    open: bool,
}

impl<'a> Transaction<'a> {
    pub(super) fn begin(database: &'a dyn Database, access: Access) -> Result<Transaction<'a>> {
        database.begin(access)?;
        Ok(Transaction { database, open: true })
    }

    /// See [`Database::execute`].
    pub(super) fn execute(&self, sql: &'static str, values: &[Value<'_>]) -> Result<()> {
        self.database.execute(sql, values)
    }

    /// See [`Database::query`].
    pub(super) fn query(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
        mut each: impl FnMut(&dyn Row) -> Result<()>,
    ) -> Result<()> {
        self.database.query(sql, values, &mut each)
    }

    /// What `read` makes of the first row; `None` if there is none.
    pub(super) fn first<T>(
        &self,
        sql: &'static str,
        read: impl Fn(&dyn Row) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut found = None;
        self.query(sql, &[], |row| {
            if found.is_none() {
                found = Some(read(row)?);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// See [`Database::define`].
    pub(super) fn define(&self, format: u32, statements: &str) -> Result<()> {
        self.database.define(format, statements)
    }

    /// See [`Database::commit`].
    pub(super) fn commit(mut self) -> Result<()> {
        self.open = false;
        self.database.commit()
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            self.database.roll_back();
        }
    }
}
