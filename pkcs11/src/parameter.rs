//! Parameters of mechanisms, out of the C structures that PKCS#11 has for them, into the parts that the service takes
//! ([`kmsfs::kms::token`]).

#![expect(unsafe_code, reason = "the boundary to C")]

use crate::raw::{self, Return};
use cryptoki_sys as ck;
use kmsfs::crypto::lc::block::{Block, Mode};
use kmsfs::kms::token::Template;
use kmsfs::kms::token::mechanism::{self, How, Mechanism};

/// The part of a CTR parameter that only [`crate::cipher`] looks at: how many bits of the block count.
pub(crate) const COUNTER_BITS: u64 = 1;

/// The mechanism that a program names, and the parts of its parameter.
///
/// # Errors
/// `CKR_MECHANISM_INVALID`, `CKR_MECHANISM_PARAM_INVALID`
///
/// # Safety
/// `at` points to a `CK_MECHANISM` whose parameter is the one of its mechanism.
pub(crate) unsafe fn mechanism(at: *const ck::CK_MECHANISM) -> Return<(&'static Mechanism, Template)> {
    // SAFETY: the caller's.
    let given = unsafe { raw::read(at) }?;
    let found = mechanism::find(given.mechanism).ok_or(ck::CKR_MECHANISM_INVALID)?;
    // SAFETY: the caller's.
    let parts = unsafe { parts(found.how, given) }?;
    Ok((found, parts.into_iter().map(|(kind, part)| (kind, part.to_vec())).collect()))
}

/// # Safety
/// As of [`mechanism()`].
unsafe fn parts(how: How, given: &ck::CK_MECHANISM) -> Return<Vec<(u64, Vec<u8>)>> {
    // SAFETY: the caller's, for all that follows.
    unsafe {
        match how {
            How::Block(_, Mode::Cbc | Mode::CbcPad) => Ok(vec![(0, whole(given)?.to_vec())]),
            How::Block(_, Mode::Ctr) => {
                let ctr: ck::CK_AES_CTR_PARAMS = structure(given)?;
                match ctr.ulCounterBits {
                    1..=128 => Ok(vec![(0, ctr.cb.to_vec()), number(COUNTER_BITS, ctr.ulCounterBits)]),
                    _ => Err(ck::CKR_MECHANISM_PARAM_INVALID),
                }
            }
            How::Gcm => {
                let gcm: ck::CK_GCM_PARAMS = structure(given)?;
                Ok(vec![
                    (0, part(gcm.pIv, gcm.ulIvLen)?),
                    (1, part(gcm.pAAD, gcm.ulAADLen)?),
                    number(2, gcm.ulTagBits),
                ])
            }
            How::RsaPss(_) => {
                let pss: ck::CK_RSA_PKCS_PSS_PARAMS = structure(given)?;
                Ok(vec![number(0, pss.hashAlg), number(1, pss.mgf), number(2, pss.sLen)])
            }
            How::RsaOaep => {
                let oaep: ck::CK_RSA_PKCS_OAEP_PARAMS = structure(given)?;
                let label = part(oaep.pSourceData.cast(), oaep.ulSourceDataLen)?;
                Ok(vec![number(0, oaep.hashAlg), number(1, oaep.mgf), (2, label)])
            }
            How::Ecdh => {
                let ecdh: ck::CK_ECDH1_DERIVE_PARAMS = structure(given)?;
                let shared = part(ecdh.pSharedData, ecdh.ulSharedDataLen)?;
                let peer = part(ecdh.pPublicData, ecdh.ulPublicDataLen)?;
                Ok(vec![(0, peer), number(1, ecdh.kdf), (2, shared)])
            }
            How::Dh => Ok(vec![(0, whole(given)?.to_vec())]),
            How::EncryptData(_, Mode::Ecb) => {
                let data: ck::CK_KEY_DERIVATION_STRING_DATA = structure(given)?;
                Ok(vec![(0, part(data.pData, data.ulLen)?)])
            }
            How::EncryptData(Block::Aes, _) => {
                let cbc: ck::CK_AES_CBC_ENCRYPT_DATA_PARAMS = structure(given)?;
                Ok(vec![(0, part(cbc.pData, cbc.length)?), (1, cbc.iv.to_vec())])
            }
            How::EncryptData(Block::Des3, _) => {
                let cbc: ck::CK_DES_CBC_ENCRYPT_DATA_PARAMS = structure(given)?;
                Ok(vec![(0, part(cbc.pData, cbc.length)?), (1, cbc.iv.to_vec())])
            }
            How::Eddsa => eddsa(given),
            How::MlDsa if given.pParameter.is_null() || given.ulParameterLen == 0 => Ok(Vec::new()),
            How::MlDsa => {
                let additional: ck::CK_SIGN_ADDITIONAL_CONTEXT = structure(given)?;
                match additional.ulContextLen {
                    0 => Ok(Vec::new()),
                    _ => Err(ck::CKR_MECHANISM_PARAM_INVALID),
                }
            }
            // The vector of RFC 3394 is the only one taken.
            How::KeyWrap | How::KeyWrapPad => match whole(given)? {
                [] => Ok(Vec::new()),
                vector if vector == [0xa6; 8] => Ok(Vec::new()),
                _ => Err(ck::CKR_MECHANISM_PARAM_INVALID),
            },
            // Some programs pass a parameter to mechanisms that have none; it says nothing.
            _ => Ok(Vec::new()),
        }
    }
}

/// Ed25519 itself: neither of a digest, nor in a context.
///
/// # Safety
/// As of [`mechanism()`].
unsafe fn eddsa(given: &ck::CK_MECHANISM) -> Return<Vec<(u64, Vec<u8>)>> {
    if given.pParameter.is_null() || given.ulParameterLen == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the caller's.
    let eddsa: ck::CK_EDDSA_PARAMS = unsafe { structure(given) }?;
    match (eddsa.phFlag, eddsa.ulContextDataLen) {
        (ck::CK_FALSE, 0) => Ok(Vec::new()),
        _ => Err(ck::CKR_MECHANISM_PARAM_INVALID),
    }
}

fn number(kind: u64, value: u64) -> (u64, Vec<u8>) {
    (kind, value.to_le_bytes().to_vec())
}

/// # Safety
/// As of [`mechanism()`].
unsafe fn structure<T: Copy>(given: &ck::CK_MECHANISM) -> Return<T> {
    if given.pParameter.is_null() || given.ulParameterLen as usize != size_of::<T>() {
        return Err(ck::CKR_MECHANISM_PARAM_INVALID);
    }
    // SAFETY: the caller's. Programs have parameters at any address.
    Ok(unsafe { given.pParameter.cast::<T>().read_unaligned() })
}

/// # Safety
/// As of [`mechanism()`].
unsafe fn whole<'a>(given: &ck::CK_MECHANISM) -> Return<&'a [u8]> {
    // SAFETY: the caller's.
    unsafe { raw::bytes(given.pParameter.cast(), given.ulParameterLen) }
        .map_err(|_| ck::CKR_MECHANISM_PARAM_INVALID)
}

/// # Safety
/// There are `length` bytes at `at`.
unsafe fn part(at: *const u8, length: ck::CK_ULONG) -> Return<Vec<u8>> {
    // SAFETY: the caller's.
    let bytes = unsafe { raw::bytes(at, length) };
    bytes.map(<[u8]>::to_vec).map_err(|_| ck::CKR_MECHANISM_PARAM_INVALID)
}
