//! Parameters of mechanisms, taken out of the C structures that PKCS#11 has for them.
//!
//! On the wire they are a [`Template`] whose types count the parts:
//!
//! | mechanism | parts |
//! |---|---|
//! | CBC | 0: the vector |
//! | CTR | 0: the counter block |
//! | GCM | 0: nonce, 1: associated data, 2: tag length in bits |
//! | PSS | 0: hash (`CKM_`), 1: mask (`CKG_`), 2: salt length in bytes |
//! | OAEP | 0: hash (`CKM_`), 1: mask (`CKG_`), 2: label |
//! | ECDH, Diffie-Hellman | 0: the other public key, 1: key derivation function (`CKD_`), 2: shared data |
//! | encrypted data | 0: the data, 1: the vector |

use super::code::{Code, Error, Result};
use super::template::Template;
use crate::crypto::lc::Digest;
use crate::crypto::lc::rsa::{Oaep, Pss};
use cryptoki_sys as ck;

/// The parameter of AES-GCM.
pub(super) struct Gcm<'p> {
    pub(super) nonce: &'p [u8],
    pub(super) aad: &'p [u8],
    /// In bytes.
    pub(super) tag: usize,
}

/// The parameter of a key agreement.
pub(super) struct Agreement<'p> {
    pub(super) peer: &'p [u8],
    pub(super) function: u64,
    pub(super) shared: &'p [u8],
}

/// The vector, if there is one.
pub(super) fn vector(parameter: &Template) -> &[u8] {
    parameter.get(0).unwrap_or_default()
}

/// That of AES-GCM.
pub(super) fn gcm(parameter: &Template) -> Result<Gcm<'_>> {
    let bits = parameter.number(2).ok_or_else(invalid)?;
    // Shorter tags make forgeries likely enough to be tried.
    if !matches!(bits, 96 | 104 | 112 | 120 | 128) {
        return Err(Code::MECHANISM_PARAM_INVALID.because("A tag has 96 to 128 bits, in whole bytes."));
    }
    let nonce = parameter.get(0).filter(|nonce| (1..=256).contains(&nonce.len())).ok_or_else(invalid)?;
    Ok(Gcm { nonce, aad: parameter.get(1).unwrap_or_default(), tag: bits as usize / 8 })
}

/// That of RSASSA-PSS. `digest` is that of the mechanism, with which the parameter must agree.
pub(super) fn pss(parameter: &Template, digest: Option<Digest>) -> Result<Pss> {
    let hash = hash(parameter.number(0))?;
    if digest.is_some_and(|digest| digest != hash) {
        return Err(Code::MECHANISM_PARAM_INVALID.because("The hash is not that of the mechanism."));
    }
    let salt = parameter.number(2).and_then(|salt| usize::try_from(salt).ok()).ok_or_else(invalid)?;
    Ok(Pss { hash, mgf: mask(parameter.number(1))?, salt })
}

/// That of RSAES-OAEP.
pub(super) fn oaep(parameter: &Template) -> Result<Oaep<'_>> {
    let (hash, mgf) = (hash(parameter.number(0))?, mask(parameter.number(1))?);
    Ok(Oaep { hash, mgf, label: parameter.get(2).unwrap_or_default() })
}

/// That of a key agreement.
pub(super) fn agreement(parameter: &Template) -> Result<Agreement<'_>> {
    let peer = parameter.get(0).ok_or_else(invalid)?;
    let function = parameter.number(1).unwrap_or(ck::CKD_NULL);
    Ok(Agreement { peer, function, shared: parameter.get(2).unwrap_or_default() })
}

fn hash(mechanism: Option<u64>) -> Result<Digest> {
    match mechanism {
        Some(ck::CKM_SHA_1) => Ok(Digest::Sha1),
        Some(ck::CKM_SHA224) => Ok(Digest::Sha224),
        Some(ck::CKM_SHA256) => Ok(Digest::Sha256),
        Some(ck::CKM_SHA384) => Ok(Digest::Sha384),
        Some(ck::CKM_SHA512) => Ok(Digest::Sha512),
        _ => Err(invalid()),
    }
}

fn mask(function: Option<u64>) -> Result<Digest> {
    match function {
        Some(ck::CKG_MGF1_SHA1) => Ok(Digest::Sha1),
        Some(ck::CKG_MGF1_SHA224) => Ok(Digest::Sha224),
        Some(ck::CKG_MGF1_SHA256) => Ok(Digest::Sha256),
        Some(ck::CKG_MGF1_SHA384) => Ok(Digest::Sha384),
        Some(ck::CKG_MGF1_SHA512) => Ok(Digest::Sha512),
        _ => Err(invalid()),
    }
}

/// The hash of a key derivation function of ANSI X9.63; `None`: the secret is taken as it is.
pub(super) fn derivation(function: u64) -> Result<Option<Digest>> {
    match function {
        ck::CKD_NULL => Ok(None),
        ck::CKD_SHA1_KDF => Ok(Some(Digest::Sha1)),
        ck::CKD_SHA224_KDF => Ok(Some(Digest::Sha224)),
        ck::CKD_SHA256_KDF => Ok(Some(Digest::Sha256)),
        ck::CKD_SHA384_KDF => Ok(Some(Digest::Sha384)),
        ck::CKD_SHA512_KDF => Ok(Some(Digest::Sha512)),
        _ => Err(Code::MECHANISM_PARAM_INVALID.because("Such a key derivation function is not supported.")),
    }
}

pub(super) fn invalid() -> Error {
    Code::MECHANISM_PARAM_INVALID.because("The parameter is not one of the mechanism's.")
}
