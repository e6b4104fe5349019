//! Every operation in every state of a key, and what a refusal leaves behind: nothing.

use super::import::{import, imported_key};
use super::*;

/// An operation to try on a key, with what may be used for it: a key that the operation fits.
struct Case {
    name: &'static str,
    spec: KeySpec,
    usage: KeyUsage,
    run: fn(&Kms, &Prepared) -> &'static str,
}

/// A key, and what was made with it while it could be used.
struct Prepared {
    id: String,
    blob: Vec<u8>,
    signature: Vec<u8>,
    mac: Vec<u8>,
    peer: Vec<u8>,
}

fn prepare(kms: &Kms, case: &Case, id: String) -> Prepared {
    let mut prepared = Prepared { id, blob: vec![], signature: vec![], mac: vec![], peer: vec![] };
    let id = prepared.id.as_str();
    kms.create_alias(OPERATOR, &format!("alias/of-{id}"), id).unwrap();
    match case.usage {
        KeyUsage::EncryptDecrypt => {
            prepared.blob = kms.encrypt(OPERATOR, id, SYMMETRIC, b"x", &context()).unwrap().blob;
        }
        KeyUsage::SignVerify => prepared.signature = kms.sign(OPERATOR, id, &SIGNED).unwrap().signature,
        KeyUsage::GenerateVerifyMac => {
            prepared.mac = kms.generate_mac(OPERATOR, id, b"x", MacAlgorithm::HmacSha256).unwrap().mac;
        }
        KeyUsage::EncapsulateDecapsulate => {
            prepared.blob = kms.encapsulate(OPERATOR, id, EncapsulationAlgorithm::MlKem).unwrap().ciphertext;
        }
        KeyUsage::KeyAgreement => {
            let peer = key_of(kms, case.spec, case.usage);
            prepared.peer = kms.public_key(OPERATOR, &peer).unwrap().spki;
        }
    }
    prepared
}

const SIGNED: ToSign<'static> =
    ToSign { message_type: MessageType::Raw, message: b"x", algorithm: SigningAlgorithm::EcdsaSha256 };

const MATERIAL: [u8; 32] = [7; 32];

/// Puts a key into a state by the operations that lead there.
fn bring_to(kms: &Kms, key: &str, state: KeyState) {
    match state {
        KeyState::Enabled => {}
        KeyState::Disabled => kms.disable_key(OPERATOR, key).unwrap(),
        KeyState::PendingDeletion => drop(kms.schedule_key_deletion(OPERATOR, key, 7).unwrap()),
        KeyState::PendingImport => drop(kms.delete_imported_key_material(OPERATOR, key, None).unwrap()),
    }
    assert_eq!(kms.describe_key(OPERATOR, key).unwrap().state, state);
}

const fn on(
    spec: KeySpec,
    usage: KeyUsage,
    name: &'static str,
    run: fn(&Kms, &Prepared) -> &'static str,
) -> Case {
    Case { name, spec, usage, run }
}

const fn symmetric(name: &'static str, run: fn(&Kms, &Prepared) -> &'static str) -> Case {
    on(KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt, name, run)
}

