//! How a key in a token wraps data keys. The context is bound by the token's own authentication either way.
//!
//! ```text
//! AES-GCM                                        AES key wrap (RFC 3394)
//! 0   1  1                                       0   1  2
//! 1  12  nonce                                   1  72  wrapped: data key ‖ SHA-256(context)
//! 13 32  the data key, encrypted
//! 45 16  tag; the context is the AAD
//! ```
//! The context is the canonical bytes of the [encryption context](crate::kms::EncryptionContext).
//!
//! *AES-GCM* (C_Encrypt, C_Decrypt) where the token and the key allow it: a data key never becomes an object of the token.
//! Nonces are random, unless the token chooses them itself, as some must: what the mechanism's parameters hold after the
//! call is what counts. NIST SP 800-38D allows 2³² random nonces under a key.
//!
//! *AES key wrap* (C_WrapKey, C_UnwrapKey) otherwise. It takes no additional data, but it authenticates what it wraps
//! (SP 800-38F), so a digest of the context is wrapped with the data key and compared afterwards: whoever learns a data
//! key can still not make a wrapped one for another file. Key and digest are, for the moment of the call, a session object
//! of type CKK_GENERIC_SECRET.

use super::trouble::Trouble;
use crate::crypto::{Hash, KEY_LEN, Key, NONCE_LEN, TAG_LEN, random};
use cryptoki::error::Result;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::types::Ulong;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// What AES key wrap makes of a data key and a digest.
const WRAPPED_PAIR_LEN: usize = KEY_LEN + 32 + 8;

/// The context in which keys are tried out.
const PROOF: &[u8] = b"kmsfs proof";

/// How a key wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// CKM_AES_GCM.
    Gcm = 1,
    /// CKM_AES_KEY_WRAP.
    KeyWrap = 2,
}

impl Method {
    fn of(byte: u8) -> Option<Method> {
        [Method::Gcm, Method::KeyWrap].into_iter().find(|method| *method as u8 == byte)
    }
}

/// A key of a token in a session with it.
pub(super) struct Wrapper<'a> {
    pub(super) session: &'a Session,
    pub(super) key: ObjectHandle,
    pub(super) method: Method,
}

