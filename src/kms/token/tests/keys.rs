//! What keys are used for: their flags, their types, wrapping, deriving.

use super::*;

const NOT_PERMITTED: &str = "CKR_KEY_FUNCTION_NOT_PERMITTED";
const INCONSISTENT: &str = "CKR_KEY_TYPE_INCONSISTENT";

#[test]
fn a_key_does_what_its_flags_say_and_nothing_else() {
    with_token(|token| {
        let own = aes(token, &[]);
        let all = aes(token, &[]);
        for (what, outcome) in uses(token, all, own) {
            let expected = match what {
                "decrypt" => "CKR_ENCRYPTED_DATA_INVALID",
                "verify" => "CKR_SIGNATURE_INVALID",
                "unwrap" => "CKR_WRAPPED_KEY_INVALID",
                _ => "ok",
            };
            assert_eq!(outcome, expected, "{what}");
        }
        for (kind, denied) in [
            (ck::CKA_ENCRYPT, "encrypt"),
            (ck::CKA_DECRYPT, "decrypt"),
            (ck::CKA_SIGN, "sign"),
            (ck::CKA_VERIFY, "verify"),
            (ck::CKA_WRAP, "wrap"),
            (ck::CKA_UNWRAP, "unwrap"),
            (ck::CKA_DERIVE, "derive"),
        ] {
            let id = aes(token, &[(kind, F(false))]);
            for (what, outcome) in uses(token, id, own) {
                assert_eq!(outcome == NOT_PERMITTED, what == denied, "{kind:#x}: {what} is {outcome}");
            }
            assert_eq!(
                name(token.set(id, &template(&[(kind, F(true))]))),
                "CKR_ATTRIBUTE_READ_ONLY",
                "{kind:#x}"
            );
            token.set(all, &template(&[(kind, F(false))])).unwrap();
        }
        for (what, outcome) in uses(token, all, own) {
            let needs_no_flag = matches!(what, "be wrapped" | "copy");
            assert_eq!(outcome == NOT_PERMITTED, !needs_no_flag, "all taken away: {what} is {outcome}");
        }
    });
}

/// Clulow's attack: wrap a key, and decrypt what comes of it.
#[test]
fn a_key_that_wraps_does_nothing_else_unless_both_are_asked_for() {
    with_token(|token| {
        let own = aes(token, &[]);
        for wraps in [ck::CKA_WRAP, ck::CKA_UNWRAP] {
            let wanted = template(&[(ck::CKA_VALUE_LEN, N(32)), (wraps, F(true))]);
            let id = token.generate(ck::CKM_AES_KEY_GEN, wanted).unwrap();
            for (what, outcome) in uses(token, id, own) {
                let may = what == if wraps == ck::CKA_WRAP { "wrap" } else { "unwrap" };
                let needs_no_flag = matches!(what, "be wrapped" | "copy");
                assert_eq!(outcome != NOT_PERMITTED, may || needs_no_flag, "{what} is {outcome}");
            }
            for use_it in [ck::CKA_ENCRYPT, ck::CKA_DECRYPT, ck::CKA_SIGN, ck::CKA_DERIVE] {
                assert_eq!(name(token.set(id, &template(&[(use_it, F(true))]))), "CKR_ATTRIBUTE_READ_ONLY");
            }
            assert_eq!(
                name(token.copy(id, template(&[(ck::CKA_DECRYPT, F(true))]))),
                "CKR_ATTRIBUTE_READ_ONLY"
            );
        }
    });
}

#[test]
fn nothing_is_made_of_a_key_that_is_not_to_be_changed() {
    with_token(|token| {
        let id = aes(token, &[(ck::CKA_MODIFIABLE, F(false)), (ck::CKA_DESTROYABLE, F(false))]);
        for (kind, value) in [(ck::CKA_MODIFIABLE, true), (ck::CKA_DESTROYABLE, true), (ck::CKA_SIGN, false)]
        {
            let outcome = name(token.copy(id, template(&[(kind, F(value))])));
            assert_eq!(outcome, "CKR_ACTION_PROHIBITED", "{kind:#x}");
        }
        let copy = token.copy(id, template(&[(ck::CKA_LABEL, B(b"a copy"))])).unwrap();
        assert!(!flag(token, copy, ck::CKA_MODIFIABLE) && !flag(token, copy, ck::CKA_DESTROYABLE));
    });
}

