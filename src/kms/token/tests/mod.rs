//! Tests of the token as a whole: applications of users, on a real keystore.
#![allow(clippy::unwrap_used, reason = "tests")]

mod keys;
mod keystore;
mod pins;
mod secrecy;
mod templates;
mod visibility;

use super::*;
use crate::crypto::SecretBytes;
use crate::kms::Kms;
use crate::kms::call::Call;
use crate::kms::tests::scratch::Scratch;
use crate::kms::tests::{call_of, principal, within_a_second};
use cryptoki_sys as ck;

const PIN: &str = "correct horse";

/// A value of a template.
#[derive(Clone, Copy)]
enum Value<'a> {
    N(u64),
    F(bool),
    B(&'a [u8]),
}
use Value::{B, F, N};

/// A template of these attributes; of those that come twice the last one counts.
fn template(attributes: &[(u64, Value<'_>)]) -> Template {
    let mut template = Template::default();
    for (kind, value) in attributes {
        match value {
            N(number) => template.set_number(*kind, *number),
            F(flag) => template.set_flag(*kind, *flag),
            B(bytes) => template.set(*kind, *bytes),
        }
    }
    template
}

fn none() -> Template {
    Template::default()
}

/// The name of an outcome.
fn name<T>(result: Result<T>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(Error::Code { code, .. }) => code.name,
        Err(Error::Kms(error)) => error.name(),
    }
}

fn secret(text: &str) -> SecretBytes {
    SecretBytes::from(text.to_owned())
}

/// A new user with a PIN.
fn user(kms: &Kms, text: &str) -> Call<'static> {
    let call = call_of(kms, &principal(kms, text));
    kms.token_set_pin(&call, &secret(""), &secret(PIN)).unwrap();
    call
}

/// A new application, logged in.
fn login(kms: &Kms, call: &Call<'_>) -> Ticket {
    let ticket = kms.token_open(call);
    kms.token_login(call, ticket, &secret(PIN), false).unwrap();
    ticket
}

/// A keystore with a user.
fn alice() -> (Scratch, Kms, Call<'static>) {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let alice = user(&kms, "user/alice");
    (scratch, kms, alice)
}

/// Does something with a logged in application of a user.
fn with_token<T>(test: impl FnOnce(&Token<'_>) -> T) -> T {
    let (_scratch, kms, alice) = alice();
    test(&kms.token(&alice, login(&kms, &alice)).unwrap())
}

/// What makes an AES key for everything, extractable.
const FOR_ALL: &[(u64, Value<'static>)] = &[
    (ck::CKA_VALUE_LEN, N(32)),
    (ck::CKA_EXTRACTABLE, F(true)),
    (ck::CKA_ENCRYPT, F(true)),
    (ck::CKA_DECRYPT, F(true)),
    (ck::CKA_SIGN, F(true)),
    (ck::CKA_VERIFY, F(true)),
    (ck::CKA_WRAP, F(true)),
    (ck::CKA_UNWRAP, F(true)),
    (ck::CKA_DERIVE, F(true)),
];

/// A new AES key for everything, but for `changes`.
fn aes(token: &Token<'_>, changes: &[(u64, Value<'_>)]) -> ObjectId {
    token.generate(ck::CKM_AES_KEY_GEN, template(&[FOR_ALL, changes].concat())).unwrap()
}

