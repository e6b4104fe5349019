//! Key material from elsewhere: on its way in, going away, coming back.

use super::super::import_token::ImportToken;
use super::*;
use crate::crypto::asymmetric::{KeyType, OaepHash, PrivateKey, PublicKey};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use std::sync::OnceLock;

const DIRECT: WrappingAlgorithm = WrappingAlgorithm::RsaesOaepSha256;
const WRAPPED: WrappingAlgorithm = WrappingAlgorithm::RsaAesKeyWrapSha256;

/// A new key for imported material, without any.
fn external_key(kms: &Kms, spec: KeySpec, usage: KeyUsage) -> String {
    let request = CreateKey { spec, usage: Some(usage), origin: Origin::External, ..CreateKey::default() };
    let made = kms.create_key(OPERATOR, request).unwrap();
    assert_eq!((made.state, made.expiration), (KeyState::PendingImport, None));
    made.id.to_string()
}

/// A new symmetric key with this material.
pub(super) fn imported_key(kms: &Kms, material: &[u8]) -> String {
    let key = external_key(kms, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    import(kms, &key, material).unwrap();
    key
}

/// Imports material that never expires.
pub(super) fn import(kms: &Kms, key: &str, material: &[u8]) -> Result<ImportedKeyMaterial> {
    import_with(kms, key, material, forever())
}

fn forever() -> ImportKeyMaterial<'static> {
    ImportKeyMaterial { expiration: Some(ExpirationModel::DoesNotExpire), ..ImportKeyMaterial::default() }
}

/// What GetParametersForImport gives, with the same wrapping key each time, since it takes long to make one.
fn parameters(kms: &Kms, key: &str, algorithm: WrappingAlgorithm) -> ImportParameters {
    static PAIR: OnceLock<(SecretBytes, Vec<u8>)> = OnceLock::new();
    let (pkcs8, public_key) = PAIR.get_or_init(|| {
        let pkcs8 = PrivateKey::generate(KeyType::Rsa2048).unwrap();
        let public_key = PrivateKey::from_pkcs8(KeyType::Rsa2048, pkcs8.expose()).unwrap();
        (pkcs8, public_key.public_spki().to_vec())
    });
    let key = kms.describe_key(OPERATOR, key).unwrap().id;
    let valid_to = kms.core.now() + ::time::Duration::hours(24);
    let private_key = SecretBytes::from_vec(pkcs8.expose().to_vec());
    let token = ImportToken { key, valid_to, spec: KeySpec::Rsa2048, algorithm, private_key };
    ImportParameters { key, public_key: public_key.clone(), token: kms.import_tokens.seal(&token), valid_to }
}

fn import_with(
    kms: &Kms,
    key: &str,
    material: &[u8],
    request: ImportKeyMaterial<'_>,
) -> Result<ImportedKeyMaterial> {
    let algorithm = if material.len() > 100 { WRAPPED } else { DIRECT };
    let parameters = parameters(kms, key, algorithm);
    let encrypted = wrap(&parameters, algorithm, material);
    let request = ImportKeyMaterial { token: &parameters.token, encrypted: &encrypted, ..request };
    kms.import_key_material(OPERATOR, key, &request)
}

/// Wraps material as its owner does.
fn wrap(parameters: &ImportParameters, algorithm: WrappingAlgorithm, material: &[u8]) -> Vec<u8> {
    let types = [KeyType::Rsa2048, KeyType::Rsa3072, KeyType::Rsa4096];
    let public =
        types.into_iter().find_map(|size| PublicKey::from_spki(size, &parameters.public_key).ok()).unwrap();
    let (hash, directly) = match algorithm {
        WrappingAlgorithm::RsaesOaepSha1 => (OaepHash::Sha1, true),
        WrappingAlgorithm::RsaesOaepSha256 => (OaepHash::Sha256, true),
        WrappingAlgorithm::RsaAesKeyWrapSha1 => (OaepHash::Sha1, false),
        WrappingAlgorithm::RsaAesKeyWrapSha256 => (OaepHash::Sha256, false),
    };
    if directly {
        return public.encrypt_oaep(hash, material).unwrap();
    }
    let mut out = vec![0; material.len() + 15];
    let aes = AesKek::new(&AES_256, &[9; 32]).unwrap();
    let wrapped = aes.wrap_with_padding(material, &mut out).unwrap();
    [public.encrypt_oaep(hash, &[9; 32]).unwrap().as_slice(), wrapped].concat()
}