#[test]
fn each_half_of_a_pair_does_its_part() {
    with_token(|token| {
        let run = |key, function, data: &[u8]| {
            name(token.run(key, function, ck::CKM_RSA_PKCS, &none(), message(data)))
        };
        let [public, private] = rsa(token, &[], &[]);
        assert_eq!(run(public, Function::Encrypt, b"x"), "ok");
        assert_eq!(run(private, Function::Sign, b"x"), "ok");
        for (key, function) in [
            (public, Function::Decrypt),
            (public, Function::Sign),
            (private, Function::Encrypt),
            (private, Function::Verify),
        ] {
            assert_eq!(run(key, function, &[1; 128]), NOT_PERMITTED, "{function:?}");
        }
        let nothing = [ck::CKA_ENCRYPT, ck::CKA_VERIFY].map(|kind| (kind, F(false)));
        let less = [ck::CKA_DECRYPT, ck::CKA_SIGN].map(|kind| (kind, F(false)));
        let [public, private] = rsa(token, &nothing, &less);
        assert_eq!(run(public, Function::Encrypt, b"x"), NOT_PERMITTED);
        assert_eq!(run(public, Function::Verify, b"x"), NOT_PERMITTED);
        assert_eq!(run(private, Function::Decrypt, &[1; 128]), NOT_PERMITTED);
        assert_eq!(run(private, Function::Sign, b"x"), NOT_PERMITTED);
        for (kind, id) in [(ck::CKA_WRAP, public), (ck::CKA_UNWRAP, private), (ck::CKA_DERIVE, private)] {
            assert!(!flag(token, id, kind), "{kind:#x} is off, unless it is said to be on");
        }
    });
}

#[test]
fn a_mechanism_takes_keys_of_its_types_alone() {
    with_token(|token| {
        let key = aes(token, &[]);
        let hmac = token.create(brought(ck::CKK_SHA256_HMAC, &[1; 32], &[])).unwrap();
        let generic =
            token.create(brought(ck::CKK_GENERIC_SECRET, &[1; 32], &[(ck::CKA_DERIVE, F(true))])).unwrap();
        let des = token.generate(ck::CKM_DES3_KEY_GEN, none()).unwrap();
        let [_, rsa] = rsa(token, &[], &[]);
        let [_, ec] = p256(token, &[]);
        let sign = |key, mechanism| name(sign(token, key, mechanism, b"data"));
        for (key, mechanisms) in [
            (key, &[ck::CKM_SHA256_HMAC, ck::CKM_SHA256_RSA_PKCS, ck::CKM_ECDSA_SHA256, ck::CKM_DSA][..]),
            (hmac, &[ck::CKM_AES_CMAC, ck::CKM_SHA_1_HMAC, ck::CKM_SHA512_HMAC, ck::CKM_EDDSA]),
            (generic, &[ck::CKM_AES_CMAC]),
            (des, &[ck::CKM_AES_CMAC, ck::CKM_SHA256_HMAC]),
            (rsa, &[ck::CKM_ECDSA_SHA256, ck::CKM_EDDSA, ck::CKM_ML_DSA, ck::CKM_SHA256_HMAC]),
            (ec, &[ck::CKM_SHA256_RSA_PKCS, ck::CKM_EDDSA, ck::CKM_AES_CMAC, ck::CKM_DSA_SHA256]),
        ] {
            for mechanism in mechanisms {
                assert_eq!(sign(key, *mechanism), INCONSISTENT, "{mechanism:#x}");
            }
        }
        for (key, mechanism) in [
            (key, ck::CKM_AES_CMAC),
            (hmac, ck::CKM_SHA256_HMAC),
            (generic, ck::CKM_SHA512_HMAC),
            (rsa, ck::CKM_SHA256_RSA_PKCS),
            (ec, ck::CKM_ECDSA_SHA256),
        ] {
            assert_eq!(sign(key, mechanism), "ok", "{mechanism:#x}");
        }
        assert_eq!(name(encrypt(token, des, b"plain")), INCONSISTENT);
        assert_eq!(name(encrypt(token, generic, b"plain")), INCONSISTENT);
        let wrap = token.wrap(aes(token, &[]), des, ck::CKM_RSA_PKCS, &none());
        assert_eq!(name(wrap), INCONSISTENT);
        let data = template(&[(0, B(&[7; 16]))]);
        let derive = token.derive(generic, ck::CKM_AES_ECB_ENCRYPT_DATA, &data, none());
        assert_eq!(name(derive), INCONSISTENT);
        let object = token.create(data_object()).unwrap();
        assert_eq!(sign(object, ck::CKM_AES_CMAC), "CKR_KEY_HANDLE_INVALID", "no key");
    });
}

