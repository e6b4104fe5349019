//! What the audit log learns of a call.

use super::*;
use crate::kms::audit::{CallRecord, Source};
use uuid::Uuid;

/// The record of a call that `make` makes.
fn record<T>(call: &Call<'_>, make: impl FnOnce(&Call<'_>) -> T) -> CallRecord {
    let trace = Trace::default();
    make(&Call { trace: Some(&trace), ..call.clone() });
    let mut record = CallRecord::new(start(), Uuid::nil(), Source::User(0), "Any");
    trace.tell(&mut record);
    record
}

fn arn(key: &str) -> Option<String> {
    Some(format!("arn:aws:kms:local:000000000000:key/{key}"))
}

#[test]
fn a_record_names_the_key_its_spec_and_the_context() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    let found = record(OPERATOR, |call| kms.encrypt(call, &key, SYMMETRIC, b"x", &context()).unwrap());
    assert_eq!(
        (found.key, found.spec.as_deref(), found.context),
        (arn(&key), Some("SYMMETRIC_DEFAULT"), context())
    );
    assert_eq!((found.source_key, found.grant), (None, None));
    let made = record(OPERATOR, |call| kms.create_key(call, CreateKey::default()).unwrap());
    assert!(made.key.is_some_and(|made| made.contains(":key/") && arn(&key) != Some(made)), "the new key");
    let pair = record(OPERATOR, |call| {
        kms.generate_data_key_pair(call, &key, KeySpec::P256, &context()).unwrap();
    });
    assert_eq!(pair.spec.as_deref(), Some("ECC_NIST_P256"), "the price is the pair's");
    let random = record(OPERATOR, |call| kms.generate_random(call, 8).unwrap());
    assert_eq!((random.key, random.spec), (None, None));
}

#[test]
fn a_record_of_re_encrypt_has_both_keys_and_contexts() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (old, new) = (key(&kms), key(&kms));
    let blob = kms.encrypt(OPERATOR, &old, SYMMETRIC, b"x", &context()).unwrap().blob;
    let other = EncryptionContext::new().with("to", "b");
    let request = ReEncrypt {
        blob: &blob,
        source_key: None,
        source_algorithm: SYMMETRIC,
        source_context: &context(),
        destination_key: &new,
        destination_algorithm: SYMMETRIC,
        destination_context: &other,
    };
    let found = record(OPERATOR, |call| kms.re_encrypt(call, &request).unwrap());
    assert_eq!((found.source_key, found.source_context), (arn(&old), context()));
    assert_eq!((found.key, found.context), (arn(&new), other));
}

#[test]
fn a_record_of_a_refused_call_names_the_key_that_was_asked_for() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    let alice = call_of(&kms, &principal(&kms, "user/alice"));
    let found = record(&alice, |call| {
        assert_eq!(name(kms.encrypt(call, &key, SYMMETRIC, b"x", &context())), "AccessDeniedException");
    });
    assert_eq!((found.key, found.context, found.grant), (arn(&key), context(), None));
}

#[test]
fn a_record_names_the_grant_that_allowed_the_call() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    let alice = call_of(&kms, &principal(&kms, "user/alice"));
    let Caller::Principal(who) = &alice.caller else { unreachable!() };
    let grant = kms
        .create_grant(
            OPERATOR,
            &CreateGrant {
                key: &key,
                grantee: &who.arn,
                retiring: Some(&who.arn),
                operations: &[GrantOperation::Encrypt],
                constraints: GrantConstraints::default(),
                name: None,
            },
        )
        .unwrap();
    let id = Some(grant.id.to_string());
    let used = record(&alice, |call| kms.encrypt(call, &key, SYMMETRIC, b"x", &context()).unwrap());
    assert_eq!(used.grant, id);
    let not = record(OPERATOR, |call| kms.encrypt(call, &key, SYMMETRIC, b"x", &context()).unwrap());
    assert_eq!(not.grant, None, "the operator needs none");
    let retired = record(&alice, |call| kms.retire_grant_by_token(call, &grant.token).unwrap());
    assert_eq!((retired.key, retired.grant), (arn(&key), id));
}

#[test]
fn operations_that_change_the_keystore_are_told_from_the_others() {
    for operation in Operation::ALL {
        let record = CallRecord::new(start(), Uuid::nil(), Source::User(0), operation.name());
        let changes = match operation {
            Operation::GetParametersForImport => false, // it is for those who manage keys, and changes none
            Operation::DestroySecret => true,
            operation => operation.class() == state::Class::Manage,
        };
        assert_eq!(record.read_only, !changes, "{operation}");
    }
}
