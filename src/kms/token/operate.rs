//! Encrypting, decrypting, signing, verifying: one message with one key.

use super::code::{Code, Error, Result};
use super::material::Material;
use super::mechanism::{How, Mechanism};
use super::object::Object;
use super::parameter;
use super::template::Template;
use crate::crypto::lc::block::{self, Block, Direction};
use crate::crypto::lc::ec::{Curve, EcKey};
use crate::crypto::lc::rsa::{Padding, RsaKey};
use crate::crypto::lc::{Digest, edwards};
use cryptoki_sys as ck;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Longest message of one call, in bytes: in base64 it leaves room in a request's body.
pub const MESSAGE_MAX: usize = 700 << 10;

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Encrypt it.
    Encrypt,
    /// Decrypt it.
    Decrypt,
    /// Sign it, or compute its MAC.
    Sign,
    /// Verify its signature or MAC.
    Verify,
}

impl Function {
    /// All there are, in the order of their numbers.
    pub const ALL: [Function; 4] = [Function::Encrypt, Function::Decrypt, Function::Sign, Function::Verify];
    /// Their names, as on the wire.
    pub const NAMES: &[&str] = &["Encrypt", "Decrypt", "Sign", "Verify"];

    /// Its name, as on the wire.
    pub fn name(self) -> &'static str {
        Function::NAMES[self as usize]
    }

    /// The function of this name.
    pub fn named(name: &str) -> Option<Function> {
        Function::ALL.into_iter().find(|function| function.name() == name)
    }

    /// The attribute that a key must have, set.
    pub fn attribute(self) -> u64 {
        match self {
            Function::Encrypt => ck::CKA_ENCRYPT,
            Function::Decrypt => ck::CKA_DECRYPT,
            Function::Sign => ck::CKA_SIGN,
            Function::Verify => ck::CKA_VERIFY,
        }
    }

    /// The flag that a mechanism must have.
    pub fn flag(self) -> u64 {
        match self {
            Function::Encrypt => ck::CKF_ENCRYPT,
            Function::Decrypt => ck::CKF_DECRYPT,
            Function::Sign => ck::CKF_SIGN,
            Function::Verify => ck::CKF_VERIFY,
        }
    }
}

/// A message, and what comes with it.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// The message itself, or its digest.
    pub data: &'a [u8],
    /// Whether it is the digest that the mechanism begins with.
    pub is_digest: bool,
    /// The signature or MAC to verify.
    pub signature: &'a [u8],
}

/// The result of `function` on a message with a key; nothing of a verification.
///
/// # Errors
/// The key or mechanism is not for it; the message or signature is not good.
pub(super) fn run(
    key: &Object,
    function: Function,
    mechanism: &Mechanism,
    parameter: &Template,
    message: Message<'_>,
) -> Result<Zeroizing<Vec<u8>>> {
    check_flag(mechanism, function.flag())?;
    if !key.flag(function.attribute()) {
        return Err(Code::KEY_FUNCTION_NOT_PERMITTED.because("The key's attributes do not allow that."));
    }
    check_key(key, mechanism.how)?;
    let material = key.material()?;
    match function {
        Function::Encrypt => encrypt(material, mechanism.how, parameter, message.data),
        Function::Decrypt => decrypt(material, mechanism.how, parameter, message.data),
        Function::Sign => sign(material, mechanism.how, parameter, message).map(Zeroizing::new),
        Function::Verify => {
            verify(material, mechanism.how, parameter, message).map(|()| Zeroizing::default())
        }
    }
}

/// The ciphertext of `data`.
pub(super) fn encrypt(
    key: &Material,
    how: How,
    parameter: &Template,
    data: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    let bad = |_| Code::DATA_LEN_RANGE.because("The mechanism does not take data of that length.");
    match (how, key) {
        (How::Block(cipher, mode), Material::Secret(key)) => {
            check_vector(cipher, mode, parameter)?;
            let vector = parameter::vector(parameter);
            cipher.crypt(mode, Direction::Encrypt, key.expose(), vector, data).map_err(bad)
        }
        (How::Gcm, Material::Secret(key)) => {
            let gcm = parameter::gcm(parameter)?;
            let sealed = block::gcm_seal(key.expose(), gcm.nonce, gcm.aad, gcm.tag, data);
            sealed.map(Zeroizing::new).map_err(bad)
        }
        (How::RsaPkcs(None), Material::Rsa(key)) => {
            key.encrypt(Padding::Pkcs1, data).map(Zeroizing::new).map_err(bad)
        }
        (How::RsaRaw, Material::Rsa(key)) => {
            key.encrypt(Padding::None, &filled(key, data)?).map(Zeroizing::new).map_err(bad)
        }
        (How::RsaOaep, Material::Rsa(key)) => {
            key.encrypt_oaep(parameter::oaep(parameter)?, data).map(Zeroizing::new).map_err(bad)
        }
        _ => Err(inconsistent()),
    }
}

