//! Encrypt, Decrypt, data keys, ReEncrypt, GenerateRandom.

use super::*;

#[test]
fn what_is_encrypted_decrypts_with_the_key_the_blob_names() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    for length in [1, 100, PLAINTEXT_MAX] {
        let plain = vec![0xa5; length];
        let encrypted = kms.encrypt(OPERATOR, &key, SYMMETRIC, &plain, &context()).unwrap();
        assert_eq!((encrypted.key.to_string(), encrypted.material), (key.clone(), 1));
        let opened = kms.decrypt(OPERATOR, None, SYMMETRIC, &encrypted.blob, &context()).unwrap();
        assert_eq!(opened.plaintext.expose(), plain);
        assert_eq!((opened.key, opened.material), (encrypted.key, 1));
    }
}

#[test]
fn sizes_are_bounded() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    let long = vec![0; PLAINTEXT_MAX + 1];
    assert_eq!(name(kms.encrypt(OPERATOR, &key, SYMMETRIC, &long, &context())), "ValidationException");
    assert_eq!(name(kms.encrypt(OPERATOR, &key, SYMMETRIC, b"", &context())), "ValidationException");
    for bytes in [0, 1025] {
        assert_eq!(name(kms.generate_data_key(OPERATOR, &key, bytes, &context())), "ValidationException");
        assert_eq!(name(kms.generate_random(OPERATOR, bytes)), "ValidationException");
    }
    assert_eq!(kms.generate_random(OPERATOR, 1024).unwrap().len(), 1024);
    assert_ne!(kms.generate_random(OPERATOR, 32).unwrap(), kms.generate_random(OPERATOR, 32).unwrap());
    let many = EncryptionContext::new().with("k", "v".repeat(CONTEXT_MAX));
    assert_eq!(name(kms.encrypt(OPERATOR, &key, SYMMETRIC, b"x", &many)), "ValidationException");
}

#[test]
fn a_validation_message_is_in_the_words_of_aws() {
    let scratch = Scratch::new();
    let error = scratch.create().generate_random(OPERATOR, 2000).unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 validation error detected: Value '2000' at 'numberOfBytes' failed to satisfy constraint: \
         Member must have value less than or equal to 1024"
    );
}

#[test]
fn the_context_must_be_the_same_in_any_order() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    let blob = kms.encrypt(OPERATOR, &key, SYMMETRIC, b"secret", &context()).unwrap().blob;
    let turned = EncryptionContext::from_iter([("file", "f"), ("volume", "v")]);
    assert!(kms.decrypt(OPERATOR, None, SYMMETRIC, &blob, &turned).is_ok());
    let others = [
        EncryptionContext::new(),
        EncryptionContext::new().with("volume", "v"),
        context().with("more", ""),
        context().with("file", "F"),
        EncryptionContext::from_iter([("volume", "f"), ("file", "v")]),
    ];
    for other in others {
        assert_eq!(name(kms.decrypt(OPERATOR, None, SYMMETRIC, &blob, &other)), "InvalidCiphertextException");
    }
}

#[test]
fn data_keys_unwrap_to_what_was_handed_out() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    let made = kms.generate_data_key(FILESYSTEM, &key, 32, &context()).unwrap();
    assert!(made.encrypted.blob.len() <= 160, "it has to fit into a file header");
    let opened = kms.decrypt(FILESYSTEM, None, SYMMETRIC, &made.encrypted.blob, &context()).unwrap();
    assert_eq!(opened.plaintext, made.plaintext);
    let blind = kms.generate_data_key_without_plaintext(OPERATOR, &key, 64, &context()).unwrap();
    assert_eq!(
        kms.decrypt(OPERATOR, Some(&key), SYMMETRIC, &blind.blob, &context()).unwrap().plaintext.len(),
        64
    );
}

#[test]
fn a_named_key_must_be_the_one_of_the_blob() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (a, b) = (key(&kms), key(&kms));
    kms.create_alias(OPERATOR, "alias/a", &a).unwrap();
    let blob = kms.encrypt(OPERATOR, "alias/a", SYMMETRIC, b"secret", &context()).unwrap().blob;
    for right in [a.as_str(), "alias/a", &kms.describe_key(OPERATOR, &a).unwrap().arn] {
        assert!(kms.decrypt(OPERATOR, Some(right), SYMMETRIC, &blob, &context()).is_ok(), "{right}");
    }
    assert_eq!(name(kms.decrypt(OPERATOR, Some(&b), SYMMETRIC, &blob, &context())), "IncorrectKeyException");
    assert_eq!(
        name(kms.decrypt(OPERATOR, Some("alias/x"), SYMMETRIC, &blob, &context())),
        "NotFoundException"
    );
}

#[test]
fn what_is_no_ciphertext_of_an_existing_key_is_refused() {
    let (here, elsewhere) = (Scratch::new(), Scratch::new());
    let (kms, other) = (here.create(), elsewhere.create());
    let foreign = other.encrypt(OPERATOR, &key(&other), SYMMETRIC, b"secret", &context()).unwrap().blob;
    assert_eq!(name(kms.decrypt(OPERATOR, None, SYMMETRIC, &foreign, &context())), "NotFoundException");
    let mut later = kms.encrypt(OPERATOR, &key(&kms), SYMMETRIC, b"secret", &context()).unwrap().blob;
    later[21] = 2; // a version of the material that does not exist
    for blob in [later, b"garbage".to_vec(), Vec::new(), vec![1; BLOB_MAX + 1]] {
        assert_eq!(
            name(kms.decrypt(OPERATOR, None, SYMMETRIC, &blob, &context())),
            "InvalidCiphertextException"
        );
    }
}