impl Wrapper<'_> {
    /// Wraps `data_key` for `context`.
    pub(super) fn wrap(&self, data_key: &Key, context: &[u8]) -> std::result::Result<Vec<u8>, Trouble> {
        let blob = match self.method {
            Method::Gcm => self.encrypt(data_key, context)?,
            Method::KeyWrap => self.wrap_pair(data_key, context)?,
        };
        let expected = match self.method {
            Method::Gcm => 1 + NONCE_LEN + KEY_LEN + TAG_LEN,
            Method::KeyWrap => 1 + WRAPPED_PAIR_LEN,
        };
        match blob.len() == expected {
            true => Ok(blob),
            false => Err(Trouble::unsuitable(format_args!(
                "the token made {} bytes of a data key where {expected} are due",
                blob.len()
            ))),
        }
    }

    /// Unwraps what [`Wrapper::wrap`] made, by whichever method that was.
    pub(super) fn unwrap(&self, blob: &[u8], context: &[u8]) -> std::result::Result<Key, Trouble> {
        let unclear = match self.open(blob, context) {
            Err(Trouble::Unclear(error)) => error,
            done => return done,
        };
        // Many modules have no clear word for a ciphertext that was altered. It was, if the key opens others.
        if self.prove().is_err() {
            return Err(Trouble::Lost(unclear));
        }
        match self.open(blob, context) {
            Err(Trouble::Unclear(_)) => Err(Trouble::altered()),
            done => done,
        }
    }

    fn open(&self, blob: &[u8], context: &[u8]) -> std::result::Result<Key, Trouble> {
        let (method, rest) = blob.split_first().ok_or_else(Trouble::altered)?;
        match Method::of(*method).ok_or_else(Trouble::altered)? {
            Method::Gcm => {
                let (nonce, sealed) = rest.split_first_chunk().ok_or_else(Trouble::altered)?;
                if sealed.len() != KEY_LEN + TAG_LEN {
                    return Err(Trouble::altered());
                }
                self.decrypt(*nonce, sealed, context)
            }
            Method::KeyWrap if rest.len() == WRAPPED_PAIR_LEN => self.unwrap_pair(rest, context),
            Method::KeyWrap => Err(Trouble::altered()),
        }
    }

    /// Makes sure that what the key wraps unwraps, and in its own context only: there may be tokens that take additional
    /// data and leave it out of account. Gives something that it wrapped, for [`Wrapper::check_proof`].
    pub(super) fn prove(&self) -> std::result::Result<Vec<u8>, Trouble> {
        let data_key = Key::random();
        let blob = self.wrap(&data_key, PROOF)?;
        if self.open(&blob, PROOF)? != data_key {
            return Err(Trouble::unsuitable("the token's key does not unwrap what it has wrapped"));
        }
        let unsound = match self.open(&blob, b"kmsfs other") {
            Ok(_) => Some("the token's AES-GCM does not authenticate additional data"),
            Err(_) if self.method == Method::Gcm => self.unsound_nonce(&blob)?,
            Err(_) => None,
        };
        if let Some(what) = unsound {
            return Err(Trouble::unsuitable(what));
        }
        // It was not that the token was away just then.
        match self.open(&blob, PROOF)? == data_key {
            true => Ok(blob),
            false => Err(Trouble::unsuitable("the token's key does not unwrap what it has wrapped")),
        }
    }

    /// Makes sure that it is the key that made `proof`.
    pub(super) fn check_proof(&self, proof: &[u8], name: &str) -> std::result::Result<(), Trouble> {
        self.open(proof, PROOF).map(drop).map_err(|_| {
            let what = "is another key than the one that was used before, or its token was away just now";
            Trouble::unsuitable(format_args!("{name} {what}"))
        })
    }

    /// What is wrong with the nonces of the token that made `blob`: one that uses another than it is given may use one twice.
    fn unsound_nonce(&self, blob: &[u8]) -> std::result::Result<Option<&'static str>, Trouble> {
        let second = self.wrap(&Key::random(), PROOF)?;
        if blob[1..=NONCE_LEN] == second[1..=NONCE_LEN] {
            return Ok(Some("the token's AES-GCM uses a nonce twice"));
        }
        let mut altered = blob.to_vec();
        altered[1] ^= 1;
        let ignored = self.open(&altered, PROOF).is_ok();
        Ok(ignored.then_some("the token's AES-GCM does not use the nonce that it is given"))
    }

    fn encrypt(&self, data_key: &Key, context: &[u8]) -> Result<Vec<u8>> {
        let mut nonce: [u8; NONCE_LEN] = random::array();
        let sealed = {
            let params = GcmParams::new(&mut nonce, context, tag_bits())?;
            self.session.encrypt(&Mechanism::AesGcm(params), self.key, data_key.expose())?
        };
        Ok([&[Method::Gcm as u8][..], &nonce, &sealed].concat())
    }

    fn decrypt(
        &self,
        mut nonce: [u8; NONCE_LEN],
        sealed: &[u8],
        context: &[u8],
    ) -> std::result::Result<Key, Trouble> {
        let params = GcmParams::new(&mut nonce, context, tag_bits())?;
        let opened = self.session.decrypt(&Mechanism::AesGcm(params), self.key, sealed)?;
        let opened = Zeroizing::new(opened);
        key(&opened)
    }

    fn wrap_pair(&self, data_key: &Key, context: &[u8]) -> Result<Vec<u8>> {
        let mut template = pair_template();
        template.push(Attribute::Value([&data_key.expose()[..], &digest(context)].concat()));
        let pair = self.session.create_object(&template);
        if let Some(Attribute::Value(value)) = template.last_mut() {
            value.zeroize();
        }
        let pair = Passing { session: self.session, object: pair? };
        let wrapped = self.session.wrap_key(&Mechanism::AesKeyWrap, self.key, pair.object)?;
        Ok([&[Method::KeyWrap as u8][..], &wrapped].concat())
    }

    fn unwrap_pair(&self, wrapped: &[u8], context: &[u8]) -> std::result::Result<Key, Trouble> {
        let mechanism = Mechanism::AesKeyWrap;
        let pair = self.session.unwrap_key(&mechanism, self.key, wrapped, &pair_template())?;
        let pair = Passing { session: self.session, object: pair };
        let values = self.session.get_attributes(pair.object, &[AttributeType::Value])?;
        let Some(Attribute::Value(value)) = values.into_iter().next() else {
            return Err(Trouble::unsuitable("the token does not give out what it has unwrapped"));
        };
        let value = Zeroizing::new(value);
        let (data_key, of) = value.split_at_checked(KEY_LEN).ok_or_else(Trouble::altered)?;
        match bool::from(of.ct_eq(&digest(context))) {
            true => key(data_key),
            false => Err(Trouble::altered()),
        }
    }
}

/// A session object that is wanted for a moment.
struct Passing<'a> {
    session: &'a Session,
    object: ObjectHandle,
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.session.destroy_object(self.object) {
            log::debug!("a session object stays until its session ends: {error:?}");
        }
    }
}

/// A secret that can be wrapped and read.
fn pair_template() -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
    ]
}

fn digest(context: &[u8]) -> Vec<u8> {
    Hash::Sha256.digest(context)
}

fn key(bytes: &[u8]) -> std::result::Result<Key, Trouble> {
    Key::try_fill_with(|out| match bytes.len() == KEY_LEN {
        true => {
            out.copy_from_slice(bytes);
            Ok(())
        }
        false => Err(Trouble::altered()),
    })
}

fn tag_bits() -> Ulong {
    Ulong::from(TAG_LEN as u64 * 8)
}
