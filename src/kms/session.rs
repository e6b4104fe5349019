//! Session tokens: what goes with the access key of temporary credentials.
//!
//! Nothing is kept of temporary credentials: the token holds all there is to know, sealed under a key of the keystore.
//! So they work after a restart, and with another server on the same keystore. Layout, in base64:
//! `version 1 | nonce 12 | AES-256-GCM-SIV ciphertext | tag 16`, the associated data being the version; the plaintext is
//! `principal id 16 | began i64 | expires i64 | access key id 20 | secret access key 40 | name of the session`,
//! times in milliseconds since 1970, integers big-endian.

use super::clock::Timestamp;
use super::keystore::Vault;
use super::principal::PrincipalId;
use crate::crypto::aead::AeadKey;
use crate::crypto::secret::SecretBytes;
use crate::crypto::{Cipher, NONCE_LEN, TAG_LEN, random};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;

const VERSION: u8 = 1;
/// Length of the id of an access key, in characters.
pub(super) const ACCESS_KEY_LEN: usize = 20;
/// Length of a secret access key, in characters.
pub(super) const SECRET_LEN: usize = 40;
const HEAD_LEN: usize = 16 + 8 + 8 + ACCESS_KEY_LEN + SECRET_LEN;
/// No token is longer: what is, is not worth decoding.
const TOKEN_MAX: usize = 512;

/// The key under which a keystore's session tokens are sealed.
pub(super) struct SessionTokens(AeadKey);

/// What a token says.
pub(super) struct Session {
    /// The user or role.
    pub(super) principal: PrincipalId,
    /// When the credentials were issued.
    pub(super) began: Timestamp,
    /// From when on they are good for nothing.
    pub(super) expires: Timestamp,
    /// The id of the access key that goes with the token.
    pub(super) access_key: String,
    /// Its secret.
    pub(super) secret: Arc<SecretBytes>,
    /// The session's name.
    pub(super) name: String,
}

impl SessionTokens {
    pub(super) fn new(vault: &Vault) -> SessionTokens {
        SessionTokens(AeadKey::new(Cipher::Aes256GcmSiv, &vault.subkey("kmsfs kms v1 session token")))
    }

    /// The token as its owner gets it.
    pub(super) fn seal(&self, session: &Session) -> String {
        let name = session.name.as_bytes();
        let mut plain = SecretBytes::zeroed(HEAD_LEN + name.len());
        let mut rest = plain.expose_mut();
        for part in [
            session.principal.as_bytes().as_slice(),
            &millis(session.began).to_be_bytes(),
            &millis(session.expires).to_be_bytes(),
            session.access_key.as_bytes(),
            session.secret.expose(),
            name,
        ] {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
        let nonce = random::array::<NONCE_LEN>();
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&nonce);
        sealed.resize(1 + NONCE_LEN + plain.len(), 0);
        let tag = self.0.seal_into(&nonce, &[VERSION], plain.expose(), &mut sealed[1 + NONCE_LEN..]);
        sealed.extend_from_slice(&tag);
        STANDARD.encode(sealed)
    }

    /// What a token says; `None` if it is none of this keystore.
    pub(super) fn open(&self, token: &str) -> Option<Session> {
        if token.len() > TOKEN_MAX {
            return None;
        }
        let sealed = STANDARD.decode(token).ok()?;
        let rest = sealed.strip_prefix(&[VERSION])?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>()?;
        let (text, tag) = rest.split_last_chunk::<TAG_LEN>()?;
        let mut plain = SecretBytes::zeroed(text.len());
        self.0.open_into(nonce, &[VERSION], text, tag, plain.expose_mut()).ok()?;
        let (principal, rest) = plain.expose().split_first_chunk()?;
        let (began, rest) = rest.split_first_chunk()?;
        let (expires, rest) = rest.split_first_chunk()?;
        let (access_key, rest) = rest.split_at_checked(ACCESS_KEY_LEN)?;
        let (secret, name) = rest.split_at_checked(SECRET_LEN)?;
        let mut own = SecretBytes::zeroed(SECRET_LEN);
        own.expose_mut().copy_from_slice(secret);
        Some(Session {
            principal: PrincipalId::from_bytes(*principal),
            began: timestamp(i64::from_be_bytes(*began))?,
            expires: timestamp(i64::from_be_bytes(*expires))?,
            access_key: String::from_utf8(access_key.to_vec()).ok()?,
            secret: Arc::new(own),
            name: String::from_utf8(name.to_vec()).ok()?,
        })
    }
}

fn millis(time: Timestamp) -> i64 {
    (time.unix_timestamp_nanos() / 1_000_000) as i64
}

fn timestamp(millis: i64) -> Option<Timestamp> {
    Timestamp::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok()
}
