//! What is kept of every call.

use crate::client::Request;
use crate::server::{Server, kmsfs};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn every_call_is_a_line_of_the_audit_log_refused_ones_included() {
    let server = Server::new();
    let alice = server.user("alice");
    server.call("CreateKey", &json!({})).ok();
    let denied = server.tcp().send(&Request::new("CreateKey", "{}").signed(&alice));
    assert_eq!(denied.status, 400);
    server.signal(Signal::TERM);
    let (code, dir) = server.wait(Duration::from_secs(30));
    assert_eq!(code, Some(0));

    let audit = |arguments: &[&str]| {
        let mut command = kmsfs(&dir);
        command.args(["kms", "audit"]).args(arguments);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(audit(&["--verify"]).0, Some(0));
    let (_, listed) = audit(&["--json", "--operation", "CreateKey"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let text = listed.to_string();
    assert!(text.contains("user/alice") && text.contains("AccessDeniedException"), "{text}");
    assert!(text.contains(":root"), "{text}");
    assert!(!text.contains(&alice.secret), "a secret is in the log");
}
