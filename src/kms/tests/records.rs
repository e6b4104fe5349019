//! What lies beside symmetric CMKs: material of any length, grants, principals, settings.

use super::super::clock::to_millis;
use super::super::grant::{GrantConstraints, GrantId, GrantRecord};
use super::super::key::KeyRecord;
use super::super::keystore::RecordKey;
use super::super::principal::{
    AccessKey, AccessKeySecret, IdentityPolicy, PrincipalId, PrincipalKind, PrincipalRecord,
};
use super::super::settings::SettingsRecord;
use super::*;
use crate::crypto::random;

const DENIAL: &str = r#"{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}"#;

/// From the shortest HMAC key to a private key longer than any.
const LENGTHS: [usize; 9] = [0, 1, 28, 31, 33, 128, 1218, 4097, 10_000];

/// A key with material of each length, in this order.
fn key_of_all_lengths(kms: &Kms) -> (KeyId, Vec<Vec<u8>>) {
    let secrets: Vec<Vec<u8>> = LENGTHS.iter().map(|length| random_bytes(*length)).collect();
    let id = kms
        .core
        .change(|draft| {
            let record = KeyRecord::new(KeyManager::Customer, draft.now);
            let id = record.id;
            draft.put(record);
            Ok(id)
        })
        .unwrap();
    for secret in &secrets {
        kms.core
            .change(|draft| {
                let record = draft.table.find_id(OPERATOR, id)?.record.clone();
                let secret = SecretBytes::from_vec(secret.clone());
                draft.put_material(record, RotationType::OnDemand, secret);
                Ok(())
            })
            .unwrap();
    }
    (id, secrets)
}

fn random_bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random::fill(&mut bytes);
    bytes
}

fn material(kms: &Kms, id: KeyId) -> Vec<Vec<u8>> {
    let entry = Arc::clone(kms.core.table().unwrap().find_id(OPERATOR, id).unwrap());
    let versions = entry.record.stored_materials();
    versions.map(|version| entry.material(version).unwrap().expose(<[u8]>::to_vec).unwrap()).collect()
}

#[test]
fn material_of_any_length_comes_back() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let there = scratch.open();
    let (id, secrets) = key_of_all_lengths(&kms);
    assert_eq!(material(&kms, id), secrets, "as made");
    within_a_second("the other process", || there.generation() == kms.generation());
    assert_eq!(material(&there, id), secrets, "as seen by another process");
    drop((kms, there));
    assert_eq!(material(&scratch.open(), id), secrets, "as read");
}

#[test]
fn only_a_256_bit_key_is_a_key() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (id, _) = key_of_all_lengths(&kms);
    let symmetric = key(&kms);
    let table = kms.core.table().unwrap();
    let entry = table.find_id(OPERATOR, id).unwrap();
    assert!((1..=9).all(|version| entry.material(version).unwrap().key().is_none()));
    let entry = table.find(OPERATOR, &symmetric).unwrap();
    let material = entry.material(1).unwrap();
    let key = material.key().unwrap();
    assert!(material.expose(|secret| secret == key.expose()).unwrap());
}

#[test]
fn material_that_a_record_names_no_more_is_destroyed_and_can_come_back() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (id, mut secrets) = key_of_all_lengths(&kms);
    let drop_third = kms.core.change(|draft| {
        let mut record = draft.table.find_id(OPERATOR, id)?.record.clone();
        record.materials.remove(2);
        draft.put(record);
        Ok(())
    });
    drop_third.unwrap();
    secrets.remove(2);
    assert_eq!(material(&kms, id), secrets);
    assert_eq!(material(&scratch.open(), id), secrets);

    let replace_last = kms.core.change(|draft| {
        let record = draft.table.find_id(OPERATOR, id)?.record.clone();
        let secret = SecretBytes::from_vec(vec![7; 99]);
        draft.put_with(record, vec![keystore::NewMaterial { version: 9, secret }]);
        Ok(())
    });
    replace_last.unwrap();
    *secrets.last_mut().unwrap() = vec![7; 99];
    assert_eq!(material(&kms, id), secrets);
    assert_eq!(material(&scratch.open(), id), secrets);
}

#[test]
fn altered_long_material_is_noticed() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    key_of_all_lengths(&kms);
    drop(kms);
    scratch.sql("UPDATE material SET sealed = zeroblob(length(sealed)) WHERE version = 9");
    assert!(matches!(scratch.try_open(), Err(keystore::Error::Tampered { .. })));
}

fn grant(key: KeyId, name: &str, created: OffsetDateTime) -> GrantRecord {
    GrantRecord {
        id: GrantId::from_bytes(random::array()),
        key,
        name: Some(name.into()),
        grantee: "arn:aws:iam::000000000000:user/alice".into(),
        retiring: None,
        operations: vec![GrantOperation::Decrypt],
        constraints: GrantConstraints {
            encryption_context_subset: Some(BTreeMap::from([("a".into(), "b".into())])),
            ..GrantConstraints::default()
        },
        created: to_millis(created),
        issuing_account: "000000000000".into(),
    }
}

