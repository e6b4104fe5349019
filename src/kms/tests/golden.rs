//! A keystore that version 1 of the format wrote, and what it must always mean.
//!
//! `tests/golden/keystore-v1.sql` is a keystore file as text; its comments are what the test asks of it. A failure means
//! that existing keystores no longer open: the code is wrong, not the file. Only until the format is released may it
//! be made anew: `KMSFS_BLESS=1 cargo test --lib kms::tests::golden`.

use super::super::grant::{GrantConstraints, GrantId, GrantOperation, GrantRecord};
use super::super::principal::{
    AccessKey, AccessKeySecret, IdentityPolicy, PrincipalId, PrincipalKind, PrincipalRecord,
};
use super::super::settings::SettingsRecord;
use super::*;
use std::fmt::Write;
use std::path::PathBuf;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const READ_ONLY: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*"}]}"#;
const SIGNED: SigningAlgorithm = SigningAlgorithm::EcdsaSha256;
const MAC: MacAlgorithm = MacAlgorithm::HmacSha384;

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/keystore-v1.sql")
}

/// Bytes 0 to 31.
fn key_file() -> Unlock {
    Unlock::KeyFile(SecretBytes::from_vec((0..32).collect()))
}

fn to_sign() -> ToSign<'static> {
    ToSign { message: b"message", message_type: MessageType::Raw, algorithm: SIGNED }
}

/// Makes the keystore, and writes it down with what came of its keys.
fn bless() {
    let scratch = Scratch::file();
    let kms = scratch.create();
    kms.add_slot(&key_file(), "a key file").unwrap();
    let mut facts = String::new();
    let mut fact = |name: &str, value: &dyn std::fmt::Display| writeln!(facts, "-- {name}: {value}").unwrap();

    let id = kms.create_key(OPERATOR, CreateKey::default()).unwrap().id;
    let symmetric = id.to_string();
    kms.create_alias(OPERATOR, "alias/golden", &symmetric).unwrap();
    kms.tag_resource(OPERATOR, &symmetric, &[Tag { key: "colour".into(), value: "gold".into() }]).unwrap();
    kms.enable_key_rotation(OPERATOR, &symmetric, 90).unwrap();
    fact("symmetric", &symmetric);
    for version in ["version 1", "version 2"] {
        let made = kms.encrypt(OPERATOR, &symmetric, SYMMETRIC, version.as_bytes(), &context()).unwrap();
        fact(version, &hex::encode(made.blob));
        kms.rotate_key_on_demand(OPERATOR, &symmetric).unwrap();
    }
    let hmac = key_of(&kms, KeySpec::Hmac384, KeyUsage::GenerateVerifyMac);
    fact("hmac", &hmac);
    fact("mac", &hex::encode(kms.generate_mac(OPERATOR, &hmac, b"message", MAC).unwrap().mac));
    let pair = key_of(&kms, KeySpec::P256, KeyUsage::SignVerify);
    fact("pair", &pair);
    fact("signature", &hex::encode(kms.sign(OPERATOR, &pair, &to_sign()).unwrap().signature));
    kms.disable_key(OPERATOR, &hmac).unwrap();
    let destroyed = key(&kms);
    fact("destroyed", &destroyed);
    kms.schedule_key_deletion(OPERATOR, &destroyed, 7).unwrap();
    scratch.pass(7);
    kms.core.run_due().unwrap();

    let (grant, principal, settings) = records(id);
    let put = kms.core.change(|draft| {
        draft.put_grant(grant);
        draft.put_principal(principal);
        draft.put_settings(settings);
        Ok(())
    });
    put.unwrap();
    drop(kms);
    std::fs::write(file(), format!("{facts}{}", dump(&scratch))).unwrap();
}

