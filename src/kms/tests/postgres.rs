//! What only a PostgreSQL server can do: go away, come back, run several servers' changes at once.

use super::processes::second_process_with;
use super::*;
use keystore::{Error, Location};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A server of a test's own.
struct Server {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Server {
    fn start() -> Server {
        let directory = tempfile::tempdir().unwrap();
        // The user postgres has to get in.
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o711)).unwrap();
        let server = Server { path: directory.path().join("pg"), _directory: directory };
        server.run("start");
        server
    }

    fn run(&self, what: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/lib/postgres");
        // The server would keep a pipe open.
        let status = Command::new(script).arg(what).arg(&self.path).stdout(Stdio::null()).status().unwrap();
        assert!(status.success(), "{what}");
    }

    fn scratch(&self) -> Scratch {
        Scratch::postgres(self.path.clone())
    }

    /// Writes a file that belongs to the server's user, next to its data.
    fn install(&self, name: &str, content: &str) {
        let (data, path) = (self.path.join("data"), self.path.join("data").join(name));
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(data).unwrap());
        std::os::unix::fs::chown(&path, Some(owner), None).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.run("remove");
    }
}

/// Waits for what takes longer than a second because a server has to start.
fn eventually(what: &str, done: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}: not within ten seconds");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test postgres runs it"]
fn a_server_that_is_away_is_an_outage_that_ends_when_it_is_back() {
    let server = Server::start();
    let scratch = server.scratch();
    let kms = scratch.create();
    let key = key(&kms);
    let outcome = || name(kms.generate_data_key(FILESYSTEM, &key, 32, &context()));
    for stop in ["stop", "kill"] {
        let before = kms.outages();
        server.run(stop);
        within_a_second("the outage", || kms.outages() > before);
        assert_eq!(outcome(), "KeyUnavailableException");
        assert_eq!(name(kms.disable_key(OPERATOR, &key)), "KMSInternalException");
        assert!(matches!(scratch.try_open(), Err(Error::Unreachable { .. })));
        server.run("start");
        eventually("the return", || outcome() == "ok");
        kms.update_key_description(OPERATOR, &key, stop).unwrap();
    }
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test postgres runs it"]
fn a_server_that_does_not_answer_is_an_outage_too() {
    let server = Server::start();
    let scratch = server.scratch();
    let kms = scratch.create();
    let key = key(&kms);
    let before = kms.outages();
    let backends = scratch.bytes(
        "SELECT pid::text::bytea FROM pg_stat_activity WHERE application_name = 'kmsfs' AND datname = current_database()",
    );
    let signal = |signal: &str| {
        for pid in &backends {
            let pid = std::str::from_utf8(pid).unwrap();
            assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
        }
    };
    assert!(!backends.is_empty());
    signal("-STOP");
    within_a_second("the outage", || kms.outages() > before);
    assert_eq!(name(kms.encrypt(OPERATOR, &key, SYMMETRIC, b"x", &context())), "KeyUnavailableException");
    signal("-CONT");
    eventually("the return", || name(kms.encrypt(OPERATOR, &key, SYMMETRIC, b"x", &context())) == "ok");
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test postgres runs it"]
fn a_server_that_was_restarted_while_nobody_looked_disturbs_nobody() {
    let server = Server::start();
    let scratch = server.scratch();
    let kms = Kms::create(scratch.location(), &passphrase("right"), "", scratch.sleepy()).unwrap();
    let key = key(&kms);
    server.run("stop");
    server.run("start");
    kms.update_key_description(OPERATOR, &key, "after").unwrap();
    server.run("stop");
    server.run("start");
    assert_eq!(kms.describe_key(OPERATOR, &key).unwrap().description, "after");
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test postgres runs it"]
fn a_server_that_crashes_keeps_what_it_acknowledged() {
    let server = Server::start();
    let scratch = server.scratch();
    let all = [scratch.create(), scratch.open()];
    for round in 0..3 {
        let made: Vec<String> = std::thread::scope(|scope| {
            let busy = all.each_ref().map(|kms| {
                scope.spawn(move || {
                    let mut made = Vec::new();
                    while let Ok(key) = kms.create_key(OPERATOR, CreateKey::default()) {
                        made.push(key.id.to_string());
                    }
                    made
                })
            });
            std::thread::sleep(Duration::from_millis(300 + round * 70));
            server.run("kill");
            busy.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert!(!made.is_empty());
        server.run("start");
        for kms in all.iter().chain([&scratch.open()]) {
            eventually("the return", || kms.list_keys(OPERATOR, Page::whole()).is_ok());
            assert!(made.iter().all(|key| kms.describe_key(OPERATOR, key).is_ok()), "a key is lost");
        }
    }
}

/// Has the server refuse the next `times` transactions that run into the trigger `when`.
fn refuse(scratch: &Scratch, when: &str, times: u32) {
    scratch.sql(&format!(
        "DROP SEQUENCE IF EXISTS refused CASCADE;
         CREATE SEQUENCE refused;
         CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('kmsfs.refused') <= {times} THEN
                 RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001';
             END IF;
             RETURN NEW;
         END $$;
         DROP TRIGGER IF EXISTS refuse ON keystore;
         DROP TRIGGER IF EXISTS refuse ON record;
         {when} FOR EACH ROW EXECUTE FUNCTION refuse();"
    ));
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test postgres runs it"]
fn a_transaction_that_the_server_refuses_is_run_again() {
    let server = Server::start();
    let scratch = server.scratch();
    let kms = scratch.create();
    let key = key(&kms);
    for when in [
        "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON record",
        "CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON keystore DEFERRABLE INITIALLY DEFERRED",
    ] {
        refuse(&scratch, when, 2);
        kms.update_key_description(OPERATOR, &key, when).unwrap();
        kms.rotate_key_on_demand(OPERATOR, &key).unwrap();
        assert_eq!(scratch.open().describe_key(OPERATOR, &key).unwrap().description, when);
        // For ever.
        refuse(&scratch, when, 1_000_000);
        assert_eq!(name(kms.update_key_description(OPERATOR, &key, "lost")), "KMSInternalException");
        refuse(&scratch, when, 0);
        assert_eq!(kms.describe_key(OPERATOR, &key).unwrap().description, when);
        kms.update_key_description(OPERATOR, &key, "kept").unwrap();
        assert_eq!(scratch.open().describe_key(OPERATOR, &key).unwrap().description, "kept");
    }
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test postgres runs it"]
fn one_database_has_one_keystore() {
    let server = Server::start();
    let scratch = server.scratch();
    assert!(!scratch.location().exists().unwrap());
    assert!(matches!(scratch.try_open(), Err(Error::Missing(_))));
    let create = || Kms::create(scratch.location(), &passphrase("right"), "", scratch.options());
    let results = std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| scope.spawn(create));
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().filter_map(|result| result.as_ref().err()).all(|e| matches!(e, Error::Exists(_))));
    assert!(scratch.location().exists().unwrap());
    drop(results);
    let before = scratch.content();
    assert!(matches!(create(), Err(Error::Exists(_))));
    let wrong = Kms::open(scratch.location(), &passphrase("wrong"), scratch.options());
    assert!(matches!(wrong, Err(Error::WrongPassphrase(_))));
    assert!(scratch.content() == before);
    scratch.sql("UPDATE format SET version = 7");
    assert!(matches!(scratch.try_open(), Err(Error::Newer { found: 7, known: 1..7, .. })));
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test postgres runs it"]
fn another_keystore_in_the_same_place_is_refused() {
    let server = Server::start();
    let scratch = server.scratch();
    let kms = scratch.create();
    let key = key(&kms);
    scratch.sql("DROP SCHEMA kmsfs CASCADE");
    let outcome = || name(kms.encrypt(OPERATOR, &key, SYMMETRIC, b"x", &context()));
    within_a_second("refusal", || outcome() == "KeyUnavailableException");
    let other = scratch.create();
    super::key(&other);
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(outcome(), "KeyUnavailableException");
    assert_eq!(name(kms.disable_key(OPERATOR, &key)), "KMSInternalException");
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test postgres runs it"]
fn it_works_in_threads_of_an_asynchronous_runtime() {
    let server = Server::start();
    let scratch = server.scratch();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let kms = Kms::create(scratch.location(), &passphrase("right"), "", scratch.sleepy()).unwrap();
        let key = key(&kms);
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(name(kms.encrypt(OPERATOR, &key, SYMMETRIC, b"x", &context())), "ok");
        drop(kms);
        scratch.open();
    });
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test postgres runs it"]
fn a_server_over_the_network_shows_its_certificate_and_gets_a_password() {
    let server = Server::start();
    let scratch = server.scratch();
    let kms = scratch.create();
    let key = key(&kms);

    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    server.install("server.crt", &made.cert.pem());
    server.install("server.key", &made.signing_key.serialize_pem());
    server.install("pg_hba.conf", "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n");
    let port = free_port();
    scratch.sql("ALTER USER kmsfs PASSWORD 'se:cret'");
    for setting in ["listen_addresses = '127.0.0.1'", &format!("port = {port}"), "ssl = on"] {
        scratch.sql(&format!("ALTER SYSTEM SET {setting}"));
    }
    let Location::Postgres(place) = scratch.location() else { panic!("not on a server") };
    let database = place.to_string();
    let database = database.split(['/', '?']).nth(3).unwrap().to_owned();
    server.run("stop");
    server.run("start");

    let file = |name: &str, content: &str| {
        let path = scratch.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let (good, bad) = (file("good.pem", &made.cert.pem()), file("bad.pem", &other.cert.pem()));
    let passwords = file("pgpass", &format!("localhost:{port}:*:kmsfs:se\\:cret\n"));
    let wrong = file("wrong", "*:*:*:*:wrong\n");
    let run = |authority: &str, passwords: &str| {
        let url = format!("postgres://kmsfs@localhost:{port}/{database}?sslrootcert={authority}");
        let mut child = second_process_with(&Location::parse(url).unwrap(), &format!("disable {key}"));
        child.env("PGPASSFILE", passwords).output().unwrap().status.success()
    };
    assert!(!run(&bad, &passwords), "a certificate of somebody else");
    assert!(!run(&good, &wrong), "a wrong password");
    assert!(!run(&good, "/nonexistent"), "no password");
    assert!(run(&good, &passwords));
    let plain = format!("postgres://kmsfs@localhost:{port}/{database}");
    let child = second_process_with(&Location::parse(plain).unwrap(), &format!("disable {key}"));
    assert!(!{ child }.env("PGPASSFILE", &passwords).output().unwrap().status.success(), "without TLS");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
