//! A running `kmsfs kms serve`, for tests of mounts whose keys are there. Whoever uses it has `mod client` beside it.
#![allow(dead_code, reason = "every test program uses a part of it")]

use crate::client::{Connection, Request};
use crate::common::{tools::progress, volume::Volume};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Instant;

/// The key of the volumes.
pub const KEY: &str = "alias/volume";

/// A running `kmsfs kms serve` on the volume's keystore; killed when dropped.
pub struct Service {
    process: Child,
    pub socket: PathBuf,
    pub address: SocketAddr,
}

impl Service {
    /// Starts it, on `address` or a free one, with more arguments.
    pub fn start(volume: &Volume, address: &str, args: &[&str]) -> Service {
        let socket = volume.home().join("kms.sock");
        let mut command = volume.kmsfs("kms");
        command.args(["serve", "--listen", address, "--socket"]).arg(&socket).args(args);
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| {
            progress(format_args!("service: {line}"));
            line.split_once("://")?.1.strip_suffix('.')?.parse().ok()
        });
        std::thread::spawn(move || lines.for_each(|line| progress(format_args!("service: {line}"))));
        Service { process, socket, address: address.expect("the service says where it serves") }
    }

    pub fn url(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    /// Calls an operation on the volume's key, and returns when it was acknowledged.
    pub fn key(&self, operation: &str) -> Instant {
        let call = |operation: &str, body| {
            Connection::unix(&self.socket).send(&Request::new(operation, format!("{body}"))).ok()
        };
        let key = call("DescribeKey", json!({ "KeyId": KEY }))["KeyMetadata"]["KeyId"].clone();
        call(operation, json!({ "KeyId": key }));
        Instant::now()
    }

    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
