//! Mechanisms: what a token computes, with which keys, of which sizes.

use crate::crypto::lc::Digest;
use crate::crypto::lc::block::{Block, Mode};
use crate::crypto::lc::ml_dsa::Set;
use cryptoki_sys as ck;

/// How a mechanism computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A block cipher in a mode.
    Block(Block, Mode),
    /// AES-GCM.
    Gcm,
    /// AES-CMAC.
    Cmac,
    /// AES key wrap (RFC 3394).
    KeyWrap,
    /// AES key wrap with padding (RFC 5649).
    KeyWrapPad,
    /// PKCS #1 v1.5, of a digest or of what is given.
    RsaPkcs(Option<Digest>),
    /// The RSA function alone.
    RsaRaw,
    /// RSASSA-PSS, of a digest or of the digest that is given.
    RsaPss(Option<Digest>),
    /// RSAES-OAEP.
    RsaOaep,
    /// ECDSA, of a digest or of the digest that is given.
    Ecdsa(Option<Digest>),
    /// Ed25519.
    Eddsa,
    /// ML-DSA.
    MlDsa,
    /// DSA, of a digest or of the digest that is given.
    Dsa(Option<Digest>),
    /// HMAC.
    Hmac(Digest),
    /// A digest alone. The library computes it.
    Digest(Digest),
    /// ECDH: a key out of the shared secret.
    Ecdh,
    /// Diffie-Hellman: a key out of the shared secret.
    Dh,
    /// A key out of data that is encrypted.
    EncryptData(Block, Mode),
    /// A secret key of a type.
    GenerateKey(u64),
    /// A key pair of a type.
    GeneratePair(u64),
    /// Domain parameters of a type.
    GenerateParameters(u64),
}

impl How {
    /// The digest of the data that comes first, if one does.
    pub fn digest(self) -> Option<Digest> {
        match self {
            How::RsaPkcs(digest) | How::RsaPss(digest) | How::Ecdsa(digest) | How::Dsa(digest) => digest,
            _ => None,
        }
    }
}

impl How {
    /// Whether it computes with keys of a type.
    pub fn takes(self, key_type: u64) -> bool {
        match self {
            How::Block(Block::Aes, _)
            | How::EncryptData(Block::Aes, _)
            | How::Gcm
            | How::Cmac
            | How::KeyWrap
            | How::KeyWrapPad => key_type == ck::CKK_AES,
            How::Block(Block::Des3, _) | How::EncryptData(Block::Des3, _) => {
                matches!(key_type, ck::CKK_DES2 | ck::CKK_DES3)
            }
            How::RsaPkcs(_) | How::RsaRaw | How::RsaPss(_) | How::RsaOaep => key_type == ck::CKK_RSA,
            How::Ecdsa(_) => key_type == ck::CKK_EC,
            How::Ecdh => matches!(key_type, ck::CKK_EC | ck::CKK_EC_MONTGOMERY),
            How::Eddsa => key_type == ck::CKK_EC_EDWARDS,
            How::MlDsa => key_type == ck::CKK_ML_DSA,
            How::Dsa(_) => key_type == ck::CKK_DSA,
            How::Dh => key_type == ck::CKK_DH,
            How::Hmac(digest) => match key_type {
                ck::CKK_GENERIC_SECRET => true,
                ck::CKK_SHA_1_HMAC => digest == Digest::Sha1,
                ck::CKK_SHA224_HMAC => digest == Digest::Sha224,
                ck::CKK_SHA256_HMAC => digest == Digest::Sha256,
                ck::CKK_SHA384_HMAC => digest == Digest::Sha384,
                ck::CKK_SHA512_HMAC => digest == Digest::Sha512,
                _ => false,
            },
            How::Digest(_) | How::GenerateKey(_) | How::GeneratePair(_) | How::GenerateParameters(_) => false,
        }
    }
}

