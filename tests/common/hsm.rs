//! An HSM and its custodians, for tests from outside.
#![allow(dead_code, reason = "every test program uses a part of it")]

use crate::common::{
    tools::{ok, progress},
    volume::Volume,
};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

/// An HSM's service, and the shares of its custodians; killed when dropped.
pub struct Hsm {
    process: Child,
    pub socket: PathBuf,
    pub shares: PathBuf,
}

impl Hsm {
    /// A new HSM with the volume's keystore, sealed.
    pub fn start(volume: &Volume, quorum: &str) -> Hsm {
        Hsm::start_with(volume, quorum, &[]).0
    }

    /// The same, over TCP too.
    pub fn start_listening(volume: &Volume, quorum: &str) -> (Hsm, SocketAddr) {
        let (hsm, address) = Hsm::start_with(volume, quorum, &["--listen", "127.0.0.1:0"]);
        (hsm, address.unwrap())
    }

    fn start_with(volume: &Volume, quorum: &str, args: &[&str]) -> (Hsm, Option<SocketAddr>) {
        let shares = volume.home().join("shares");
        ok(volume.kmsfs("hsm").args(["init", "--quorum", quorum, "--shares-to"]).arg(&shares));
        let (process, socket, address) = serve(volume, args);
        (Hsm { process, socket, shares }, address)
    }

    /// An HSM that is there, sealed, with its custodians' shares.
    pub fn serve(volume: &Volume, shares: PathBuf) -> Hsm {
        let (process, socket, _) = serve(volume, &[]);
        Hsm { process, socket, shares }
    }

    pub fn restart(&mut self, volume: &Volume) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        (self.process, self.socket, _) = serve(volume, &[]);
    }

    pub fn url(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    pub fn command(&self, volume: &Volume, name: &str) -> Command {
        let mut command = volume.kmsfs("hsm");
        command.args([name, "--json", "--socket"]).arg(&self.socket);
        command
    }

    pub fn unlock(&self, volume: &Volume, custodian: u8) -> Output {
        let share = self.shares.join(format!("share-{custodian}.txt"));
        self.command(volume, "unlock").arg("--share-file").arg(share).output().unwrap()
    }

    pub fn status(&self, volume: &Volume) -> Value {
        serde_json::from_str(&ok(&mut self.command(volume, "status"))).unwrap()
    }
}

/// `kmsfs kms serve` on the volume's keystore, serving: its socket, and its address if `args` ask for one.
pub fn serve(volume: &Volume, args: &[&str]) -> (Child, PathBuf, Option<SocketAddr>) {
    let socket = volume.home().join("hsm.sock");
    let mut command = volume.kmsfs("kms");
    let mut process =
        command.args(["serve", "--socket"]).arg(&socket).args(args).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("Serving on")), "the service says that it serves");
    let address = (!args.is_empty()).then(|| {
        let line = lines.find(|line| line.starts_with("Serving on http://")).unwrap();
        line.trim_start_matches("Serving on http://").trim_end_matches('.').parse().unwrap()
    });
    std::thread::spawn(move || lines.for_each(|line| progress(format_args!("service: {line}"))));
    (process, socket, address)
}

impl Drop for Hsm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The PKCS#11 library, beside the program.
pub fn library() -> PathBuf {
    let library = Path::new(env!("CARGO_BIN_EXE_kmsfs")).with_file_name("libkmsfs_pkcs11.so");
    assert!(library.exists(), "the library is not built: cargo build --package kmsfs-pkcs11");
    library
}

pub fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a command that succeeded said.
pub fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", message(output));
    serde_json::from_slice(&output.stdout).unwrap()
}
