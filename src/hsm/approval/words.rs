//! What a request asks for, in words: for the custodian who is about to approve it, on a machine that has no HSM.
//!
//! A sentence says what will happen, as far as this release knows the operation. All arguments follow, since the sentence may
//! leave one out.

use super::request::Request;
use crate::crypto::Hash;
use crate::kms::{
    DELETION_DAYS_DEFAULT, HSM_ADD_CUSTODIAN, HSM_REFRESH, HSM_REKEY, HSM_REMOVE_CUSTODIAN, HSM_SET_POLICY,
};
use serde_json::{Map, Value};
use std::fmt::Write;

/// Longest argument that is shown as it is, in bytes, unless it is a policy: those are read, ciphertexts are not.
const SHOWN_MAX: usize = 400;
/// How much is shown of longer ones.
const BEGINNING: usize = 40;

/// What will happen.
pub fn sentence(request: &Request) -> String {
    let members = request.arguments.members();
    let key = shown(&members, "KeyId");
    match request.operation.as_str() {
        "ScheduleKeyDeletion" => {
            let days = members.get("PendingWindowInDays").map_or(DELETION_DAYS_DEFAULT.to_string(), plain);
            format!(
                "Delete the key {key}: from now on it cannot be used, and after {days} days its key material is \
                 destroyed for good, with everything that it protects."
            )
        }
        "DeleteImportedKeyMaterial" => {
            format!("Delete the imported key material of the key {key}, which cannot be used then.")
        }
        "ImportKeyMaterial" => format!("Import key material into the key {key}."),
        "PutKeyPolicy" => {
            format!("Replace the policy of the key {key}: who may use and manage it from now on.")
        }
        "DestroySecrets" => {
            "Destroy shred secrets: their files will not open any more, nor any copy.".to_owned()
        }
        HSM_REFRESH => format!(
            "Share the root key anew among {} custodians, any {} of whom can unlock the HSM; shares of before are void.",
            shown(&members, "Custodians"),
            shown(&members, "Threshold")
        ),
        HSM_REKEY => format!(
            "Make a new root key, seal everything under it, and share it among {} custodians, any {} of whom can unlock the \
             HSM; shares of before are void.",
            shown(&members, "Custodians"),
            shown(&members, "Threshold")
        ),
        HSM_ADD_CUSTODIAN => format!(
            "Have {}, whose key is {}, request and approve.",
            shown(&members, "Name"),
            shown(&members, "PublicKey")
        ),
        HSM_REMOVE_CUSTODIAN => format!("Have {} request and approve no longer.", shown(&members, "Name")),
        HSM_SET_POLICY => policy(&members),
        other => format!("Do {other}, an operation that this release of kmsfs does not know."),
    }
}

/// The arguments by name, each on a line.
pub fn arguments(request: &Request) -> Vec<(String, String)> {
    let members = request.arguments.members();
    let line = |(name, value): (String, Value)| {
        let text = if name == "Policy" { plain(&value) } else { shorten(plain(&value)) };
        (name, text)
    };
    members.into_iter().map(line).collect()
}

fn policy(members: &Map<String, Value>) -> String {
    let mut text = String::from("Require, from now on, these approvals and no others:");
    let required = members.get("Requirements").and_then(Value::as_array);
    for one in required.into_iter().flatten() {
        let (name, count) = (plain(&one["Operation"]), plain(&one["Approvals"]));
        let _ = write!(text, " {count} for {name},");
    }
    match text.strip_suffix(',') {
        Some(text) => format!("{text}."),
        None => "Require no approvals any more, for anything.".to_owned(),
    }
}

fn shown(members: &Map<String, Value>, name: &str) -> String {
    members.get(name).map_or_else(|| "(not given)".to_owned(), |value| shorten(plain(value)))
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A long text's beginning and SHA-256, as `sha256sum` has it.
fn shorten(text: String) -> String {
    if text.len() <= SHOWN_MAX {
        return text;
    }
    let end = (0..=BEGINNING).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let digest = Hash::Sha256.digest(text.as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}… ({} bytes of text, SHA-256 {digest})", &text[..end], text.len())
}