/// A mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mechanism {
    /// Its number (`CKM_`).
    pub number: u64,
    /// How it computes.
    pub how: How,
    /// The smallest and the largest key, in bits for key pairs and in bytes for secret keys.
    pub sizes: (u64, u64),
    /// What it is for (`CKF_`).
    pub flags: u64,
}

const CRYPT: u64 = ck::CKF_ENCRYPT | ck::CKF_DECRYPT;
const WRAP: u64 = ck::CKF_WRAP | ck::CKF_UNWRAP;
const SIGN: u64 = ck::CKF_SIGN | ck::CKF_VERIFY;

const AES: (u64, u64) = (16, 32);
const DES: (u64, u64) = (16, 24);
const RSA: (u64, u64) = (1024, 8192);
const CURVES: (u64, u64) = (224, 521);
const CURVE25519: (u64, u64) = (255, 255);
/// In bits of the public key: the standard has no other measure.
const ML_DSA: (u64, u64) = (1312 * 8, 2592 * 8);
const GROUPS: (u64, u64) = (1024, 4096);
const ANY: (u64, u64) = (1, 4000);
const NO_KEY: (u64, u64) = (0, 0);

const fn of(number: u64, how: How, sizes: (u64, u64), flags: u64) -> Mechanism {
    Mechanism { number, how, sizes, flags }
}

