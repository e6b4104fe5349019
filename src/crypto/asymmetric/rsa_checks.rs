//! Which RSA keys are good enough to be used.
//!
//! AWS-LC checks that the parts of a private key belong together (`RSA_check_key`) but not that they were chosen well.
//! Here are the conditions of FIPS 186-5, appendix A.1.1, that can be checked without asking whether numbers are prime;
//! [`PrivateKey::check`](super::PrivateKey::check) finds most composite "primes" by using the key.

use rsa::pkcs1::RsaPrivateKey as Pkcs1;
use rsa::pkcs8::der::Decode;
use rsa::pkcs8::der::asn1::UintRef;
use rsa::pkcs8::spki::DecodePublicKey;
use rsa::traits::PublicKeyParts;

use super::{KeyType, Result};

/// The smallest public exponent that FIPS 186-5 allows. Smaller ones have a history of broken paddings.
const MIN_EXPONENT: u64 = 65_537;

/// The public key in `spki`: of exactly the type's size, with an odd exponent of at least 65537.
pub(super) fn parse_public(key_type: KeyType, spki: &[u8]) -> Result<rsa::PublicKey> {
    let key = rsa::PublicKey::from_public_key_der(spki)
        .map_err(|_| key_type.bad("the modulus or the exponent is not one of RSA"))?;
    if Some(key.n().bit_width_vartime() as usize) != key_type.modulus_bits() {
        return Err(key_type.bad("the modulus has another size"));
    }
    if *key.e() < rsa::BoxedUint::from(MIN_EXPONENT) {
        return Err(key_type.bad("the public exponent is less than 65537"));
    }
    Ok(key)
}

/// Checks the primes of a private key in PKCS#1 (RFC 8017): two of them, each half as long as the modulus, and not so
/// close to each other that Fermat's method finds them.
pub(super) fn check_primes(key_type: KeyType, pkcs1: &[u8]) -> Result<()> {
    let key: Pkcs1<UintRef<'_>> =
        Pkcs1::from_der(pkcs1).map_err(|_| key_type.bad("no RSA private key inside the PKCS#8"))?;
    if key.other_prime_infos.is_some() {
        return Err(key_type.bad("more than two primes"));
    }
    let (p, q) = (key.prime1.as_bytes(), key.prime2.as_bytes());
    let half = key_type.modulus_bits().map(|bits| bits / 2);
    if half != Some(bit_len(p)) || half != Some(bit_len(q)) {
        return Err(key_type.bad("the primes are not half as long as the modulus"));
    }
    // At most 100 leading bits may be lost in the difference (FIPS 186-5, A.1.3, step 5.4).
    if half.is_some_and(|bits| difference_bits(p, q) <= bits - 100) {
        return Err(key_type.bad("the primes are too close to each other"));
    }
    Ok(())
}

/// How many bits a big-endian number has.
fn bit_len(number: &[u8]) -> usize {
    match number.iter().position(|&byte| byte != 0) {
        Some(first) => (number.len() - first) * 8 - number[first].leading_zeros() as usize,
        None => 0,
    }
}

/// How many bits |a − b| has, for numbers of the same length in bytes.
fn difference_bits(a: &[u8], b: &[u8]) -> usize {
    let (large, small) = if a >= b { (a, b) } else { (b, a) };
    let (mut borrow, mut bits) = (0, 0);
    for (index, (&x, &y)) in large.iter().zip(small).rev().enumerate() {
        let difference = i16::from(x) - i16::from(y) - borrow;
        borrow = i16::from(difference < 0);
        let byte = difference.rem_euclid(256) as u8;
        if byte != 0 {
            bits = index * 8 + (8 - byte.leading_zeros() as usize);
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bits_are_counted_from_the_first_that_is_set() {
        for (number, bits) in
            [(&[][..], 0), (&[0, 0], 0), (&[1], 1), (&[0, 0x80], 8), (&[1, 0], 9), (&[0xff; 4], 32)]
        {
            assert_eq!(bit_len(number), bits, "{number:?}");
        }
    }

    proptest! {
        #[test]
        fn differences_are_those_of_integers(a: u128, b: u128) {
            let bits = (128 - a.abs_diff(b).leading_zeros()) as usize;
            prop_assert_eq!(difference_bits(&a.to_be_bytes(), &b.to_be_bytes()), bits);
        }

        #[test]
        fn differences_of_near_numbers_are_small(a: u128, offset in 0u128..1000) {
            let b = a.saturating_add(offset);
            let bits = (128 - (b - a).leading_zeros()) as usize;
            prop_assert_eq!(difference_bits(&a.to_be_bytes(), &b.to_be_bytes()), bits);
        }
    }
}