fn data_object() -> Template {
    data(b"x", &[(ck::CKA_PRIVATE, F(false))])
}

#[test]
fn a_mechanism_does_what_it_is_for_and_unknown_ones_nothing() {
    with_token(|token| {
        let key = aes(token, &[]);
        let invalid = "CKR_MECHANISM_INVALID";
        for mechanism in [ck::CKM_AES_CMAC, ck::CKM_SHA256, ck::CKM_AES_KEY_GEN, ck::CKM_MD5, 0xdead_beef] {
            let run = token.run(key, Function::Encrypt, mechanism, &none(), message(b"x"));
            assert_eq!(name(run), invalid, "{mechanism:#x}");
        }
        assert_eq!(name(sign(token, key, ck::CKM_AES_CBC, b"x")), invalid);
        assert_eq!(name(token.generate(ck::CKM_AES_CBC, none())), invalid);
        assert_eq!(name(token.generate(ck::CKM_EC_KEY_PAIR_GEN, none())), invalid);
        assert_eq!(name(token.generate_pair(ck::CKM_AES_KEY_GEN, none(), none())), invalid);
        assert_eq!(name(token.derive(key, ck::CKM_AES_CBC, &none(), none())), invalid);
        assert_eq!(name(token.wrap(key, key, ck::CKM_AES_ECB, &none())), invalid);
        assert_eq!(name(token.unwrap(key, ck::CKM_AES_CMAC, &none(), &[0; 24], none())), invalid);
    });
}