/// The plaintext of `data`.
pub(super) fn decrypt(
    key: &Material,
    how: How,
    parameter: &Template,
    data: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    // One error whatever is wrong: which it is would tell an attacker who can ask often what the plaintext is.
    let bad = |_| Code::ENCRYPTED_DATA_INVALID.because("The ciphertext does not open with this key.");
    match (how, key) {
        (How::Block(cipher, mode), Material::Secret(key)) => {
            check_vector(cipher, mode, parameter)?;
            let vector = parameter::vector(parameter);
            cipher.crypt(mode, Direction::Decrypt, key.expose(), vector, data).map_err(|_| {
                if data.len().is_multiple_of(cipher.length()) {
                    return Code::ENCRYPTED_DATA_INVALID
                        .because("The ciphertext does not open with this key.");
                }
                Code::ENCRYPTED_DATA_LEN_RANGE.because("A ciphertext is whole blocks.")
            })
        }
        (How::Gcm, Material::Secret(key)) => {
            let gcm = parameter::gcm(parameter)?;
            block::gcm_open(key.expose(), gcm.nonce, gcm.aad, gcm.tag, data).map_err(bad)
        }
        (How::RsaPkcs(None), Material::Rsa(key)) => key.decrypt(Padding::Pkcs1, data).map_err(bad),
        (How::RsaRaw, Material::Rsa(key)) => key.decrypt(Padding::None, data).map_err(bad),
        (How::RsaOaep, Material::Rsa(key)) => {
            key.decrypt_oaep(parameter::oaep(parameter)?, data).map_err(bad)
        }
        _ => Err(inconsistent()),
    }
}

fn sign(key: &Material, how: How, parameter: &Template, message: Message<'_>) -> Result<Vec<u8>> {
    let bad = |_| Code::DATA_LEN_RANGE.because("The mechanism does not take data of that length.");
    let data = message.data;
    match (how, key) {
        (How::RsaPkcs(None), Material::Rsa(key)) => key.sign(Padding::Pkcs1, data).map_err(bad),
        (How::RsaPkcs(Some(hash)), Material::Rsa(key)) => {
            key.sign_digest(hash, &digested(hash, message)).map_err(bad)
        }
        (How::RsaRaw, Material::Rsa(key)) => key.sign(Padding::None, &filled(key, data)?).map_err(bad),
        (How::RsaPss(hash), Material::Rsa(key)) => {
            let pss = parameter::pss(parameter, hash)?;
            key.sign_pss(pss, &of_optional(hash, message)).map_err(bad)
        }
        (How::Ecdsa(hash), Material::Ec(curve, key)) => {
            key.sign(*curve, &of_optional(hash, message)).map_err(bad)
        }
        (How::Eddsa, Material::Ed25519 { seed: Some(seed), .. }) => {
            let seed = seed.expose().try_into().expect("checked when the key was made");
            edwards::ed25519_sign(seed, data).map(Vec::from).map_err(bad)
        }
        (How::MlDsa, Material::MlDsa(key)) => key.sign(data).map_err(bad),
        (How::Dsa(hash), Material::Dsa(key)) => key.sign(&of_optional(hash, message)).map_err(bad),
        (How::Hmac(hash), Material::Secret(key)) => Ok(hash.hmac(key.expose(), data)),
        (How::Cmac, Material::Secret(key)) => block::cmac(key.expose(), data).map_err(bad),
        _ => Err(inconsistent()),
    }
}

