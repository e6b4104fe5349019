//! The connection to a server, on a thread of its own.
//!
//! The client library runs an asynchronous runtime inside and must not be called, nor dropped, by a thread that
//! runs one already, as the threads of a network service do. So its calls are sent to a thread that does nothing
//! else.
//!
//! A connection that was lost is made anew by whoever next begins a transaction or asks for the generation; after a
//! failure, not before some time has passed.

use super::super::database::Access;
use super::super::error::{Error, Result};
use super::server::{Server, describe};
use postgres::error::{Severity, SqlState};
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::ToSql;
use postgres::{Client, Statement};
use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait after the first failure to connect; each further one doubles it.
const BACK_OFF: Duration = Duration::from_millis(100);
/// As long as the wait gets: a server that is back is noticed within a second.
const BACK_OFF_MAX: Duration = Duration::from_millis(800);

/// Set for each connection. Commits wait for the disk even where the server's default is that they do not; a stronger
/// setting stays. A process that stops in the middle of a change does not keep others out for ever.
const SETTINGS: &str = "
    SET search_path = kmsfs;
    SET client_min_messages = warning;
    SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '30s';
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
";

/// Two keystores are not made in one database at the same time: `kmsK`, as an advisory lock.
const BEGIN_CREATE: &str = "
    BEGIN ISOLATION LEVEL READ COMMITTED;
    SELECT pg_advisory_xact_lock(1802335051);
    DO $$ BEGIN IF to_regnamespace('kmsfs') IS NULL THEN CREATE SCHEMA kmsfs; END IF; END $$;
";
/// The lock comes before the snapshot that the transaction sees, which the first query takes.
const BEGIN_WRITE: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE; LOCK TABLE keystore IN EXCLUSIVE MODE";
const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const HEAD: &str = "SELECT generation, id FROM keystore";

/// How often a transaction is run that others are in the way of, and how long to wait in between.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// The far end of a thread that runs a [`Session`]. The thread ends when this is dropped.
pub(super) struct Worker {
    jobs: Sender<Job>,
}

type Job = Box<dyn FnOnce(&mut Session) + Send>;

impl Worker {
    pub(super) fn spawn(server: Server) -> Result<Worker> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let mut session = Session::new(server);
        let run = move || {
            for job in queue {
                job(&mut session);
            }
        };
        let spawned = thread::Builder::new().name("kms-postgres".into()).spawn(run);
        spawned.map_err(|source| Error::Io { path: "kms-postgres".into(), source })?;
        Ok(Worker { jobs })
    }

    /// Has the thread do something, and waits for what comes of it.
    pub(super) fn call<T: Send + 'static>(&self, job: impl FnOnce(&mut Session) -> T + Send + 'static) -> T {
        let (reply, outcome) = mpsc::sync_channel(1);
        self.send(move |session| {
            // Whoever asked waits for it.
            let _ = reply.send(job(session));
        });
        outcome.recv().expect(ALIVE)
    }

    /// Has the thread do something that sends results one by one.
    pub(super) fn stream<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Session, &SyncSender<T>) + Send + 'static,
    ) -> Receiver<T> {
        /// As many rows wait at most, so that a large keystore is not in memory twice.
        const WAITING: usize = 256;
        let (results, outcome) = mpsc::sync_channel(WAITING);
        self.send(move |session| job(session, &results));
        outcome
    }

    fn send(&self, job: impl FnOnce(&mut Session) + Send + 'static) {
        self.jobs.send(Box::new(job)).unwrap_or_else(|_| panic!("{ALIVE}"));
    }
}

const ALIVE: &str = "the thread of the connection runs until its worker is dropped";

/// What the thread holds.
pub(super) struct Session {
    server: Server,
    client: Option<Client>,
    statements: Statements,
    /// What stays of a failure to connect: when the next attempt may be, how long to wait after that one, why.
    failure: Option<(Instant, Duration, String)>,
    transaction: Option<Open>,
    /// The id of the keystore, once it was read.
    keystore: Option<Vec<u8>>,
}

/// A transaction in progress.
struct Open {
    /// The generation that a change is based on.
    generation: Option<i64>,
    /// What it did so far.
    done: Vec<(&'static str, Vec<Owned>)>,
    /// Whether a statement failed: it must not be committed, which the server would let pass without a word.
    failed: bool,
}

impl Session {
    fn new(server: Server) -> Session {
        Session {
            server,
            client: None,
            statements: HashMap::new(),
            failure: None,
            transaction: None,
            keystore: None,
        }
    }