#[test]
fn parameters_that_are_none_of_a_mechanism_are_refused() {
    with_token(|token| {
        let key = aes(token, &[]);
        let [public, private] = rsa(token, &[], &[]);
        let invalid = "CKR_MECHANISM_PARAM_INVALID";
        let run = |key, function, mechanism, parameter: &[(u64, Value<'_>)]| {
            name(token.run(key, function, mechanism, &template(parameter), message(&[1; 32])))
        };
        for iv in [0, 8, 15, 17] {
            let vector = [(0, B(&[9; 17][..iv]))];
            for mechanism in [ck::CKM_AES_CBC, ck::CKM_AES_CBC_PAD, ck::CKM_AES_CTR] {
                assert_eq!(run(key, Function::Encrypt, mechanism, &vector), invalid, "{mechanism:#x} {iv}");
                assert_eq!(run(key, Function::Decrypt, mechanism, &vector), invalid, "{mechanism:#x} {iv}");
            }
        }
        assert_eq!(run(key, Function::Encrypt, ck::CKM_AES_ECB, &[(0, B(&[9; 16]))]), invalid);
        let nonce = (0, B(&[9; 12][..]));
        for bits in [0, 8, 32, 64, 95, 97, 127, 129, 136, u64::MAX] {
            assert_eq!(
                run(key, Function::Encrypt, ck::CKM_AES_GCM, &[nonce, (2, N(bits))]),
                invalid,
                "{bits}"
            );
        }
        for nonce in [&[][..], &[9; 257]] {
            assert_eq!(run(key, Function::Encrypt, ck::CKM_AES_GCM, &[(0, B(nonce)), (2, N(128))]), invalid);
        }
        assert_eq!(run(key, Function::Encrypt, ck::CKM_AES_GCM, &[nonce, (2, N(96))]), "ok");
        let pss = |hash, mask, salt| {
            let parameter = [(0, N(hash)), (1, N(mask)), (2, N(salt))];
            run(private, Function::Sign, ck::CKM_SHA256_RSA_PKCS_PSS, &parameter)
        };
        assert_eq!(pss(ck::CKM_SHA256, ck::CKG_MGF1_SHA256, 32), "ok");
        assert_eq!(pss(ck::CKM_SHA_1, ck::CKG_MGF1_SHA256, 32), invalid, "another hash than the mechanism's");
        assert_eq!(pss(ck::CKM_SHA256, 77, 32), invalid);
        assert_ne!(pss(ck::CKM_SHA256, ck::CKG_MGF1_SHA256, u64::MAX), "ok");
        assert_eq!(run(public, Function::Encrypt, ck::CKM_RSA_PKCS_OAEP, &[]), invalid);
        assert_eq!(run(public, Function::Encrypt, ck::CKM_RSA_PKCS_OAEP, &[(0, N(1)), (1, N(1))]), invalid);
    });
}

#[test]
fn a_signature_is_told_from_what_is_none() {
    with_token(|token| {
        let key = aes(token, &[]);
        let hmac = token.create(brought(ck::CKK_GENERIC_SECRET, &[1; 32], &[])).unwrap();
        let [ec_public, ec] = p256(token, &[]);
        let [rsa_public, rsa] = rsa(token, &[], &[]);
        let ed25519 = template(&[(ck::CKA_EC_PARAMS, B(&[0x06, 0x03, 0x2b, 0x65, 0x70]))]);
        let ed25519 = token.generate_pair(ck::CKM_EC_EDWARDS_KEY_PAIR_GEN, ed25519, none()).unwrap();
        let set = template(&[(ck::CKA_PARAMETER_SET, N(ck::CKP_ML_DSA_44))]);
        let ml_dsa = token.generate_pair(ck::CKM_ML_DSA_KEY_PAIR_GEN, set, none()).unwrap();
        for (public, private, mechanism) in [
            (key, key, ck::CKM_AES_CMAC),
            (hmac, hmac, ck::CKM_SHA256_HMAC),
            (ec_public, ec, ck::CKM_ECDSA_SHA256),
            (ec_public, ec, ck::CKM_ECDSA),
            (rsa_public, rsa, ck::CKM_SHA256_RSA_PKCS),
            (rsa_public, rsa, ck::CKM_RSA_PKCS),
            (ed25519[0], ed25519[1], ck::CKM_EDDSA),
            (ml_dsa[0], ml_dsa[1], ck::CKM_ML_DSA),
        ] {
            let signature = sign(token, private, mechanism, b"data").unwrap();
            let outcome =
                |data: &[u8], signature: &[u8]| name(verify(token, public, mechanism, data, signature));
            assert_eq!(outcome(b"data", &signature), "ok", "{mechanism:#x}");
            assert_eq!(outcome(b"dato", &signature), "CKR_SIGNATURE_INVALID", "{mechanism:#x}");
            let mut flipped = signature.clone();
            flipped[signature.len() / 2] ^= 1;
            assert_eq!(outcome(b"data", &flipped), "CKR_SIGNATURE_INVALID", "{mechanism:#x}");
            for wrong in [&signature[1..], &[]] {
                assert_ne!(outcome(b"data", wrong), "ok", "{mechanism:#x}");
            }
        }
        // A digest instead of the message, where the mechanism begins with one.
        let digest = crate::crypto::lc::Digest::Sha256.of(b"data");
        let digest = Message { data: &digest, is_digest: true, signature: &[] };
        let signature = token.run(ec, Function::Sign, ck::CKM_ECDSA_SHA256, &none(), digest).unwrap();
        assert_eq!(name(verify(token, ec_public, ck::CKM_ECDSA_SHA256, b"data", &signature)), "ok");
    });
}

fn oaep() -> Template {
    template(&[(0, N(ck::CKM_SHA256)), (1, N(ck::CKG_MGF1_SHA256))])
}

fn gcm() -> Template {
    template(&[(0, B(&[9; 12])), (1, B(b"data")), (2, N(128))])
}

#[test]
fn a_wrapped_secret_key_comes_back_and_no_altered_one_does() {
    with_token(|token| {
        let by = aes(token, &[]);
        let [rsa_public, rsa_private] = rsa(token, &[(ck::CKA_WRAP, F(true))], &[(ck::CKA_UNWRAP, F(true))]);
        let key = aes(token, &[]);
        let ciphertext = encrypt(token, key, b"plain").unwrap();
        let wanted = template(&[(ck::CKA_CLASS, N(ck::CKO_SECRET_KEY)), (ck::CKA_KEY_TYPE, N(ck::CKK_AES))]);
        for (wrapping, unwrapping, mechanism, parameter) in [
            (by, by, ck::CKM_AES_KEY_WRAP, none()),
            (by, by, ck::CKM_AES_KEY_WRAP_PAD, none()),
            (by, by, ck::CKM_AES_KEY_WRAP_KWP, none()),
            (by, by, ck::CKM_AES_GCM, gcm()),
            (rsa_public, rsa_private, ck::CKM_RSA_PKCS, none()),
            (rsa_public, rsa_private, ck::CKM_RSA_PKCS_OAEP, oaep()),
        ] {
            let wrapped = token.wrap(wrapping, key, mechanism, &parameter).unwrap();
            let unwrap =
                |bytes: &[u8]| token.unwrap(unwrapping, mechanism, &parameter, bytes, wanted.clone());
            let back = unwrap(&wrapped).unwrap();
            assert_eq!(decrypt(token, back, &ciphertext).unwrap(), b"plain", "{mechanism:#x}");
            let before = token.find(&none()).unwrap().len();
            for at in [0, 7, 8, wrapped.len() / 2, wrapped.len() - 1] {
                let mut altered = wrapped.to_vec();
                altered[at] ^= 1;
                // PKCS #1 v1.5 alone does not know: it may well find a padding, and a key of another length.
                let expected = ["CKR_WRAPPED_KEY_INVALID", "CKR_ATTRIBUTE_VALUE_INVALID"];
                let known = if mechanism == ck::CKM_RSA_PKCS { &expected[..] } else { &expected[..1] };
                assert!(known.contains(&name(unwrap(&altered))), "{mechanism:#x}: byte {at}");
            }
            for end in [0, 1, 8, wrapped.len() - 1] {
                assert_eq!(name(unwrap(&wrapped[..end])), "CKR_WRAPPED_KEY_INVALID", "{mechanism:#x}: {end}");
            }
            assert_eq!(token.find(&none()).unwrap().len(), before, "nothing is left of what did not open");
        }
        let odd = token
            .create(brought(ck::CKK_GENERIC_SECRET, &[1; 20], &[(ck::CKA_EXTRACTABLE, F(true))]))
            .unwrap();
        assert_eq!(name(token.wrap(by, odd, ck::CKM_AES_KEY_WRAP, &none())), "CKR_KEY_NOT_WRAPPABLE");
        assert_eq!(name(token.wrap(by, odd, ck::CKM_AES_KEY_WRAP_PAD, &none())), "ok");
    });
}

#[test]
fn a_wrapped_private_key_comes_back() {
    with_token(|token| {
        let by = aes(token, &[]);
        let curve = |oid: &[u8]| template(&[(ck::CKA_EC_PARAMS, B(oid))]);
        let private = || template(&[(ck::CKA_EXTRACTABLE, F(true)), (ck::CKA_DERIVE, F(true))]);
        let p521 = curve(&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23]);
        let ed25519 = curve(&[0x06, 0x03, 0x2b, 0x65, 0x70]);
        let x25519 = curve(&[0x06, 0x03, 0x2b, 0x65, 0x6e]);
        let pair = |mechanism, public| token.generate_pair(mechanism, public, private()).unwrap();
        let x25519 = pair(ck::CKM_EC_MONTGOMERY_KEY_PAIR_GEN, x25519);
        for (pair, key_type, mechanism) in [
            (rsa(token, &[], &[(ck::CKA_EXTRACTABLE, F(true))]), ck::CKK_RSA, ck::CKM_SHA256_RSA_PKCS),
            (p256(token, &[]), ck::CKK_EC, ck::CKM_ECDSA_SHA256),
            (pair(ck::CKM_EC_KEY_PAIR_GEN, p521), ck::CKK_EC, ck::CKM_ECDSA_SHA256),
            (pair(ck::CKM_EC_EDWARDS_KEY_PAIR_GEN, ed25519), ck::CKK_EC_EDWARDS, ck::CKM_EDDSA),
            (x25519, ck::CKK_EC_MONTGOMERY, 0),
        ] {
            let wanted = |key_type| {
                let own = [(ck::CKA_CLASS, N(ck::CKO_PRIVATE_KEY)), (ck::CKA_KEY_TYPE, N(key_type))];
                template(&[&own[..], &[(ck::CKA_DERIVE, F(true))]].concat())
            };
            let wrapped = token.wrap(by, pair[1], ck::CKM_AES_KEY_WRAP_PAD, &none()).unwrap();
            let unwrap = |wanted| token.unwrap(by, ck::CKM_AES_KEY_WRAP_PAD, &none(), &wrapped, wanted);
            let back = unwrap(wanted(key_type)).unwrap();
            if mechanism == 0 {
                let agree = |key| agree(token, key, &read(token, pair[0], ck::CKA_EC_POINT).unwrap());
                assert!(agree(back) == agree(pair[1]));
            } else {
                let signature = sign(token, back, mechanism, b"data").unwrap();
                assert_eq!(
                    name(verify(token, pair[0], mechanism, b"data", &signature)),
                    "ok",
                    "{key_type:#x}"
                );
            }
            let other = if key_type == ck::CKK_RSA { ck::CKK_EC } else { ck::CKK_RSA };
            assert_eq!(name(unwrap(wanted(other))), "CKR_WRAPPED_KEY_INVALID", "as {other:#x}");
            let secret =
                template(&[(ck::CKA_CLASS, N(ck::CKO_SECRET_KEY)), (ck::CKA_KEY_TYPE, N(ck::CKK_AES))]);
            assert_eq!(name(unwrap(secret)), "CKR_ATTRIBUTE_VALUE_INVALID", "as a secret key");
            assert_eq!(
                name(token.wrap(by, pair[0], ck::CKM_AES_KEY_WRAP_PAD, &none())),
                "CKR_KEY_UNEXTRACTABLE"
            );
        }
    });
}