/// A grant of `key`, a principal, and settings, with fixed content.
fn records(key: KeyId) -> (GrantRecord, PrincipalRecord, SettingsRecord) {
    let grant = GrantRecord {
        id: GrantId::from_bytes(*b"the grant's id, 32 random bytes."),
        key,
        name: Some("golden".into()),
        grantee: "arn:aws:iam::123456789012:user/alice".into(),
        retiring: Some("arn:aws:iam::123456789012:role/admin".into()),
        operations: vec![GrantOperation::Decrypt, GrantOperation::GenerateDataKey],
        constraints: GrantConstraints {
            encryption_context_equals: None,
            encryption_context_subset: Some(BTreeMap::from([("volume".into(), "v".into())])),
        },
        created: start(),
        issuing_account: "123456789012".into(),
    };
    let principal = PrincipalRecord {
        id: PrincipalId::from_bytes(*b"16 random bytes."),
        kind: PrincipalKind::User,
        name: "alice".into(),
        created: start(),
        access_keys: vec![AccessKey {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: AccessKeySecret::new(SECRET.into()),
            active: false,
            created: start(),
        }],
        policies: vec![IdentityPolicy {
            name: "read-only".into(),
            document: policy::Written::parse(policy::Kind::Identity, READ_ONLY).unwrap(),
        }],
        unix_uids: vec![1000],
    };
    let (account, region) = ("123456789012".into(), "eu-central-1".into());
    (grant, principal, SettingsRecord { account, region, audit_key: None })
}

/// The file as SQL.
fn dump(scratch: &Scratch) -> String {
    let connection = rusqlite::Connection::open(scratch.path()).unwrap();
    let texts = |sql: &str| {
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.map(rusqlite::Result::unwrap).collect::<Vec<_>>()
    };
    let mut sql = String::new();
    for pragma in ["application_id", "user_version"] {
        let value: i64 = connection.pragma_query_value(None, pragma, |row| row.get(0)).unwrap();
        writeln!(sql, "PRAGMA {pragma} = {value};").unwrap();
    }
    for statement in texts("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name") {
        writeln!(sql, "{statement};").unwrap();
    }
    for table in texts("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name") {
        let columns = texts(&format!("SELECT name FROM pragma_table_info('{table}')"));
        let columns = columns.iter().map(|column| format!("quote({column})")).collect::<Vec<_>>();
        for row in texts(&format!("SELECT {} FROM {table}", columns.join(" || ', ' || "))) {
            writeln!(sql, "INSERT INTO {table} VALUES ({row});").unwrap();
        }
    }
    sql
}

#[test]
fn a_keystore_of_version_1_means_what_it_meant() {
    if std::env::var_os("KMSFS_BLESS").is_some() {
        bless();
    }
    let golden = std::fs::read_to_string(file()).unwrap();
    let fact = |name: &str| {
        let line =
            golden.lines().find_map(|line| line.strip_prefix("-- ")?.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("the golden keystore says nothing of {name:?}"))
    };
    let bytes = |name: &str| hex::decode(fact(name)).unwrap();
    for (slot, unlock) in [(1, passphrase("right")), (2, key_file())] {
        let scratch = Scratch::file();
        scratch.sql(&golden);
        let kms = Kms::open(scratch.location(), &unlock, scratch.options()).unwrap();
        assert_eq!(kms.unlocked_by(), slot);

        let symmetric = kms.describe_key(OPERATOR, "alias/golden").unwrap();
        assert_eq!(
            (symmetric.id.to_string().as_str(), symmetric.state),
            (fact("symmetric"), KeyState::Enabled)
        );
        for version in ["version 1", "version 2"] {
            let opened = kms.decrypt(OPERATOR, None, SYMMETRIC, &bytes(version), &context()).unwrap();
            assert_eq!(opened.plaintext.expose(), version.as_bytes());
        }
        let status = kms.key_rotation_status(OPERATOR, fact("symmetric")).unwrap();
        assert_eq!((status.on_demand, status.schedule.unwrap().period_days), (2, 90));
        let verified = kms.verify(OPERATOR, fact("pair"), &to_sign(), &bytes("signature"));
        assert_eq!(name(verified), "ok");
        let hmac = fact("hmac");
        assert_eq!(kms.describe_key(OPERATOR, hmac).unwrap().state, KeyState::Disabled);
        kms.enable_key(OPERATOR, hmac).unwrap();
        assert_eq!(name(kms.verify_mac(OPERATOR, hmac, b"message", MAC, &bytes("mac"))), "ok");
        assert_eq!(name(kms.describe_key(OPERATOR, fact("destroyed"))), "NotFoundException");

        let table = kms.core.table().unwrap();
        let (grant, principal, settings) = records(symmetric.id);
        assert_eq!(table.grants().of(symmetric.id).collect::<Vec<_>>(), [&grant]);
        assert_eq!(table.principals().of_uid(1000).unwrap().record, principal);
        assert_eq!(table.settings(), Some(&settings));
        assert_eq!(table.get(symmetric.id).unwrap().record.tags.get("colour").unwrap(), "gold");
    }
}
