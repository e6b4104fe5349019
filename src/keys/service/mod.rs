//! The `unix:` and `https:` providers: a KMS service that other mounts and people use too.
//!
//! The service tells of changes: a thread always has a call waiting that returns as soon as any key changes, so
//! a key that is disabled stops serving here within a second. While the service is away nothing is learnt of
//! it: keys that are cached serve until they are too old, and others cannot be had.

mod client;
mod connection;
mod credentials;
mod http;
mod place;
#[cfg(test)]
mod tests;

pub use place::Place;

use super::{CallCost, Context, Error, ErrorKind, KeyInfo, KeyProvider, WrappedKey};
use crate::crypto::{KEY_LEN, Key};
use crate::kms::{BlobHeader, KeyState};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::Client;
use parking_lot::{Condvar, Mutex};
use serde::Deserialize;
use serde_json::json;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use uuid::Uuid;
use zeroize::Zeroizing;

/// How long the service may leave a call for changes waiting, in seconds.
const WAIT_SECONDS: u64 = 20;
/// How long such a call may take to come back: the service may be busy.
const WAIT_PATIENCE: Duration = Duration::from_secs(WAIT_SECONDS + 10);
/// How soon the service is asked again after it did not answer.
const AGAIN: Duration = Duration::from_millis(500);

/// A KMS service.
pub struct ServiceProvider {
    client: Arc<Client>,
    changes: Arc<Changes>,
}

/// What the thread that waits for changes shares with the provider.
#[derive(Default)]
struct Changes {
    count: AtomicU64,
    ended: Mutex<bool>,
    ending: Condvar,
}

impl ServiceProvider {
    /// A provider on the service at `place`. It runs a thread, so it must be made *after* a daemon's last fork.
    ///
    /// # Errors
    /// `Unavailable`: there are no credentials, no certificates to trust, or the service does not answer.
    pub fn new(place: Place) -> Result<ServiceProvider, Error> {
        let client = Arc::new(Client::new(place)?);
        let changes = Arc::<Changes>::default();
        // Asked before the first key is: whatever changes after that is noticed.
        let seen = generation(&client)?;
        let (caller, told) = (Arc::clone(&client), Arc::clone(&changes));
        let run = move || follow(&caller, &told, seen);
        let spawned = thread::Builder::new().name("kms-changes".into()).spawn(run);
        spawned.map_err(|error| {
            Error::new(ErrorKind::Unavailable, format_args!("no thread to watch the KMS: {error}"))
        })?;
        Ok(ServiceProvider { client, changes })
    }
}

impl Drop for ServiceProvider {
    fn drop(&mut self) {
        // The thread may have a call waiting for a while yet; it holds nothing that matters.
        *self.changes.ended.lock() = true;
        self.changes.ending.notify_all();
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Generation {
    generation: i64,
}

/// The members of an answer that this provider reads. Plaintexts are borrowed from the answer, which is zeroed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DataKey<'a> {
    #[serde(borrow)]
    plaintext: Cow<'a, str>,
    #[serde(borrow, default)]
    ciphertext_blob: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Encrypted<'a> {
    #[serde(borrow)]
    ciphertext_blob: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    key_metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    arn: String,
    key_id: String,
    key_state: String,
    key_spec: String,
    key_usage: String,
}

impl KeyProvider for ServiceProvider {
    fn generate(&self, cmk: &str, context: &Context<'_>) -> Result<(Key, WrappedKey), Error> {
        let body = json!({
            "KeyId": cmk, "NumberOfBytes": KEY_LEN, "EncryptionContext": encryption_context(context),
        });
        let answer = self.client.call("TrentService.GenerateDataKey", &body)?;
        let made: DataKey<'_> = parse(&answer)?;
        Ok((key(&made.plaintext)?, wrapped(&made.ciphertext_blob)?))
    }

    fn wrap(&self, cmk: &str, key: &Key, context: &Context<'_>) -> Result<WrappedKey, Error> {
        let plaintext = Zeroizing::new(STANDARD.encode(key.expose()));
        let body = json!({
            "KeyId": cmk, "Plaintext": *plaintext, "EncryptionContext": encryption_context(context),
        });
        let answer = self.client.call("TrentService.Encrypt", &body)?;
        wrapped(&parse::<Encrypted<'_>>(&answer)?.ciphertext_blob)
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, context: &Context<'_>) -> Result<Key, Error> {
        let header = BlobHeader::parse(&wrapped.blob)?;
        if (header.key.as_bytes(), header.material) != (&wrapped.key_id, wrapped.material) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the wrapped key names another CMK than its file does",
            ));
        }
        let body = json!({
            "CiphertextBlob": STANDARD.encode(&wrapped.blob), "EncryptionContext": encryption_context(context),
        });
        let answer = self.client.call("TrentService.Decrypt", &body)?;
        key(&parse::<DataKey<'_>>(&answer)?.plaintext)
    }