/// The secret shared with the owner of a public key.
fn agree(token: &Token<'_>, key: ObjectId, peer: &[u8]) -> Vec<u8> {
    let wanted = [
        (ck::CKA_KEY_TYPE, N(ck::CKK_GENERIC_SECRET)),
        (ck::CKA_SENSITIVE, F(false)),
        (ck::CKA_EXTRACTABLE, F(true)),
    ];
    let peer = template(&[(0, B(peer)), (1, N(ck::CKD_NULL))]);
    let id = token.derive(key, ck::CKM_ECDH1_DERIVE, &peer, template(&wanted)).unwrap();
    read(token, id, ck::CKA_VALUE).unwrap()
}

/// A bare point and the DER of a shorter one can begin alike.
#[test]
fn both_sides_agree_whatever_the_other_ones_point_begins_with() {
    use crate::crypto::lc::ec::{Curve, EcKey};
    with_token(|token| {
        let [public, private] = p256(token, &[]);
        let own = read(token, public, ck::CKA_EC_POINT).unwrap();
        assert_eq!(own[..3], [4, 65, 4], "as DER has it");
        let mut first_bytes = std::collections::BTreeSet::new();
        // 63 is what the DER of 63 bytes would have there.
        while first_bytes.len() < 40 || !first_bytes.contains(&63) {
            let other = EcKey::generate(Curve::P256).unwrap();
            let point = other.public_point().unwrap();
            if !first_bytes.insert(point[1]) {
                continue;
            }
            let der = [&[4, 65][..], &point].concat();
            let expected = other.agree(Curve::P256, &own[2..]).unwrap();
            assert!(agree(token, private, &point) == expected.expose(), "bare, {}", point[1]);
            assert!(agree(token, private, &der) == expected.expose(), "DER, {}", point[1]);
            let brought = [
                (ck::CKA_CLASS, N(ck::CKO_PUBLIC_KEY)),
                (ck::CKA_KEY_TYPE, N(ck::CKK_EC)),
                (ck::CKA_EC_PARAMS, B(P256)),
            ];
            for form in [&point, &der] {
                let public = template(&[&brought[..], &[(ck::CKA_EC_POINT, B(form))]].concat());
                assert_eq!(name(token.create(public)), "ok", "brought, {}", point[1]);
            }
        }
        let elsewhere = EcKey::generate(Curve::Secp256k1).unwrap().public_point().unwrap();
        for peer in [&[][..], &[0], &[4], &elsewhere, &[4; 65]] {
            let peer = template(&[(0, B(peer)), (1, N(ck::CKD_NULL))]);
            let wanted = template(&[(ck::CKA_KEY_TYPE, N(ck::CKK_AES))]);
            let outcome = token.derive(private, ck::CKM_ECDH1_DERIVE, &peer, wanted);
            assert_eq!(name(outcome), "CKR_MECHANISM_PARAM_INVALID");
        }
    });
}