#[test]
fn every_way_to_wrap_brings_the_material_in() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    for algorithm in WrappingAlgorithm::ALL {
        for spec in [KeySpec::Rsa2048, KeySpec::Rsa3072, KeySpec::Rsa4096] {
            // Larger keys take long to make; one of them is enough to see that size does not matter.
            if spec != KeySpec::Rsa2048 && *algorithm != WRAPPED {
                continue;
            }
            let key = external_key(&kms, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
            let parameters = kms.parameters_for_import(OPERATOR, &key, spec, *algorithm).unwrap();
            assert_eq!(parameters.valid_to, start() + ::time::Duration::hours(24));
            assert!(parameters.token.len() <= 6144, "as long as AWS's clients take");
            let encrypted = wrap(&parameters, *algorithm, &[7; 32]);
            let request = ImportKeyMaterial { token: &parameters.token, encrypted: &encrypted, ..forever() };
            kms.import_key_material(OPERATOR, &key, &request).unwrap();
            let seen = kms.describe_key(OPERATOR, &key).unwrap();
            assert_eq!(
                (seen.state, seen.expiration),
                (KeyState::Enabled, Some(ExpirationModel::DoesNotExpire))
            );
            kms.encrypt(OPERATOR, &key, SYMMETRIC, b"x", &context()).unwrap();
        }
    }
    let key = external_key(&kms, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    let refused = kms.parameters_for_import(OPERATOR, &key, KeySpec::P256, DIRECT);
    assert_eq!(name(refused), "ValidationException");
}

#[test]
fn two_keys_of_the_same_material_compute_alike() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (spec, usage) = (KeySpec::Hmac384, KeyUsage::GenerateVerifyMac);
    let macs = [1, 1, 2].map(|byte| {
        let key = external_key(&kms, spec, usage);
        import(&kms, &key, &[byte; 48]).unwrap();
        kms.generate_mac(OPERATOR, &key, b"message", MacAlgorithm::HmacSha384).unwrap().mac
    });
    assert_eq!(macs[0], macs[1]);
    assert_ne!(macs[0], macs[2]);
}

#[test]
fn private_keys_are_imported_and_sign() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    for (spec, key_type, algorithm) in [
        (KeySpec::Rsa2048, KeyType::Rsa2048, SigningAlgorithm::PssSha256),
        (KeySpec::P256, KeyType::P256, SigningAlgorithm::EcdsaSha256),
        (KeySpec::P521, KeyType::P521, SigningAlgorithm::EcdsaSha512),
        (KeySpec::Secp256k1, KeyType::Secp256k1, SigningAlgorithm::EcdsaSha256),
        (KeySpec::Ed25519, KeyType::Ed25519, SigningAlgorithm::Ed25519),
    ] {
        let key = external_key(&kms, spec, KeyUsage::SignVerify);
        let pkcs8 = PrivateKey::generate(key_type).unwrap();
        let imported = import(&kms, &key, pkcs8.expose()).unwrap();
        assert_eq!(imported.material_id, None, "only symmetric material has an id");
        let spki = kms.public_key(OPERATOR, &key).unwrap().spki;
        assert_eq!(spki, PrivateKey::from_pkcs8(key_type, pkcs8.expose()).unwrap().public_spki());
        let signed = ToSign { message_type: MessageType::Raw, message: b"m", algorithm };
        let made = kms.sign(OPERATOR, &key, &signed).unwrap();
        kms.verify(OPERATOR, &key, &signed, &made.signature).unwrap();

        kms.delete_imported_key_material(OPERATOR, &key, None).unwrap();
        assert_eq!(name(kms.sign(OPERATOR, &key, &signed)), "KMSInvalidStateException");
        let other = PrivateKey::generate(key_type).unwrap();
        assert_eq!(name(import(&kms, &key, other.expose())), "IncorrectKeyMaterialException");
        import(&kms, &key, pkcs8.expose()).unwrap();
        kms.verify(OPERATOR, &key, &signed, &made.signature).unwrap();
    }
}