/// Every operation on an existing key but those on policies and grants, by its AWS name.
fn cases() -> Vec<Case> {
    vec![
        symmetric("Encrypt", |kms, k| name(kms.encrypt(OPERATOR, &k.id, SYMMETRIC, b"x", &context()))),
        symmetric("Decrypt", |kms, k| name(kms.decrypt(OPERATOR, None, SYMMETRIC, &k.blob, &context()))),
        symmetric("Decrypt with KeyId", |kms, k| {
            name(kms.decrypt(OPERATOR, Some(&k.id), SYMMETRIC, &k.blob, &context()))
        }),
        symmetric("GenerateDataKey", |kms, k| name(kms.generate_data_key(OPERATOR, &k.id, 32, &context()))),
        symmetric("GenerateDataKeyWithoutPlaintext", |kms, k| {
            name(kms.generate_data_key_without_plaintext(OPERATOR, &k.id, 32, &context()))
        }),
        symmetric("GenerateDataKeyPair", |kms, k| {
            name(kms.generate_data_key_pair(OPERATOR, &k.id, KeySpec::P256, &context()))
        }),
        symmetric("GenerateDataKeyPairWithoutPlaintext", |kms, k| {
            name(kms.generate_data_key_pair_without_plaintext(OPERATOR, &k.id, KeySpec::P256, &context()))
        }),
        symmetric("ReEncrypt", |kms, k| {
            let request = ReEncrypt {
                blob: &k.blob,
                source_key: None,
                source_algorithm: SYMMETRIC,
                source_context: &context(),
                destination_key: &k.id,
                destination_algorithm: SYMMETRIC,
                destination_context: &context(),
            };
            name(kms.re_encrypt(OPERATOR, &request))
        }),
        on(KeySpec::P256, KeyUsage::SignVerify, "Sign", |kms, k| name(kms.sign(OPERATOR, &k.id, &SIGNED))),
        on(KeySpec::P256, KeyUsage::SignVerify, "Verify", |kms, k| {
            name(kms.verify(OPERATOR, &k.id, &SIGNED, &k.signature))
        }),
        on(KeySpec::P256, KeyUsage::SignVerify, "GetPublicKey", |kms, k| {
            name(kms.public_key(OPERATOR, &k.id))
        }),
        on(KeySpec::Hmac256, KeyUsage::GenerateVerifyMac, "GenerateMac", |kms, k| {
            name(kms.generate_mac(OPERATOR, &k.id, b"x", MacAlgorithm::HmacSha256))
        }),
        on(KeySpec::Hmac256, KeyUsage::GenerateVerifyMac, "VerifyMac", |kms, k| {
            name(kms.verify_mac(OPERATOR, &k.id, b"x", MacAlgorithm::HmacSha256, &k.mac))
        }),
        on(KeySpec::P256, KeyUsage::KeyAgreement, "DeriveSharedSecret", |kms, k| {
            name(kms.derive_shared_secret(OPERATOR, &k.id, KeyAgreementAlgorithm::Ecdh, &k.peer))
        }),
        on(KeySpec::MlKem512, KeyUsage::EncapsulateDecapsulate, "Encapsulate", |kms, k| {
            name(kms.encapsulate(OPERATOR, &k.id, EncapsulationAlgorithm::MlKem))
        }),
        on(KeySpec::MlKem512, KeyUsage::EncapsulateDecapsulate, "Decapsulate", |kms, k| {
            name(kms.decapsulate(OPERATOR, &k.id, EncapsulationAlgorithm::MlKem, &k.blob))
        }),
        symmetric("RotateKeyOnDemand", |kms, k| name(kms.rotate_key_on_demand(OPERATOR, &k.id))),
        symmetric("EnableKeyRotation", |kms, k| name(kms.enable_key_rotation(OPERATOR, &k.id, 90))),
        symmetric("DisableKeyRotation", |kms, k| name(kms.disable_key_rotation(OPERATOR, &k.id))),
        symmetric("GetKeyRotationStatus", |kms, k| name(kms.key_rotation_status(OPERATOR, &k.id))),
        symmetric("ListKeyRotations", |kms, k| {
            name(kms.list_key_rotations(OPERATOR, &k.id, true, Page::whole()))
        }),
        symmetric("TagResource", |kms, k| {
            let tags = [Tag { key: "a".into(), value: "b".into() }];
            name(kms.tag_resource(OPERATOR, &k.id, &tags))
        }),
        symmetric("UntagResource", |kms, k| name(kms.untag_resource(OPERATOR, &k.id, &["a".into()]))),
        symmetric("ListResourceTags", |kms, k| name(kms.list_resource_tags(OPERATOR, &k.id, Page::whole()))),
        symmetric("CreateAlias", |kms, k| {
            name(kms.create_alias(OPERATOR, &format!("alias/new-{}", k.id), &k.id))
        }),
        symmetric("UpdateAlias", |kms, k| name(kms.update_alias(OPERATOR, "alias/moving", &k.id))),
        symmetric("DeleteAlias", |kms, k| name(kms.delete_alias(OPERATOR, &format!("alias/of-{}", k.id)))),
        symmetric("ListAliases", |kms, k| name(kms.list_aliases(OPERATOR, Some(&k.id), Page::whole()))),
        symmetric("DescribeKey", |kms, k| name(kms.describe_key(OPERATOR, &k.id))),
        symmetric("GetKeyLastUsage", |kms, k| name(kms.key_last_usage(OPERATOR, &k.id))),
        symmetric("UpdateKeyDescription", |kms, k| name(kms.update_key_description(OPERATOR, &k.id, "new"))),
        symmetric("EnableKey", |kms, k| name(kms.enable_key(OPERATOR, &k.id))),
        symmetric("DisableKey", |kms, k| name(kms.disable_key(OPERATOR, &k.id))),
        symmetric("ScheduleKeyDeletion", |kms, k| name(kms.schedule_key_deletion(OPERATOR, &k.id, 7))),
        symmetric("CancelKeyDeletion", |kms, k| name(kms.cancel_key_deletion(OPERATOR, &k.id))),
        symmetric("GetParametersForImport", |kms, k| {
            let algorithm = WrappingAlgorithm::RsaesOaepSha256;
            name(kms.parameters_for_import(OPERATOR, &k.id, KeySpec::Rsa2048, algorithm))
        }),
        symmetric("ImportKeyMaterial", |kms, k| name(import(kms, &k.id, &MATERIAL))),
        symmetric("DeleteImportedKeyMaterial", |kms, k| {
            name(kms.delete_imported_key_material(OPERATOR, &k.id, None))
        }),
    ]
}

