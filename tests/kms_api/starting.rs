//! What `kmsfs kms serve` refuses to serve, and how it says so.

use crate::server::Server;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Exit code and standard error of a server that does not start, on the keystore of one that runs.
fn refused(server: &Server, args: &[&str]) -> (Option<i32>, String) {
    let mut command = server.command();
    command.args(["kms", "serve", "--no-audit"]).args(args);
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn free_socket(server: &Server) -> String {
    server.dir.path().join("another.sock").to_str().unwrap().to_owned()
}

#[test]
fn plain_http_is_for_this_machine_alone() {
    let server = Server::new();
    let socket = free_socket(&server);
    for address in ["0.0.0.0:0", "[::]:0"] {
        let (code, message) = refused(&server, &["--socket", &socket, "--listen", address]);
        assert_eq!(code, Some(1), "{message}");
        assert!(message.contains("it can be served with TLS only"), "{message}");
    }
    assert!(!Path::new(&socket).exists(), "nothing is left behind");
}

#[test]
fn what_another_server_has_is_busy() {
    let server = Server::new();
    let (address, socket) = (server.address.to_string(), server.socket.to_str().unwrap());
    let (code, message) = refused(&server, &["--no-socket", "--listen", &address]);
    assert_eq!(code, Some(12), "{message}");
    let (code, message) = refused(&server, &["--socket", socket]);
    assert!(code == Some(12) && message.contains("is served by another process"), "{message}");
    server.generation();
}

#[test]
fn a_private_key_that_others_can_read_is_not_used() {
    let server = Server::new();
    let tls = server.dir.path().join("tls");
    let made = server.command().args(["kms", "init-tls"]).arg(&tls).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let (certificate, key) = (tls.join("server.pem"), tls.join("server.key"));
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o640)).unwrap();
    let (socket, address) = (free_socket(&server), "127.0.0.1:0");
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let args = ["--socket", &socket, "--listen", address, "--tls-cert", certificate, "--tls-key", key];
    let (code, message) = refused(&server, &args);
    assert_eq!(code, Some(1));
    assert!(message.contains("others may read this private key"), "{message}");
}

#[test]
fn arguments_that_make_no_sense_together_are_refused() {
    let server = Server::new();
    for args in [
        &["--no-socket"][..],
        &["--tls-cert", "a.pem"],
        &["--tls-key", "a.key"],
        &["--socket-mode", "888"],
        &["--listen", "localhost"],
        &["--threads", "0"],
    ] {
        assert_eq!(refused(&server, args).0, Some(2), "{args:?}");
    }
}