#[test]
fn rsa_keys_are_too_long_to_be_wrapped_directly() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let parameters =
        |key: &str, spec, algorithm| name(kms.parameters_for_import(OPERATOR, key, spec, algorithm));
    let rsa = external_key(&kms, KeySpec::Rsa2048, KeyUsage::SignVerify);
    assert_eq!(parameters(&rsa, KeySpec::Rsa2048, DIRECT), "ValidationException");
    let p521 = external_key(&kms, KeySpec::P521, KeyUsage::SignVerify);
    assert_eq!(parameters(&p521, KeySpec::Rsa2048, DIRECT), "ValidationException");
    assert_eq!(parameters(&p521, KeySpec::Rsa3072, DIRECT), "ok");
}

#[test]
fn material_of_another_kind_is_refused() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let rsa = PrivateKey::generate(KeyType::Rsa2048).unwrap();
    let p256 = PrivateKey::generate(KeyType::P256).unwrap();
    let cases: [(KeySpec, KeyUsage, &[&[u8]]); 4] = [
        (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt, &[&[1; 31], &[1; 33], &[1; 16], p256.expose()]),
        (KeySpec::Hmac224, KeyUsage::GenerateVerifyMac, &[&[1; 27], &[1; 65]]),
        (KeySpec::P384, KeyUsage::SignVerify, &[&[1; 48], p256.expose(), rsa.expose()]),
        (KeySpec::Rsa3072, KeyUsage::EncryptDecrypt, &[rsa.expose(), p256.expose()]),
    ];
    for (spec, usage, materials) in cases {
        let key = external_key(&kms, spec, usage);
        for material in materials {
            let outcome = name(import(&kms, &key, material));
            assert_eq!(outcome, "IncorrectKeyMaterialException", "{spec}, {} bytes", material.len());
        }
        assert_eq!(kms.describe_key(OPERATOR, &key).unwrap().state, KeyState::PendingImport);
    }
    let hmac = external_key(&kms, KeySpec::Hmac224, KeyUsage::GenerateVerifyMac);
    import(&kms, &hmac, &[1; 64]).unwrap();
}

#[test]
fn a_token_is_good_for_its_key_and_a_day_on_any_server_of_the_keystore() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (key, other) = (
        external_key(&kms, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt),
        external_key(&kms, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt),
    );
    let parameters = kms.parameters_for_import(OPERATOR, &key, KeySpec::Rsa2048, DIRECT).unwrap();
    let encrypted = wrap(&parameters, DIRECT, &[7; 32]);
    let request = ImportKeyMaterial { token: &parameters.token, encrypted: &encrypted, ..forever() };
    let outcome = |kms: &Kms, key: &str, request: &ImportKeyMaterial<'_>| {
        name(kms.import_key_material(OPERATOR, key, request))
    };
    assert_eq!(outcome(&kms, &other, &request), "InvalidImportTokenException");

    for (at, token) in [0, 1, 20, 500, parameters.token.len() - 1].map(|at| {
        let mut token = parameters.token.clone();
        token[at] ^= 1;
        (at, token)
    }) {
        let altered = ImportKeyMaterial { token: &token, ..request.clone() };
        assert_eq!(outcome(&kms, &key, &altered), "InvalidImportTokenException", "byte {at}");
    }
    for token in [&b""[..], b"x", &parameters.token[..100]] {
        let cut = ImportKeyMaterial { token, ..request.clone() };
        assert_eq!(outcome(&kms, &key, &cut), "InvalidImportTokenException");
    }
    let foreign = Scratch::new();
    let foreign = foreign.create();
    let there = external_key(&foreign, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    assert_eq!(outcome(&foreign, &there, &request), "InvalidImportTokenException", "another keystore");

    let another = kms.parameters_for_import(OPERATOR, &key, KeySpec::Rsa2048, DIRECT).unwrap();
    let mixed = ImportKeyMaterial { token: &another.token, ..request.clone() };
    assert_eq!(outcome(&kms, &key, &mixed), "InvalidCiphertextException", "another public key");

    drop(kms);
    let (one, two) = (scratch.open(), scratch.open());
    assert_eq!(outcome(&two, &key, &request), "ok", "another server, after a restart");
    assert_eq!(outcome(&one, &key, &request), "ok", "once more");
    scratch.pass(1);
    assert_eq!(outcome(&one, &key, &request), "ExpiredImportTokenException");
}

