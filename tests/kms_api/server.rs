//! The real program, serving a keystore of its own.

use crate::client::{Connection, Credentials, Reply, Request};
use kmsfs::crypto::SecretBytes;
use kmsfs::kms::keystore::Unlock;
use kmsfs::kms::{Call, Kms, NewAccessKey, Options};
use serde_json::{Value, json};
use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PASSPHRASE: &str = "correct horse battery staple";

/// A running server; killed when dropped.
pub struct Server {
    pub dir: tempfile::TempDir,
    pub socket: PathBuf,
    pub address: SocketAddr,
    /// Where it shows its figures.
    pub metrics: Option<SocketAddr>,
    pub process: Child,
}

impl Server {
    /// A server on a new keystore.
    pub fn new() -> Server {
        Server::new_with(&[])
    }

    /// A server on a new keystore, with more arguments.
    pub fn new_with(args: &[&str]) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let passphrase = dir.path().join("pw");
        std::fs::write(&passphrase, PASSPHRASE).unwrap();
        std::fs::set_permissions(&passphrase, Permissions::from_mode(0o600)).unwrap();
        let made = kmsfs(&dir).args(["keystore", "create", "--argon2", "64,1,1"]).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        Server::start(dir, args)
    }

    /// The keystore, opened by this process.
    pub fn keystore(&self) -> Kms {
        let secret = Unlock::Passphrase(SecretBytes::from(PASSPHRASE.to_owned()));
        Kms::open(self.dir.path().join("kmsfs/keystore.db"), &secret, Options::default()).unwrap()
    }

    /// A new user with an access key. The server knows of it when this returns.
    pub fn user(&self, name: &str) -> Credentials {
        let (kms, name) = (self.keystore(), format!("user/{name}").parse().unwrap());
        kms.create_principal(&Call::operator(), &name).unwrap();
        let NewAccessKey { id, secret } = kms.create_access_key(&Call::operator(), &name).unwrap();
        self.catch_up(&kms);
        let secret = String::from_utf8(secret.expose().to_vec()).unwrap();
        Credentials { id, secret, token: None, region: "eu-central-7".into() }
    }

    /// Lets a user do everything.
    pub fn allow_all(&self, name: &str) {
        let (kms, name) = (self.keystore(), format!("user/{name}").parse().unwrap());
        let document = json!({
            "Version": "2012-10-17",
            "Statement": [{ "Effect": "Allow", "Action": "kms:*", "Resource": "*" }],
        });
        kms.put_identity_policy(&Call::operator(), &name, "all", &document.to_string()).unwrap();
        self.catch_up(&kms);
    }

    /// The program, to be run on the same keystore.
    pub fn command(&self) -> Command {
        kmsfs(&self.dir)
    }

    /// Waits until the server has seen what `kms` has changed.
    pub fn catch_up(&self, kms: &Kms) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.generation() < kms.generation() {
            assert!(Instant::now() < end, "the server does not see changes");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn generation(&self) -> u64 {
        let status = self.unix().send(&Request::to("Kmsfs.Status", "{}")).ok();
        status["Generation"].as_u64().unwrap()
    }

    /// A server on the keystore in `dir`, with more arguments.
    pub fn start(dir: tempfile::TempDir, args: &[&str]) -> Server {
        let socket = dir.path().join("run/kms.sock");
        let mut command = kmsfs(&dir);
        command.args(["kms", "serve", "--listen", "127.0.0.1:0", "--socket"]).arg(&socket).args(args);
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line = line.unwrap();
            println!("server: {line}");
            line.strip_prefix("Serving on http://")?.strip_suffix('.')?.parse().ok()
        });
        let metrics = args.contains(&"--metrics").then(|| {
            let line = lines.next().unwrap().unwrap();
            let url = line.strip_prefix("Showing figures on http://");
            url.and_then(|rest| rest.strip_suffix("/metrics.")).unwrap().parse().unwrap()
        });
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                println!("server: {line}");
            }
        });
        let address = address.expect("the server says where it serves");
        Server { dir, socket, address, metrics, process }
    }

    pub fn unix(&self) -> Connection {
        Connection::unix(&self.socket)
    }

    pub fn tcp(&self) -> Connection {
        Connection::tcp(self.address)
    }

    /// Calls an operation over the unix socket.
    pub fn call(&self, operation: &str, body: &Value) -> Reply {
        self.unix().send(&Request::new(operation, body.to_string()))
    }

    /// Bytes of the server's memory that are in RAM.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.process.id() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the server to end, and gives its exit code.
    pub fn wait(mut self, time: Duration) -> (Option<i32>, tempfile::TempDir) {
        let end = Instant::now() + time;
        let status = loop {
            match self.process.try_wait().unwrap() {
                Some(status) => break status.code(),
                None if Instant::now() > end => panic!("the server did not end"),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        (status, dir)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn kmsfs(dir: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kmsfs"));
    command.env_clear().env("HOME", dir.path()).env("XDG_DATA_HOME", dir.path());
    command.env("KMSFS_PASSPHRASE_FILE", dir.path().join("pw")).stdin(Stdio::null());
    command
}
