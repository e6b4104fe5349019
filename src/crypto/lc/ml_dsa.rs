//! ML-DSA (FIPS 204) on bare keys, with an empty context.

use super::{Refused, Result};
use aws_lc_rs::signature::{
    KeyPair, ML_DSA_44, ML_DSA_44_SIGNING, ML_DSA_65, ML_DSA_65_SIGNING, ML_DSA_87, ML_DSA_87_SIGNING,
    PqdsaKeyPair, PqdsaSigningAlgorithm, UnparsedPublicKey,
};

/// A parameter set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// ML-DSA-44
    MlDsa44,
    /// ML-DSA-65
    MlDsa65,
    /// ML-DSA-87
    MlDsa87,
}

impl Set {
    fn signing(self) -> &'static PqdsaSigningAlgorithm {
        match self {
            Set::MlDsa44 => &ML_DSA_44_SIGNING,
            Set::MlDsa65 => &ML_DSA_65_SIGNING,
            Set::MlDsa87 => &ML_DSA_87_SIGNING,
        }
    }

    /// The length of a signature, in bytes.
    pub fn signature_length(self) -> usize {
        self.signing().signature_len()
    }

    /// The length of a public key, in bytes.
    pub fn public_length(self) -> usize {
        self.signing().public_key_len()
    }

    /// Whether `signature` is one of a message under a public key.
    pub fn verify(self, public: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let algorithm = match self {
            Set::MlDsa44 => &ML_DSA_44,
            Set::MlDsa65 => &ML_DSA_65,
            Set::MlDsa87 => &ML_DSA_87,
        };
        UnparsedPublicKey::new(algorithm, public).verify(message, signature).is_ok()
    }
}

/// A key pair.
#[derive(Debug)]
pub struct MlDsaKey(PqdsaKeyPair);

impl MlDsaKey {
    /// The one of a seed: 32 random bytes, from which FIPS 204 makes all the rest.
    ///
    /// # Errors
    /// It has another length.
    pub fn new(set: Set, seed: &[u8]) -> Result<MlDsaKey> {
        PqdsaKeyPair::from_seed(set.signing(), seed).map(MlDsaKey).map_err(|_| Refused)
    }

    /// The public key as FIPS 204 encodes it.
    pub fn public(&self) -> Vec<u8> {
        self.0.public_key().as_ref().to_vec()
    }

    /// The signature of a message, hedged.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let mut signature = vec![0; self.0.algorithm().signature_len()];
        let length = self.0.sign(message, &mut signature).map_err(|_| Refused)?;
        signature.truncate(length);
        Ok(signature)
    }
}
