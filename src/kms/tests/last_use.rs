//! When a key was last used.

use super::*;

fn last(kms: &Kms, key: &str) -> Option<(&'static str, i64)> {
    let last = kms.key_last_usage(OPERATOR, key).unwrap().last_use;
    last.map(|last| (last.operation.name(), (last.at - start()).whole_minutes()))
}

#[test]
fn the_last_successful_use_is_known_at_once() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (key, other) = (key(&kms), key(&kms));
    let history = kms.key_last_usage(OPERATOR, &key).unwrap();
    assert_eq!((history.created, history.last_use), (start(), None));
    let request_id = uuid::Uuid::from_bytes([7; 16]);
    let call = Call { request_id: Some(request_id), ..Call::operator() };
    let blob = kms.encrypt(&call, &key, SYMMETRIC, b"x", &context()).unwrap().blob;
    assert_eq!(last(&kms, &key), Some(("Encrypt", 0)));
    let seen = kms.key_last_usage(OPERATOR, &key).unwrap().last_use.unwrap();
    assert_eq!(seen.request_id, Some(request_id));
    scratch.wait(::time::Duration::minutes(5));
    kms.describe_key(OPERATOR, &key).unwrap();
    assert!(kms.decrypt(OPERATOR, None, SYMMETRIC, &blob, &EncryptionContext::new()).is_err());
    assert_eq!(last(&kms, &key), Some(("Encrypt", 0)), "neither a look nor a failure is a use");
    let request = ReEncrypt {
        blob: &blob,
        source_key: None,
        source_algorithm: SYMMETRIC,
        source_context: &context(),
        destination_key: &other,
        destination_algorithm: SYMMETRIC,
        destination_context: &context(),
    };
    kms.re_encrypt(OPERATOR, &request).unwrap();
    assert_eq!([last(&kms, &key), last(&kms, &other)], [Some(("ReEncrypt", 5)); 2]);
}

#[test]
fn it_is_recorded_when_the_kms_is_closed() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    kms.encrypt(OPERATOR, &key, SYMMETRIC, b"x", &context()).unwrap();
    let generation = kms.generation();
    drop(kms);
    let kms = scratch.open();
    assert_eq!(last(&kms, &key), Some(("Encrypt", 0)));
    assert_eq!(kms.generation(), generation + 1);
    scratch.wait(::time::Duration::minutes(1));
    kms.generate_data_key(OPERATOR, &key, 32, &context()).unwrap();
    drop(kms);
    let kms = scratch.open();
    assert_eq!(last(&kms, &key), Some(("Encrypt", 0)), "a minute later is not worth a write");
    scratch.wait(::time::Duration::minutes(1));
    kms.generate_data_key(OPERATOR, &key, 32, &context()).unwrap();
    drop(kms);
    assert_eq!(last(&scratch.open(), &key), Some(("GenerateDataKey", 2)));
}

#[test]
fn a_recorded_use_is_seen_by_other_processes_and_written_once() {
    let scratch = Scratch::new();
    let (here, there) = (scratch.create(), scratch.open());
    let key = key(&here);
    here.encrypt(OPERATOR, &key, SYMMETRIC, b"x", &context()).unwrap();
    within_a_second("the key", || there.describe_key(OPERATOR, &key).is_ok());
    assert_eq!(last(&there, &key), None, "it is in memory there");
    let generation = here.generation();
    here.core.record_uses(::time::Duration::ZERO).unwrap();
    here.core.record_uses(::time::Duration::ZERO).unwrap();
    assert_eq!(here.generation(), generation + 1);
    within_a_second("the use", || last(&there, &key) == Some(("Encrypt", 0)));
    assert_eq!(last(&here, &key), Some(("Encrypt", 0)));
}
