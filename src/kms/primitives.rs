//! AWS KMS's names for algorithms, as what `crypto` calls them.

use super::spec::{EncryptionAlgorithm, KeySpec, MacAlgorithm, SigningAlgorithm, WrappingAlgorithm};
use crate::crypto::Hash;
use crate::crypto::asymmetric::{KeyType, OaepHash, SignatureScheme};
use crate::crypto::transport::Wrapping;

impl KeySpec {
    /// The type of key pair; `None` for symmetric and HMAC keys.
    pub(super) fn key_type(self) -> Option<KeyType> {
        Some(match self {
            KeySpec::SymmetricDefault
            | KeySpec::Hmac224
            | KeySpec::Hmac256
            | KeySpec::Hmac384
            | KeySpec::Hmac512 => return None,
            KeySpec::Rsa2048 => KeyType::Rsa2048,
            KeySpec::Rsa3072 => KeyType::Rsa3072,
            KeySpec::Rsa4096 => KeyType::Rsa4096,
            KeySpec::P256 => KeyType::P256,
            KeySpec::P384 => KeyType::P384,
            KeySpec::P521 => KeyType::P521,
            KeySpec::Secp256k1 => KeyType::Secp256k1,
            KeySpec::Ed25519 => KeyType::Ed25519,
            KeySpec::MlDsa44 => KeyType::MlDsa44,
            KeySpec::MlDsa65 => KeyType::MlDsa65,
            KeySpec::MlDsa87 => KeyType::MlDsa87,
            KeySpec::MlKem512 => KeyType::MlKem512,
            KeySpec::MlKem768 => KeyType::MlKem768,
            KeySpec::MlKem1024 => KeyType::MlKem1024,
        })
    }
}

impl EncryptionAlgorithm {
    /// The hash of RSAES-OAEP; `None` for symmetric encryption.
    pub(super) fn oaep(self) -> Option<OaepHash> {
        match self {
            EncryptionAlgorithm::SymmetricDefault => None,
            EncryptionAlgorithm::RsaesOaepSha1 => Some(OaepHash::Sha1),
            EncryptionAlgorithm::RsaesOaepSha256 => Some(OaepHash::Sha256),
        }
    }
}

impl SigningAlgorithm {
    /// How to sign.
    pub(super) fn scheme(self) -> SignatureScheme {
        use SignatureScheme::{Ecdsa, RsaPkcs1, RsaPss};
        match self {
            SigningAlgorithm::Pkcs1Sha256 => RsaPkcs1(Hash::Sha256),
            SigningAlgorithm::Pkcs1Sha384 => RsaPkcs1(Hash::Sha384),
            SigningAlgorithm::Pkcs1Sha512 => RsaPkcs1(Hash::Sha512),
            SigningAlgorithm::PssSha256 => RsaPss(Hash::Sha256),
            SigningAlgorithm::PssSha384 => RsaPss(Hash::Sha384),
            SigningAlgorithm::PssSha512 => RsaPss(Hash::Sha512),
            SigningAlgorithm::EcdsaSha256 => Ecdsa(Hash::Sha256),
            SigningAlgorithm::EcdsaSha384 => Ecdsa(Hash::Sha384),
            SigningAlgorithm::EcdsaSha512 => Ecdsa(Hash::Sha512),
            SigningAlgorithm::Ed25519 => SignatureScheme::Ed25519,
            SigningAlgorithm::Ed25519ph => SignatureScheme::Ed25519ph,
            SigningAlgorithm::MlDsa => SignatureScheme::MlDsa,
        }
    }

    /// How many bytes a digest has; `None` if the algorithm takes none.
    pub(super) fn digest_len(self) -> Option<usize> {
        use SignatureScheme::{Ecdsa, RsaPkcs1, RsaPss};
        match self.scheme() {
            RsaPss(hash) | RsaPkcs1(hash) | Ecdsa(hash) => Some(hash.digest_len()),
            SignatureScheme::Ed25519ph => Some(Hash::Sha512.digest_len()),
            SignatureScheme::Ed25519 | SignatureScheme::MlDsa => None,
        }
    }
}

impl MacAlgorithm {
    /// The hash of the HMAC.
    pub(super) fn hash(self) -> Hash {
        match self {
            MacAlgorithm::HmacSha224 => Hash::Sha224,
            MacAlgorithm::HmacSha256 => Hash::Sha256,
            MacAlgorithm::HmacSha384 => Hash::Sha384,
            MacAlgorithm::HmacSha512 => Hash::Sha512,
        }
    }
}

impl WrappingAlgorithm {
    /// How to unwrap.
    pub(super) fn wrapping(self) -> Wrapping {
        match self {
            WrappingAlgorithm::RsaesOaepSha1 => Wrapping::Oaep(OaepHash::Sha1),
            WrappingAlgorithm::RsaesOaepSha256 => Wrapping::Oaep(OaepHash::Sha256),
            WrappingAlgorithm::RsaAesKeyWrapSha1 => Wrapping::OaepAesKeyWrap(OaepHash::Sha1),
            WrappingAlgorithm::RsaAesKeyWrapSha256 => Wrapping::OaepAesKeyWrap(OaepHash::Sha256),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_key_pair_signs_encrypts_and_agrees_as_its_spec_says() {
        use super::super::spec::KeyUsage;
        for spec in KeySpec::ALL.iter().filter(|spec| spec.is_asymmetric()) {
            let key_type = spec.key_type().unwrap();
            let ours: Vec<_> = spec.signing_algorithms().iter().map(|algorithm| algorithm.scheme()).collect();
            assert!(ours.iter().all(|scheme| key_type.signature_schemes().contains(scheme)), "{spec}");
            assert_eq!(ours.len(), key_type.signature_schemes().len(), "{spec}");
            assert_eq!(spec.usages().contains(&KeyUsage::KeyAgreement), key_type.agrees(), "{spec}");
            let encapsulates = spec.usages().contains(&KeyUsage::EncapsulateDecapsulate);
            assert_eq!(encapsulates, key_type.encapsulates(), "{spec}");
            let encrypts = spec.usages().contains(&KeyUsage::EncryptDecrypt);
            assert_eq!(encrypts, key_type.modulus_bits().is_some(), "{spec}");
        }
    }
}