/// All there are.
#[rustfmt::skip]
pub static MECHANISMS: &[Mechanism] = &[
    of(ck::CKM_RSA_PKCS_KEY_PAIR_GEN, How::GeneratePair(ck::CKK_RSA), RSA, ck::CKF_GENERATE_KEY_PAIR),
    of(ck::CKM_RSA_PKCS, How::RsaPkcs(None), RSA, CRYPT | SIGN | WRAP),
    of(ck::CKM_RSA_X_509, How::RsaRaw, RSA, CRYPT | SIGN),
    of(ck::CKM_SHA1_RSA_PKCS, How::RsaPkcs(Some(Digest::Sha1)), RSA, SIGN),
    of(ck::CKM_SHA224_RSA_PKCS, How::RsaPkcs(Some(Digest::Sha224)), RSA, SIGN),
    of(ck::CKM_SHA256_RSA_PKCS, How::RsaPkcs(Some(Digest::Sha256)), RSA, SIGN),
    of(ck::CKM_SHA384_RSA_PKCS, How::RsaPkcs(Some(Digest::Sha384)), RSA, SIGN),
    of(ck::CKM_SHA512_RSA_PKCS, How::RsaPkcs(Some(Digest::Sha512)), RSA, SIGN),
    of(ck::CKM_RSA_PKCS_PSS, How::RsaPss(None), RSA, SIGN),
    of(ck::CKM_SHA1_RSA_PKCS_PSS, How::RsaPss(Some(Digest::Sha1)), RSA, SIGN),
    of(ck::CKM_SHA224_RSA_PKCS_PSS, How::RsaPss(Some(Digest::Sha224)), RSA, SIGN),
    of(ck::CKM_SHA256_RSA_PKCS_PSS, How::RsaPss(Some(Digest::Sha256)), RSA, SIGN),
    of(ck::CKM_SHA384_RSA_PKCS_PSS, How::RsaPss(Some(Digest::Sha384)), RSA, SIGN),
    of(ck::CKM_SHA512_RSA_PKCS_PSS, How::RsaPss(Some(Digest::Sha512)), RSA, SIGN),
    of(ck::CKM_RSA_PKCS_OAEP, How::RsaOaep, RSA, CRYPT | WRAP),
    of(ck::CKM_DSA_PARAMETER_GEN, How::GenerateParameters(ck::CKK_DSA), GROUPS, ck::CKF_GENERATE),
    of(ck::CKM_DSA_KEY_PAIR_GEN, How::GeneratePair(ck::CKK_DSA), GROUPS, ck::CKF_GENERATE_KEY_PAIR),
    of(ck::CKM_DSA, How::Dsa(None), GROUPS, SIGN),
    of(ck::CKM_DSA_SHA1, How::Dsa(Some(Digest::Sha1)), GROUPS, SIGN),
    of(ck::CKM_DSA_SHA224, How::Dsa(Some(Digest::Sha224)), GROUPS, SIGN),
    of(ck::CKM_DSA_SHA256, How::Dsa(Some(Digest::Sha256)), GROUPS, SIGN),
    of(ck::CKM_DSA_SHA384, How::Dsa(Some(Digest::Sha384)), GROUPS, SIGN),
    of(ck::CKM_DSA_SHA512, How::Dsa(Some(Digest::Sha512)), GROUPS, SIGN),
    of(ck::CKM_DH_PKCS_PARAMETER_GEN, How::GenerateParameters(ck::CKK_DH), GROUPS, ck::CKF_GENERATE),
    of(ck::CKM_DH_PKCS_KEY_PAIR_GEN, How::GeneratePair(ck::CKK_DH), GROUPS, ck::CKF_GENERATE_KEY_PAIR),
    of(ck::CKM_DH_PKCS_DERIVE, How::Dh, GROUPS, ck::CKF_DERIVE),
    of(ck::CKM_EC_KEY_PAIR_GEN, How::GeneratePair(ck::CKK_EC), CURVES, EC | ck::CKF_GENERATE_KEY_PAIR),
    of(ck::CKM_ECDSA, How::Ecdsa(None), CURVES, EC | SIGN),
    of(ck::CKM_ECDSA_SHA1, How::Ecdsa(Some(Digest::Sha1)), CURVES, EC | SIGN),
    of(ck::CKM_ECDSA_SHA224, How::Ecdsa(Some(Digest::Sha224)), CURVES, EC | SIGN),
    of(ck::CKM_ECDSA_SHA256, How::Ecdsa(Some(Digest::Sha256)), CURVES, EC | SIGN),
    of(ck::CKM_ECDSA_SHA384, How::Ecdsa(Some(Digest::Sha384)), CURVES, EC | SIGN),
    of(ck::CKM_ECDSA_SHA512, How::Ecdsa(Some(Digest::Sha512)), CURVES, EC | SIGN),
    of(ck::CKM_ECDH1_DERIVE, How::Ecdh, CURVES, EC | ck::CKF_DERIVE),
    of(ck::CKM_EC_EDWARDS_KEY_PAIR_GEN, How::GeneratePair(ck::CKK_EC_EDWARDS), CURVE25519, ck::CKF_GENERATE_KEY_PAIR),
    of(ck::CKM_EDDSA, How::Eddsa, CURVE25519, SIGN),
    of(ck::CKM_ML_DSA_KEY_PAIR_GEN, How::GeneratePair(ck::CKK_ML_DSA), ML_DSA, ck::CKF_GENERATE_KEY_PAIR),
    of(ck::CKM_ML_DSA, How::MlDsa, ML_DSA, SIGN),
    of(ck::CKM_EC_MONTGOMERY_KEY_PAIR_GEN, How::GeneratePair(ck::CKK_EC_MONTGOMERY), CURVE25519, ck::CKF_GENERATE_KEY_PAIR),
    of(ck::CKM_DES2_KEY_GEN, How::GenerateKey(ck::CKK_DES2), DES, ck::CKF_GENERATE),
    of(ck::CKM_DES3_KEY_GEN, How::GenerateKey(ck::CKK_DES3), DES, ck::CKF_GENERATE),
    of(ck::CKM_DES3_ECB, How::Block(Block::Des3, Mode::Ecb), DES, CRYPT),
    of(ck::CKM_DES3_CBC, How::Block(Block::Des3, Mode::Cbc), DES, CRYPT),
    of(ck::CKM_DES3_CBC_PAD, How::Block(Block::Des3, Mode::CbcPad), DES, CRYPT),
    of(ck::CKM_DES3_ECB_ENCRYPT_DATA, How::EncryptData(Block::Des3, Mode::Ecb), DES, ck::CKF_DERIVE),
    of(ck::CKM_DES3_CBC_ENCRYPT_DATA, How::EncryptData(Block::Des3, Mode::Cbc), DES, ck::CKF_DERIVE),
    of(ck::CKM_GENERIC_SECRET_KEY_GEN, How::GenerateKey(ck::CKK_GENERIC_SECRET), ANY, ck::CKF_GENERATE),
    of(ck::CKM_SHA_1_HMAC, How::Hmac(Digest::Sha1), ANY, SIGN),
    of(ck::CKM_SHA224_HMAC, How::Hmac(Digest::Sha224), ANY, SIGN),
    of(ck::CKM_SHA256_HMAC, How::Hmac(Digest::Sha256), ANY, SIGN),
    of(ck::CKM_SHA384_HMAC, How::Hmac(Digest::Sha384), ANY, SIGN),
    of(ck::CKM_SHA512_HMAC, How::Hmac(Digest::Sha512), ANY, SIGN),
    of(ck::CKM_AES_KEY_GEN, How::GenerateKey(ck::CKK_AES), AES, ck::CKF_GENERATE),
    of(ck::CKM_AES_ECB, How::Block(Block::Aes, Mode::Ecb), AES, CRYPT),
    of(ck::CKM_AES_CBC, How::Block(Block::Aes, Mode::Cbc), AES, CRYPT),
    of(ck::CKM_AES_CBC_PAD, How::Block(Block::Aes, Mode::CbcPad), AES, CRYPT),
    of(ck::CKM_AES_CTR, How::Block(Block::Aes, Mode::Ctr), AES, CRYPT),
    of(ck::CKM_AES_GCM, How::Gcm, AES, CRYPT | WRAP),
    of(ck::CKM_AES_CMAC, How::Cmac, AES, SIGN),
    of(ck::CKM_AES_KEY_WRAP, How::KeyWrap, AES, WRAP),
    of(ck::CKM_AES_KEY_WRAP_PAD, How::KeyWrapPad, AES, WRAP),
    of(ck::CKM_AES_KEY_WRAP_KWP, How::KeyWrapPad, AES, WRAP),
    of(ck::CKM_AES_ECB_ENCRYPT_DATA, How::EncryptData(Block::Aes, Mode::Ecb), AES, ck::CKF_DERIVE),
    of(ck::CKM_AES_CBC_ENCRYPT_DATA, How::EncryptData(Block::Aes, Mode::Cbc), AES, ck::CKF_DERIVE),
    of(ck::CKM_SHA_1, How::Digest(Digest::Sha1), NO_KEY, ck::CKF_DIGEST),
    of(ck::CKM_SHA224, How::Digest(Digest::Sha224), NO_KEY, ck::CKF_DIGEST),
    of(ck::CKM_SHA256, How::Digest(Digest::Sha256), NO_KEY, ck::CKF_DIGEST),
    of(ck::CKM_SHA384, How::Digest(Digest::Sha384), NO_KEY, ck::CKF_DIGEST),
    of(ck::CKM_SHA512, How::Digest(Digest::Sha512), NO_KEY, ck::CKF_DIGEST),
];

/// Curves modulo a prime, by name, points not compressed.
const EC: u64 = ck::CKF_EC_F_P | ck::CKF_EC_NAMEDCURVE | ck::CKF_EC_UNCOMPRESS;

/// The parameter set of ML-DSA with this number (`CKP_`).
pub fn ml_dsa_set(number: u64) -> Option<Set> {
    match number {
        ck::CKP_ML_DSA_44 => Some(Set::MlDsa44),
        ck::CKP_ML_DSA_65 => Some(Set::MlDsa65),
        ck::CKP_ML_DSA_87 => Some(Set::MlDsa87),
        _ => None,
    }
}

/// The mechanism of this number.
pub fn find(number: u64) -> Option<&'static Mechanism> {
    MECHANISMS.iter().find(|mechanism| mechanism.number == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mechanism_comes_twice() {
        for mechanism in MECHANISMS {
            let same = MECHANISMS.iter().filter(|other| other.number == mechanism.number).count();
            assert_eq!(same, 1, "{:#x}", mechanism.number);
        }
    }
}