fn put_grant(kms: &Kms, record: &GrantRecord) {
    kms.core
        .change(|draft| {
            draft.put_grant(record.clone());
            Ok(())
        })
        .unwrap();
}

fn remove(kms: &Kms, key: RecordKey) {
    kms.core
        .change(|draft| {
            draft.remove(key);
            Ok(())
        })
        .unwrap();
}

fn id(kms: &Kms) -> KeyId {
    kms.create_key(OPERATOR, CreateKey::default()).unwrap().id
}

fn grants(kms: &Kms, key: KeyId) -> Vec<String> {
    let table = kms.core.table().unwrap();
    table.grants().of(key).map(|grant| grant.name.clone().unwrap()).collect()
}

#[test]
fn grants_are_found_by_id_and_by_key_in_the_order_of_their_creation() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (a, b) = (id(&kms), id(&kms));
    let second = ::time::Duration::seconds(1);
    for (key, name, at) in [(a, "later", 2), (a, "sooner", 1), (b, "other", 0)] {
        put_grant(&kms, &grant(key, name, start() + second * at));
    }
    for kms in [&kms, &scratch.open()] {
        assert_eq!(
            (grants(kms, a), grants(kms, b)),
            (vec!["sooner".into(), "later".into()], vec!["other".into()])
        );
        let table = kms.core.table().unwrap();
        let other = table.grants().of(b).next().unwrap();
        assert_eq!(table.grants().get(other.id), Some(other));
        assert_eq!(table.grants().all().count(), 3);
    }
}

#[test]
fn a_removed_grant_is_gone_for_every_process_and_after_reopening() {
    let scratch = Scratch::new();
    let (here, there) = (scratch.create(), scratch.open());
    let key = id(&here);
    let (kept, gone) = (grant(key, "kept", start()), grant(key, "gone", start()));
    put_grant(&here, &kept);
    put_grant(&here, &gone);
    within_a_second("grants", || grants(&there, key).len() == 2);
    remove(&here, RecordKey::Grant(gone.id));
    within_a_second("removal", || grants(&there, key) == ["kept"]);
    // Made and removed before the other process has looked.
    let slow = Kms::open(scratch.location(), &passphrase("right"), scratch.sleepy()).unwrap();
    let brief = grant(key, "brief", start());
    put_grant(&here, &brief);
    remove(&here, RecordKey::Grant(brief.id));
    within_a_second("the generation", || {
        grants(&slow, key) == ["kept"] && slow.generation() == here.generation()
    });
    drop((here, there, slow));
    assert_eq!(grants(&scratch.open(), key), ["kept"]);
}

#[test]
fn grants_go_with_their_key() {
    let scratch = Scratch::new();
    let (kms, there) = (scratch.create(), scratch.open());
    let (dying, other) = (id(&kms), id(&kms));
    for key in [dying, dying, other] {
        put_grant(&kms, &grant(key, "x", start()));
    }
    kms.schedule_key_deletion(OPERATOR, &dying.to_string(), 7).unwrap();
    assert_eq!(grants(&kms, dying).len(), 2, "until the deletion date");
    scratch.pass(7);
    kms.core.run_due().unwrap();
    for kms in [&kms, &scratch.open()] {
        assert_eq!((grants(kms, dying).len(), grants(kms, other).len()), (0, 1));
    }
    within_a_second("the other process", || grants(&there, dying).is_empty());
}

#[test]
fn an_altered_removal_neither_hides_a_grant_nor_brings_one_back() {
    let attacks = [
        ("left out", "DELETE FROM removed"),
        ("made up", "INSERT INTO removed SELECT kind, id, changed FROM record"),
        ("of an unknown kind", "UPDATE removed SET kind = 9"),
        ("a grant put back", "INSERT INTO record SELECT * FROM copy WHERE kind = 3 ON CONFLICT DO NOTHING"),
        ("a grant removed", "DELETE FROM record WHERE kind = 3"),
    ];
    for (what, sql) in attacks {
        let scratch = Scratch::new();
        let here = scratch.create();
        let key = id(&here);
        let (kept, gone) = (grant(key, "kept", start()), grant(key, "gone", start()));
        put_grant(&here, &kept);
        put_grant(&here, &gone);
        let there = Kms::open(scratch.location(), &passphrase("right"), scratch.sleepy()).unwrap();
        scratch.sql("CREATE TABLE copy AS SELECT * FROM record");
        remove(&here, RecordKey::Grant(gone.id));
        drop(here);
        scratch.sql(sql);
        within_a_second(what, || match there.core.table() {
            Ok(table) => {
                let names: Vec<_> = table.grants().of(key).map(|grant| grant.name.clone()).collect();
                names == [Some("kept".to_owned())]
            }
            Err(error) => error.name() == "KeyUnavailableException",
        });
    }
}