/// AWS KMS's key-state table: the outcome in Enabled, Disabled and PendingDeletion for a key whose material the KMS made;
/// then the outcome for imported material in these and in PendingImport.
fn expected(operation: &str) -> ([&'static str; 3], [&'static str; 4]) {
    const OK: &str = "ok";
    const DIS: &str = "DisabledException";
    const INV: &str = "KMSInvalidStateException";
    const UNS: &str = "UnsupportedOperationException";
    match operation {
        "GetParametersForImport" | "ImportKeyMaterial" => ([UNS; 3], [OK, OK, INV, OK]),
        "DeleteImportedKeyMaterial" => ([UNS; 3], [OK; 4]),
        "EnableKeyRotation" | "DisableKeyRotation" => ([OK, DIS, INV], [UNS; 4]),
        "GetKeyRotationStatus" => ([OK; 3], [UNS; 4]),
        // An enabled key with imported material lacks the next material to rotate to.
        "RotateKeyOnDemand" => ([OK, DIS, INV], [INV, DIS, INV, INV]),
        "CancelKeyDeletion" => ([INV, INV, OK], [INV, INV, OK, INV]),
        "EnableKey" | "DisableKey" => ([OK, OK, INV], [OK, OK, INV, INV]),
        "ListKeyRotations" | "ListResourceTags" | "DeleteAlias" | "ListAliases" | "DescribeKey"
        | "GetKeyLastUsage" => ([OK; 3], [OK; 4]),
        "TagResource"
        | "UntagResource"
        | "CreateAlias"
        | "UpdateAlias"
        | "UpdateKeyDescription"
        | "ScheduleKeyDeletion" => ([OK, OK, INV], [OK, OK, INV, OK]),
        _ => ([OK, DIS, INV], [OK, DIS, INV, INV]),
    }
}

const STATES: [KeyState; 4] =
    [KeyState::Enabled, KeyState::Disabled, KeyState::PendingDeletion, KeyState::PendingImport];

#[test]
fn every_operation_in_every_state() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let moving = key(&kms);
    kms.create_alias(OPERATOR, "alias/moving", &moving).unwrap();
    for case in cases() {
        let (own, imported) = expected(case.name);
        for (state, expected) in STATES.into_iter().zip(own) {
            let id = key_of(&kms, case.spec, case.usage);
            check(&kms, &case, prepare(&kms, &case, id), state, expected, "AWS_KMS");
        }
        if !case.spec.is_symmetric() {
            continue;
        }
        for (state, expected) in STATES.into_iter().zip(imported) {
            let prepared = prepare(&kms, &case, imported_key(&kms, &MATERIAL));
            check(&kms, &case, prepared, state, expected, "EXTERNAL");
        }
        kms.update_alias(OPERATOR, "alias/moving", &moving).unwrap();
    }
}

