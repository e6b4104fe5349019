//! The private half of a key pair: make, parse, sign, decrypt, agree, decapsulate.

use std::fmt;

use aws_lc_rs::agreement::{self, UnparsedPublicKey};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeyPair as RsaKeyPair, KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey,
    PrivateDecryptingKey,
};
use aws_lc_rs::signature::{
    self as lc, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, PqdsaKeyPair,
    PqdsaSigningAlgorithm, RsaEncoding,
};

use crate::crypto::{Hash, Key, SecretBytes};

use super::aws_lc::{self, ED25519_PRIVATE_LEN};
use super::encoding::locked;
use super::kinds::digest_array;
use super::{
    Error, KeyType, Message, OaepHash, PublicKey, Result, SignatureScheme, encoding, kem, rsa_checks,
};

/// A key pair, parsed and ready for use. It cannot be cloned, and its debug output shows no more than its type.
pub struct PrivateKey {
    public: PublicKey,
    form: Form,
}

enum Form {
    Rsa { signing: Box<RsaKeyPair>, decrypting: OaepPrivateDecryptingKey },
    Ec { signing: Box<EcdsaKeyPair>, agreement: Option<agreement::PrivateKey> },
    Ed25519 { pure: Box<Ed25519KeyPair>, expanded: SecretBytes },
    MlDsa(Box<PqdsaKeyPair>),
    MlKem(kem::Private),
}

impl PrivateKey {
    /// Makes a new key pair and returns it as PKCS#8 DER. RSA keys have the exponent 65537 and take from a tenth of a
    /// second to some seconds.
    ///
    /// # Errors
    /// [`Error::Library`].
    pub fn generate(key_type: KeyType) -> Result<SecretBytes> {
        let failed = |_| Error::Library("make a key pair");
        match type_of(key_type) {
            Type::Rsa(size) => {
                let pair = RsaKeyPair::generate(size).map_err(failed)?;
                Ok(locked(pair.as_der().map_err(failed)?.as_ref()))
            }
            Type::Ec(algorithm, _) => {
                let pair = EcdsaKeyPair::generate(algorithm).map_err(failed)?;
                Ok(locked(pair.to_pkcs8v1().map_err(failed)?.as_ref()))
            }
            Type::Ed25519 => {
                let pair = Ed25519KeyPair::generate().map_err(failed)?;
                Ok(locked(pair.to_pkcs8v1().map_err(failed)?.as_ref()))
            }
            Type::MlDsa(algorithm) => {
                let pair = PqdsaKeyPair::generate(algorithm).map_err(failed)?;
                Ok(locked(pair.to_pkcs8v1().map_err(failed)?.as_ref()))
            }
            Type::MlKem => kem::Private::generate(key_type),
        }
    }

    /// The Ed25519 key of a seed, which must serve nothing else (RFC 8032, section 5.1.5).
    ///
    /// # Errors
    /// [`Error::Library`].
    pub fn ed25519(seed: &Key) -> Result<PrivateKey> {
        /// OneAsymmetricKey of RFC 8410, section 7, up to the seed.
        const HEAD: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
        let mut pkcs8 = SecretBytes::zeroed(HEAD.len() + seed.expose().len());
        let (head, rest) = pkcs8.expose_mut().split_at_mut(HEAD.len());
        head.copy_from_slice(&HEAD);
        rest.copy_from_slice(seed.expose());
        PrivateKey::from_pkcs8(KeyType::Ed25519, pkcs8.expose())
            .map_err(|_| Error::Library("use a seed as a key"))
    }