#[test]
fn an_expiration_date_goes_with_material_that_expires() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = external_key(&kms, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    let day = |days| Some(start() + ::time::Duration::days(days));
    let (expires, never) = (Some(ExpirationModel::Expires), Some(ExpirationModel::DoesNotExpire));
    for (expiration, valid_to, expected) in [
        (None, None, "ValidationException"),
        (expires, None, "ValidationException"),
        (never, day(1), "ValidationException"),
        (expires, day(0), "ValidationException"),
        (expires, day(-1), "ValidationException"),
        (expires, day(366), "ValidationException"),
        (None, day(1), "ok"),
        (expires, day(365), "ok"),
        (never, None, "ok"),
    ] {
        let request = ImportKeyMaterial { expiration, valid_to, ..ImportKeyMaterial::default() };
        let outcome = name(import_with(&kms, &key, &[7; 32], request));
        assert_eq!(outcome, expected, "{expiration:?}, {valid_to:?}");
        if outcome == "ok" {
            let seen = kms.describe_key(OPERATOR, &key).unwrap();
            assert_eq!(seen.valid_to, valid_to);
            assert_eq!(seen.expiration, expiration.or(expires));
        }
    }
}

#[test]
fn expired_material_is_destroyed_and_comes_back_as_it_was_or_not_at_all() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = external_key(&kms, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    let request =
        ImportKeyMaterial { valid_to: Some(start() + ::time::Duration::days(30)), ..Default::default() };
    import_with(&kms, &key, &[7; 32], request).unwrap();
    let blob = kms.encrypt(OPERATOR, &key, SYMMETRIC, b"secret", &context()).unwrap().blob;
    scratch.pass(29);
    kms.core.run_due().unwrap();
    kms.decrypt(OPERATOR, None, SYMMETRIC, &blob, &context()).unwrap();
    scratch.pass(1);
    kms.core.run_due().unwrap();

    let seen = kms.describe_key(OPERATOR, &key).unwrap();
    assert_eq!((seen.state, seen.expiration, seen.valid_to), (KeyState::PendingImport, None, None));
    let decrypted = kms.decrypt(OPERATOR, None, SYMMETRIC, &blob, &context());
    assert_eq!(name(decrypted), "KMSInvalidStateException");
    let id = KeyId::from_bytes(*seen.id.as_bytes());
    let material = kms.core.table().unwrap().find_id(OPERATOR, id).unwrap().material(1).cloned();
    assert!(material.is_none(), "in memory");
    assert!(scratch.bytes("SELECT sealed FROM material").is_empty(), "on disk");

    assert_eq!(name(import(&kms, &key, &[8; 32])), "IncorrectKeyMaterialException");
    import(&kms, &key, &[7; 32]).unwrap();
    let opened = kms.decrypt(OPERATOR, None, SYMMETRIC, &blob, &context()).unwrap();
    assert_eq!(opened.plaintext.expose(), b"secret");
    scratch.pass(1000);
    kms.core.run_due().unwrap();
    assert_eq!(kms.describe_key(OPERATOR, &key).unwrap().state, KeyState::Enabled, "it expires no more");
}