fn check(kms: &Kms, case: &Case, prepared: Prepared, state: KeyState, expected: &str, origin: &str) {
    let operation = case.name;
    bring_to(kms, &prepared.id, state);
    let before = kms.generation();
    let outcome = (case.run)(kms, &prepared);
    assert_eq!(outcome, expected, "{operation} on a key that is {state:?}, origin {origin}");
    if outcome != "ok" {
        assert_eq!(kms.generation(), before, "a refused {operation} changed the keystore");
    }
}

#[test]
fn a_dry_run_succeeds_where_the_call_would_and_does_nothing() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (symmetric, signing, mac, agreeing) = (
        key(&kms),
        key_of(&kms, KeySpec::P256, KeyUsage::SignVerify),
        key_of(&kms, KeySpec::Hmac256, KeyUsage::GenerateVerifyMac),
        key_of(&kms, KeySpec::P256, KeyUsage::KeyAgreement),
    );
    let blob = kms.encrypt(OPERATOR, &symmetric, SYMMETRIC, b"x", &context()).unwrap().blob;
    let signature = kms.sign(OPERATOR, &signing, &SIGNED).unwrap().signature;
    let made_mac = kms.generate_mac(OPERATOR, &mac, b"x", MacAlgorithm::HmacSha256).unwrap().mac;
    let peer = kms.public_key(OPERATOR, &agreeing).unwrap().spki;
    let re_encrypt = ReEncrypt {
        blob: &blob,
        source_key: None,
        source_algorithm: SYMMETRIC,
        source_context: &context(),
        destination_key: &symmetric,
        destination_algorithm: SYMMETRIC,
        destination_context: &context(),
    };
    let outcomes = || {
        [
            name(kms.encrypt(&dry(), &symmetric, SYMMETRIC, b"x", &context())),
            name(kms.decrypt(&dry(), None, SYMMETRIC, &blob, &context())),
            name(kms.re_encrypt(&dry(), &re_encrypt)),
            name(kms.generate_data_key(&dry(), &symmetric, 32, &context())),
            name(kms.generate_data_key_without_plaintext(&dry(), &symmetric, 32, &context())),
            name(kms.generate_data_key_pair(&dry(), &symmetric, KeySpec::P256, &context())),
            name(kms.sign(&dry(), &signing, &SIGNED)),
            name(kms.verify(&dry(), &signing, &SIGNED, &signature)),
            name(kms.generate_mac(&dry(), &mac, b"x", MacAlgorithm::HmacSha256)),
            name(kms.verify_mac(&dry(), &mac, b"x", MacAlgorithm::HmacSha256, &made_mac)),
            name(kms.derive_shared_secret(&dry(), &agreeing, KeyAgreementAlgorithm::Ecdh, &peer)),
        ]
    };
    scratch.pass(1);
    assert_eq!(outcomes(), ["DryRunOperationException"; 11]);
    let last = kms.key_last_usage(OPERATOR, &symmetric).unwrap().last_use.unwrap();
    assert_eq!(last.at, start(), "no use of the key");
    for key in [&symmetric, &signing, &mac, &agreeing] {
        kms.disable_key(OPERATOR, key).unwrap();
    }
    assert_eq!(outcomes(), ["DisabledException"; 11]);
    assert_eq!(
        name(kms.decrypt(&dry(), None, SYMMETRIC, b"no ciphertext", &context())),
        "InvalidCiphertextException"
    );
}

#[test]
fn a_dry_run_need_not_have_a_ciphertext() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (one, other) = (key(&kms), key(&kms));
    let rsa = key_of(&kms, KeySpec::Rsa2048, KeyUsage::EncryptDecrypt);
    let call = Call { ignore_ciphertext: true, ..dry() };
    let nothing = EncryptionContext::new();
    let decrypt = |call: &Call<'_>, key, algorithm| name(kms.decrypt(call, key, algorithm, b"", &nothing));
    let oaep = EncryptionAlgorithm::RsaesOaepSha256;
    assert_eq!(decrypt(&call, Some(&one), SYMMETRIC), "DryRunOperationException");
    assert_eq!(decrypt(&call, Some(&rsa), oaep), "DryRunOperationException");
    assert_eq!(decrypt(&call, None, SYMMETRIC), "ValidationException");
    assert_eq!(decrypt(&call, Some(&rsa), SYMMETRIC), "InvalidKeyUsageException");
    let real = Call { dry_run: false, ..call.clone() };
    assert_eq!(decrypt(&real, Some(&one), SYMMETRIC), "InvalidCiphertextException");
    let re_encrypt = ReEncrypt {
        blob: b"",
        source_key: Some(&one),
        source_algorithm: SYMMETRIC,
        source_context: &nothing,
        destination_key: &other,
        destination_algorithm: SYMMETRIC,
        destination_context: &nothing,
    };
    assert_eq!(name(kms.re_encrypt(&call, &re_encrypt)), "DryRunOperationException");
    for disabled in [&other, &one] {
        kms.disable_key(OPERATOR, disabled).unwrap();
        assert_eq!(name(kms.re_encrypt(&call, &re_encrypt)), "DisabledException");
    }
    assert_eq!(decrypt(&call, Some(&one), SYMMETRIC), "DisabledException");
}