    /// Parses a PKCS#8 DER structure with a key of the given type.
    ///
    /// # Errors
    /// [`Error::BadKey`] if it is anything else: another type, another encoding, trailing bytes, halves that do not
    /// belong together, an RSA key that breaks the rules of FIPS 186-5.
    pub fn from_pkcs8(key_type: KeyType, pkcs8: &[u8]) -> Result<PrivateKey> {
        let inside = encoding::open_pkcs8(key_type, pkcs8)?;
        let rejected = |_| key_type.bad("its parts are not valid, or do not belong together");
        let (spki, form) = match type_of(key_type) {
            Type::Rsa(_) => {
                rsa_checks::check_primes(key_type, inside)?;
                let signing = RsaKeyPair::from_pkcs8(pkcs8).map_err(rejected)?;
                let decrypting = PrivateDecryptingKey::from_pkcs8(pkcs8).map_err(rejected)?;
                let decrypting = OaepPrivateDecryptingKey::new(decrypting)
                    .map_err(|_| Error::Library("prepare a decryption key"))?;
                (spki_of(signing.public_key())?, Form::Rsa { signing: Box::new(signing), decrypting })
            }
            Type::Ec(algorithm, agreement) => {
                let signing = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).map_err(rejected)?;
                let agreement = agreement
                    .map(|algorithm| agreement::PrivateKey::from_private_key_der(algorithm, pkcs8))
                    .transpose()
                    .map_err(rejected)?;
                (spki_of(signing.public_key())?, Form::Ec { signing: Box::new(signing), agreement })
            }
            Type::Ed25519 => {
                let pure = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(rejected)?;
                let expanded = expand_ed25519(inside, pure.public_key().as_ref())?;
                (spki_of(pure.public_key())?, Form::Ed25519 { pure: Box::new(pure), expanded })
            }
            Type::MlDsa(algorithm) => {
                let pair = PqdsaKeyPair::from_pkcs8(algorithm, pkcs8).map_err(rejected)?;
                (spki_of(pair.public_key())?, Form::MlDsa(Box::new(pair)))
            }
            Type::MlKem => {
                let (key, spki) = kem::Private::parse(key_type, inside)?;
                (spki, Form::MlKem(key))
            }
        };
        Ok(PrivateKey { public: PublicKey::from_spki(key_type, &spki)?, form })
    }

    /// Checks that the public half undoes what the private half does, or the other way round, by doing it: what is owed
    /// to a key that somebody else made. For RSA it finds "primes" that are not prime.
    ///
    /// # Errors
    /// [`Error::BadKey`] if it does not.
    pub fn check(&self) -> Result<()> {
        let message = Message::Raw(b"pairwise consistency test");
        let undone = match self.key_type().signature_schemes().first() {
            Some(&scheme) => {
                let signature = self.sign(scheme, message);
                signature.is_ok_and(|made| self.public.verify(scheme, message, &made).is_ok())
            }
            None => {
                let (ciphertext, secret) = self.public.encapsulate()?;
                self.decapsulate(&ciphertext)? == secret
            }
        };
        if undone { Ok(()) } else { Err(self.key_type().bad("its halves do not undo each other")) }
    }

    /// The type of key.
    pub fn key_type(&self) -> KeyType {
        self.public.key_type()
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The public half as a DER SubjectPublicKeyInfo.
    pub fn public_spki(&self) -> &[u8] {
        self.public.spki()
    }

    /// Signs. RSA signatures are as long as the modulus, ECDSA signatures are DER, the others of fixed length.
    ///
    /// # Errors
    /// [`Error::WrongScheme`] if keys of this type do not sign so, [`Error::WrongMessage`] and [`Error::DigestLength`]
    /// if the scheme takes something else, [`Error::Library`] if AWS-LC fails, as it does rather than give out a wrong
    /// RSA signature.
    pub fn sign(&self, scheme: SignatureScheme, message: Message<'_>) -> Result<Vec<u8>> {
        let wrong_scheme = Error::WrongScheme { key_type: self.key_type(), scheme };
        self.key_type().check_scheme(scheme)?;
        let failed = |_| Error::Library("sign");
        match (&self.form, scheme) {
            (Form::Rsa { signing, .. }, _) => {
                let (encoding, hash) = rsa_encoding(scheme).ok_or(wrong_scheme)?;
                let mut signature = vec![0; signing.public_modulus_len()];
                let digest = message.hashed(hash, scheme)?;
                signing.sign_digest(encoding, &digest, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            (Form::Ec { signing, .. }, SignatureScheme::Ecdsa(hash)) => {
                let signature = signing.sign_digest(&message.hashed(hash, scheme)?).map_err(failed)?;
                Ok(signature.as_ref().to_vec())
            }
            (Form::Ed25519 { expanded, .. }, SignatureScheme::Ed25519ph) => {
                let digest = message.hashed(Hash::Sha512, scheme)?;
                let private =
                    expanded.expose().try_into().expect("expanded to this length when it was parsed");
                let signature = aws_lc::sign_ed25519ph(private, digest_array(digest.as_ref(), scheme)?);
                Ok(signature.ok_or(Error::Library("sign"))?.to_vec())
            }
            (Form::Ed25519 { pure, .. }, _) => {
                Ok(pure.try_sign(message.raw(scheme)?).map_err(failed)?.as_ref().to_vec())
            }
            (Form::MlDsa(pair), _) => sign_ml_dsa(pair, message),
            (Form::Ec { .. } | Form::MlKem(_), _) => Err(wrong_scheme),
        }
    }

    /// Decrypts RSAES-OAEP (RFC 8017) with an empty label.
    ///
    /// # Errors
    /// [`Error::WrongOperation`] if it is not an RSA key, [`Error::BadCiphertext`] whatever is wrong with the
    /// ciphertext.
    pub fn decrypt_oaep(&self, hash: OaepHash, ciphertext: &[u8]) -> Result<SecretBytes> {
        let Form::Rsa { decrypting, .. } = &self.form else {
            return Err(self.key_type().cannot("decrypt"));
        };
        let algorithm = match hash {
            OaepHash::Sha1 => &OAEP_SHA1_MGF1SHA1,
            OaepHash::Sha256 => &OAEP_SHA256_MGF1SHA256,
        };
        let mut plaintext = SecretBytes::zeroed(decrypting.min_output_size());
        let len = decrypting
            .decrypt(algorithm, ciphertext, plaintext.expose_mut(), None)
            .map_err(|_| Error::BadCiphertext)?
            .len();
        plaintext.truncate(len);
        Ok(plaintext)
    }

    /// The secret shared with the owner of another key on the same curve: the x coordinate, as long as the field (ECDH,
    /// NIST SP 800-56A, section 5.7.1.2). To be put through a key derivation function before it is used as a key.
    ///
    /// # Errors
    /// [`Error::WrongOperation`] if the key is not on P-256, P-384 or P-521, [`Error::BadKey`] if `peer_spki` is not
    /// a public key on the same curve.
    pub fn agree(&self, peer_spki: &[u8]) -> Result<SecretBytes> {
        let key_type = self.key_type();
        let Form::Ec { agreement: Some(private), .. } = &self.form else {
            return Err(key_type.cannot("agree on a secret"));
        };
        encoding::open_spki(key_type, peer_spki)?;
        let peer = UnparsedPublicKey::new(private.algorithm(), peer_spki);
        agreement::agree(private, peer, key_type.bad("no valid public key"), |secret| Ok(locked(secret)))
    }

    /// The secret that [`PublicKey::encapsulate`] made (ML-KEM, FIPS 203). A ciphertext that was altered or made for
    /// another key gives another secret, not an error: that is how ML-KEM withstands chosen ciphertexts.
    ///
    /// # Errors
    /// [`Error::WrongOperation`] if it is not an ML-KEM key, [`Error::BadCiphertext`] if the ciphertext has another
    /// length.
    pub fn decapsulate(&self, ciphertext: &[u8]) -> Result<SecretBytes> {
        match &self.form {
            Form::MlKem(key) => key.decapsulate(ciphertext),
            _ => Err(self.key_type().cannot("decapsulate")),
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, redacted)", self.key_type())
    }
}

/// AWS-LC's names for a type of key.
enum Type {
    Rsa(KeySize),
    Ec(&'static EcdsaSigningAlgorithm, Option<&'static agreement::Algorithm>),
    Ed25519,
    MlDsa(&'static PqdsaSigningAlgorithm),
    MlKem,
}

fn type_of(key_type: KeyType) -> Type {
    match key_type {
        KeyType::Rsa2048 => Type::Rsa(KeySize::Rsa2048),
        KeyType::Rsa3072 => Type::Rsa(KeySize::Rsa3072),
        KeyType::Rsa4096 => Type::Rsa(KeySize::Rsa4096),
        KeyType::P256 => Type::Ec(&lc::ECDSA_P256_SHA256_ASN1_SIGNING, Some(&agreement::ECDH_P256)),
        KeyType::P384 => Type::Ec(&lc::ECDSA_P384_SHA384_ASN1_SIGNING, Some(&agreement::ECDH_P384)),
        KeyType::P521 => Type::Ec(&lc::ECDSA_P521_SHA512_ASN1_SIGNING, Some(&agreement::ECDH_P521)),
        KeyType::Secp256k1 => Type::Ec(&lc::ECDSA_P256K1_SHA256_ASN1_SIGNING, None),
        KeyType::Ed25519 => Type::Ed25519,
        KeyType::MlDsa44 => Type::MlDsa(&lc::ML_DSA_44_SIGNING),
        KeyType::MlDsa65 => Type::MlDsa(&lc::ML_DSA_65_SIGNING),
        KeyType::MlDsa87 => Type::MlDsa(&lc::ML_DSA_87_SIGNING),
        KeyType::MlKem512 | KeyType::MlKem768 | KeyType::MlKem1024 => Type::MlKem,
    }
}

fn spki_of(public: &impl AsDer<PublicKeyX509Der<'static>>) -> Result<Vec<u8>> {
    Ok(public.as_der().map_err(|_| Error::Library("write a public key"))?.as_ref().to_vec())
}

fn rsa_encoding(scheme: SignatureScheme) -> Option<(&'static dyn RsaEncoding, Hash)> {
    use SignatureScheme::{RsaPkcs1, RsaPss};
    Some(match scheme {
        RsaPss(hash @ Hash::Sha256) => (&lc::RSA_PSS_SHA256, hash),
        RsaPss(hash @ Hash::Sha384) => (&lc::RSA_PSS_SHA384, hash),
        RsaPss(hash @ Hash::Sha512) => (&lc::RSA_PSS_SHA512, hash),
        RsaPkcs1(hash @ Hash::Sha256) => (&lc::RSA_PKCS1_SHA256, hash),
        RsaPkcs1(hash @ Hash::Sha384) => (&lc::RSA_PKCS1_SHA384, hash),
        RsaPkcs1(hash @ Hash::Sha512) => (&lc::RSA_PKCS1_SHA512, hash),
        _ => return None,
    })
}

fn sign_ml_dsa(pair: &PqdsaKeyPair, message: Message<'_>) -> Result<Vec<u8>> {
    let (scheme, failed) = (SignatureScheme::MlDsa, |_| Error::Library("sign"));
    let len = pair.algorithm().signature_len();
    if let Message::ExternalMu(mu) = message {
        let pkcs8 = pair.to_pkcs8v1().map_err(failed)?;
        return aws_lc::sign_mu(pkcs8.as_ref(), digest_array(mu, scheme)?, len).ok_or(Error::Library("sign"));
    }
    let mut signature = vec![0; len];
    pair.sign(message.raw(scheme)?, &mut signature).map_err(failed)?;
    Ok(signature)
}

/// The form in which AWS-LC's Ed25519ph takes a private key: the seed, then the public key. `inside` is an octet string
/// with the seed (RFC 8410, section 7).
fn expand_ed25519(inside: &[u8], public: &[u8]) -> Result<SecretBytes> {
    let seed = match inside {
        [0x04, 0x20, seed @ ..] if seed.len() + public.len() == ED25519_PRIVATE_LEN => seed,
        _ => return Err(KeyType::Ed25519.bad("no seed inside the PKCS#8")),
    };
    let mut expanded = SecretBytes::zeroed(ED25519_PRIVATE_LEN);
    let (first, second) = expanded.expose_mut().split_at_mut(seed.len());
    first.copy_from_slice(seed);
    second.copy_from_slice(public);
    Ok(expanded)
}
