//! The public half of a key pair: verify and encrypt.

use std::fmt;

use aws_lc_rs::signature::{self as lc, ParsedPublicKey, UnparsedPublicKey, VerificationAlgorithm};
use rsa::sha2::Sha256;
use sha1::Sha1;

use crate::crypto::Hash;

use super::ed25519ph::{self, PUBLIC_LEN};
use super::{Error, KeyType, Message, OaepHash, Result, SignatureScheme, encoding, rsa_checks};

/// A public key, parsed and checked.
pub struct PublicKey {
    key_type: KeyType,
    spki: Vec<u8>,
    form: Form,
}

enum Form {
    Rsa(rsa::PublicKey),
    /// For the types with a single scheme.
    Single(ParsedPublicKey),
    Ed25519 {
        pure: ParsedPublicKey,
        raw: [u8; PUBLIC_LEN],
    },
}

impl PublicKey {
    /// Parses a DER SubjectPublicKeyInfo of a key of the given type.
    ///
    /// # Errors
    /// [`Error::BadKey`] if it is anything else: another type, another encoding, trailing bytes, a point that is not on
    /// the curve, an RSA exponent below 65537.
    pub fn from_spki(key_type: KeyType, spki: &[u8]) -> Result<PublicKey> {
        let inside = encoding::open_spki(key_type, spki)?;
        let form = if key_type.modulus_bits().is_some() {
            Form::Rsa(rsa_checks::parse_public(key_type, spki)?)
        } else {
            let parsed = ParsedPublicKey::new(single_algorithm(key_type), spki)
                .map_err(|_| key_type.bad("no valid public key"))?;
            match key_type {
                KeyType::Ed25519 => {
                    let raw = inside.try_into().map_err(|_| key_type.bad("no valid public key"))?;
                    Form::Ed25519 { pure: parsed, raw }
                }
                _ => Form::Single(parsed),
            }
        };
        Ok(PublicKey { key_type, spki: spki.to_vec(), form })
    }

    /// The type of key.
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Checks a signature.
    ///
    /// # Errors
    /// [`Error::BadSignature`] if it is not one of this message by this key; otherwise what is wrong with the question:
    /// [`Error::WrongScheme`], [`Error::WrongMessage`], [`Error::DigestLength`].
    pub fn verify(&self, scheme: SignatureScheme, message: Message<'_>, signature: &[u8]) -> Result<()> {
        self.key_type.check_scheme(scheme)?;
        let valid = match (&self.form, scheme) {
            (Form::Rsa(_), _) => {
                let (algorithm, hash) = rsa_algorithm(self.key_type, scheme)?;
                let key = UnparsedPublicKey::new(algorithm, &self.spki);
                key.verify_digest(&message.hashed(hash, scheme)?, signature).is_ok()
            }
            (Form::Single(key), SignatureScheme::Ecdsa(hash)) => {
                key.verify_digest_sig(&message.hashed(hash, scheme)?, signature).is_ok()
            }
            (Form::Ed25519 { raw, .. }, SignatureScheme::Ed25519ph) => {
                let digest = message.prehashed(scheme)?;
                signature.try_into().is_ok_and(|signature| ed25519ph::verify(raw, digest, signature))
            }
            (Form::Ed25519 { pure: key, .. } | Form::Single(key), _) => {
                key.verify_sig(message.raw(scheme)?, signature).is_ok()
            }
        };
        if valid { Ok(()) } else { Err(Error::BadSignature) }
    }

    /// How many bytes [`PublicKey::encrypt_oaep`] takes at most; `None` if the key is not for encryption.
    pub fn max_plaintext(&self, hash: OaepHash) -> Option<usize> {
        self.key_type.modulus_bits().map(|bits| bits / 8 - 2 * hash.digest_len() - 2)
    }

    /// Encrypts with RSAES-OAEP (RFC 8017) and an empty label; the result is as long as the modulus.
    ///
    /// # Errors
    /// [`Error::WrongOperation`] if it is not an RSA key, [`Error::TooLong`] with the length that fits.
    pub fn encrypt_oaep(&self, hash: OaepHash, plaintext: &[u8]) -> Result<Vec<u8>> {
        let (Form::Rsa(key), Some(max)) = (&self.form, self.max_plaintext(hash)) else {
            return Err(self.key_type.cannot("encrypt"));
        };
        if plaintext.len() > max {
            return Err(Error::TooLong { max });
        }
        let encrypted = match hash {
            OaepHash::Sha1 => key.oaep_encrypt::<Sha1>(plaintext),
            OaepHash::Sha256 => key.oaep_encrypt::<Sha256>(plaintext),
        };
        encrypted.map_err(|_| Error::Library("encrypt with RSA"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.key_type)
    }
}

/// The algorithm that parses keys of a type, and verifies with them if they have a single scheme.
fn single_algorithm(key_type: KeyType) -> &'static dyn VerificationAlgorithm {
    match key_type {
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => &lc::RSA_PSS_2048_8192_SHA256,
        KeyType::P256 => &lc::ECDSA_P256_SHA256_ASN1,
        KeyType::P384 => &lc::ECDSA_P384_SHA384_ASN1,
        KeyType::P521 => &lc::ECDSA_P521_SHA512_ASN1,
        KeyType::Secp256k1 => &lc::ECDSA_P256K1_SHA256_ASN1,
        KeyType::Ed25519 => &lc::ED25519,
        KeyType::MlDsa44 => &lc::ML_DSA_44,
        KeyType::MlDsa65 => &lc::ML_DSA_65,
        KeyType::MlDsa87 => &lc::ML_DSA_87,
    }
}

fn rsa_algorithm(
    key_type: KeyType,
    scheme: SignatureScheme,
) -> Result<(&'static dyn VerificationAlgorithm, Hash)> {
    use SignatureScheme::{RsaPkcs1, RsaPss};
    Ok(match scheme {
        RsaPss(hash @ Hash::Sha256) => (&lc::RSA_PSS_2048_8192_SHA256, hash),
        RsaPss(hash @ Hash::Sha384) => (&lc::RSA_PSS_2048_8192_SHA384, hash),
        RsaPss(hash @ Hash::Sha512) => (&lc::RSA_PSS_2048_8192_SHA512, hash),
        RsaPkcs1(hash @ Hash::Sha256) => (&lc::RSA_PKCS1_2048_8192_SHA256, hash),
        RsaPkcs1(hash @ Hash::Sha384) => (&lc::RSA_PKCS1_2048_8192_SHA384, hash),
        RsaPkcs1(hash @ Hash::Sha512) => (&lc::RSA_PKCS1_2048_8192_SHA512, hash),
        _ => return Err(Error::WrongScheme { key_type, scheme }),
    })
}