    /// Makes sure of a connection.
    pub(super) fn connect(&mut self) -> Result<()> {
        if self.client.is_some() {
            return Ok(());
        }
        let mut back_off = BACK_OFF;
        if let Some((not_before, wait, why)) = &self.failure {
            if Instant::now() < *not_before {
                return Err(self.server.unreachable(why));
            }
            back_off = (*wait * 2).min(BACK_OFF_MAX);
        }
        self.statements.clear();
        let made = self.server.connect().and_then(|mut client| {
            client.batch_execute(SETTINGS).map_err(|e| self.server.unreachable(&describe(&e)))?;
            Ok(client)
        });
        match made {
            Ok(client) => {
                self.client = Some(client);
                self.failure = None;
                Ok(())
            }
            Err(error) => {
                let why = match &error {
                    Error::Unreachable { why, .. } => why.clone(),
                    other => other.to_string(),
                };
                self.failure = Some((Instant::now() + back_off, back_off, why));
                Err(error)
            }
        }
    }

    /// Begins a transaction.
    pub(super) fn begin(&mut self, access: Access) -> Result<()> {
        for _ in 1..ATTEMPTS {
            match self.on_connection(|session| session.try_begin(access)) {
                Err(Error::Conflict(_)) => thread::sleep(PAUSE),
                begun => return begun,
            }
        }
        self.try_begin(access)
    }

    fn try_begin(&mut self, access: Access) -> Result<()> {
        let begun = self.batch(match access {
            Access::Create => BEGIN_CREATE,
            Access::Write => BEGIN_WRITE,
            Access::Read => BEGIN_READ,
        });
        let generation = begun.and_then(|()| match access {
            Access::Write => self.head().map(Some),
            Access::Create | Access::Read => Ok(None),
        });
        match generation {
            Ok(generation) => {
                self.transaction = Some(Open { generation, done: Vec::new(), failed: false });
                Ok(())
            }
            Err(error) => {
                self.roll_back();
                Err(error)
            }
        }
    }

    /// Does something that begins anew on a connection, and again if the connection turns out to have been lost
    /// while nobody looked.
    fn on_connection<T>(&mut self, mut job: impl FnMut(&mut Session) -> Result<T>) -> Result<T> {
        let fresh = self.client.is_none();
        self.connect()?;
        match job(self) {
            Err(Error::Unreachable { .. }) if !fresh => {
                self.connect()?;
                job(self)
            }
            outcome => outcome,
        }
    }

    /// Runs statements without values or results.
    pub(super) fn batch(&mut self, sql: &str) -> Result<()> {
        self.run(|client, _| client.batch_execute(sql))
    }

    /// Runs a statement that gives no rows, as a part of the transaction.
    pub(super) fn execute(&mut self, sql: &'static str, values: Vec<Owned>) -> Result<()> {
        let mut outcome = self.try_execute(sql, &values);
        if let Some(open) = &mut self.transaction {
            open.done.push((sql, values));
        }
        for _ in 1..ATTEMPTS {
            if !matches!(outcome, Err(Error::Conflict(_))) {
                break;
            }
            outcome = self.repeat();
        }
        outcome
    }

    fn try_execute(&mut self, sql: &'static str, values: &[Owned]) -> Result<()> {
        self.run(|client, statements| {
            let statement = prepare(client, statements, sql)?;
            client.execute(&statement, &references(values)).map(drop)
        })
    }

