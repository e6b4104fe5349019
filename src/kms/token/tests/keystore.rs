//! Token objects as rows of the keystore: kept, followed by other processes, sealed.

use super::*;
use crate::kms::keystore::Error as KeystoreError;

const KEPT: (u64, Value<'static>) = (ck::CKA_TOKEN, F(true));

#[test]
fn token_objects_and_the_pin_survive_reopening_and_session_objects_do_not() {
    let (scratch, kms, alice) = alice();
    let ticket = login(&kms, &alice);
    let token = kms.token(&alice, ticket).unwrap();
    let key = aes(&token, &[KEPT, (ck::CKA_LABEL, B(b"label"))]);
    let [public, private] = p256(&token, &[KEPT]);
    aes(&token, &[]);
    let ciphertext = encrypt(&token, key, b"plain").unwrap();
    let signature = sign(&token, private, ck::CKM_ECDSA_SHA256, b"data").unwrap();
    let all =
        [ck::CKA_LABEL, ck::CKA_UNIQUE_ID, ck::CKA_CHECK_VALUE, ck::CKA_ALWAYS_SENSITIVE, ck::CKA_LOCAL];
    let before = all.map(|kind| read(&token, key, kind).unwrap());
    drop(kms);

    let kms = scratch.open();
    assert_eq!(name(kms.token(&alice, ticket)), "CKR_SESSION_HANDLE_INVALID", "applications are gone");
    assert!(kms.token_info(&alice).unwrap().has_pin);
    let token = kms.token(&alice, login(&kms, &alice)).unwrap();
    let mut expected = vec![key, private];
    expected.sort();
    assert_eq!(token.find(&none()).unwrap(), expected);
    assert_eq!(name(token.read(public, &[])), "CKR_OBJECT_HANDLE_INVALID", "that one was of the session");
    assert_eq!(all.map(|kind| read(&token, key, kind).unwrap()), before);
    assert_eq!(decrypt(&token, key, &ciphertext).unwrap(), b"plain");
    let second = sign(&token, private, ck::CKM_ECDSA_SHA256, b"data").unwrap();
    assert!(second != signature && second.len() == signature.len());
}

#[test]
fn another_process_on_the_same_keystore_follows() {
    let (scratch, here, alice) = alice();
    let there = scratch.open();
    let label = template(&[(ck::CKA_LABEL, B(b"new"))]);
    let one = here.token(&alice, login(&here, &alice)).unwrap();
    within_a_second("the PIN", || there.token_info(&alice).unwrap().has_pin);
    let two = there.token(&alice, login(&there, &alice)).unwrap();

    let key = aes(&one, &[KEPT]);
    within_a_second("the key", || two.find(&none()).unwrap() == [key]);
    let ciphertext = encrypt(&one, key, b"plain").unwrap();
    assert_eq!(decrypt(&two, key, &ciphertext).unwrap(), b"plain");
    two.set(key, &label).unwrap();
    within_a_second("the label", || one.find(&label).unwrap() == [key]);
    two.destroy(key).unwrap();
    within_a_second("the end", || one.find(&none()).unwrap().is_empty());
    assert_eq!(name(encrypt(&one, key, b"plain")), "CKR_KEY_HANDLE_INVALID");
}

#[test]
fn objects_and_pins_change_nothing_for_mounts() {
    // Whoever caches what keys gave forgets it when the generation changes.
    let (scratch, kms, alice) = alice();
    let there = scratch.open();
    let before = (kms.generation(), there.generation());
    let token = kms.token(&alice, login(&kms, &alice)).unwrap();
    let key = aes(&token, &[KEPT]);
    token.set(key, &template(&[(ck::CKA_LABEL, B(b"new"))])).unwrap();
    let copy = token.copy(key, none()).unwrap();
    token.destroy(copy).unwrap();
    kms.token_set_pin(&alice, &secret(PIN), &secret("another")).unwrap();
    let found = || {
        let there = there.token(&alice, there.token_open(&alice)).unwrap();
        there.create(data(b"x", &[KEPT])).is_ok() && there.find(&none()).unwrap().len() == 1
    };
    assert!(found());
    token.destroy(key).unwrap();
    within_a_second("the other's object", || token.find(&none()).unwrap().len() == 1);
    assert_eq!((kms.generation(), there.generation()), before);
}

#[test]
fn a_new_root_key_seals_objects_and_pins_anew() {
    use crate::crypto::Key;
    use crate::kms::keystore::{QuorumKey, QuorumShape, Unlock};
    let quorum = |set: u8| QuorumKey {
        key: Key::from_bytes(&mut [set; 32]),
        shape: QuorumShape { set, threshold: 2, custodians: 3 },
        verifier: vec![set; 66],
    };
    let scratch = Scratch::new();
    let open = |set| Kms::open(scratch.location(), &Unlock::Quorum(quorum(set)), scratch.options()).unwrap();
    let kms = Kms::create(scratch.location(), &Unlock::Quorum(quorum(0)), "", scratch.options()).unwrap();
    let alice = user(&kms, "user/alice");
    let token = kms.token(&alice, login(&kms, &alice)).unwrap();
    let key = aes(&token, &[KEPT]);
    let ciphertext = encrypt(&token, key, b"plain").unwrap();
    drop(kms);
    open(0).rekey(&Call::operator(), quorum(1)).unwrap();
    let kms = open(1);
    let token = kms.token(&alice, login(&kms, &alice)).unwrap();
    assert_eq!(decrypt(&token, key, &ciphertext).unwrap(), b"plain");
    assert_eq!(token.find(&none()).unwrap(), [key]);
}

#[test]
fn the_account_stays_as_long_as_the_root_user_has_objects() {
    // The owner is an ARN, with the account in it: with another one nobody would see the objects any more.
    let scratch = Scratch::new();
    let kms = scratch.create();
    kms.change_settings(&Call::operator(), Some("111111111111"), None).unwrap();
    let root = Call::of(&kms.principal_for_uid(0, 0).unwrap().unwrap());
    let token = kms.token(&root, kms.token_open(&root)).unwrap();
    let id = token.create(data(b"x", &[KEPT])).unwrap();
    let change = || kms.change_settings(&Call::operator(), Some("222222222222"), None);
    assert_eq!(change().unwrap_err().name(), "ConflictException");
    assert_eq!(token.find(&none()).unwrap(), [id]);
    token.destroy(id).unwrap();
    change().unwrap();
}

/// Whether the keystore has these bytes somewhere: as they are, in hexadecimal, as PostgreSQL shows rows, or in base64 at
/// any offset.
fn shows(scratch: &Scratch, bytes: &[u8]) -> bool {
    use base64::Engine;
    let text = |skip: usize| {
        let padded = [&vec![0; skip][..], bytes].concat();
        let text = base64::engine::general_purpose::STANDARD.encode(padded);
        text.as_bytes()[4..text.len() - 4].to_vec()
    };
    let mut forms = vec![bytes.to_vec(), hex::encode(bytes).into_bytes(), text(0), text(1), text(2)];
    forms.retain(|form| !form.is_empty()); // of a few bytes base64 has no middle
    let content = scratch.content();
    content
        .values()
        .any(|file| forms.iter().any(|form| file.windows(form.len()).any(|window| window == form)))
}

#[test]
fn nothing_of_an_object_can_be_read_in_the_keystore() {
    let (scratch, kms, alice) = alice();
    let token = kms.token(&alice, login(&kms, &alice)).unwrap();
    let (value, label, text) = ([0xa7; 32], b"a label of an object", b"the content of a data object");
    token.create(brought(ck::CKK_AES, &value, &[KEPT, (ck::CKA_LABEL, B(label))])).unwrap();
    token.create(data(text, &[KEPT])).unwrap();
    let [public, _] = rsa(&token, &[KEPT], &[KEPT]);
    let modulus = read(&token, public, ck::CKA_MODULUS).unwrap();
    drop(kms);
    for secret in [&value[..], label, text, &modulus, PIN.as_bytes(), b"user/alice"] {
        assert!(!shows(&scratch, secret), "{} bytes", secret.len());
    }
    assert!(shows(&scratch, b"first"), "the label of a slot, which is not sealed, is found");
}

#[test]
fn a_destroyed_keys_row_is_gone_from_the_file() {
    let scratch = Scratch::file();
    let kms = scratch.create();
    let alice = user(&kms, "user/alice");
    let token = kms.token(&alice, login(&kms, &alice)).unwrap();
    let key = aes(&token, &[KEPT]);
    let connection = rusqlite::Connection::open(scratch.path()).unwrap();
    let row = |id: ObjectId| -> Option<Vec<u8>> {
        let sql = "SELECT sealed FROM record WHERE kind = 8 AND id = ?1";
        connection.query_row(sql, [id.as_bytes().as_slice()], |row| row.get(0)).ok()
    };
    let sealed = row(key).unwrap();
    assert!(shows(&scratch, &sealed));
    token.destroy(key).unwrap();
    assert_eq!(row(key), None);
    drop(connection);
    assert!(!shows(&scratch, &sealed[sealed.len() - 64..]), "what was sealed is overwritten");
}

#[test]
fn altered_rows_of_objects_are_noticed() {
    let other = "(SELECT max(id) FROM record WHERE kind = 8)";
    let attacks = [
        ("an object removed", format!("DELETE FROM record WHERE kind = 8 AND id = {other}")),
        ("all objects removed", "DELETE FROM record WHERE kind = 8".to_owned()),
        ("an object's id", format!("UPDATE record SET id = zeroblob(16) WHERE kind = 8 AND id = {other}")),
        ("an object as another kind", "UPDATE record SET kind = 6 WHERE kind = 8".to_owned()),
        (
            "one object as all",
            "UPDATE record SET sealed = (SELECT max(sealed) FROM record WHERE kind = 8) WHERE kind = 8"
                .to_owned(),
        ),
        ("an object cut", "UPDATE record SET sealed = substr(sealed, 1, 20) WHERE kind = 8".to_owned()),
        ("an object emptied", "UPDATE record SET sealed = zeroblob(0) WHERE kind = 8".to_owned()),
        ("an object's generation", "UPDATE record SET changed = changed + 1 WHERE kind = 8".to_owned()),
    ];
    for (what, sql) in attacks {
        let (scratch, kms, alice) = alice();
        let token = kms.token(&alice, login(&kms, &alice)).unwrap();
        aes(&token, &[KEPT]);
        drop(kms);
        scratch.sql(&sql);
        let error = scratch.try_open().err().unwrap_or_else(|| panic!("{what}: it opened"));
        assert!(matches!(error, KeystoreError::Tampered { .. }), "{what}: {error}");
    }
}

#[test]
fn no_flipped_byte_of_a_row_is_taken() {
    let scratch = Scratch::file();
    let kms = scratch.create();
    let alice = user(&kms, "user/alice");
    let token = kms.token(&alice, login(&kms, &alice)).unwrap();
    let key = aes(&token, &[KEPT]);
    drop(kms);
    let run = |sql: &str, sealed: &[u8]| {
        let connection = rusqlite::Connection::open(scratch.path()).unwrap();
        connection.execute(sql, (sealed, key.as_bytes().as_slice())).unwrap();
    };
    let connection = rusqlite::Connection::open(scratch.path()).unwrap();
    let sql = "SELECT sealed FROM record WHERE kind = 8 AND id = ?1";
    let whole: Vec<u8> = connection.query_row(sql, [key.as_bytes().as_slice()], |row| row.get(0)).unwrap();
    drop(connection);
    let write = "UPDATE record SET sealed = ?1 WHERE kind = 8 AND id = ?2";
    for at in (0..whole.len()).step_by(29) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        run(write, &damaged);
        assert!(matches!(scratch.try_open(), Err(KeystoreError::Tampered { .. })), "byte {at}");
    }
    run(write, &whole);
    let kms = scratch.open();
    assert_eq!(name(encrypt(&kms.token(&alice, login(&kms, &alice)).unwrap(), key, b"plain")), "ok");
}

#[test]
fn an_old_object_put_back_is_noticed() {
    let (scratch, kms, alice) = alice();
    let token = kms.token(&alice, login(&kms, &alice)).unwrap();
    let key = aes(&token, &[KEPT, (ck::CKA_SENSITIVE, F(false))]);
    scratch.sql("CREATE TABLE copy AS SELECT * FROM record");
    token.set(key, &template(&[(ck::CKA_SENSITIVE, F(true)), (ck::CKA_EXTRACTABLE, F(false))])).unwrap();
    drop(kms);
    scratch.sql("DELETE FROM record WHERE kind = 8; INSERT INTO record SELECT * FROM copy WHERE kind = 8");
    assert!(
        matches!(scratch.try_open(), Err(KeystoreError::Tampered { .. })),
        "a key that could be read again"
    );
}