fn principal(name: &str, access_key: &str, uid: u32) -> PrincipalRecord {
    PrincipalRecord {
        id: PrincipalId::from_bytes(random::array()),
        kind: PrincipalKind::User,
        name: name.into(),
        created: start(),
        access_keys: vec![AccessKey {
            id: access_key.into(),
            secret: AccessKeySecret::new("wJalr\"XUtnFEMI/ä".into()),
            active: true,
            created: start(),
        }],
        policies: vec![IdentityPolicy {
            name: "p".into(),
            document: policy::Written::parse(policy::Kind::Identity, DENIAL).unwrap(),
        }],
        unix_uids: vec![uid],
    }
}

fn put_principal(kms: &Kms, record: &PrincipalRecord) {
    kms.core
        .change(|draft| {
            draft.put_principal(record.clone());
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_principal_is_found_by_name_access_key_and_uid() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (alice, bob) = (principal("alice", "AKIA1", 1000), principal("bob", "AKIA2", 1001));
    put_principal(&kms, &bob);
    put_principal(&kms, &alice);
    for kms in [&kms, &scratch.open()] {
        let table = kms.core.table().unwrap();
        let all = table.principals();
        let names: Vec<_> = all.all().map(|stored| stored.record.name.as_str()).collect();
        assert_eq!(names, ["alice", "bob"]);
        assert_eq!(all.named(PrincipalKind::User, "alice").unwrap().record, alice);
        assert_eq!(all.of_access_key("AKIA2").unwrap().record, bob);
        assert_eq!(all.of_uid(1000).unwrap().record, alice);
        assert!(all.named(PrincipalKind::Role, "alice").is_none());
        assert!(all.of_access_key("AKIA3").is_none() && all.of_uid(0).is_none());
        let secret = &all.of_uid(1000).unwrap().record.access_keys[0].secret;
        assert_eq!(secret.bytes().expose(), "wJalr\"XUtnFEMI/ä".as_bytes());
        assert!(!format!("{secret:?}").contains("wJalr"));
    }
}

#[test]
fn what_no_longer_names_a_principal_does_not_find_it() {
    let scratch = Scratch::new();
    let (kms, there) = (scratch.create(), scratch.open());
    let mut alice = principal("alice", "AKIA1", 1000);
    put_principal(&kms, &alice);
    alice.name = "carol".into();
    alice.access_keys.clear();
    alice.unix_uids = vec![7];
    // One change moves the names to somebody else.
    let mallory = principal("alice", "AKIA1", 1000);
    let moved = kms.core.change(|draft| {
        draft.put_principal(mallory.clone());
        draft.put_principal(alice.clone());
        Ok(())
    });
    moved.unwrap();
    within_a_second("the other process", || there.generation() == kms.generation());
    for kms in [&kms, &there, &scratch.open()] {
        let table = kms.core.table().unwrap();
        let all = table.principals();
        assert_eq!(all.named(PrincipalKind::User, "alice").unwrap().record.id, mallory.id);
        assert_eq!(all.of_access_key("AKIA1").unwrap().record.id, mallory.id);
        assert_eq!(all.of_uid(1000).unwrap().record.id, mallory.id);
        assert_eq!(all.named(PrincipalKind::User, "carol").unwrap().record.id, alice.id);
        assert_eq!(all.of_uid(7).unwrap().record.id, alice.id);
    }
    remove(&kms, RecordKey::Principal(mallory.id));
    within_a_second("removal", || there.core.table().unwrap().principals().of_uid(1000).is_none());
    assert_eq!(scratch.open().core.table().unwrap().principals().all().count(), 1);
}

#[test]
fn neither_names_nor_secrets_can_be_read_in_the_database() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    put_principal(&kms, &principal("alice", "AKIA1", 1000));
    put_grant(&kms, &grant(id(&kms), "grantname", start()));
    drop(kms);
    for content in scratch.content().into_values() {
        for text in ["alice", "AKIA1", "wJalr", "grantname"] {
            assert!(!content.windows(text.len()).any(|window| window == text.as_bytes()), "{text}");
        }
    }
}

#[test]
fn settings_are_kept() {
    let scratch = Scratch::new();
    let (kms, there) = (scratch.create(), scratch.open());
    assert!(kms.core.table().unwrap().settings().is_none());
    let settings =
        SettingsRecord { account: "123456789012".into(), region: "eu-central-1".into(), audit_key: None };
    for region in ["elsewhere", &settings.region] {
        let settings = SettingsRecord { region: region.into(), ..settings.clone() };
        let put = kms.core.change(|draft| {
            draft.put_settings(settings.clone());
            Ok(())
        });
        put.unwrap();
    }
    within_a_second("the other process", || there.generation() == kms.generation());
    for kms in [&kms, &there, &scratch.open()] {
        assert_eq!(kms.core.table().unwrap().settings(), Some(&settings));
    }
}
