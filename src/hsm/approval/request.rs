//! Requests and approvals: what is signed, and how they are written to files.
//!
//! A file is a JSON object; bytes are in base64. What is signed is
//! `"kmsfs hsm v1 request" ‖ 0 ‖ digest` by the requester and `"kmsfs hsm v1 approval" ‖ 0 ‖ digest` by an approver, so
//! that neither passes for the other. The digest is
//! `BLAKE3-derive-key("kmsfs hsm v1 request digest", m ‖ u64le(length of m))` of the message m:
//! `HSM id (16) ‖ nonce (16) ‖ expires (8, seconds since 1970, big-endian) ‖ requester (32) ‖ u64le(length of operation) ‖
//! operation ‖ arguments`.

use super::arguments::Arguments;
use super::{Signer, verifies};
use crate::crypto::{asymmetric, kdf, random};
use crate::kms::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What everything that a signature is about comes to.
pub type Digest = [u8; 32];

/// The version of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RequestFormat {
    #[serde(rename = "hsm-request-1")]
    V1,
}

/// The version of approvals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ApprovalFormat {
    #[serde(rename = "hsm-approval-1")]
    V1,
}

/// One operation that a custodian wants done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub(super) kmsfs: RequestFormat,
    /// The id of the HSM that is to do it.
    pub hsm: Uuid,
    /// The operation's name in the API.
    pub operation: String,
    /// What it is called with.
    pub arguments: Arguments,
    /// No other request has it.
    pub nonce: Uuid,
    /// When it is too late, in whole seconds.
    #[serde(with = "time::serde::timestamp")]
    pub expires: Timestamp,
    /// The public key of who wants it.
    #[serde(with = "base64_bytes")]
    pub requester: [u8; 32],
    /// The signature by that key.
    #[serde(with = "base64_bytes")]
    pub signature: [u8; 64],
}

/// The consent of one custodian to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    pub(super) kmsfs: ApprovalFormat,
    /// The digest of the request.
    #[serde(with = "base64_bytes")]
    pub request: Digest,
    /// The public key of who consents.
    #[serde(with = "base64_bytes")]
    pub approver: [u8; 32],
    /// The signature by that key.
    #[serde(with = "base64_bytes")]
    pub signature: [u8; 64],
}

impl Request {
    /// A request by `signer` of `operation`, to be done by the HSM `hsm` before `expires`, of which fractions of a second
    /// are dropped.
    ///
    /// # Errors
    /// If AWS-LC fails.
    pub fn new(
        signer: &Signer,
        hsm: Uuid,
        operation: &str,
        arguments: Arguments,
        expires: Timestamp,
    ) -> Result<Request, asymmetric::Error> {
        let mut request = Request {
            kmsfs: RequestFormat::V1,
            hsm,
            operation: operation.to_owned(),
            arguments,
            nonce: Uuid::from_bytes(random::array()),
            expires: expires.replace_nanosecond(0).unwrap_or(expires),
            requester: *signer.public(),
            signature: [0; 64],
        };
        request.signature = signer.sign(&request.message())?;
        Ok(request)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(file: &[u8]) -> Result<Request, serde_json::Error> {
        serde_json::from_slice(file)
    }

    /// Writes a file.
    pub fn encode(&self) -> String {
        encode(self)
    }

    /// What approvals are about.
    pub fn digest(&self) -> Digest {
        let mut message = Vec::new();
        message.extend_from_slice(self.hsm.as_bytes());
        message.extend_from_slice(self.nonce.as_bytes());
        message.extend_from_slice(&self.expires.unix_timestamp().to_be_bytes());
        message.extend_from_slice(&self.requester);
        message.extend_from_slice(&(self.operation.len() as u64).to_le_bytes());
        message.extend_from_slice(self.operation.as_bytes());
        message.extend_from_slice(self.arguments.text().as_bytes());
        kdf::fingerprint("kmsfs hsm v1 request digest", &message, b"")
    }

    /// Whether the requester signed it as it is.
    pub fn is_signed(&self) -> bool {
        verifies(&self.requester, &self.message(), &self.signature)
    }

    fn message(&self) -> Vec<u8> {
        [&b"kmsfs hsm v1 request\0"[..], &self.digest()].concat()
    }
}

impl Approval {
    /// The approval of `request` by `signer`.
    ///
    /// # Errors
    /// If AWS-LC fails.
    pub fn new(signer: &Signer, request: &Request) -> Result<Approval, asymmetric::Error> {
        let request = request.digest();
        let mut approval =
            Approval { kmsfs: ApprovalFormat::V1, request, approver: *signer.public(), signature: [0; 64] };
        approval.signature = signer.sign(&approval.message())?;
        Ok(approval)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(file: &[u8]) -> Result<Approval, serde_json::Error> {
        serde_json::from_slice(file)
    }

    /// Writes a file.
    pub fn encode(&self) -> String {
        encode(self)
    }

    /// Whether the approver signed it as it is.
    pub fn is_signed(&self) -> bool {
        verifies(&self.approver, &self.message(), &self.signature)
    }

    fn message(&self) -> Vec<u8> {
        [&b"kmsfs hsm v1 approval\0"[..], &self.request].concat()
    }
}

fn encode<T: Serialize + DeserializeOwned>(file: &T) -> String {
    serde_json::to_string_pretty(file).expect("it has string keys and no secrets of its own") + "\n"
}

/// Arrays of bytes as base64.
mod base64_bytes {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| D::Error::custom(format_args!("expected {N} bytes in base64")))
    }
}
