//! Private RSA keys that AWS-LC would use and that must be refused all the same.

use kmsfs::crypto::asymmetric::{Error, KeyType, PrivateKey};

/// `name hex`, a line each: PKCS#8 structures, all of them well formed.
const KEYS: &str = include_str!("../vectors/rsa-keys.txt");

fn named(name: &str) -> Vec<u8> {
    let line = KEYS.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    hex::decode(line.unwrap()).unwrap()
}

/// What parsing says, and then what using the key once says.
fn import(name: &str) -> Result<(), Error> {
    PrivateKey::from_pkcs8(KeyType::Rsa2048, &named(name))?.check()
}

#[test]
fn a_good_key_is_taken() {
    assert_eq!(import("good"), Ok(()));
}

#[test]
fn keys_chosen_badly_are_refused_with_the_reason() {
    for (name, reason) in [
        ("exponent-3", "the public exponent is less than 65537"),
        ("close-primes", "the primes are too close to each other"),
        ("unbalanced-primes", "the primes are not half as long as the modulus"),
        ("modulus-1024", "the primes are not half as long as the modulus"),
        ("composite-prime", "its halves do not undo each other"),
        ("wrong-private-exponent", "its parts are not valid, or do not belong together"),
        ("wrong-crt-exponent", "its parts are not valid, or do not belong together"),
        ("wrong-modulus", "its parts are not valid, or do not belong together"),
    ] {
        assert_eq!(import(name), Err(Error::BadKey { key_type: KeyType::Rsa2048, reason }), "{name}");
    }
}
