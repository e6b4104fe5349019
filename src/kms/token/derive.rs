//! Keys out of keys: derived, wrapped and unwrapped.

use super::code::{Code, Result};
use super::generate::expect;
use super::material::{Material, check_length, octets};
use super::mechanism::{How, Mechanism};
use super::object::{Object, Origin};
use super::operate::{self, inconsistent};
use super::parameter;
use super::pkcs8;
use super::template::Template;
use crate::crypto::lc::block::{self, Direction};
use crate::crypto::lc::classic::Dh;
use crate::crypto::lc::edwards;
use crate::crypto::lc::{Digest, Refused};
use cryptoki_sys as ck;
use zeroize::Zeroizing;

/// A secret key out of another key.
///
/// # Errors
/// The key or mechanism is not for it; the template asks for more bytes than there are.
pub(super) fn derive(
    owner: &str,
    base: &Object,
    mechanism: &Mechanism,
    parameter: &Template,
    mut wanted: Template,
) -> Result<Object> {
    operate::check_flag(mechanism, ck::CKF_DERIVE)?;
    if !base.flag(ck::CKA_DERIVE) {
        return Err(Code::KEY_FUNCTION_NOT_PERMITTED.because("The key is not for deriving."));
    }
    operate::check_key(base, mechanism.how)?;
    expect(&mut wanted, ck::CKA_CLASS, ck::CKO_SECRET_KEY)?;
    let length = length(&wanted)?;
    let material = match mechanism.how {
        How::Ecdh | How::Dh => agreed(base.material()?, mechanism.how, parameter, length)?,
        How::EncryptData(cipher, mode) => {
            let data = parameter.get(0).ok_or_else(parameter::invalid)?;
            let Material::Secret(key) = base.material()? else { return Err(inconsistent()) };
            let vector = parameter.get(1).unwrap_or_default();
            let encrypted = cipher.crypt(mode, Direction::Encrypt, key.expose(), vector, data);
            encrypted.map_err(|_| parameter::invalid())?
        }
        _ => return Err(Code::MECHANISM_INVALID.because("The mechanism derives nothing.")),
    };
    let length = length.unwrap_or(material.len());
    // Of the agreements the leading bytes go (PKCS#11, 2.3.11), of encrypted data the trailing ones.
    let value = match mechanism.how {
        How::Ecdh | How::Dh => material.len().checked_sub(length).map(|from| &material[from..]),
        _ => material.get(..length),
    };
    let short = || Code::MECHANISM_PARAM_INVALID.because("The mechanism does not give that many bytes.");
    let made = [(ck::CKA_VALUE, value.ok_or_else(short)?.to_vec())].into_iter().collect();
    wanted.take(ck::CKA_VALUE_LEN);
    let origin = Origin::Derived {
        always_sensitive: base.flag(ck::CKA_ALWAYS_SENSITIVE),
        never_extractable: base.flag(ck::CKA_NEVER_EXTRACTABLE),
    };
    Object::new(owner, wanted, made, origin)
}

/// How many bytes the key to derive has, if that is said.
fn length(wanted: &Template) -> Result<Option<usize>> {
    let said = wanted.number(ck::CKA_VALUE_LEN).map(usize::try_from).transpose();
    let said = said.map_err(|_| Code::KEY_SIZE_RANGE.because("No key is that long."))?;
    let key_type = wanted.number(ck::CKA_KEY_TYPE).unwrap_or(ck::CKK_GENERIC_SECRET);
    let length = match key_type {
        ck::CKK_DES2 => Some(16),
        ck::CKK_DES3 => Some(24),
        _ => said,
    };
    length.map_or(Ok(()), |length| check_length(key_type, length))?;
    Ok(length)
}

/// The shared secret, or what a derivation function makes of it: `length` bytes then.
fn agreed(
    key: &Material,
    how: How,
    parameter: &Template,
    length: Option<usize>,
) -> Result<Zeroizing<Vec<u8>>> {
    let agreement = parameter::agreement(parameter)?;
    let bad = |_| Code::MECHANISM_PARAM_INVALID.because("The other public key is none of the same group.");
    let secret = match (how, key) {
        (How::Ecdh, Material::Ec(curve, key)) => {
            key.agree(*curve, octets(agreement.peer, 1 + 2 * curve.length())).map_err(bad)?
        }
        (How::Ecdh, Material::X25519(Some(private))) => {
            let private = private.expose().try_into().expect("checked when the key was made");
            edwards::x25519(private, octets(agreement.peer, 32)).map_err(bad)?
        }
        (How::Dh, Material::Dh { prime, base, private: Some(private) }) => {
            let group = Dh::new(prime, base).map_err(bad)?;
            group.agree(private.expose(), agreement.peer).map_err(bad)?
        }
        _ => return Err(inconsistent()),
    };
    match parameter::derivation(agreement.function)? {
        None => Ok(Zeroizing::new(secret.expose().to_vec())),
        Some(hash) => {
            let length = length.unwrap_or(hash.length());
            Ok(x963(hash, secret.expose(), agreement.shared, length))
        }
    }
}

/// The key derivation function of ANSI X9.63 (SEC 1, section 3.6.1).
fn x963(hash: Digest, secret: &[u8], shared: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(length + hash.length()));
    for counter in 1u32.. {
        if out.len() >= length {
            break;
        }
        let input = Zeroizing::new([secret, &counter.to_be_bytes(), shared].concat());
        out.extend_from_slice(&Zeroizing::new(hash.of(&input)));
    }
    out.truncate(length);
    out
}