    /// Sends every row that a statement gives, until nobody wants more.
    pub(super) fn query(
        &mut self,
        sql: &'static str,
        values: &[Owned],
        results: &SyncSender<Result<postgres::Row>>,
    ) -> Result<()> {
        self.run(|client, statements| {
            let statement = prepare(client, statements, sql)?;
            let mut rows = client.query_raw(&statement, references(values))?;
            while let Some(row) = rows.next()? {
                if results.send(Ok(row)).is_err() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// The first row of a statement without values.
    pub(super) fn first(&mut self, sql: &'static str) -> Result<Option<postgres::Row>> {
        self.run(|client, statements| {
            let statement = prepare(client, statements, sql)?;
            client.query_opt(&statement, &[])
        })
    }

    /// Commits.
    pub(super) fn commit(&mut self) -> Result<()> {
        if self.transaction.as_ref().is_none_or(|open| open.failed) {
            self.roll_back();
            return Err(self.conflict());
        }
        let mut outcome = self.batch("COMMIT");
        for _ in 1..ATTEMPTS {
            if !matches!(outcome, Err(Error::Conflict(_))) {
                break;
            }
            outcome = self.repeat().and_then(|()| self.batch("COMMIT"));
        }
        self.transaction = None;
        if outcome.is_err() {
            self.roll_back();
        }
        outcome
    }

    /// Ends the transaction, which has failed or is not wanted.
    pub(super) fn roll_back(&mut self) {
        self.transaction = None;
        // Where it fails the connection is lost, and the transaction with it.
        let _ = self.batch("ROLLBACK");
    }

    /// Runs the transaction's statements once more, after it failed because of another one.
    fn repeat(&mut self) -> Result<()> {
        let Some(Open { generation, done, .. }) = self.transaction.take() else {
            return Err(self.conflict());
        };
        self.roll_back();
        thread::sleep(PAUSE);
        let repeated = self.try_begin(Access::Write).and_then(|()| {
            match self.transaction.as_ref().is_some_and(|again| again.generation == generation) {
                true => done.iter().try_for_each(|(sql, values)| self.try_execute(sql, values)),
                false => Err(self.conflict()),
            }
        });
        self.transaction = Some(Open { generation, done, failed: repeated.is_err() });
        repeated
    }

    /// The generation that the transaction is based on; the newest one, outside of a change.
    pub(super) fn generation(&mut self) -> Result<i64> {
        match &self.transaction {
            Some(Open { generation: Some(generation), .. }) => Ok(*generation),
            Some(_) => self.head(),
            None => self.on_connection(Session::head),
        }
    }

    /// Reads the generation, and makes sure that the keystore is still the same.
    fn head(&mut self) -> Result<i64> {
        let row = self.first(HEAD)?;
        let read = row.and_then(|row| Some((row.try_get(0).ok()?, row.try_get::<_, Vec<u8>>(1).ok()?)));
        let Some((generation, id)) = read else {
            let what = "the keystore's own row is missing or altered".into();
            return Err(Error::Tampered { location: self.server.location(), what });
        };
        match &self.keystore {
            Some(known) if *known != id => Err(Error::Replaced(self.server.location())),
            _ => {
                self.keystore = Some(id);
                Ok(generation)
            }
        }
    }

    /// The format of the tables; 0 if there are none.
    pub(super) fn format(&mut self) -> Result<u32> {
        let there = self.first("SELECT to_regclass('kmsfs.format') IS NOT NULL")?;
        if !there.is_some_and(|row| row.get(0)) {
            return Ok(0);
        }
        let row = self.first("SELECT version FROM format")?;
        let format = row.and_then(|row| u32::try_from(row.try_get::<_, i64>(0).ok()?).ok());
        format.filter(|format| *format > 0).ok_or_else(|| Error::Tampered {
            location: self.server.location(),
            what: "it has no format number".into(),
        })
    }

    fn run<T>(
        &mut self,
        job: impl FnOnce(&mut Client, &mut Statements) -> std::result::Result<T, postgres::Error>,
    ) -> Result<T> {
        let Some(client) = &mut self.client else {
            return Err(self.server.unreachable("the connection was lost"));
        };
        job(client, &mut self.statements).map_err(|error| self.told(&error))
    }

    /// What an error of PostgreSQL means here. All that did not come from the server, and its last words, mean that
    /// the connection is lost.
    fn told(&mut self, error: &postgres::Error) -> Error {
        if let Some(open) = &mut self.transaction {
            open.failed = true;
        }
        let what = describe(error);
        let location = self.server.location();
        let fatal = |severity| matches!(severity, Some(Severity::Fatal | Severity::Panic));
        match error.as_db_error() {
            Some(error) if !fatal(error.parsed_severity()) => match error.code() {
                code if is_conflict(code) => Error::Conflict(location),
                code if is_damage(code) => Error::Tampered { location, what },
                _ => Error::Database { location, what },
            },
            _ => {
                self.client = None;
                Error::Unreachable { location, why: what }
            }
        }
    }

    fn conflict(&self) -> Error {
        Error::Conflict(self.server.location())
    }
}

type Statements = HashMap<&'static str, Statement>;

fn prepare(
    client: &mut Client,
    statements: &mut Statements,
    sql: &'static str,
) -> std::result::Result<Statement, postgres::Error> {
    if let Some(statement) = statements.get(sql) {
        return Ok(statement.clone());
    }
    let statement = client.prepare(sql)?;
    statements.insert(sql, statement.clone());
    Ok(statement)
}

/// Whether the transaction would succeed if it were run again: another one was in its way.
fn is_conflict(code: &SqlState) -> bool {
    *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED
}

/// Whether tables or columns are others than kmsfs's, or the server found its files broken.
fn is_damage(code: &SqlState) -> bool {
    [
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_COLUMN,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::DATATYPE_MISMATCH,
        SqlState::DATA_CORRUPTED,
        SqlState::INDEX_CORRUPTED,
    ]
    .contains(code)
}

/// A value that can be sent to the thread.
#[derive(Debug, Clone)]
pub(super) enum Owned {
    Int(i64),
    Bytes(Vec<u8>),
    Text(String),
}

impl Owned {
    fn as_sql(&self) -> &(dyn ToSql + Sync) {
        match self {
            Owned::Int(number) => number,
            Owned::Bytes(bytes) => bytes,
            Owned::Text(text) => text,
        }
    }
}

fn references(values: &[Owned]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(Owned::as_sql).collect()
}
