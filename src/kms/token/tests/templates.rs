//! Templates: what a new object must have, may have, and must not have.

use super::*;

const INCOMPLETE: &str = "CKR_TEMPLATE_INCOMPLETE";
const INCONSISTENT: &str = "CKR_TEMPLATE_INCONSISTENT";
const READ_ONLY: &str = "CKR_ATTRIBUTE_READ_ONLY";
const UNKNOWN: &str = "CKR_ATTRIBUTE_TYPE_INVALID";
const BAD_VALUE: &str = "CKR_ATTRIBUTE_VALUE_INVALID";
const BAD_SIZE: &str = "CKR_KEY_SIZE_RANGE";

/// What it is, what comes of it, and its attributes.
type Case<'a> = (&'a str, &'a str, &'a [(u64, Value<'a>)]);

#[test]
fn an_object_that_is_brought_is_whole_and_known() {
    let class = |class| (ck::CKA_CLASS, N(class));
    let key_type = |key_type| (ck::CKA_KEY_TYPE, N(key_type));
    let value = |length| (ck::CKA_VALUE, B(&[1; 64][..length]));
    let curve = (ck::CKA_EC_PARAMS, B(P256));
    let (secret, private, public) = (ck::CKO_SECRET_KEY, ck::CKO_PRIVATE_KEY, ck::CKO_PUBLIC_KEY);
    let cases: &[Case<'_>] = &[
        ("no class", INCOMPLETE, &[key_type(ck::CKK_AES), value(16)]),
        ("nothing", INCOMPLETE, &[]),
        ("no key type", INCOMPLETE, &[class(secret), value(16)]),
        ("no value", INCOMPLETE, &[class(secret), key_type(ck::CKK_AES)]),
        ("no curve", INCOMPLETE, &[class(private), key_type(ck::CKK_EC), value(32)]),
        ("no number", INCOMPLETE, &[class(private), key_type(ck::CKK_EC), curve]),
        ("no point", INCOMPLETE, &[class(public), key_type(ck::CKK_EC), curve]),
        ("no modulus", INCOMPLETE, &[class(public), key_type(ck::CKK_RSA)]),
        ("no prime", INCOMPLETE, &[class(public), key_type(ck::CKK_DSA), value(20)]),
        ("no parameter set", INCOMPLETE, &[class(public), key_type(ck::CKK_ML_DSA), value(32)]),
        ("an unknown class", BAD_VALUE, &[class(77)]),
        ("a mechanism as an object", BAD_VALUE, &[class(ck::CKO_MECHANISM)]),
        ("a vendor's class", BAD_VALUE, &[class(ck::CKO_VENDOR_DEFINED | 1)]),
        ("an unknown key type", BAD_VALUE, &[class(secret), key_type(77), value(16)]),
        ("a pair's type of a secret key", BAD_VALUE, &[class(secret), key_type(ck::CKK_RSA), value(16)]),
        ("a secret key's type of a pair", BAD_VALUE, &[class(public), key_type(ck::CKK_AES), value(16)]),
        ("an AES key of 15 bytes", BAD_VALUE, &[class(secret), key_type(ck::CKK_AES), value(15)]),
        ("an AES key of 0 bytes", BAD_VALUE, &[class(secret), key_type(ck::CKK_AES), value(0)]),
        ("a DES key of 16 bytes", BAD_VALUE, &[class(secret), key_type(ck::CKK_DES3), value(16)]),
        ("no bytes at all", BAD_VALUE, &[class(secret), key_type(ck::CKK_GENERIC_SECRET), value(0)]),
        (
            "another length than that of the value",
            BAD_VALUE,
            &[class(secret), key_type(ck::CKK_AES), value(16), (ck::CKA_VALUE_LEN, N(32))],
        ),
        (
            "another check value than the key's",
            BAD_VALUE,
            &[class(secret), key_type(ck::CKK_AES), value(16), (ck::CKA_CHECK_VALUE, B(&[0; 3]))],
        ),
        (
            "a number that is zero",
            BAD_VALUE,
            &[class(private), key_type(ck::CKK_EC), curve, (ck::CKA_VALUE, B(&[0; 32]))],
        ),
        (
            "a number beyond the order",
            BAD_VALUE,
            &[class(private), key_type(ck::CKK_EC), curve, (ck::CKA_VALUE, B(&[0xff; 32]))],
        ),
        (
            "a point off the curve",
            BAD_VALUE,
            &[class(public), key_type(ck::CKK_EC), curve, (ck::CKA_EC_POINT, B(&[4; 65]))],
        ),
        (
            "the point at infinity",
            BAD_VALUE,
            &[class(public), key_type(ck::CKK_EC), curve, (ck::CKA_EC_POINT, B(&[0]))],
        ),
        (
            "an unknown curve",
            "CKR_CURVE_NOT_SUPPORTED",
            &[class(private), key_type(ck::CKK_EC), (ck::CKA_EC_PARAMS, B(&[6, 1, 1])), value(32)],
        ),
        (
            "a curve of another kind",
            "CKR_CURVE_NOT_SUPPORTED",
            &[class(private), key_type(ck::CKK_EC_EDWARDS), curve, value(32)],
        ),
        ("an attribute of other keys", UNKNOWN, &[class(secret), key_type(ck::CKK_AES), value(16), curve]),
        ("an unknown attribute", UNKNOWN, &[class(ck::CKO_DATA), (0x7777, B(b"x"))]),
        ("a vendor's attribute", UNKNOWN, &[class(ck::CKO_DATA), (ck::CKA_VENDOR_DEFINED | 1, B(b"x"))]),
        ("a flag of data", UNKNOWN, &[class(ck::CKO_DATA), (ck::CKA_SENSITIVE, F(true))]),
        ("an id of its own", READ_ONLY, &[class(ck::CKO_DATA), (ck::CKA_UNIQUE_ID, B(b"x"))]),
        ("LOCAL", READ_ONLY, &[class(secret), key_type(ck::CKK_AES), value(16), (ck::CKA_LOCAL, F(true))]),
        (
            "ALWAYS_SENSITIVE",
            READ_ONLY,
            &[class(secret), key_type(ck::CKK_AES), value(16), (ck::CKA_ALWAYS_SENSITIVE, F(true))],
        ),
        (
            "NEVER_EXTRACTABLE",
            READ_ONLY,
            &[class(secret), key_type(ck::CKK_AES), value(16), (ck::CKA_NEVER_EXTRACTABLE, F(true))],
        ),
        (
            "KEY_GEN_MECHANISM",
            READ_ONLY,
            &[class(secret), key_type(ck::CKK_AES), value(16), (ck::CKA_KEY_GEN_MECHANISM, N(1))],
        ),
        ("a flag that is 2", BAD_VALUE, &[class(ck::CKO_DATA), (ck::CKA_TOKEN, B(&[2]))]),
        ("a flag of two bytes", BAD_VALUE, &[class(ck::CKO_DATA), (ck::CKA_TOKEN, B(&[1, 1]))]),
        ("a flag of none", BAD_VALUE, &[class(ck::CKO_DATA), (ck::CKA_PRIVATE, B(&[]))]),
        ("a class of four bytes", INCOMPLETE, &[(ck::CKA_CLASS, B(&[0; 4]))]),
        (
            "a length of one byte",
            BAD_VALUE,
            &[class(secret), key_type(ck::CKK_AES), value(16), (ck::CKA_VALUE_LEN, B(&[16]))],
        ),
    ];
    with_token(|token| {
        for (what, expected, attributes) in cases {
            assert_eq!(name(token.create(template(attributes))), *expected, "{what}");
        }
        assert_eq!(token.find(&none()).unwrap(), [], "nothing is left of them");
        let values = [(ck::CKA_VALUE_LEN, N(16)), (ck::CKA_LOCAL, F(false)), (ck::CKA_CHECK_VALUE, B(b""))];
        assert_eq!(name(token.create(brought(ck::CKK_AES, &[1; 16], &values))), "ok", "what is so anyway");
    });
}

#[test]
fn a_template_for_a_new_key_goes_with_the_mechanism() {
    with_token(|token| {
        let generate = |mechanism, attributes: &[(u64, Value<'_>)]| {
            name(token.generate(mechanism, template(attributes)))
        };
        let length = |length| (ck::CKA_VALUE_LEN, N(length));
        let (gen_aes, gen_generic) = (ck::CKM_AES_KEY_GEN, ck::CKM_GENERIC_SECRET_KEY_GEN);
        assert_eq!(generate(gen_aes, &[]), INCOMPLETE);
        for bytes in [0, 8, 15, 17, 33, 1 << 40, u64::MAX] {
            assert_eq!(generate(gen_aes, &[length(bytes)]), BAD_SIZE, "{bytes} bytes");
        }
        for bytes in [0, 4097, 1 << 40, u64::MAX] {
            assert_eq!(generate(gen_generic, &[length(bytes)]), BAD_SIZE, "{bytes} bytes");
        }
        assert_eq!(generate(gen_aes, &[length(16), (ck::CKA_CLASS, N(ck::CKO_DATA))]), INCONSISTENT);
        assert_eq!(generate(gen_aes, &[length(16), (ck::CKA_KEY_TYPE, N(ck::CKK_DES3))]), INCONSISTENT);
        assert_eq!(generate(gen_generic, &[length(16), (ck::CKA_KEY_TYPE, N(ck::CKK_AES))]), INCONSISTENT);
        assert_eq!(generate(gen_generic, &[length(16), (ck::CKA_KEY_TYPE, N(ck::CKK_SHA256_HMAC))]), "ok");
        assert_eq!(generate(gen_aes, &[length(16), (ck::CKA_VALUE, B(&[1; 16]))]), INCONSISTENT);
        assert_eq!(generate(gen_aes, &[length(16), (ck::CKA_MODULUS, B(&[1]))]), UNKNOWN);
        assert_eq!(generate(gen_aes, &[length(16), (ck::CKA_UNIQUE_ID, B(&[1]))]), READ_ONLY);

        let pair = |mechanism, public: &[(u64, Value<'_>)], private: &[(u64, Value<'_>)]| {
            name(token.generate_pair(mechanism, template(public), template(private)))
        };
        let (rsa, ec) = (ck::CKM_RSA_PKCS_KEY_PAIR_GEN, ck::CKM_EC_KEY_PAIR_GEN);
        assert_eq!(pair(rsa, &[], &[]), INCOMPLETE);
        for bits in [0, 512, 1023, 1025, 1032, 8193, 1 << 40, u64::MAX] {
            assert_eq!(pair(rsa, &[(ck::CKA_MODULUS_BITS, N(bits))], &[]), BAD_SIZE, "{bits} bits");
        }
        for exponent in [&[][..], &[0], &[1], &[2], &[4], &[1; 40]] {
            let public = [(ck::CKA_MODULUS_BITS, N(1024)), (ck::CKA_PUBLIC_EXPONENT, B(exponent))];
            assert_eq!(pair(rsa, &public, &[]), BAD_VALUE, "{exponent:?}");
        }
        assert_eq!(pair(ec, &[], &[]), INCOMPLETE);
        assert_eq!(pair(ec, &[(ck::CKA_EC_PARAMS, B(b"x"))], &[]), "CKR_CURVE_NOT_SUPPORTED");
        let curve = (ck::CKA_EC_PARAMS, B(P256));
        assert_eq!(pair(ec, &[curve, (ck::CKA_KEY_TYPE, N(ck::CKK_RSA))], &[]), INCONSISTENT);
        assert_eq!(pair(ec, &[curve], &[(ck::CKA_CLASS, N(ck::CKO_PUBLIC_KEY))]), INCONSISTENT);
        assert_eq!(pair(ec, &[curve], &[(ck::CKA_ENCRYPT, F(true))]), UNKNOWN);
        assert_eq!(pair(ec, &[curve, (ck::CKA_SENSITIVE, F(true))], &[]), UNKNOWN);
        let set = (ck::CKA_PARAMETER_SET, N(77));
        assert_eq!(pair(ck::CKM_ML_DSA_KEY_PAIR_GEN, &[set], &[]), BAD_VALUE);
        assert_eq!(pair(ck::CKM_ML_DSA_KEY_PAIR_GEN, &[], &[]), INCOMPLETE);
        for prime in [&[][..], &[0; 256], &[3], &[0xff; 64], &[0xff; 1000]] {
            let public = [(ck::CKA_PRIME, B(prime)), (ck::CKA_BASE, B(&[2]))];
            assert_ne!(pair(ck::CKM_DH_PKCS_KEY_PAIR_GEN, &public, &[]), "ok", "{} bytes", prime.len());
        }
        assert!(token.find(&template(&[(ck::CKA_CLASS, N(ck::CKO_PUBLIC_KEY))])).unwrap().is_empty());
    });
}

#[test]
fn an_object_has_defaults() {
    with_token(|token| {
        let id = token.generate(ck::CKM_AES_KEY_GEN, template(&[(ck::CKA_VALUE_LEN, N(32))])).unwrap();
        for (kind, expected) in [
            (ck::CKA_TOKEN, false),
            (ck::CKA_PRIVATE, true),
            (ck::CKA_MODIFIABLE, true),
            (ck::CKA_COPYABLE, true),
            (ck::CKA_DESTROYABLE, true),
            (ck::CKA_SENSITIVE, true),
            (ck::CKA_EXTRACTABLE, false),
            (ck::CKA_WRAP, false),
            (ck::CKA_UNWRAP, false),
            (ck::CKA_DERIVE, false),
            (ck::CKA_WRAP_WITH_TRUSTED, false),
            (ck::CKA_TRUSTED, false),
        ] {
            assert_eq!(flag(token, id, kind), expected, "{kind:#x}");
        }
        assert_eq!(read(token, id, ck::CKA_VALUE_LEN).unwrap(), 32u64.to_le_bytes());
        let object = token.create(data(b"x", &[])).unwrap();
        assert!(!flag(token, object, ck::CKA_PRIVATE));
        assert_eq!(read(token, object, ck::CKA_APPLICATION).unwrap(), b"");
    });
}

#[test]
fn a_change_is_of_attributes_that_change() {
    with_token(|token| {
        let id = aes(token, &[]);
        let set = |attribute: (u64, Value<'_>)| name(token.set(id, &template(&[attribute])));
        assert_eq!(set((ck::CKA_LABEL, B(b"new"))), "ok");
        assert_eq!(set((ck::CKA_ID, B(&[1, 2]))), "ok");
        assert_eq!(set((ck::CKA_CLASS, N(ck::CKO_DATA))), READ_ONLY);
        assert_eq!(set((ck::CKA_KEY_TYPE, N(ck::CKK_DES3))), READ_ONLY);
        assert_eq!(set((ck::CKA_VALUE_LEN, N(16))), READ_ONLY);
        assert_eq!(set((ck::CKA_CHECK_VALUE, B(b""))), READ_ONLY);
        assert_eq!(set((ck::CKA_UNIQUE_ID, B(b"x"))), READ_ONLY);
        assert_eq!(set((ck::CKA_MODULUS, B(b"x"))), UNKNOWN);
        assert_eq!(set((ck::CKA_ENCRYPT, B(&[]))), BAD_VALUE);
        assert_eq!(set((ck::CKA_ENCRYPT, B(&[7]))), BAD_VALUE);
        assert_eq!(read(token, id, ck::CKA_LABEL).unwrap(), b"new");
        let object = token.create(data(b"x", &[])).unwrap();
        token.set(object, &template(&[(ck::CKA_VALUE, B(b"other"))])).unwrap();
        assert_eq!(read(token, object, ck::CKA_VALUE).unwrap(), b"other", "data may change");
        assert_eq!(name(token.set(ObjectId::from_bytes([1; 16]), &none())), "CKR_OBJECT_HANDLE_INVALID");
    });
}

#[test]
fn domain_parameters_are_made_and_taken() {
    with_token(|token| {
        let bits = [(ck::CKA_PRIME_BITS, N(1024))];
        let id = token.generate(ck::CKM_DSA_PARAMETER_GEN, template(&bits)).unwrap();
        assert!(flag(token, id, ck::CKA_LOCAL), "made here");
        assert_eq!(read(token, id, ck::CKA_SUBPRIME_BITS).unwrap(), 160u64.to_le_bytes());
        let kinds = [ck::CKA_PRIME, ck::CKA_SUBPRIME, ck::CKA_BASE];
        let numbers = kinds.map(|kind| read(token, id, kind).unwrap());
        assert_eq!((numbers[0].len(), numbers[1].len()), (128, 20));
        let group: Template = kinds.into_iter().zip(numbers).collect();
        let [public, private] = token.generate_pair(ck::CKM_DSA_KEY_PAIR_GEN, group, none()).unwrap();
        let signature = sign(token, private, ck::CKM_DSA_SHA256, b"data").unwrap();
        assert_eq!(name(verify(token, public, ck::CKM_DSA_SHA256, b"data", &signature)), "ok");
        assert_eq!(
            name(verify(token, public, ck::CKM_DSA_SHA256, b"dato", &signature)),
            "CKR_SIGNATURE_INVALID"
        );
        for bits in [0, 512, 1025, 4096, u64::MAX] {
            let outcome =
                token.generate(ck::CKM_DSA_PARAMETER_GEN, template(&[(ck::CKA_PRIME_BITS, N(bits))]));
            assert_eq!(name(outcome), BAD_SIZE, "{bits} bits");
        }
    });
}
