//! What somebody could still do who came to run code in `kmsfs kms serve`: it is made to do it, and refuses.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../kms_api/client.rs"]
#[allow(dead_code, reason = "the tests of the service itself use more of it")]
mod client;
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_arch = "x86_64")]
mod inject;
#[cfg(target_arch = "x86_64")]
mod intruder;
mod user;

use client::{Connection, Request};
use common::{
    tools::{ok, progress},
    volume::Volume,
};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A running service; killed when dropped.
struct Service {
    process: Child,
    socket: PathBuf,
}

impl Service {
    /// Starts it on the volume's keystore, with more arguments.
    fn start(volume: &Volume, args: &[&str]) -> Service {
        let mut command = volume.kmsfs("kms");
        command.arg("serve").args(args);
        Service::spawn(volume, command)
    }

    fn spawn(volume: &Volume, mut command: Command) -> Service {
        let socket = volume.home().join("kms.sock");
        let mut process = command.arg("--socket").arg(&socket).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = Vec::new();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let serves =
            lines.by_ref().inspect(|line| said.push(line.clone())).any(|line| line.starts_with("Serving on"));
        assert!(serves, "{said:?}");
        assert!(!said.iter().any(|line| line.contains("NOT confined")), "{said:?}");
        std::thread::spawn(move || lines.for_each(|line| progress(format_args!("service: {line}"))));
        Service { process, socket }
    }

    fn status(&self) -> String {
        fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap()
    }

    /// A line of the status, without its name.
    fn shows(&self, name: &str) -> String {
        let status = self.status();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{status}")).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// A call that writes to the keystore.
    fn works(&self) {
        Connection::unix(&self.socket).send(&Request::new("CreateKey", "{}")).ok();
    }

    fn stop(mut self) {
        ok(Command::new("kill").arg(self.process.id().to_string()));
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn every_thread_is_filtered_and_gains_no_privileges() {
    let volume = Volume::bare();
    volume.keystore_create();
    let service = Service::start(&volume, &["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]);
    service.works();
    let threads = format!("/proc/{}/task", service.process.id());
    let mut count = 0;
    for thread in fs::read_dir(threads).unwrap() {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        assert!(status.contains("Seccomp:\t2\n") && status.contains("NoNewPrivs:\t1\n"), "{status}");
        count += 1;
    }
    assert!(count > 2, "the audit log's and the requests' too");
    // Files of a process that cannot be dumped belong to root, whoever's it is; its core limit says the rest.
    let limits = fs::read_to_string(format!("/proc/{}/limits", service.process.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    let socket = service.socket.clone();
    service.stop();
    assert!(!socket.exists(), "it may remove its socket");
}

/// A server of PostgreSQL, removed when dropped.
struct Postgres(PathBuf);

impl Postgres {
    fn run(&self, what: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/lib/postgres");
        let status = Command::new(script).arg(what).arg(&self.0).stdout(Stdio::null()).status().unwrap();
        assert!(status.success(), "{what}");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.run("remove");
    }
}

#[test]
#[ignore = "needs PostgreSQL: scripts/test postgres runs it"]
fn a_confined_service_reaches_postgres_again_after_it_was_away() {
    let volume = Volume::bare();
    let server = Postgres(volume.scratch("pg"));
    fs::set_permissions(volume.scratch(""), PermissionsExt::from_mode(0o711)).unwrap();
    server.run("start");
    let url = format!("postgres://kmsfs@{}/postgres", server.0.display().to_string().replace('/', "%2F"));
    ok(volume.kmsfs("--keystore").args([&url, "keystore", "create", "--argon2", "8192,1,1"]));
    let mut command = volume.kmsfs("--keystore");
    command.args([&url, "kms", "serve", "--audit"]).arg(volume.scratch("audit"));
    let service = Service::spawn(&volume, command);
    service.works();
    server.run("kill");
    server.run("start");
    let again = common::volume::wait_until(std::time::Duration::from_secs(20), || {
        Connection::unix(&service.socket).send(&Request::new("CreateKey", "{}")).status == 200
    });
    assert!(again, "the service found its server again");
    service.stop();
}