    fn generation(&self) -> u64 {
        self.changes.count.load(Ordering::Acquire)
    }

    fn resolve(&self, name: &str) -> Result<KeyInfo, Error> {
        let answer = self.client.call("TrentService.DescribeKey", &json!({ "KeyId": name }))?;
        let key = parse::<Described>(&answer)?.key_metadata;
        let hint = match key.key_state.as_str() {
            "Enabled" => {
                let id = Uuid::try_parse(&key.key_id).map_err(|_| nonsense())?;
                let unsuitable = |error: crate::kms::Error| {
                    Error::new(ErrorKind::Unsuitable, format_args!("{}: {error}", key.arn))
                };
                let spec = key.key_spec.parse().map_err(unsuitable)?;
                let usage = key.key_usage.parse().map_err(unsuitable)?;
                return Ok(KeyInfo {
                    id: id.into_bytes(),
                    state: KeyState::Enabled,
                    spec,
                    usage,
                    arn: key.arn,
                });
            }
            "Disabled" => "is disabled: enable it first",
            "PendingImport" => "has no key material: import it first",
            _ => "is pending deletion: cancel the deletion and enable it first",
        };
        Err(Error::new(ErrorKind::Disabled, format_args!("{} {hint}", key.arn)))
    }

    fn description(&self) -> String {
        self.client.place().to_string()
    }

    fn cost(&self) -> CallCost {
        match self.client.place() {
            Place::Unix(_) => CallCost::Machine,
            Place::Tcp { .. } => CallCost::Network,
        }
    }
}

/// A service's own operations, for commands.
pub struct Caller(Client);

impl Caller {
    /// A caller of the service at `place`. Nothing is sent yet.
    ///
    /// # Errors
    /// `Unavailable`: no credentials, or no certificates to trust.
    pub fn new(place: Place) -> Result<Caller, Error> {
        Ok(Caller(Client::new(place)?))
    }

    /// Calls `Kmsfs.` `operation`.
    ///
    /// # Errors
    /// `Unavailable` if there is no answer; otherwise what the service says.
    pub fn call(&self, operation: &str, body: &serde_json::Value) -> Result<serde_json::Value, Error> {
        parse(&self.0.call(&format!("Kmsfs.{operation}"), body)?)
    }
}

/// Counts changes until the provider is dropped.
fn follow(client: &Client, changes: &Changes, mut seen: i64) {
    loop {
        let body = json!({ "Generation": seen, "TimeoutSeconds": WAIT_SECONDS });
        let answer = client.call_within("Kmsfs.WaitForChange", &body, WAIT_PATIENCE);
        match answer.map_err(|refused| refused.error).and_then(|answer| parse::<Generation>(&answer)) {
            Ok(Generation { generation }) if generation != seen => {
                seen = generation;
                changes.count.fetch_add(1, Ordering::AcqRel);
            }
            Ok(_) => {}
            Err(error) => {
                log::warn!("changes of keys are not noticed just now: {error}");
                let mut ended = changes.ended.lock();
                if !*ended {
                    changes.ending.wait_for(&mut ended, AGAIN);
                }
            }
        }
        if *changes.ended.lock() {
            return;
        }
    }
}

fn generation(client: &Client) -> Result<i64, Error> {
    Ok(parse::<Generation>(&client.call("Kmsfs.Status", &json!({}))?)?.generation)
}

fn encryption_context(context: &Context<'_>) -> serde_json::Value {
    let context = context.to_encryption_context();
    let pairs = context.pairs().map(|(name, value)| (name.to_owned(), serde_json::Value::from(value)));
    pairs.collect()
}

fn parse<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(answer).map_err(|_| nonsense())
}

/// The wrapped key that an answer holds.
fn wrapped(blob: &str) -> Result<WrappedKey, Error> {
    let blob = STANDARD.decode(blob).map_err(|_| nonsense())?;
    let header = BlobHeader::parse(&blob)?;
    Ok(WrappedKey { key_id: *header.key.as_bytes(), material: header.material, blob })
}

/// The data key that an answer holds.
fn key(plaintext: &str) -> Result<Key, Error> {
    Key::try_fill_with(|out| {
        let mut bytes = Zeroizing::new([0; KEY_LEN + 3]); // what decoding may write at most
        match STANDARD.decode_slice(plaintext, &mut *bytes) {
            Ok(KEY_LEN) => {
                out.copy_from_slice(&bytes[..KEY_LEN]);
                Ok(())
            }
            _ => Err(Error::new(ErrorKind::Invalid, "the wrapped key has an odd length")),
        }
    })
}

fn nonsense() -> Error {
    Error::new(ErrorKind::Unavailable, "the KMS's answer is not that of a KMS")
}
