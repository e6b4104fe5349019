//! Shred secrets of a service: `Kmsfs.CreateSecrets` and its like.

use super::answers::{key, nonsense, parse};
use super::{ServiceProvider, encryption_context};
use crate::crypto::{KEY_LEN, Key};
use crate::keys::{Context, Error, SecretStore};
use crate::kms::SecretId;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use std::borrow::Cow;
use zeroize::Zeroizing;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Made<'a> {
    #[serde(borrow)]
    secret_ids: Cow<'a, str>,
    #[serde(borrow)]
    secrets: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found<'a> {
    #[serde(borrow)]
    secret: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Destroyed {
    number_destroyed: usize,
}

impl SecretStore for ServiceProvider {
    fn create(&self, cmk: &str, count: usize, context: &Context<'_>) -> Result<Vec<(SecretId, Key)>, Error> {
        let body = json!({
            "KeyId": cmk, "NumberOfSecrets": count, "EncryptionContext": encryption_context(context),
        });
        let answer = self.client.call("Kmsfs.CreateSecrets", &body)?;
        let made: Made<'_> = parse(&answer)?;
        let ids = STANDARD.decode(&*made.secret_ids).map_err(|_| nonsense())?;
        let (ids, no_id) = ids.as_chunks();
        // What decoding may write at most, so that the buffer never grows and leaves a copy behind.
        let mut secrets = Zeroizing::new(vec![0; count * KEY_LEN + 3]);
        let len = STANDARD.decode_slice(&*made.secrets, &mut secrets).map_err(|_| nonsense())?;
        if ids.len() != count || !no_id.is_empty() || len != count * KEY_LEN {
            return Err(nonsense());
        }
        let keys = secrets[..len]
            .chunks_exact(KEY_LEN)
            .map(|secret| Key::fill_with(|out| out.copy_from_slice(secret)));
        Ok(ids.iter().map(|id| SecretId::from_bytes(*id)).zip(keys).collect())
    }

    fn get(&self, id: SecretId, context: &Context<'_>) -> Result<Key, Error> {
        let body = json!({
            "SecretId": STANDARD.encode(id.as_bytes()), "EncryptionContext": encryption_context(context),
        });
        let answer = self.client.call("Kmsfs.GetSecret", &body)?;
        key(&parse::<Found<'_>>(&answer)?.secret)
    }

    fn bind(&self, id: SecretId, cmk: &str, context: &Context<'_>) -> Result<(), Error> {
        let body = json!({
            "SecretIds": STANDARD.encode(id.as_bytes()), "KeyId": cmk,
            "EncryptionContext": encryption_context(context),
        });
        self.client.call("Kmsfs.BindSecrets", &body).map(drop)
    }

    fn destroy(&self, ids: &[SecretId]) -> Result<usize, Error> {
        let ids: Vec<[u8; 16]> = ids.iter().map(|id| *id.as_bytes()).collect();
        let body = json!({ "SecretIds": STANDARD.encode(ids.as_flattened()) });
        let answer = self.client.call("Kmsfs.DestroySecrets", &body)?;
        Ok(parse::<Destroyed>(&answer)?.number_destroyed)
    }
}
