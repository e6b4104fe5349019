//! Signature Version 4, as both sides of a connection compute it.
//!
//! A request is reduced to a canonical text ([`Signed`]), which is signed with a key derived from a secret access
//! key for one day, region and service ([`signing_key`]). Source: AWS IAM User Guide, *Create a signed AWS API
//! request*; checked against AWS's published test suite.

mod canonical;
mod date;

pub use canonical::Signed;
pub use date::{format_date, parse_date};

use crate::crypto::hmac::HmacKey;
use crate::crypto::{Hash, SecretBytes};
use zeroize::Zeroizing;

/// The name of the algorithm.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// What the scope of a credential ends with.
pub const TERMINATOR: &str = "aws4_request";
/// The name of a KMS in a scope.
pub const SERVICE: &str = "kms";

/// The signing key of `secret` for a day (`YYYYMMDD`), region and service.
pub fn signing_key(secret: &SecretBytes, date: &str, region: &str, service: &str) -> HmacKey {
    let mut key = Zeroizing::new([b"AWS4", secret.expose()].concat());
    for part in [date, region, service, TERMINATOR] {
        key = Zeroizing::new(HmacKey::new(Hash::Sha256, &key).sign(part.as_bytes()));
    }
    HmacKey::new(Hash::Sha256, &key)
}

/// The signature of a canonical request: `date` is `YYYYMMDDTHHMMSSZ`, `scope` is `YYYYMMDD/REGION/kms/aws4_request`.
pub fn sign(key: &HmacKey, date: &str, scope: &str, canonical: &[u8]) -> Vec<u8> {
    let digest = hex(&Hash::Sha256.digest(canonical));
    key.sign(format!("{ALGORITHM}\n{date}\n{scope}\n{digest}").as_bytes())
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests;
