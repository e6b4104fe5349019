//! What kinds of keys there are, and which algorithms go with which: AWS KMS's names and combinations.
//!
//! Source: AWS KMS Developer Guide, *Key spec reference*.

use super::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Declares an enum whose variants have names in AWS KMS's API. In JSON, the keystore's included, they appear under
/// these names.
macro_rules! named {
    ($(#[$meta:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $type {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)+
        }

        impl $type {
            /// Every one there is.
            pub const ALL: &[$type] = &[$($type::$variant),+];

            /// AWS KMS's name for it.
            pub const fn name(self) -> &'static str {
                match self { $($type::$variant => $name),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(name: &str) -> Result<$type> {
                $type::ALL.iter().copied().find(|known| known.name() == name).ok_or_else(|| {
                    Error::Validation(format!("'{name}' is not one of {}", $type::ALL.iter().map(|known| known.name()).collect::<Vec<_>>().join(", ")))
                })
            }
        }
    };
}

pub(super) use named;

named! {
    /// What kind of cryptographic key a CMK is.
    KeySpec {
        /// A 256-bit symmetric encryption key.
        SymmetricDefault = "SYMMETRIC_DEFAULT",
        /// An HMAC key of 28 bytes.
        Hmac224 = "HMAC_224",
        /// An HMAC key of 32 bytes.
        Hmac256 = "HMAC_256",
        /// An HMAC key of 48 bytes.
        Hmac384 = "HMAC_384",
        /// An HMAC key of 64 bytes.
        Hmac512 = "HMAC_512",
        /// An RSA key pair with a modulus of 2048 bits.
        Rsa2048 = "RSA_2048",
        /// An RSA key pair with a modulus of 3072 bits.
        Rsa3072 = "RSA_3072",
        /// An RSA key pair with a modulus of 4096 bits.
        Rsa4096 = "RSA_4096",
        /// A key pair on the NIST curve P-256.
        P256 = "ECC_NIST_P256",
        /// A key pair on the NIST curve P-384.
        P384 = "ECC_NIST_P384",
        /// A key pair on the NIST curve P-521.
        P521 = "ECC_NIST_P521",
        /// A key pair on secp256k1, the curve of Bitcoin and Ethereum.
        Secp256k1 = "ECC_SECG_P256K1",
        /// An Ed25519 key pair.
        Ed25519 = "ECC_NIST_EDWARDS25519",
        /// An ML-DSA-44 key pair.
        MlDsa44 = "ML_DSA_44",
        /// An ML-DSA-65 key pair.
        MlDsa65 = "ML_DSA_65",
        /// An ML-DSA-87 key pair.
        MlDsa87 = "ML_DSA_87",
        /// An ML-KEM-512 key pair.
        MlKem512 = "ML_KEM_512",
        /// An ML-KEM-768 key pair.
        MlKem768 = "ML_KEM_768",
        /// An ML-KEM-1024 key pair.
        MlKem1024 = "ML_KEM_1024",
    }
}

named! {
    /// What a CMK may be used for: one thing, chosen when it is made.
    KeyUsage {
        /// Encrypt, Decrypt and ReEncrypt; symmetric keys GenerateDataKey and GenerateDataKeyPair as well.
        EncryptDecrypt = "ENCRYPT_DECRYPT",
        /// Sign and Verify.
        SignVerify = "SIGN_VERIFY",
        /// GenerateMac and VerifyMac.
        GenerateVerifyMac = "GENERATE_VERIFY_MAC",
        /// DeriveSharedSecret.
        KeyAgreement = "KEY_AGREEMENT",
        /// Encapsulate and Decapsulate.
        EncapsulateDecapsulate = "ENCAPSULATE_DECAPSULATE",
    }
}

named! {
    /// Where a CMK's key material comes from.
    Origin {
        /// The KMS made it.
        AwsKms = "AWS_KMS",
        /// It is imported; until then there is none.
        External = "EXTERNAL",
    }
}

named! {
    /// Whether imported key material goes away by itself.
    ExpirationModel {
        /// At a date.
        Expires = "KEY_MATERIAL_EXPIRES",
        /// Never.
        DoesNotExpire = "KEY_MATERIAL_DOES_NOT_EXPIRE",
    }
}

named! {
    /// How Encrypt, Decrypt and ReEncrypt encrypt.
    EncryptionAlgorithm {
        /// AES-256-GCM-SIV under a derived key, with an encryption context.
        SymmetricDefault = "SYMMETRIC_DEFAULT",
        /// RSAES-OAEP (RFC 8017) with SHA-1.
        RsaesOaepSha1 = "RSAES_OAEP_SHA_1",
        /// RSAES-OAEP (RFC 8017) with SHA-256.
        RsaesOaepSha256 = "RSAES_OAEP_SHA_256",
    }
}

named! {
    /// How Sign and Verify sign.
    SigningAlgorithm {
        /// RSASSA-PKCS1-v1_5 (RFC 8017) with SHA-256.
        Pkcs1Sha256 = "RSASSA_PKCS1_V1_5_SHA_256",
        /// RSASSA-PKCS1-v1_5 (RFC 8017) with SHA-384.
        Pkcs1Sha384 = "RSASSA_PKCS1_V1_5_SHA_384",
        /// RSASSA-PKCS1-v1_5 (RFC 8017) with SHA-512.
        Pkcs1Sha512 = "RSASSA_PKCS1_V1_5_SHA_512",
        /// RSASSA-PSS (RFC 8017) with SHA-256 and a salt of 32 bytes.
        PssSha256 = "RSASSA_PSS_SHA_256",
        /// RSASSA-PSS (RFC 8017) with SHA-384 and a salt of 48 bytes.
        PssSha384 = "RSASSA_PSS_SHA_384",
        /// RSASSA-PSS (RFC 8017) with SHA-512 and a salt of 64 bytes.
        PssSha512 = "RSASSA_PSS_SHA_512",
        /// ECDSA (FIPS 186-5) with SHA-256.
        EcdsaSha256 = "ECDSA_SHA_256",
        /// ECDSA (FIPS 186-5) with SHA-384.
        EcdsaSha384 = "ECDSA_SHA_384",
        /// ECDSA (FIPS 186-5) with SHA-512.
        EcdsaSha512 = "ECDSA_SHA_512",
        /// Ed25519 (RFC 8032), of whole messages only.
        Ed25519 = "ED25519_SHA_512",
        /// Ed25519ph (RFC 8032), of digests only.
        Ed25519ph = "ED25519_PH_SHA_512",
        /// ML-DSA (FIPS 204).
        MlDsa = "ML_DSA_SHAKE_256",
    }
}

named! {
    /// What the message of Sign and Verify is.
    MessageType {
        /// The message itself.
        Raw = "RAW",
        /// Its digest, by the signing algorithm's hash.
        Digest = "DIGEST",
        /// The representative μ of an ML-DSA message (FIPS 204, section 6.2).
        ExternalMu = "EXTERNAL_MU",
    }
}

named! {
    /// How GenerateMac and VerifyMac compute a MAC.
    MacAlgorithm {
        /// HMAC (FIPS 198-1) with SHA-224.
        HmacSha224 = "HMAC_SHA_224",
        /// HMAC (FIPS 198-1) with SHA-256.
        HmacSha256 = "HMAC_SHA_256",
        /// HMAC (FIPS 198-1) with SHA-384.
        HmacSha384 = "HMAC_SHA_384",
        /// HMAC (FIPS 198-1) with SHA-512.
        HmacSha512 = "HMAC_SHA_512",
    }
}

named! {
    /// How DeriveSharedSecret agrees on a secret.
    KeyAgreementAlgorithm {
        /// Cofactor Diffie-Hellman on an elliptic curve (SP 800-56A); the result is the shared point's x coordinate.
        Ecdh = "ECDH",
    }
}

named! {
    /// How Encapsulate makes a secret for the owner of a key pair.
    EncapsulationAlgorithm {
        /// ML-KEM (FIPS 203).
        MlKem = "ML_KEM",
    }
}

named! {
    /// How long a data key of GenerateDataKey is.
    DataKeySpec {
        /// 16 bytes.
        Aes128 = "AES_128",
        /// 32 bytes.
        Aes256 = "AES_256",
    }
}

named! {
    /// How key material is encrypted for ImportKeyMaterial.
    WrappingAlgorithm {
        /// RSAES-OAEP with SHA-1.
        RsaesOaepSha1 = "RSAES_OAEP_SHA_1",
        /// RSAES-OAEP with SHA-256.
        RsaesOaepSha256 = "RSAES_OAEP_SHA_256",
        /// An AES-256 key under RSAES-OAEP with SHA-1, then the material under AES key wrap with padding (RFC 5649).
        RsaAesKeyWrapSha1 = "RSA_AES_KEY_WRAP_SHA_1",
        /// The same with SHA-256.
        RsaAesKeyWrapSha256 = "RSA_AES_KEY_WRAP_SHA_256",
    }
}

impl KeySpec {
    /// Whether it is a symmetric encryption key: the only kind that rotates, makes data keys and has an encryption
    /// context.
    pub fn is_symmetric(self) -> bool {
        self == KeySpec::SymmetricDefault
    }

    /// Whether it has a public key.
    pub fn is_asymmetric(self) -> bool {
        !self.is_symmetric() && self.mac_algorithm().is_none()
    }

    /// Whether it is an RSA key pair.
    pub fn is_rsa(self) -> bool {
        matches!(self, KeySpec::Rsa2048 | KeySpec::Rsa3072 | KeySpec::Rsa4096)
    }

    /// What a key of this kind may be made for.
    pub fn usages(self) -> &'static [KeyUsage] {
        use KeySpec::*;
        match self {
            SymmetricDefault => &[KeyUsage::EncryptDecrypt],
            Hmac224 | Hmac256 | Hmac384 | Hmac512 => &[KeyUsage::GenerateVerifyMac],
            Rsa2048 | Rsa3072 | Rsa4096 => &[KeyUsage::EncryptDecrypt, KeyUsage::SignVerify],
            P256 | P384 | P521 => &[KeyUsage::SignVerify, KeyUsage::KeyAgreement],
            Secp256k1 | Ed25519 | MlDsa44 | MlDsa65 | MlDsa87 => &[KeyUsage::SignVerify],
            MlKem512 | MlKem768 | MlKem1024 => &[KeyUsage::EncapsulateDecapsulate],
        }
    }

    /// The algorithms with which a key of this kind encrypts, if its usage is `ENCRYPT_DECRYPT`.
    pub fn encryption_algorithms(self) -> &'static [EncryptionAlgorithm] {
        match self {
            KeySpec::SymmetricDefault => &[EncryptionAlgorithm::SymmetricDefault],
            KeySpec::Rsa2048 | KeySpec::Rsa3072 | KeySpec::Rsa4096 => {
                &[EncryptionAlgorithm::RsaesOaepSha1, EncryptionAlgorithm::RsaesOaepSha256]
            }
            _ => &[],
        }
    }

    /// The algorithms with which a key of this kind signs, if its usage is `SIGN_VERIFY`.
    pub fn signing_algorithms(self) -> &'static [SigningAlgorithm] {
        use KeySpec::*;
        use SigningAlgorithm as A;
        match self {
            SymmetricDefault | Hmac224 | Hmac256 | Hmac384 | Hmac512 | MlKem512 | MlKem768 | MlKem1024 => &[],
            Rsa2048 | Rsa3072 | Rsa4096 => {
                &[A::Pkcs1Sha256, A::Pkcs1Sha384, A::Pkcs1Sha512, A::PssSha256, A::PssSha384, A::PssSha512]
            }
            P256 | Secp256k1 => &[A::EcdsaSha256],
            P384 => &[A::EcdsaSha384],
            P521 => &[A::EcdsaSha512],
            Ed25519 => &[A::Ed25519, A::Ed25519ph],
            MlDsa44 | MlDsa65 | MlDsa87 => &[A::MlDsa],
        }
    }

    /// The algorithm with which a key of this kind computes MACs.
    pub fn mac_algorithm(self) -> Option<MacAlgorithm> {
        match self {
            KeySpec::Hmac224 => Some(MacAlgorithm::HmacSha224),
            KeySpec::Hmac256 => Some(MacAlgorithm::HmacSha256),
            KeySpec::Hmac384 => Some(MacAlgorithm::HmacSha384),
            KeySpec::Hmac512 => Some(MacAlgorithm::HmacSha512),
            _ => None,
        }
    }

    /// Whether GenerateDataKeyPair makes key pairs of this kind.
    pub fn is_data_key_pair(self) -> bool {
        self.is_asymmetric() && !matches!(self, KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87)
    }
}

