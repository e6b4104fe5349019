//! What is secret stays so: values that are not told, flags that go one way, and what a key remembers of its past.

use super::*;

const SENSITIVE: &str = "CKR_ATTRIBUTE_SENSITIVE";
const READ_ONLY: &str = "CKR_ATTRIBUTE_READ_ONLY";

/// Whether a key of these flags tells its value.
fn tells(sensitive: bool, extractable: bool) -> bool {
    extractable && !sensitive
}

const ALL_FLAGS: [(bool, bool); 4] = [(true, true), (true, false), (false, true), (false, false)];

fn guarded(sensitive: bool, extractable: bool) -> [(u64, Value<'static>); 2] {
    [(ck::CKA_SENSITIVE, F(sensitive)), (ck::CKA_EXTRACTABLE, F(extractable))]
}

#[test]
fn the_value_of_a_sensitive_or_unextractable_secret_key_is_not_told() {
    with_token(|token| {
        let wrapping = aes(token, &[]);
        for kept in [true, false] {
            for (sensitive, extractable) in ALL_FLAGS {
                let value = crate::crypto::random::array::<32>();
                let flags = [&guarded(sensitive, extractable)[..], &[(ck::CKA_TOKEN, F(kept))]].concat();
                let id = token.create(brought(ck::CKK_AES, &value, &flags)).unwrap();
                let found = || token.find(&template(&[(ck::CKA_VALUE, B(&value))])).unwrap();
                let outcome = read(token, id, ck::CKA_VALUE);
                if tells(sensitive, extractable) {
                    assert!(outcome.unwrap() == value && found() == [id]);
                } else {
                    assert_eq!(name(outcome), SENSITIVE);
                    assert_eq!(found(), [], "found by its value");
                }
                let wrapped = token.wrap(wrapping, id, ck::CKM_AES_KEY_WRAP, &none());
                assert_eq!(name(wrapped), if extractable { "ok" } else { "CKR_KEY_UNEXTRACTABLE" });
                token.destroy(id).unwrap();
            }
        }
    });
}

#[test]
fn a_guess_of_the_value_is_not_confirmed() {
    with_token(|token| {
        // A value that can be guessed in 256 attempts, if anything tells a right one from a wrong one.
        for kept in [true, false] {
            let flags =
                [&guarded(true, false)[..], &[(ck::CKA_TOKEN, F(kept)), (ck::CKA_CHECK_VALUE, B(b""))]]
                    .concat();
            let id = token.create(brought(ck::CKK_GENERIC_SECRET, &[0x5a], &flags)).unwrap();
            for guess in [0x5a, 0x5b] {
                let value = template(&[(ck::CKA_VALUE, B(&[guess]))]);
                assert_eq!(name(token.set(id, &value)), READ_ONLY, "set to {guess}");
                assert_eq!(name(token.copy(id, value.clone())), READ_ONLY, "copied with {guess}");
                assert_eq!(token.find(&value).unwrap(), [], "found by {guess}");
            }
        }
    });
}

#[test]
fn no_secret_number_of_a_private_key_is_told() {
    let numbers = [
        ck::CKA_PRIVATE_EXPONENT,
        ck::CKA_PRIME_1,
        ck::CKA_PRIME_2,
        ck::CKA_EXPONENT_1,
        ck::CKA_EXPONENT_2,
        ck::CKA_COEFFICIENT,
    ];
    with_token(|token| {
        for (sensitive, extractable) in ALL_FLAGS {
            let [_, rsa] = rsa(token, &[], &guarded(sensitive, extractable));
            let [_, ec] = p256(token, &guarded(sensitive, extractable));
            let secrets = numbers.map(|kind| (rsa, kind)).into_iter().chain([(ec, ck::CKA_VALUE)]);
            for (id, kind) in secrets {
                let outcome = read(token, id, kind);
                if tells(sensitive, extractable) {
                    assert_eq!(token.find(&template(&[(kind, B(&outcome.unwrap()))])).unwrap(), [id]);
                } else {
                    assert_eq!(name(outcome), SENSITIVE, "{kind:#x}");
                }
            }
            assert_eq!(read(token, rsa, ck::CKA_MODULUS).unwrap().len(), 128, "what is public is told");
            assert_eq!(name(read(token, rsa, ck::CKA_VALUE)), "CKR_ATTRIBUTE_TYPE_INVALID");
        }
    });
}

#[test]
fn one_secret_attribute_does_not_hide_the_others() {
    with_token(|token| {
        let id = aes(token, &[(ck::CKA_LABEL, B(b"label"))]);
        let all =
            token.read(id, &[ck::CKA_VALUE, ck::CKA_LABEL, ck::CKA_MODULUS, ck::CKA_VALUE_LEN]).unwrap();
        let outcomes: Vec<_> = all.into_iter().map(|(_, outcome)| name(outcome)).collect();
        assert_eq!(outcomes, [SENSITIVE, "ok", "CKR_ATTRIBUTE_TYPE_INVALID", "ok"]);
    });
}

/// Flags that go one way, and where to.
const ONE_WAY: [(u64, bool); 4] = [
    (ck::CKA_SENSITIVE, true),
    (ck::CKA_EXTRACTABLE, false),
    (ck::CKA_WRAP_WITH_TRUSTED, true),
    (ck::CKA_COPYABLE, false),
];

#[test]
fn guarding_flags_go_in_their_one_direction() {
    with_token(|token| {
        for kept in [true, false] {
            for (kind, to) in ONE_WAY {
                let (there, back) = (template(&[(kind, F(to))]), template(&[(kind, F(!to))]));
                let id = aes(token, &[(ck::CKA_TOKEN, F(kept)), (kind, F(!to))]);
                token.set(id, &back).unwrap();
                token.set(id, &there).unwrap();
                assert_eq!(flag(token, id, kind), to);
                assert_eq!(name(token.set(id, &back)), READ_ONLY, "{kind:#x}");
                assert_eq!(name(token.set(id, &there)), "ok", "{kind:#x} stays");
                let both = template(&[(kind, F(!to)), (ck::CKA_LABEL, B(b"new"))]);
                assert_eq!(name(token.set(id, &both)), READ_ONLY);
                assert_eq!(read(token, id, ck::CKA_LABEL).unwrap(), b"", "all changes or none");
                assert_eq!(flag(token, id, kind), to);
            }
        }
    });
}

#[test]
fn a_copy_is_no_way_around_a_flag() {
    with_token(|token| {
        for (kind, to) in ONE_WAY {
            let id = aes(token, &[(kind, F(!to))]);
            let copy = token.copy(id, template(&[(kind, F(to))])).unwrap();
            assert!(flag(token, copy, kind) == to && flag(token, id, kind) != to);
            let back = token.copy(copy, template(&[(kind, F(!to))]));
            let expected = if kind == ck::CKA_COPYABLE { "CKR_ACTION_PROHIBITED" } else { READ_ONLY };
            assert_eq!(name(back), expected, "{kind:#x}");
        }
        let id = aes(token, &[]);
        assert_eq!(name(token.copy(id, template(&[(ck::CKA_PRIVATE, F(false))]))), READ_ONLY);
        for kind in [ck::CKA_CLASS, ck::CKA_KEY_TYPE, ck::CKA_VALUE_LEN] {
            assert_eq!(name(token.copy(id, template(&[(kind, N(1))]))), READ_ONLY, "{kind:#x}");
        }
        for kind in [ck::CKA_LOCAL, ck::CKA_ALWAYS_SENSITIVE, ck::CKA_NEVER_EXTRACTABLE] {
            let other = !flag(token, id, kind);
            assert_eq!(name(token.copy(id, template(&[(kind, F(other))]))), READ_ONLY, "{kind:#x}");
            assert_eq!(name(token.set(id, &template(&[(kind, F(other))]))), READ_ONLY, "{kind:#x}");
        }
    });
}

#[test]
fn a_copy_is_an_object_of_its_own_with_the_same_key_and_past() {
    with_token(|token| {
        let id = aes(token, &[(ck::CKA_EXTRACTABLE, F(false))]);
        let kept = [(ck::CKA_TOKEN, F(true)), (ck::CKA_MODIFIABLE, F(false)), (ck::CKA_LABEL, B(b"copy"))];
        let copy = token.copy(id, template(&kept)).unwrap();
        assert_ne!(copy, id);
        assert_eq!(read(token, copy, ck::CKA_UNIQUE_ID).unwrap(), copy.to_string().as_bytes());
        for kind in [ck::CKA_LOCAL, ck::CKA_ALWAYS_SENSITIVE, ck::CKA_NEVER_EXTRACTABLE, ck::CKA_TOKEN] {
            assert!(flag(token, copy, kind), "{kind:#x}");
        }
        assert_eq!(name(token.set(copy, &template(&[(ck::CKA_LABEL, B(b"x"))]))), "CKR_ACTION_PROHIBITED");
        token.destroy(id).unwrap();
        assert_eq!(name(encrypt(token, copy, b"plain")), "ok");
        let copy = token.copy(copy, template(&[(ck::CKA_TOKEN, F(false))])).unwrap();
        assert!(!flag(token, copy, ck::CKA_TOKEN));
    });
}

#[test]
fn what_is_not_modifiable_is_not_modified() {
    with_token(|token| {
        for kept in [true, false] {
            let id = aes(token, &[(ck::CKA_TOKEN, F(kept)), (ck::CKA_MODIFIABLE, F(false))]);
            for change in
                [(ck::CKA_LABEL, B(b"x")), (ck::CKA_SENSITIVE, F(true)), (ck::CKA_MODIFIABLE, F(true))]
            {
                assert_eq!(name(token.set(id, &template(&[change]))), "CKR_ACTION_PROHIBITED");
            }
            let id = aes(token, &[(ck::CKA_TOKEN, F(kept))]);
            for kind in [ck::CKA_MODIFIABLE, ck::CKA_DESTROYABLE, ck::CKA_TOKEN, ck::CKA_PRIVATE] {
                let other = !flag(token, id, kind);
                assert_eq!(name(token.set(id, &template(&[(kind, F(other))]))), READ_ONLY, "{kind:#x}");
            }
        }
    });
}

#[test]
fn nobody_makes_a_key_trusted() {
    with_token(|token| {
        let trusted = [(ck::CKA_TRUSTED, F(true))];
        let wrapping = aes(token, &[]);
        assert_eq!(name(token.set(wrapping, &template(&trusted))), READ_ONLY);
        assert_eq!(name(token.copy(wrapping, template(&trusted))), READ_ONLY);
        assert_eq!(name(token.create(brought(ck::CKK_AES, &[1; 16], &trusted))), READ_ONLY);
        let generated = template(&[FOR_ALL, &trusted[..]].concat());
        assert_eq!(name(token.generate(ck::CKM_AES_KEY_GEN, generated)), READ_ONLY);
        let public = template(&[(ck::CKA_EC_PARAMS, B(P256)), trusted[0]]);
        assert_eq!(name(token.generate_pair(ck::CKM_EC_KEY_PAIR_GEN, public, none())), READ_ONLY);
        let certificate =
            [(ck::CKA_CLASS, N(ck::CKO_CERTIFICATE)), (ck::CKA_CERTIFICATE_TYPE, N(ck::CKC_X_509))];
        assert_eq!(name(token.create(template(&[&certificate[..], &trusted].concat()))), READ_ONLY);
        let untrusted = aes(token, &[(ck::CKA_TRUSTED, F(false))]);
        assert!(!flag(token, untrusted, ck::CKA_TRUSTED));

        let guarded = aes(token, &[(ck::CKA_WRAP_WITH_TRUSTED, F(true))]);
        let wrapped = token.wrap(wrapping, guarded, ck::CKM_AES_KEY_WRAP, &none());
        assert_eq!(name(wrapped), "CKR_KEY_NOT_WRAPPABLE");
    });
}

/// `CKA_LOCAL`, `CKA_ALWAYS_SENSITIVE`, `CKA_NEVER_EXTRACTABLE`.
fn past(token: &Token<'_>, id: ObjectId) -> [bool; 3] {
    [ck::CKA_LOCAL, ck::CKA_ALWAYS_SENSITIVE, ck::CKA_NEVER_EXTRACTABLE].map(|kind| flag(token, id, kind))
}

#[test]
fn a_key_knows_whether_it_was_made_here_and_always_guarded() {
    with_token(|token| {
        for (sensitive, extractable) in ALL_FLAGS {
            let flags = guarded(sensitive, extractable);
            let made = aes(token, &flags);
            assert_eq!(past(token, made), [true, sensitive, !extractable]);
            let mechanism = read(token, made, ck::CKA_KEY_GEN_MECHANISM).unwrap();
            assert_eq!(mechanism, ck::CKM_AES_KEY_GEN.to_le_bytes());
            let [public, private] = p256(token, &flags);
            assert_eq!(past(token, private), [true, sensitive, !extractable]);
            assert!(flag(token, public, ck::CKA_LOCAL));

            let of_caller = token.create(brought(ck::CKK_AES, &[1; 32], &flags)).unwrap();
            assert_eq!(past(token, of_caller), [false, false, false], "brought");
            let unknown = read(token, of_caller, ck::CKA_KEY_GEN_MECHANISM).unwrap();
            assert_eq!(unknown, [0xff; 8], "CK_UNAVAILABLE_INFORMATION");

            let by = aes(token, &[]);
            let wrapped = token.wrap(by, aes(token, &[]), ck::CKM_AES_KEY_WRAP, &none()).unwrap();
            let own = [(ck::CKA_CLASS, N(ck::CKO_SECRET_KEY)), (ck::CKA_KEY_TYPE, N(ck::CKK_AES))];
            let wanted = template(&[&own[..], &flags].concat());
            let unwrapped = token.unwrap(by, ck::CKM_AES_KEY_WRAP, &none(), &wrapped, wanted).unwrap();
            assert_eq!(past(token, unwrapped), [false, false, false], "unwrapped");
        }
    });
}

#[test]
fn a_derived_key_was_guarded_if_its_base_was_and_it_is() {
    with_token(|token| {
        let derive = |base, flags: &[(u64, Value<'_>)]| {
            let own = [(ck::CKA_KEY_TYPE, N(ck::CKK_AES)), (ck::CKA_VALUE_LEN, N(16))];
            let wanted = template(&[&own[..], flags].concat());
            let data = template(&[(0, B(&[7; 16]))]);
            token.derive(base, ck::CKM_AES_ECB_ENCRYPT_DATA, &data, wanted).unwrap()
        };
        for (base_sensitive, base_extractable) in ALL_FLAGS {
            let base = aes(token, &guarded(base_sensitive, base_extractable));
            for (sensitive, extractable) in ALL_FLAGS {
                let derived = derive(base, &guarded(sensitive, extractable));
                let expected = [false, base_sensitive && sensitive, !base_extractable && !extractable];
                assert_eq!(past(token, derived), expected);
            }
            // The past counts, not what was set since.
            token.set(base, &template(&guarded(true, false))).unwrap();
            let derived = derive(base, &guarded(true, false));
            assert_eq!(past(token, derived), [false, base_sensitive, !base_extractable]);
        }
    });
}

#[test]
fn keys_made_later_sensitive_were_not_always() {
    with_token(|token| {
        let id = aes(token, &guarded(false, true));
        token.set(id, &template(&guarded(true, false))).unwrap();
        assert_eq!(past(token, id), [true, false, false]);
        assert_eq!(name(read(token, id, ck::CKA_VALUE)), SENSITIVE);
        let copy = token.copy(id, none()).unwrap();
        assert_eq!(past(token, copy), [true, false, false]);
    });
}

#[test]
fn no_secret_is_in_what_debug_shows() {
    let value = template(&[(ck::CKA_VALUE, B(&[0x5a; 32]))]);
    let shown = format!("{value:?}");
    assert!(!shown.contains("90, 90") && !shown.to_lowercase().contains("5a5a"), "{shown}");
    let (_scratch, kms, alice) = alice();
    let token = kms.token(&alice, login(&kms, &alice)).unwrap();
    let id = token.create(brought(ck::CKK_AES, &[0x5a; 32], &[(ck::CKA_TOKEN, F(true))])).unwrap();
    let shown = format!("{:?}", kms.core.table().unwrap().objects().get(id).unwrap());
    assert!(!shown.contains("90, 90") && !shown.to_lowercase().contains("5a5a"), "{shown}");
}