fn verify(key: &Material, how: How, parameter: &Template, message: Message<'_>) -> Result<()> {
    let Message { data, signature, .. } = message;
    let valid = match (how, key) {
        (How::RsaPkcs(None), Material::Rsa(key)) => key.verify(Padding::Pkcs1, data, signature),
        (How::RsaPkcs(Some(hash)), Material::Rsa(key)) => {
            key.verify_digest(hash, &digested(hash, message), signature)
        }
        (How::RsaRaw, Material::Rsa(key)) => key.verify(Padding::None, &filled(key, data)?, signature),
        (How::RsaPss(hash), Material::Rsa(key)) => {
            key.verify_pss(parameter::pss(parameter, hash)?, &of_optional(hash, message), signature)
        }
        (How::Ecdsa(hash), Material::Ec(curve, key)) => {
            check_signature(signature, 2 * curve.length())?;
            verify_ecdsa(key, *curve, &of_optional(hash, message), signature)
        }
        (How::Eddsa, Material::Ed25519 { public, .. }) => {
            check_signature(signature, edwards::SIGNATURE)?;
            edwards::ed25519_verify(public, data, signature)
        }
        (How::MlDsa, Material::MlDsaPublic(set, public)) => {
            check_signature(signature, set.signature_length())?;
            set.verify(public, data, signature)
        }
        (How::Dsa(hash), Material::Dsa(key)) => key.verify(&of_optional(hash, message), signature),
        (How::Hmac(_) | How::Cmac, Material::Secret(_)) => {
            let mac = sign(key, how, parameter, message)?;
            check_signature(signature, mac.len())?;
            mac.ct_eq(signature).into()
        }
        _ => return Err(inconsistent()),
    };
    match valid {
        true => Ok(()),
        false => {
            Err(Code::SIGNATURE_INVALID.because("The signature is not that of the data under this key."))
        }
    }
}

fn verify_ecdsa(key: &EcKey, curve: Curve, digest: &[u8], signature: &[u8]) -> bool {
    debug_assert_eq!(signature.len(), 2 * curve.length());
    key.verify(digest, signature)
}

fn check_signature(signature: &[u8], length: usize) -> Result<()> {
    match signature.len() == length {
        true => Ok(()),
        false => Err(Code::SIGNATURE_LEN_RANGE.because(format!("Such a signature has {length} bytes."))),
    }
}

/// Refuses a mechanism that is not for this.
pub(super) fn check_flag(mechanism: &Mechanism, flag: u64) -> Result<()> {
    match mechanism.flags & flag {
        0 => Err(Code::MECHANISM_INVALID.because("The mechanism does not do that.")),
        _ => Ok(()),
    }
}

/// Keys of a mechanism's types alone: a key for one purpose is not to be used for another.
pub(super) fn check_key(key: &Object, how: How) -> Result<()> {
    match key.key_type().is_some_and(|key_type| how.takes(key_type)) {
        true => Ok(()),
        false => Err(inconsistent()),
    }
}

fn check_vector(cipher: Block, mode: block::Mode, parameter: &Template) -> Result<()> {
    let length = if mode == block::Mode::Ecb { 0 } else { cipher.length() };
    match parameter::vector(parameter).len() == length {
        true => Ok(()),
        false => Err(parameter::invalid()),
    }
}

/// The digest that a mechanism begins with.
fn digested(hash: Digest, message: Message<'_>) -> Vec<u8> {
    if message.is_digest { message.data.to_vec() } else { hash.of(message.data) }
}

/// As above; without a hash in the mechanism, the caller's data is the digest.
fn of_optional(hash: Option<Digest>, message: Message<'_>) -> Vec<u8> {
    hash.map_or_else(|| message.data.to_vec(), |hash| digested(hash, message))
}

/// Data as long as the modulus, with zeros in front.
fn filled(key: &RsaKey, data: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let too_long = || Code::DATA_LEN_RANGE.because("The data is longer than the modulus.");
    let zeros = key.length().checked_sub(data.len()).ok_or_else(too_long)?;
    let mut filled = Zeroizing::new(vec![0; key.length()]);
    filled[zeros..].copy_from_slice(data);
    Ok(filled)
}

pub(super) fn inconsistent() -> Error {
    Code::KEY_TYPE_INCONSISTENT.because("The key is not one for the mechanism.")
}