impl DataKeySpec {
    /// The length of the key, in bytes.
    pub fn bytes(self) -> usize {
        match self {
            DataKeySpec::Aes128 => 16,
            DataKeySpec::Aes256 => 32,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_is_what_json_has() {
        for spec in KeySpec::ALL {
            assert_eq!(spec.name().parse::<KeySpec>().unwrap(), *spec);
            assert_eq!(serde_json::to_string(spec).unwrap(), format!("\"{spec}\""));
        }
        assert_eq!("RSA_1024".parse::<KeySpec>().unwrap_err().name(), "ValidationException");
    }

    #[test]
    fn a_key_has_algorithms_for_each_of_its_usages_and_no_other() {
        for spec in KeySpec::ALL {
            let may = |usage| spec.usages().contains(&usage);
            assert_eq!(!spec.encryption_algorithms().is_empty(), may(KeyUsage::EncryptDecrypt), "{spec}");
            assert_eq!(!spec.signing_algorithms().is_empty(), may(KeyUsage::SignVerify), "{spec}");
            assert_eq!(spec.mac_algorithm().is_some(), may(KeyUsage::GenerateVerifyMac), "{spec}");
            assert_eq!(
                spec.is_asymmetric(),
                spec.name().contains("RSA") || spec.name().contains("ECC") || spec.name().contains("ML")
            );
        }
    }

    #[test]
    fn data_key_pairs_are_those_of_aws() {
        let pairs: Vec<_> =
            KeySpec::ALL.iter().filter(|spec| spec.is_data_key_pair()).map(|spec| spec.name()).collect();
        assert_eq!(
            pairs,
            [
                "RSA_2048",
                "RSA_3072",
                "RSA_4096",
                "ECC_NIST_P256",
                "ECC_NIST_P384",
                "ECC_NIST_P521",
                "ECC_SECG_P256K1",
                "ECC_NIST_EDWARDS25519",
                "ML_KEM_512",
                "ML_KEM_768",
                "ML_KEM_1024"
            ]
        );
    }
}
