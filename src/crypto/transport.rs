//! How key material travels from its owner into the KMS: encrypted to an RSA key made for the purpose.
//!
//! Two ways, both those of AWS KMS. Short material is encrypted with RSAES-OAEP itself. Longer material, such as a
//! private key, is wrapped with AES (RFC 5649, key wrap with padding) under a key that is encrypted with RSAES-OAEP in
//! front of it; PKCS#11 calls that CKM_RSA_AES_KEY_WRAP.

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};

use super::asymmetric::{Error, OaepHash, PrivateKey, Result};
use super::{KEY_LEN, SecretBytes};

/// How material is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapping {
    /// RSAES-OAEP of the material.
    Oaep(OaepHash),
    /// RSAES-OAEP of an AES-256 key, then the material wrapped under that key.
    OaepAesKeyWrap(OaepHash),
}

/// Unwraps key material with the private half of an RSA key. The caller checks what it is.
///
/// # Errors
/// [`Error::BadCiphertext`] whatever is wrong with what was wrapped, [`Error::WrongOperation`] if `key` is not an RSA
/// key.
pub fn unwrap(key: &PrivateKey, wrapping: Wrapping, wrapped: &[u8]) -> Result<SecretBytes> {
    match wrapping {
        Wrapping::Oaep(hash) => key.decrypt_oaep(hash, wrapped),
        Wrapping::OaepAesKeyWrap(hash) => {
            let modulus_len = key.key_type().modulus_bits().unwrap_or_default() / 8;
            let (encrypted, wrapped) = wrapped.split_at_checked(modulus_len).ok_or(Error::BadCiphertext)?;
            unwrap_aes(&key.decrypt_oaep(hash, encrypted)?, wrapped)
        }
    }
}

fn unwrap_aes(key: &SecretBytes, wrapped: &[u8]) -> Result<SecretBytes> {
    if key.len() != KEY_LEN {
        return Err(Error::BadCiphertext);
    }
    let key = AesKek::new(&AES_256, key.expose()).map_err(|_| Error::Library("prepare a wrapping key"))?;
    let mut material = SecretBytes::zeroed(wrapped.len());
    let len =
        key.unwrap_with_padding(wrapped, material.expose_mut()).map_err(|_| Error::BadCiphertext)?.len();
    material.truncate(len);
    Ok(material)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::super::asymmetric::KeyType;
    use super::*;

    fn wrapping_key() -> PrivateKey {
        let pkcs8 = PrivateKey::generate(KeyType::Rsa2048).unwrap();
        PrivateKey::from_pkcs8(KeyType::Rsa2048, pkcs8.expose()).unwrap()
    }

    fn wrap(key: &PrivateKey, hash: OaepHash, aes_key: &[u8], material: &[u8]) -> Vec<u8> {
        let mut wrapped = key.public().encrypt_oaep(hash, aes_key).unwrap();
        let mut out = vec![0; material.len() + 15];
        let kek = AesKek::new(&AES_256, &[7; KEY_LEN]).unwrap();
        wrapped.extend_from_slice(kek.wrap_with_padding(material, &mut out).unwrap());
        wrapped
    }

    #[test]
    fn material_of_every_length_arrives_whole() {
        let key = wrapping_key();
        for hash in [OaepHash::Sha1, OaepHash::Sha256] {
            let sealed = key.public().encrypt_oaep(hash, &[3; 32]).unwrap();
            assert_eq!(unwrap(&key, Wrapping::Oaep(hash), &sealed).unwrap().expose(), [3; 32]);
            for len in [1, 7, 8, 9, 32, 121, 1216, 2375] {
                let material: Vec<u8> = (0..len).map(|i| i as u8).collect();
                let wrapped = wrap(&key, hash, &[7; KEY_LEN], &material);
                let arrived = unwrap(&key, Wrapping::OaepAesKeyWrap(hash), &wrapped).unwrap();
                assert_eq!(arrived.expose(), material);
            }
        }
    }

    #[test]
    fn whatever_was_altered_is_refused_alike() {
        let (key, wrapping) = (wrapping_key(), Wrapping::OaepAesKeyWrap(OaepHash::Sha256));
        let wrapped = wrap(&key, OaepHash::Sha256, &[7; KEY_LEN], &[9; 100]);
        for position in [0, 255, 256, 270, wrapped.len() - 1] {
            let mut altered = wrapped.clone();
            altered[position] ^= 1;
            assert_eq!(unwrap(&key, wrapping, &altered), Err(Error::BadCiphertext), "byte {position}");
        }
        for len in [0, 1, 255, 256, 264, 271, wrapped.len() - 8, wrapped.len() - 1] {
            assert_eq!(unwrap(&key, wrapping, &wrapped[..len]), Err(Error::BadCiphertext), "{len} bytes");
        }
        assert_eq!(unwrap(&key, Wrapping::Oaep(OaepHash::Sha256), &wrapped), Err(Error::BadCiphertext));
        assert_eq!(unwrap(&wrapping_key(), wrapping, &wrapped), Err(Error::BadCiphertext), "another key");
    }

    #[test]
    fn only_an_aes_256_key_wraps() {
        let key = wrapping_key();
        for len in [0, 16, 24, 31, 33] {
            let wrapped = wrap(&key, OaepHash::Sha256, &vec![7; len], &[9; 32]);
            let outcome = unwrap(&key, Wrapping::OaepAesKeyWrap(OaepHash::Sha256), &wrapped);
            assert_eq!(outcome, Err(Error::BadCiphertext), "{len} bytes");
        }
    }

    #[test]
    fn only_rsa_keys_unwrap() {
        let pkcs8 = PrivateKey::generate(KeyType::P256).unwrap();
        let key = PrivateKey::from_pkcs8(KeyType::P256, pkcs8.expose()).unwrap();
        for wrapping in [Wrapping::Oaep(OaepHash::Sha1), Wrapping::OaepAesKeyWrap(OaepHash::Sha256)] {
            let refusal = Error::WrongOperation { key_type: KeyType::P256, operation: "decrypt" };
            assert_eq!(unwrap(&key, wrapping, &[0; 300]), Err(refusal));
        }
    }
}