#[test]
fn a_key_does_only_what_it_is_for() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let keys = [
        (KeyUsage::EncryptDecrypt, key(&kms)),
        (KeyUsage::EncryptDecrypt, key_of(&kms, KeySpec::Rsa2048, KeyUsage::EncryptDecrypt)),
        (KeyUsage::SignVerify, key_of(&kms, KeySpec::P256, KeyUsage::SignVerify)),
        (KeyUsage::GenerateVerifyMac, key_of(&kms, KeySpec::Hmac256, KeyUsage::GenerateVerifyMac)),
        (KeyUsage::KeyAgreement, key_of(&kms, KeySpec::P256, KeyUsage::KeyAgreement)),
    ];
    for (usage, key) in &keys {
        let arn = kms.describe_key(OPERATOR, key).unwrap().arn;
        let refused = |operation: &str, error: Error| {
            assert_eq!(error.name(), "InvalidKeyUsageException");
            let expected = format!("{arn} key usage is {usage} which is not valid for {operation}.");
            assert_eq!(error.to_string(), expected);
        };
        if *usage != KeyUsage::EncryptDecrypt {
            refused("Encrypt", kms.encrypt(OPERATOR, key, SYMMETRIC, b"x", &context()).unwrap_err());
            let made = kms.generate_data_key(OPERATOR, key, 32, &context());
            refused("GenerateDataKey", made.unwrap_err());
        }
        if *usage != KeyUsage::SignVerify {
            refused("Sign", kms.sign(OPERATOR, key, &SIGNED).unwrap_err());
            refused("Verify", kms.verify(OPERATOR, key, &SIGNED, &[0; 70]).unwrap_err());
        }
        if *usage != KeyUsage::GenerateVerifyMac {
            let made = kms.generate_mac(OPERATOR, key, b"x", MacAlgorithm::HmacSha256);
            refused("GenerateMac", made.unwrap_err());
        }
        if *usage != KeyUsage::KeyAgreement {
            let derived = kms.derive_shared_secret(OPERATOR, key, KeyAgreementAlgorithm::Ecdh, b"x");
            refused("DeriveSharedSecret", derived.unwrap_err());
        }
    }
    let (rsa, hmac) = (&keys[1].1, &keys[3].1);
    let incompatible = |error: Error, algorithm: &str, spec: &str| {
        assert_eq!(error.name(), "InvalidKeyUsageException");
        let expected = format!("Algorithm {algorithm} is incompatible with key spec {spec}.");
        assert_eq!(error.to_string(), expected);
    };
    let empty = EncryptionContext::new();
    let encrypted = kms.encrypt(OPERATOR, rsa, SYMMETRIC, b"x", &empty);
    incompatible(encrypted.unwrap_err(), "SYMMETRIC_DEFAULT", "RSA_2048");
    let made = kms.generate_data_key(OPERATOR, rsa, 32, &empty);
    incompatible(made.unwrap_err(), "SYMMETRIC_DEFAULT", "RSA_2048");
    let made = kms.generate_mac(OPERATOR, hmac, b"x", MacAlgorithm::HmacSha512);
    incompatible(made.unwrap_err(), "HMAC_SHA_512", "HMAC_256");
    let wrong = ToSign { algorithm: SigningAlgorithm::PssSha256, ..SIGNED };
    incompatible(kms.sign(OPERATOR, &keys[2].1, &wrong).unwrap_err(), "RSASSA_PSS_SHA_256", "ECC_NIST_P256");
}
