//! An HSM and its custodians, for tests from outside.
#![allow(dead_code, reason = "every test program uses a part of it")]

use crate::common::{
    tools::{ok, progress},
    volume::Volume,
};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
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
        let shares = volume.home().join("shares");
        ok(volume.kmsfs("hsm").args(["init", "--quorum", quorum, "--shares-to"]).arg(&shares));
        let (process, socket) = serve(volume);
        Hsm { process, socket, shares }
    }

    pub fn restart(&mut self, volume: &Volume) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        (self.process, self.socket) = serve(volume);
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

fn serve(volume: &Volume) -> (Child, PathBuf) {
    let socket = volume.home().join("hsm.sock");
    let mut command = volume.kmsfs("kms");
    let mut process =
        command.args(["serve", "--socket"]).arg(&socket).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("Serving on")), "the service says that it serves");
    std::thread::spawn(move || lines.for_each(|line| progress(format_args!("service: {line}"))));
    (process, socket)
}

impl Drop for Hsm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a command that succeeded said.
pub fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", message(output));
    serde_json::from_slice(&output.stdout).unwrap()
}