#[test]
fn re_encryption_changes_key_and_context() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (a, b) = (key(&kms), key(&kms));
    let old = kms.encrypt(OPERATOR, &a, SYMMETRIC, b"secret", &context()).unwrap();
    let empty = EncryptionContext::new();
    let mut request = ReEncrypt {
        blob: &old.blob,
        source_key: None,
        source_algorithm: SYMMETRIC,
        destination_algorithm: SYMMETRIC,
        source_context: &context(),
        destination_key: &b,
        destination_context: &empty,
    };
    let new = kms.re_encrypt(OPERATOR, &request).unwrap();
    assert_eq!((new.source_key, new.source_material), (old.key, 1));
    let opened = kms.decrypt(OPERATOR, Some(&b), SYMMETRIC, &new.encrypted.blob, &empty).unwrap();
    assert_eq!(opened.plaintext.expose(), b"secret");

    request.source_key = Some(&b);
    assert_eq!(name(kms.re_encrypt(OPERATOR, &request)), "IncorrectKeyException");
    request.source_key = None;
    request.source_context = &empty;
    assert_eq!(name(kms.re_encrypt(OPERATOR, &request)), "InvalidCiphertextException");
    request.source_context = request.destination_context;
    kms.disable_key(OPERATOR, &b).unwrap();
    let context = context();
    request.source_context = &context;
    assert_eq!(name(kms.re_encrypt(OPERATOR, &request)), "DisabledException");
}

#[test]
fn using_a_key_does_not_touch_the_keystore() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    let use_it = || {
        for _ in 0..20 {
            let made = kms.generate_data_key(FILESYSTEM, &key, 32, &context()).unwrap();
            kms.decrypt(FILESYSTEM, None, SYMMETRIC, &made.encrypted.blob, &context()).unwrap();
        }
    };
    // Nobody gets at the database while its lock is held. Memory counts as fresh for 300 ms, which a busy machine
    // may miss, hence several attempts.
    let done = (0..20).any(|_| {
        kms.core.look().unwrap();
        let store = kms.core.store.lock();
        std::thread::scope(|scope| {
            let user = scope.spawn(use_it);
            std::thread::sleep(Duration::from_millis(250));
            let finished = user.is_finished();
            drop(store);
            finished
        })
    });
    assert!(done, "it waits for the database");
}

#[test]
fn the_service_managed_key_is_made_on_first_use_for_the_filesystem_alone() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    assert_eq!(name(kms.encrypt(OPERATOR, DEFAULT_ALIAS, SYMMETRIC, b"x", &context())), "NotFoundException");
    let made = kms.generate_data_key(FILESYSTEM, DEFAULT_ALIAS, 32, &context()).unwrap();
    let again = kms.generate_data_key(FILESYSTEM, DEFAULT_ALIAS, 32, &context()).unwrap();
    assert_eq!(made.encrypted.key, again.encrypted.key);
    let (id, blob) = (made.encrypted.key.to_string(), &made.encrypted.blob);

    assert_eq!(name(kms.decrypt(OPERATOR, None, SYMMETRIC, blob, &context())), "AccessDeniedException");
    assert_eq!(name(kms.encrypt(OPERATOR, &id, SYMMETRIC, b"x", &context())), "AccessDeniedException");
    assert_eq!(name(kms.disable_key(OPERATOR, &id)), "AccessDeniedException");
    assert_eq!(name(kms.schedule_key_deletion(OPERATOR, &id, 7)), "AccessDeniedException");
    assert_eq!(name(kms.create_alias(OPERATOR, "alias/mine", &id)), "AccessDeniedException");
    assert_eq!(name(kms.delete_alias(OPERATOR, DEFAULT_ALIAS)), "AccessDeniedException");
    assert_eq!(name(kms.update_alias(OPERATOR, DEFAULT_ALIAS, &key(&kms))), "NotAuthorizedException");

    let seen = kms.describe_key(OPERATOR, DEFAULT_ALIAS).unwrap();
    assert_eq!((seen.manager, seen.state), (KeyManager::Service, KeyState::Enabled));
    assert_eq!(kms.key_rotation_status(OPERATOR, &id).unwrap().schedule.unwrap().period_days, 365);
    assert!(kms.decrypt(FILESYSTEM, None, SYMMETRIC, blob, &context()).is_ok());
}

#[test]
fn the_filesystem_manages_no_key() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    assert_eq!(name(kms.create_key(FILESYSTEM, CreateKey::default())), "AccessDeniedException");
    assert_eq!(name(kms.disable_key(FILESYSTEM, &key)), "AccessDeniedException");
    assert_eq!(name(kms.rotate_key_on_demand(FILESYSTEM, &key)), "AccessDeniedException");
}