/// SEC 1, section 3.6.1, by hand.
#[test]
fn a_derivation_function_stretches_the_shared_secret() {
    use crate::crypto::lc::Digest;
    with_token(|token| {
        let ([_, private], [peer, _]) = (p256(token, &[]), p256(token, &[]));
        let peer = read(token, peer, ck::CKA_EC_POINT).unwrap();
        let shared = agree(token, private, &peer);
        let blocks = [1, 2].map(|counter: u32| {
            Digest::Sha256.of(&[&shared[..], &counter.to_be_bytes(), b"shared data"].concat())
        });
        let derive = |length: u64| {
            let parameter = [(0, B(&peer[..])), (1, N(ck::CKD_SHA256_KDF)), (2, B(b"shared data"))];
            let wanted = [
                (ck::CKA_KEY_TYPE, N(ck::CKK_GENERIC_SECRET)),
                (ck::CKA_VALUE_LEN, N(length)),
                (ck::CKA_SENSITIVE, F(false)),
                (ck::CKA_EXTRACTABLE, F(true)),
            ];
            token.derive(private, ck::CKM_ECDH1_DERIVE, &template(&parameter), template(&wanted))
        };
        let id = derive(50).unwrap();
        assert!(read(token, id, ck::CKA_VALUE).unwrap() == blocks.concat()[..50]);
        for length in [0, 4097, 1 << 32, 1 << 46, u64::MAX - 31, u64::MAX] {
            assert_ne!(name(derive(length)), "ok", "{length} bytes");
        }
    });
}

#[test]
fn a_derived_key_is_no_longer_than_what_there_is() {
    with_token(|token| {
        let base = aes(token, &[]);
        let derive = |data: usize, length: u64| {
            let wanted =
                template(&[(ck::CKA_KEY_TYPE, N(ck::CKK_GENERIC_SECRET)), (ck::CKA_VALUE_LEN, N(length))]);
            let data = template(&[(0, B(&[7; 64][..data]))]);
            name(token.derive(base, ck::CKM_AES_ECB_ENCRYPT_DATA, &data, wanted))
        };
        assert_eq!((derive(32, 32), derive(32, 1)), ("ok", "ok"));
        for (data, length) in [(32, 33), (16, 17), (15, 8), (0, 1), (32, u64::MAX)] {
            assert_ne!(derive(data, length), "ok", "{length} bytes of {data}");
        }
    });
}