/// A secret key that the caller brings.
fn brought(key_type: u64, value: &[u8], changes: &[(u64, Value<'_>)]) -> Template {
    let own =
        [(ck::CKA_CLASS, N(ck::CKO_SECRET_KEY)), (ck::CKA_KEY_TYPE, N(key_type)), (ck::CKA_VALUE, B(value))];
    template(&[&own[..], changes].concat())
}

/// A data object.
fn data(value: &[u8], changes: &[(u64, Value<'_>)]) -> Template {
    template(&[&[(ck::CKA_CLASS, N(ck::CKO_DATA)), (ck::CKA_VALUE, B(value))][..], changes].concat())
}

const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// A new key pair on P-256, public and private, extractable and for derivation.
fn p256(token: &Token<'_>, changes: &[(u64, Value<'_>)]) -> [ObjectId; 2] {
    let public = template(&[(ck::CKA_EC_PARAMS, B(P256))]);
    let own = [(ck::CKA_EXTRACTABLE, F(true)), (ck::CKA_DERIVE, F(true))];
    token.generate_pair(ck::CKM_EC_KEY_PAIR_GEN, public, template(&[&own[..], changes].concat())).unwrap()
}

fn rsa(token: &Token<'_>, public: &[(u64, Value<'_>)], private: &[(u64, Value<'_>)]) -> [ObjectId; 2] {
    let bits = [(ck::CKA_MODULUS_BITS, N(1024))];
    let public = template(&[&bits[..], public].concat());
    token.generate_pair(ck::CKM_RSA_PKCS_KEY_PAIR_GEN, public, template(private)).unwrap()
}

fn read(token: &Token<'_>, id: ObjectId, kind: u64) -> Result<Vec<u8>> {
    token.read(id, &[kind]).unwrap().remove(0).1.map(|value| value.to_vec())
}

fn flag(token: &Token<'_>, id: ObjectId, kind: u64) -> bool {
    match read(token, id, kind).unwrap()[..] {
        [0] => false,
        [1] => true,
        ref other => panic!("{kind:#x} is {} bytes long", other.len()),
    }
}

/// The message alone.
fn message(data: &[u8]) -> Message<'_> {
    Message { data, is_digest: false, signature: &[] }
}

/// The initialization vector of tests.
fn vector() -> Template {
    template(&[(0, B(&[9; 16]))])
}

fn encrypt(token: &Token<'_>, key: ObjectId, plain: &[u8]) -> Result<Vec<u8>> {
    let run = token.run(key, Function::Encrypt, ck::CKM_AES_CBC_PAD, &vector(), message(plain));
    run.map(|out| out.to_vec())
}

fn decrypt(token: &Token<'_>, key: ObjectId, ciphertext: &[u8]) -> Result<Vec<u8>> {
    let run = token.run(key, Function::Decrypt, ck::CKM_AES_CBC_PAD, &vector(), message(ciphertext));
    run.map(|out| out.to_vec())
}

fn sign(token: &Token<'_>, key: ObjectId, mechanism: u64, data: &[u8]) -> Result<Vec<u8>> {
    token.run(key, Function::Sign, mechanism, &none(), message(data)).map(|out| out.to_vec())
}

fn verify(token: &Token<'_>, key: ObjectId, mechanism: u64, data: &[u8], signature: &[u8]) -> Result<()> {
    let message = Message { signature, ..message(data) };
    token.run(key, Function::Verify, mechanism, &none(), message).map(drop)
}

/// All that may be asked of a key, and what comes of it.
fn uses(token: &Token<'_>, key: ObjectId, own: ObjectId) -> [(&'static str, &'static str); 9] {
    let wrap = |by, key| name(token.wrap(by, key, ck::CKM_AES_KEY_WRAP, &none()));
    let wanted = template(&[(ck::CKA_CLASS, N(ck::CKO_SECRET_KEY)), (ck::CKA_KEY_TYPE, N(ck::CKK_AES))]);
    let derivation = template(&[(0, B(&[7; 32]))]);
    let derived = template(&[(ck::CKA_KEY_TYPE, N(ck::CKK_AES)), (ck::CKA_VALUE_LEN, N(32))]);
    [
        ("encrypt", name(encrypt(token, key, b"plain"))),
        ("decrypt", name(decrypt(token, key, &[0; 16]))),
        ("sign", name(sign(token, key, ck::CKM_AES_CMAC, b"data"))),
        ("verify", name(verify(token, key, ck::CKM_AES_CMAC, b"data", &[0; 16]))),
        ("wrap", wrap(key, own)),
        ("be wrapped", wrap(own, key)),
        ("unwrap", name(token.unwrap(key, ck::CKM_AES_KEY_WRAP, &none(), &[0; 40], wanted))),
        ("derive", name(token.derive(key, ck::CKM_AES_ECB_ENCRYPT_DATA, &derivation, derived))),
        ("copy", name(token.copy(key, none()))),
    ]
}