#[test]
fn material_that_is_gone_makes_no_key_usable_whatever_else_happens_to_it() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let state = |key: &str| kms.describe_key(OPERATOR, key).unwrap().state;

    let disabled = imported_key(&kms, &[7; 32]);
    kms.disable_key(OPERATOR, &disabled).unwrap();
    import(&kms, &disabled, &[7; 32]).unwrap();
    assert_eq!(state(&disabled), KeyState::Disabled, "an import enables nothing that had its material");
    kms.delete_imported_key_material(OPERATOR, &disabled, None).unwrap();
    assert_eq!(state(&disabled), KeyState::PendingImport);
    import(&kms, &disabled, &[7; 32]).unwrap();
    assert_eq!(state(&disabled), KeyState::Enabled);

    let dying = imported_key(&kms, &[7; 32]);
    kms.schedule_key_deletion(OPERATOR, &dying, 7).unwrap();
    kms.delete_imported_key_material(OPERATOR, &dying, None).unwrap();
    assert_eq!(state(&dying), KeyState::PendingDeletion);
    kms.cancel_key_deletion(OPERATOR, &dying).unwrap();
    assert_eq!(state(&dying), KeyState::PendingImport);

    let never = external_key(&kms, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    let deleted = kms.delete_imported_key_material(OPERATOR, &never, None).unwrap();
    assert_eq!(deleted.material_id, None, "nothing to delete");
    kms.schedule_key_deletion(OPERATOR, &never, 7).unwrap();
    scratch.pass(7);
    kms.core.run_due().unwrap();
    assert_eq!(name(kms.describe_key(OPERATOR, &never)), "NotFoundException");
}

#[test]
fn a_symmetric_key_rotates_to_material_that_was_imported_for_it() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = imported_key(&kms, &[1; 32]);
    let materials = |key: &str| {
        let listed = kms.list_key_rotations(OPERATOR, key, true, Page::whole()).unwrap().items;
        listed.into_iter().map(|entry| (entry.material.version, entry.state)).collect::<Vec<_>>()
    };
    assert_eq!(name(kms.rotate_key_on_demand(OPERATOR, &key)), "KMSInvalidStateException");
    let first = kms.describe_key(OPERATOR, &key).unwrap().current_material_id.unwrap();
    let old = kms.encrypt(OPERATOR, &key, SYMMETRIC, b"old", &context()).unwrap();
    assert_eq!(old.material_id, Some(first));

    let new = |material| {
        let request = ImportKeyMaterial { import_type: Some(ImportType::New), ..forever() };
        import_with(&kms, &key, material, request)
    };
    assert_eq!(name(new(&[1; 32])), "IncorrectKeyMaterialException", "it is not new");
    let second = new(&[2; 32]).unwrap().material_id.unwrap();
    assert_eq!(name(new(&[3; 32])), "KMSInvalidStateException", "one at a time");
    assert_eq!(materials(&key), [(1, MaterialState::Current), (2, MaterialState::PendingRotation)]);
    assert_eq!(kms.encrypt(OPERATOR, &key, SYMMETRIC, b"x", &context()).unwrap().material, 1);
    assert!(kms.list_key_rotations(OPERATOR, &key, false, Page::whole()).unwrap().items.is_empty());

    assert_eq!(kms.rotate_key_on_demand(OPERATOR, &key).unwrap().version, 2);
    assert_eq!(materials(&key), [(1, MaterialState::NonCurrent), (2, MaterialState::Current)]);
    assert_eq!(kms.describe_key(OPERATOR, &key).unwrap().current_material_id, Some(second));
    let made = kms.encrypt(OPERATOR, &key, SYMMETRIC, b"new", &context()).unwrap();
    assert_eq!((made.material, made.material_id), (2, Some(second)));
    let opened = kms.decrypt(OPERATOR, None, SYMMETRIC, &old.blob, &context()).unwrap();
    assert_eq!((opened.plaintext.expose(), opened.material_id), (&b"old"[..], Some(first)));

    // All of its material must be there, and each comes back under its own id.
    let text = first.to_string();
    let deleted = kms.delete_imported_key_material(OPERATOR, &key, Some(&text)).unwrap();
    assert_eq!(deleted.material_id, Some(first));
    assert_eq!(kms.describe_key(OPERATOR, &key).unwrap().state, KeyState::PendingImport);
    let named = |id: &str, material: &[u8]| {
        let request = ImportKeyMaterial { material_id: Some(id), ..forever() };
        name(import_with(&kms, &key, material, request))
    };
    assert_eq!(named(&second.to_string(), &[1; 32]), "IncorrectKeyMaterialException");
    assert_eq!(named(&"0".repeat(64), &[1; 32]), "NotFoundException");
    assert_eq!(named(&text, &[1; 32]), "ok");
    assert_eq!(kms.describe_key(OPERATOR, &key).unwrap().state, KeyState::Enabled);
    drop(scratch.open());
}

