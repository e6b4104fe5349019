//! The `unix:`, `https:` and `aws:` providers: a KMS that speaks AWS KMS's protocol.
//!
//! Our own service ([`crate::api`]) tells of changes, so a key that is disabled there stops serving here within a second.
//! While it is away nothing is learnt of it: keys that are cached serve until they are too old, and others cannot be
//! had. AWS KMS and other services of its API tell of nothing, ever: the cache's age is how long a key may serve that is
//! no longer allowed to.
//!
//! What wraps a data key is a blob that only the service understands. Ours has the CMK's id and the material's version in
//! front; of a foreign one the id comes from the answer's `KeyId`, and the version is 0: AWS tells it for some operations
//! only. A foreign service is told which CMK is to unwrap, and the answer must name it: whoever can write to the volume
//! could otherwise have another key answer that the caller may use.

mod answers;
mod changes;
mod client;
mod connection;
mod credentials;
mod http;
mod place;
mod secrets;
mod signer;
#[cfg(test)]
mod tests;
mod tls;

pub use answers::cmk_id;
pub use place::{Endpoint, Place};

use super::{CallCost, Context, Error, ErrorKind, KeyInfo, KeyProvider, SecretStore, WrappedKey};
use crate::crypto::{KEY_LEN, Key};
use crate::kms::BlobHeader;
use answers::{Answer, parse, usable_key};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use changes::Changes;
use client::{Client, PATIENCE};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use zeroize::{Zeroize, Zeroizing};

/// A KMS service.
pub struct ServiceProvider {
    client: Arc<Client>,
    /// `None`: a foreign service.
    changes: Option<Changes>,
}

impl ServiceProvider {
    /// A provider on the service at `place`. It may run a thread, so it must be made *after* a daemon's last fork.
    ///
    /// # Errors
    /// `Unavailable`: there are no credentials, no certificates to trust, or the service does not answer.
    pub fn new(place: Place) -> Result<ServiceProvider, Error> {
        let foreign = matches!(place, Place::Aws(_));
        let client = Arc::new(Client::new(place)?);
        // Asked before the first key is: whatever changes after that is noticed.
        let changes = if foreign { None } else { Changes::follow(&client)? };
        Ok(ServiceProvider { client, changes })
    }

    /// The wrapped key that an answer holds.
    fn wrapped(&self, answer: &Answer<'_>) -> Result<WrappedKey, Error> {
        let blob = answer.blob()?;
        let (key_id, material) = match &self.changes {
            Some(_) => {
                let header = BlobHeader::parse(&blob)?;
                (*header.key.as_bytes(), header.material)
            }
            None => (answer.key_id()?, 0),
        };
        Ok(WrappedKey { key_id, material, blob })
    }
}

impl KeyProvider for ServiceProvider {
    fn generate(&self, cmk: &str, context: &Context<'_>) -> Result<(Key, WrappedKey), Error> {
        let body = json!({
            "KeyId": cmk, "NumberOfBytes": KEY_LEN, "EncryptionContext": encryption_context(context),
        });
        let answer = self.client.call("TrentService.GenerateDataKey", &body)?;
        let made: Answer<'_> = parse(&answer)?;
        Ok((made.key()?, self.wrapped(&made)?))
    }

    fn wrap(&self, cmk: &str, key: &Key, context: &Context<'_>) -> Result<WrappedKey, Error> {
        let plaintext = Zeroizing::new(STANDARD.encode(key.expose()));
        let mut body = json!({
            "KeyId": cmk, "Plaintext": *plaintext, "EncryptionContext": encryption_context(context),
        });
        let answer = self.client.call("TrentService.Encrypt", &body);
        if let Some(serde_json::Value::String(plaintext)) = body.get_mut("Plaintext") {
            plaintext.zeroize();
        }
        self.wrapped(&parse(&answer?)?)
    }

    fn unwrap_key(&self, cmk: &str, wrapped: &WrappedKey, context: &Context<'_>) -> Result<Key, Error> {
        let mut body = json!({
            "CiphertextBlob": STANDARD.encode(&wrapped.blob), "EncryptionContext": encryption_context(context),
        });
        let other = || Error::new(ErrorKind::Invalid, "the wrapped key names another CMK than its file does");
        match &self.changes {
            Some(_) => {
                let header = BlobHeader::parse(&wrapped.blob)?;
                if (header.key.as_bytes(), header.material) != (&wrapped.key_id, wrapped.material) {
                    return Err(other());
                }
            }
            None => body["KeyId"] = cmk.into(),
        }
        let answer = self.client.call("TrentService.Decrypt", &body)?;
        let opened: Answer<'_> = parse(&answer)?;
        if self.changes.is_none() && opened.key_id()? != wrapped.key_id {
            return Err(other());
        }
        opened.key()
    }

    fn generation(&self) -> u64 {
        self.changes.as_ref().map_or(0, Changes::count)
    }

    fn resolve(&self, name: &str) -> Result<KeyInfo, Error> {
        usable_key(&self.client.call("TrentService.DescribeKey", &json!({ "KeyId": name }))?)
    }

    fn description(&self) -> String {
        self.client.place().to_string()
    }

    fn cost(&self) -> CallCost {
        match self.client.place() {
            Place::Unix(_) => CallCost::Machine,
            Place::Tcp(_) | Place::Aws(_) => CallCost::Network,
        }
    }

    fn secrets(&self) -> Option<&dyn SecretStore> {
        // A foreign service has none.
        self.changes.as_ref().map(|_| self as &dyn SecretStore)
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
    pub fn call(&self, operation: &str, body: serde_json::Value) -> Result<serde_json::Value, Error> {
        let answer = self.ask(operation, body, PATIENCE)?;
        // An operation without members in its answer has an empty body.
        if answer.is_empty() { Ok(serde_json::json!({})) } else { parse(&answer) }
    }

    /// As [`Caller::call`], with as much patience as it takes. Gives the answer's document. What the members of `body` hold,
    /// PINs and shares among it, is wiped.
    ///
    /// # Errors
    /// As of [`Caller::call`].
    pub fn ask(
        &self,
        operation: &str,
        mut body: serde_json::Value,
        patience: Duration,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        // Once: not every one of them may be repeated.
        let answer = self.0.once(&format!("Kmsfs.{operation}"), &body, patience);
        for member in body.as_object_mut().into_iter().flat_map(|members| members.values_mut()) {
            if let serde_json::Value::String(text) = member {
                text.zeroize();
            }
        }
        answer.map_err(|refused| refused.error)
    }
}

fn encryption_context(context: &Context<'_>) -> serde_json::Value {
    let context = context.to_encryption_context();
    let pairs = context.pairs().map(|(name, value)| (name.to_owned(), serde_json::Value::from(value)));
    pairs.collect()
}
