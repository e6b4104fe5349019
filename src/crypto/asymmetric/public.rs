//! The public half of a key pair: verify, encrypt, encapsulate.

use std::fmt;

use aws_lc_rs::signature::{self as lc, ParsedPublicKey, UnparsedPublicKey, VerificationAlgorithm};
use rsa::sha2::Sha256;
use sha1::Sha1;

use crate::crypto::{Hash, SecretBytes};

use super::aws_lc::{self, ED25519_PUBLIC_LEN};
use super::kinds::digest_array;
use super::{Error, KeyType, Message, OaepHash, Result, SignatureScheme, encoding, kem, rsa_checks};

/// A public key, parsed and checked.
pub struct PublicKey {
    key_type: KeyType,
    spki: Vec<u8>,
    form: Form,
}

enum Form {
    Rsa(rsa::PublicKey),
    Ec(ParsedPublicKey),
    Ed25519 { pure: ParsedPublicKey, raw: [u8; ED25519_PUBLIC_LEN] },
    MlDsa(ParsedPublicKey),
    MlKem(kem::Public),
}

impl PublicKey {
    /// Parses a DER SubjectPublicKeyInfo of a key of the given type.
    ///
    /// # Errors
    /// [`Error::BadKey`] if it is anything else: another type, another encoding, trailing bytes, a point that is not on
    /// the curve, an RSA exponent below 65537.
    pub fn from_spki(key_type: KeyType, spki: &[u8]) -> Result<PublicKey> {
        let inside = encoding::open_spki(key_type, spki)?;
        let bad = || key_type.bad("no valid public key");
        let parse = |algorithm| ParsedPublicKey::new(algorithm, spki).map_err(|_| bad());
        let form = match key_type {
            KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => {
                Form::Rsa(rsa_checks::parse_public(key_type, spki)?)
            }
            KeyType::P256 => Form::Ec(parse(&lc::ECDSA_P256_SHA256_ASN1)?),
            KeyType::P384 => Form::Ec(parse(&lc::ECDSA_P384_SHA384_ASN1)?),
            KeyType::P521 => Form::Ec(parse(&lc::ECDSA_P521_SHA512_ASN1)?),
            KeyType::Secp256k1 => Form::Ec(parse(&lc::ECDSA_P256K1_SHA256_ASN1)?),
            KeyType::Ed25519 => {
                Form::Ed25519 { pure: parse(&lc::ED25519)?, raw: inside.try_into().map_err(|_| bad())? }
            }
            KeyType::MlDsa44 => Form::MlDsa(parse(&lc::ML_DSA_44)?),
            KeyType::MlDsa65 => Form::MlDsa(parse(&lc::ML_DSA_65)?),
            KeyType::MlDsa87 => Form::MlDsa(parse(&lc::ML_DSA_87)?),
            KeyType::MlKem512 | KeyType::MlKem768 | KeyType::MlKem1024 => {
                Form::MlKem(kem::Public::parse(key_type, inside)?)
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
        let wrong_scheme = Error::WrongScheme { key_type: self.key_type, scheme };
        self.key_type.check_scheme(scheme)?;
        let valid = match (&self.form, scheme) {
            (Form::Rsa(_), _) => {
                let (algorithm, hash) = rsa_algorithm(scheme).ok_or(wrong_scheme)?;
                let key = UnparsedPublicKey::new(algorithm, &self.spki);
                key.verify_digest(&message.hashed(hash, scheme)?, signature).is_ok()
            }
            (Form::Ec(key), SignatureScheme::Ecdsa(hash)) => {
                key.verify_digest_sig(&message.hashed(hash, scheme)?, signature).is_ok()
            }
            (Form::Ed25519 { raw, .. }, SignatureScheme::Ed25519ph) => {
                let digest = message.hashed(Hash::Sha512, scheme)?;
                let digest = digest_array(digest.as_ref(), scheme)?;
                signature.try_into().is_ok_and(|signature| aws_lc::verify_ed25519ph(raw, digest, signature))
            }
            (Form::Ed25519 { pure, .. }, _) => pure.verify_sig(message.raw(scheme)?, signature).is_ok(),
            (Form::MlDsa(key), _) => match message {
                Message::ExternalMu(mu) => {
                    aws_lc::verify_mu(&self.spki, digest_array(mu, scheme)?, signature)
                }
                _ => key.verify_sig(message.raw(scheme)?, signature).is_ok(),
            },
            (Form::Ec(_) | Form::MlKem(_), _) => return Err(wrong_scheme),
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

    /// Makes a secret of 32 bytes with ML-KEM (FIPS 203), and the ciphertext from which the private half gets it back.
    ///
    /// # Errors
    /// [`Error::WrongOperation`] if it is not an ML-KEM key.
    pub fn encapsulate(&self) -> Result<(Vec<u8>, SecretBytes)> {
        match &self.form {
            Form::MlKem(key) => key.encapsulate(),
            _ => Err(self.key_type.cannot("encapsulate")),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.key_type)
    }
}

fn rsa_algorithm(scheme: SignatureScheme) -> Option<(&'static dyn VerificationAlgorithm, Hash)> {
    use SignatureScheme::{RsaPkcs1, RsaPss};
    Some(match scheme {
        RsaPss(hash @ Hash::Sha256) => (&lc::RSA_PSS_2048_8192_SHA256, hash),
        RsaPss(hash @ Hash::Sha384) => (&lc::RSA_PSS_2048_8192_SHA384, hash),
        RsaPss(hash @ Hash::Sha512) => (&lc::RSA_PSS_2048_8192_SHA512, hash),
        RsaPkcs1(hash @ Hash::Sha256) => (&lc::RSA_PKCS1_2048_8192_SHA256, hash),
        RsaPkcs1(hash @ Hash::Sha384) => (&lc::RSA_PKCS1_2048_8192_SHA384, hash),
        RsaPkcs1(hash @ Hash::Sha512) => (&lc::RSA_PKCS1_2048_8192_SHA512, hash),
        _ => return None,
    })
}
