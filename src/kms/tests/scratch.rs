//! A keystore to try things on: a file, or a database of the private PostgreSQL server that `scripts/lib/postgres`
//! started.

use super::keystore::{self, Location};
use super::*;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tempfile::TempDir;

/// Names the directory of the PostgreSQL server that [`Scratch::new`] takes its keystores from. Without it they are
/// files.
const SERVER: &str = "KMSFS_TEST_POSTGRES";

/// A clock that stands still until told otherwise.
pub(in crate::kms) struct ManualClock(Mutex<OffsetDateTime>);

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock()
    }
}

/// A place for a keystore, a directory for what else a test needs, and the clock its KMSs go by.
pub(in crate::kms) struct Scratch {
    pub(in crate::kms) directory: TempDir,
    clock: Arc<ManualClock>,
    database: Option<Database>,
}

impl Scratch {
    /// Whatever this run of the tests is for.
    pub(in crate::kms) fn new() -> Scratch {
        Scratch::in_place(std::env::var_os(SERVER).map(|server| Database::create(server.into(), false)))
    }

    /// A file, for what only files can do.
    pub(in crate::kms) fn file() -> Scratch {
        Scratch::in_place(None)
    }

    /// A database of the server in `directory`, which goes with its server.
    pub(in crate::kms) fn postgres(directory: PathBuf) -> Scratch {
        Scratch::in_place(Some(Database::create(directory, true)))
    }

    fn in_place(database: Option<Database>) -> Scratch {
        let clock = Arc::new(ManualClock(Mutex::new(start())));
        Scratch { directory: tempfile::tempdir().unwrap(), clock, database }
    }

    /// Where the keystore is.
    pub(in crate::kms) fn location(&self) -> Location {
        match &self.database {
            None => self.path().into(),
            Some(database) => Location::parse(database.url()).unwrap(),
        }
    }

    /// The keystore's file, if it is one.
    pub(in crate::kms) fn path(&self) -> PathBuf {
        self.directory.path().join("keystore.db")
    }

    /// A new keystore that [`passphrase`] opens, opened.
    pub(in crate::kms) fn create(&self) -> Kms {
        Kms::create(self.location(), &passphrase("right"), "first", self.options()).unwrap()
    }

    pub(in crate::kms) fn open(&self) -> Kms {
        self.try_open().unwrap()
    }

    pub(in crate::kms) fn try_open(&self) -> keystore::Result<Kms> {
        Kms::open(self.location(), &passphrase("right"), self.options())
    }

    /// A KMS that does not look for changes by itself.
    pub(in crate::kms) fn sleepy(&self) -> Options {
        Options { poll: Duration::from_secs(60), ..self.options() }
    }

    pub(in crate::kms) fn options(&self) -> Options {
        Options { clock: self.clock.clone(), passphrase_cost: Some(cheap()), poll: Duration::from_millis(20) }
    }

    pub(in crate::kms) fn pass(&self, days: i64) {
        self.wait(::time::Duration::days(days));
    }

    pub(in crate::kms) fn wait(&self, span: ::time::Duration) {
        *self.clock.0.lock() += span;
    }

    /// All that there is of the keystore, by name: files, or the rows of tables.
    pub(in crate::kms) fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        match &self.database {
            None => {
                let entries = std::fs::read_dir(self.directory.path()).unwrap();
                let paths = entries.map(|entry| entry.unwrap().path());
                paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
            }
            Some(database) => database.content(),
        }
    }

    /// Runs SQL behind the KMS's back.
    pub(in crate::kms) fn sql(&self, sql: &str) {
        match &self.database {
            None => rusqlite::Connection::open(self.path()).unwrap().execute_batch(sql).unwrap(),
            Some(database) => database.sql(sql),
        }
    }

    /// The bytes that a statement gives, one column a row.
    pub(in crate::kms) fn bytes(&self, sql: &str) -> Vec<Vec<u8>> {
        match &self.database {
            None => {
                let connection = rusqlite::Connection::open(self.path()).unwrap();
                let mut statement = connection.prepare(sql).unwrap();
                let rows = statement.query_map([], |row| row.get(0)).unwrap();
                rows.collect::<rusqlite::Result<_>>().unwrap()
            }
            Some(database) => {
                let rows = database.client().query(sql, &[]).unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
        }
    }
}

/// When a scratch keystore's clock starts: noon on New Year's Day 2026.
pub(in crate::kms) fn start() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_767_268_800).unwrap()
}

/// A database of its own on a test server, dropped with this.
struct Database {
    server: PathBuf,
    name: String,
    /// Whether it stays for whoever removes the server.
    stays: bool,
}

impl Database {
    fn create(server: PathBuf, stays: bool) -> Database {
        let name = format!("t{}", uuid::Uuid::new_v4().simple());
        let database = Database { server, name, stays };
        database.maintain(&format!("CREATE DATABASE {}", database.name));
        // What the tests' SQL uses of SQLite's.
        database.sql(
            "CREATE FUNCTION zeroblob(n int) RETURNS bytea LANGUAGE sql AS
                 $$ SELECT decode(repeat('00', n), 'hex') $$;
             CREATE FUNCTION greater(a bytea, b bytea) RETURNS bytea LANGUAGE sql STRICT AS
                 $$ SELECT CASE WHEN a > b THEN a ELSE b END $$;
             CREATE FUNCTION lesser(a bytea, b bytea) RETURNS bytea LANGUAGE sql STRICT AS
                 $$ SELECT CASE WHEN a < b THEN a ELSE b END $$;
             CREATE AGGREGATE max(bytea) (SFUNC = greater, STYPE = bytea);
             CREATE AGGREGATE min(bytea) (SFUNC = lesser, STYPE = bytea);",
        );
        database
    }

    fn url(&self) -> String {
        url(&self.server, &self.name)
    }

    fn client(&self) -> ::postgres::Client {
        let mut client = ::postgres::Client::connect(&self.url(), ::postgres::NoTls).unwrap();
        client.batch_execute("SET search_path = kmsfs, public").unwrap();
        client
    }

    fn sql(&self, sql: &str) {
        let sql = sql.replace("PRAGMA user_version =", "UPDATE format SET version =");
        self.client().batch_execute(&sql).unwrap();
    }

    fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut client = self.client();
        let tables = "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = \
                      to_regnamespace('kmsfs')";
        let tables = client.query(tables, &[]).unwrap();
        let mut content = BTreeMap::new();
        for table in tables {
            let table: String = table.get(0);
            let rows = client.query(&format!("SELECT t::text FROM {table} t ORDER BY 1"), &[]).unwrap();
            let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            content.insert(table.into(), rows.join("\n").into_bytes());
        }
        content
    }

    fn maintain(&self, sql: &str) {
        let mut client =
            ::postgres::Client::connect(&url(&self.server, "postgres"), ::postgres::NoTls).unwrap();
        client.batch_execute(sql).unwrap();
    }
}

fn url(server: &Path, database: &str) -> String {
    format!("postgres://kmsfs@/{database}?host={}", server.display())
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.stays {
            self.maintain(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}