#[test]
fn material_that_waits_for_its_rotation_can_be_taken_back() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = imported_key(&kms, &[1; 32]);
    let request = || ImportKeyMaterial {
        import_type: Some(ImportType::New),
        description: Some("the next one"),
        ..forever()
    };
    let pending = import_with(&kms, &key, &[2; 32], request()).unwrap().material_id.unwrap();
    let listed = kms.list_key_rotations(OPERATOR, &key, true, Page::whole()).unwrap().items;
    assert_eq!(listed[1].material.imported.as_ref().unwrap().description, "the next one");
    kms.delete_imported_key_material(OPERATOR, &key, Some(&pending.to_string())).unwrap();
    assert_eq!(kms.describe_key(OPERATOR, &key).unwrap().state, KeyState::Enabled);
    assert_eq!(kms.list_key_rotations(OPERATOR, &key, true, Page::whole()).unwrap().items.len(), 1);
    import_with(&kms, &key, &[3; 32], request()).unwrap();
    kms.rotate_key_on_demand(OPERATOR, &key).unwrap();
    assert_eq!(kms.encrypt(OPERATOR, &key, SYMMETRIC, b"x", &context()).unwrap().material, 2);
}

#[test]
fn only_symmetric_keys_take_new_material_descriptions_and_ids() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = external_key(&kms, KeySpec::Hmac256, KeyUsage::GenerateVerifyMac);
    import(&kms, &key, &[1; 32]).unwrap();
    let outcome = |request| name(import_with(&kms, &key, &[2; 32], request));
    let new = ImportKeyMaterial { import_type: Some(ImportType::New), ..forever() };
    assert_eq!(outcome(new), "IncorrectKeyMaterialException");
    assert_eq!(outcome(ImportKeyMaterial { description: Some("x"), ..forever() }), "ValidationException");
    let id = "0".repeat(64);
    assert_eq!(outcome(ImportKeyMaterial { material_id: Some(&id), ..forever() }), "ValidationException");
}

#[test]
fn a_description_stays_until_another_is_given() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = external_key(&kms, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    let description = || {
        let listed = kms.list_key_rotations(OPERATOR, &key, true, Page::whole()).unwrap().items;
        listed[0].material.imported.as_ref().unwrap().description.clone()
    };
    for (given, expected) in [(Some("first"), "first"), (None, "first"), (Some("second"), "second")] {
        let request = ImportKeyMaterial { description: given, ..forever() };
        import_with(&kms, &key, &[1; 32], request).unwrap();
        assert_eq!(description(), expected);
    }
    let long = "x".repeat(257);
    let request = ImportKeyMaterial { description: Some(&long), ..forever() };
    assert_eq!(name(import_with(&kms, &key, &[1; 32], request)), "ValidationException");
}