/// A key, encrypted by another.
///
/// # Errors
/// The key does not leave the token, or not so; the other or the mechanism is not for it.
pub(super) fn wrap(
    wrapping: &Object,
    key: &Object,
    mechanism: &Mechanism,
    parameter: &Template,
) -> Result<Zeroizing<Vec<u8>>> {
    operate::check_flag(mechanism, ck::CKF_WRAP)?;
    if !wrapping.flag(ck::CKA_WRAP) {
        return Err(Code::KEY_FUNCTION_NOT_PERMITTED.because("The key is not for wrapping."));
    }
    operate::check_key(wrapping, mechanism.how)?;
    if !key.flag(ck::CKA_EXTRACTABLE) {
        return Err(Code::KEY_UNEXTRACTABLE.because("The key does not leave the token."));
    }
    if key.flag(ck::CKA_WRAP_WITH_TRUSTED) && !wrapping.flag(ck::CKA_TRUSTED) {
        return Err(Code::KEY_NOT_WRAPPABLE.because("The key is wrapped by trusted keys alone."));
    }
    let plain = match (key.class(), key.material()?) {
        (ck::CKO_SECRET_KEY, Material::Secret(value)) => Zeroizing::new(value.expose().to_vec()),
        (ck::CKO_PRIVATE_KEY, _) => pkcs8::encode(key)?,
        _ => return Err(Code::KEY_NOT_WRAPPABLE.because("Secret and private keys can be wrapped.")),
    };
    let bad = |_| Code::KEY_NOT_WRAPPABLE.because("The mechanism does not take a key of that length.");
    match (mechanism.how, wrapping.material()?) {
        (How::KeyWrap, Material::Secret(by)) => {
            block::wrap(by.expose(), &plain).map(Zeroizing::new).map_err(bad)
        }
        (How::KeyWrapPad, Material::Secret(by)) => {
            block::wrap_padded(by.expose(), &plain).map(Zeroizing::new).map_err(bad)
        }
        (how @ (How::Gcm | How::RsaPkcs(None) | How::RsaOaep), by) => {
            operate::encrypt(by, how, parameter, &plain)
        }
        _ => Err(Code::MECHANISM_INVALID.because("The mechanism wraps nothing, or not with such a key.")),
    }
}

/// The key in `wrapped`.
///
/// # Errors
/// It does not open; the key or the mechanism is not for it; the template is none of such a key.
pub(super) fn unwrap(
    owner: &str,
    unwrapping: &Object,
    mechanism: &Mechanism,
    parameter: &Template,
    wrapped: &[u8],
    mut wanted: Template,
) -> Result<Object> {
    operate::check_flag(mechanism, ck::CKF_UNWRAP)?;
    if !unwrapping.flag(ck::CKA_UNWRAP) {
        return Err(Code::KEY_FUNCTION_NOT_PERMITTED.because("The key is not for unwrapping."));
    }
    operate::check_key(unwrapping, mechanism.how)?;
    let bad = |_| Code::WRAPPED_KEY_INVALID.because("The wrapped key does not open with this key.");
    let plain = match (mechanism.how, unwrapping.material()?) {
        (How::KeyWrap, Material::Secret(by)) => block::unwrap(by.expose(), wrapped).map_err(bad)?,
        (How::KeyWrapPad, Material::Secret(by)) => block::unwrap_padded(by.expose(), wrapped).map_err(bad)?,
        (how @ (How::Gcm | How::RsaPkcs(None) | How::RsaOaep), by) => {
            let opened = operate::decrypt(by, how, parameter, wrapped);
            opened.map_err(|error| match error.code() {
                Some(Code::ENCRYPTED_DATA_INVALID) => Code::WRAPPED_KEY_INVALID.because("It does not open."),
                _ => error,
            })?
        }
        _ => return Err(Code::MECHANISM_INVALID.because("The mechanism unwraps nothing, or not so.")),
    };
    let made = match wanted.number(ck::CKA_CLASS) {
        Some(ck::CKO_SECRET_KEY) => {
            // All of it: a key that could be unwrapped in part could be guessed part by part.
            let length = wanted.take(ck::CKA_VALUE_LEN).and_then(|length| super::template::number(&length));
            if length.is_some_and(|length| length != plain.len() as u64) {
                return Err(Code::WRAPPED_KEY_INVALID.because("The wrapped key has another length."));
            }
            Ok([(ck::CKA_VALUE, plain.to_vec())].into_iter().collect())
        }
        Some(ck::CKO_PRIVATE_KEY) => pkcs8::decode(wanted.number(ck::CKA_KEY_TYPE), &plain),
        _ => return Err(Code::TEMPLATE_INCONSISTENT.because("Secret and private keys can be unwrapped.")),
    };
    match mechanism.how {
        // Which of the checks failed would tell of a padding that was good, and so, asked often, of the plaintext.
        How::RsaPkcs(_) => made
            .and_then(|made| Object::new(owner, wanted, made, Origin::Unwrapped))
            .map_err(|_| bad(Refused)),
        _ => Object::new(owner, wanted, made?, Origin::Unwrapped),
    }
}
