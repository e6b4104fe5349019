//! The `pkcs11:` provider: a CMK in a token, be it a smart card, an HSM or a program that poses as one.
//!
//! A token is a KMS with little to say: it has no states of keys, no policies and no versions of material (the version is
//! always 0), and it tells of no changes: the cache's age is how long a data key may serve that the token would not unwrap
//! any more. A token that is away is a KMS that is away: keys that are cached serve, others cannot be had, and when it is
//! back, a new session is opened and logged in to without anybody's help.
//!
//! A CMK is named by the token's label and the key's CKA_ID, or its CKA_LABEL where it has no id:
//! `pkcs11:token=LABEL;id=%01`. So a key that was restored into another token serves, if both are called as before. The
//! 16 bytes of its id that file headers hold are a hash of that name. Data keys are made in this process and wrapped in the
//! token; how is told in `wrap.rs`.

mod login;
mod module;
mod pin;
mod session;
mod trouble;
mod uri;
mod wrap;

pub use pin::Pin;
pub use uri::TokenUri;

use super::circuit::Circuit;
use super::{CallCost, Context, Error, ErrorKind, KeyInfo, KeyProvider, SecretStore, WrappedKey};
use crate::crypto::Key;
use crate::kms::{DEFAULT_ALIAS, KeySpec, KeyState, KeyUsage};
use module::{ClientId, Module};
use session::Connected;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trouble::Trouble;
use uri::{KeyMatch, KeyUri};

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A token, logged in.
pub struct TokenProvider {
    uri: TokenUri,
    module: Arc<Module>,
    client: ClientId,
    circuit: Circuit,
}

impl TokenProvider {
    /// A provider on the token that `uri` names. Unless that says where the PIN is, `ask` is called if the token wants one.
    /// It may load code and run a thread, so it must be made *after* a daemon's last fork.
    ///
    /// # Errors
    /// `Unavailable`: the module cannot be loaded, or there is no such token. `NotFound`: there are several. `Secret`: the PIN
    /// cannot be had, or the token refuses it. Those of `ask`.
    pub fn new<E: From<Error>>(
        uri: TokenUri,
        ask: impl FnOnce() -> Result<Pin, E>,
    ) -> Result<TokenProvider, E> {
        let module = Module::of(&uri.module)?;
        let pin = match &uri.pin_source {
            Some(path) => Some(Pin::File(path.clone())),
            None => {
                let uri = uri.clone();
                let wants = module.call(PATIENCE, move |cryptoki| cryptoki.wants_pin(&uri))?;
                wants.then(ask).transpose()?
            }
        };
        let client = {
            let uri = uri.clone();
            module.call(PATIENCE, move |cryptoki| cryptoki.add(uri, pin))?
        };
        Ok(TokenProvider { uri, module, client, circuit: Circuit::default() })
    }

    /// Does `work` in a session.
    fn call<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connected) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Error> {
        let began = Instant::now();
        self.circuit.enter(PATIENCE)?;
        let client = self.client;
        let done = self.module.call(PATIENCE, move |cryptoki| cryptoki.with(client, &work));
        match &done {
            Err(error) if error.kind() == ErrorKind::Unavailable => self.circuit.fails(began, error),
            _ => self.circuit.answers(),
        }
        done
    }
}

impl Drop for TokenProvider {
    fn drop(&mut self) {
        self.module.forget(self.client);
    }
}

impl KeyProvider for TokenProvider {
    fn generate(&self, cmk: &str, context: &Context<'_>) -> Result<(Key, WrappedKey), Error> {
        let key = Key::random();
        let wrapped = self.wrap(cmk, &key, context)?;
        Ok((key, wrapped))
    }

    fn wrap(&self, cmk: &str, key: &Key, context: &Context<'_>) -> Result<WrappedKey, Error> {
        let copy = Key::fill_with(|out| out.copy_from_slice(key.expose()));
        let (name, context) = (cmk.to_owned(), canonical(context)?);
        let blob = self.call(move |token| {
            let key = token.key(&name)?;
            let blob = key.wrap(&copy, &context)?;
            // Files are written under the data key from now on: one bad answer would lose them all.
            match key.unwrap(&blob, &context)? == copy {
                true => Ok(blob),
                false => Err(Trouble::unsuitable("the token's key does not unwrap what it has wrapped")),
            }
        })?;
        Ok(WrappedKey { key_id: key_id(cmk), material: 0, blob })
    }

    fn unwrap_key(&self, cmk: &str, wrapped: &WrappedKey, context: &Context<'_>) -> Result<Key, Error> {
        if (wrapped.key_id, wrapped.material) != (key_id(cmk), 0) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the wrapped key names another CMK than its file does",
            ));
        }
        let (name, blob, context) = (cmk.to_owned(), wrapped.blob.clone(), canonical(context)?);
        self.call(move |token| token.key(&name)?.unwrap(&blob, &context))
    }

    fn generation(&self) -> u64 {
        0
    }

    fn resolve(&self, name: &str) -> Result<KeyInfo, Error> {
        let called = match name {
            DEFAULT_ALIAS => KeyUri::default(),
            _ if TokenUri::is_meant_by(name) => {
                let parsed: Result<KeyUri, String> = name.parse();
                parsed.map_err(|what| Error::new(ErrorKind::NotFound, format_args!("{name}: {what}")))?
            }
            _ => KeyUri { key: KeyMatch { label: Some(name.to_owned()), id: None }, token: None },
        };
        let arn = self.call(move |token| token.resolve(&called))?;
        Ok(KeyInfo {
            id: key_id(&arn),
            arn,
            state: KeyState::Enabled,
            spec: KeySpec::SymmetricDefault,
            usage: KeyUsage::EncryptDecrypt,
        })
    }

    fn description(&self) -> String {
        self.uri.to_string()
    }

    fn cost(&self) -> CallCost {
        CallCost::Network
    }

    fn secrets(&self) -> Option<&dyn SecretStore> {
        None
    }
}

/// The bytes that a wrapped key is bound to.
fn canonical(context: &Context<'_>) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    context.to_encryption_context().encode(&mut bytes)?;
    Ok(bytes)
}

/// The id of a key in file headers.
fn key_id(name: &str) -> [u8; 16] {
    let mut id = [0; 16];
    blake3::Hasher::new_derive_key("kmsfs v1 pkcs11 key id")
        .update(name.as_bytes())
        .finalize_xof()
        .fill(&mut id);
    id
}
