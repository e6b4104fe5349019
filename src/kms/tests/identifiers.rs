//! How keys are named: ids, ARNs, aliases; regions and accounts; which keys are shown at all.

use super::super::settings::SettingsRecord;
use super::*;

fn settle_in(kms: &Kms, account: &str, region: &str) {
    kms.core
        .change(|draft| {
            draft.put_settings(SettingsRecord {
                account: account.into(),
                region: region.into(),
                audit_key: None,
            });
            Ok(())
        })
        .unwrap();
}

#[test]
fn arns_have_the_region_of_the_call_and_the_account_of_the_keystore() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let id = key(&kms);
    kms.create_alias(OPERATOR, "alias/x", &id).unwrap();
    settle_in(&kms, "111122223333", "eu-central-1");
    let paris = Call { region: Some("eu-west-3"), ..Call::operator() };
    for (call, region) in [(OPERATOR, "eu-central-1"), (&paris, "eu-west-3")] {
        let seen = kms.describe_key(call, &id).unwrap();
        assert_eq!(seen.arn, format!("arn:aws:kms:{region}:111122223333:key/{id}"));
        assert_eq!(seen.account, "111122223333");
        assert_eq!(kms.key_arn(call, seen.id), seen.arn);
        let alias = &kms.list_aliases(call, None, Page::whole()).unwrap().items[0];
        assert_eq!(alias.arn, format!("arn:aws:kms:{region}:111122223333:alias/x"));
        for arn in [&seen.arn, &alias.arn] {
            assert_eq!(kms.describe_key(call, arn).unwrap().id, seen.id);
        }
    }
    let own = format!("arn:aws:kms:eu-central-1:111122223333:key/{id}");
    assert!(kms.describe_key(&paris, &own).is_ok(), "the keystore's own region is good in any other");
    let foreign = own.replace("eu-central-1", "us-east-1");
    let error = kms.describe_key(&paris, &foreign).unwrap_err();
    assert_eq!((error.name(), error.to_string().as_str()), ("NotFoundException", "Invalid arn us-east-1"));
    let error = kms.describe_key(OPERATOR, &own.replace("3333", "4444")).unwrap_err();
    assert_eq!(error.name(), "NotFoundException");
}

#[test]
fn an_arn_that_a_volume_recorded_outlives_every_setting() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let id = key(&kms);
    let recorded = kms.describe_key(FILESYSTEM, &id).unwrap().arn;
    settle_in(&kms, "111122223333", "eu-central-1");
    kms.generate_data_key(FILESYSTEM, &recorded, 32, &context()).unwrap();
    assert_eq!(name(kms.describe_key(OPERATOR, &recorded)), "NotFoundException");
}

#[test]
fn what_is_no_arn_names_no_key_where_aws_has_no_error_for_it() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let bad = "arn:aws:s3:::bucket";
    assert_eq!(name(kms.describe_key(OPERATOR, bad)), "InvalidArnException");
    assert_eq!(name(kms.disable_key(OPERATOR, bad)), "InvalidArnException");
    assert_eq!(name(kms.encrypt(OPERATOR, bad, SYMMETRIC, b"x", &context())), "NotFoundException");
    assert_eq!(name(kms.create_alias(OPERATOR, "alias/x", bad)), "NotFoundException");
}

#[test]
fn a_new_key_needs_a_usage_that_its_spec_has() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let create = |spec, usage| kms.create_key(OPERATOR, CreateKey { spec, usage, ..CreateKey::default() });
    for &spec in KeySpec::ALL {
        if !spec.is_symmetric() {
            let error = create(spec, None).unwrap_err();
            assert_eq!(
                error.to_string(),
                "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."
            );
        }
        for &usage in KeyUsage::ALL.iter().filter(|usage| !spec.usages().contains(usage)) {
            let error = create(spec, Some(usage)).unwrap_err();
            assert_eq!(error.name(), "ValidationException");
            assert_eq!(error.to_string(), format!("KeyUsage {usage} is not compatible with KeySpec {spec}"));
        }
    }
    let made = create(KeySpec::SymmetricDefault, None).unwrap();
    assert_eq!((made.usage, made.origin), (KeyUsage::EncryptDecrypt, Origin::AwsKms));
    assert_eq!(made.encryption_algorithms(), [SYMMETRIC]);
    assert!(made.current_material_id.is_some());
}

#[test]
fn an_alias_moves_between_keys_of_the_same_kind_only() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let symmetric = key(&kms);
    let signing = key_of(&kms, KeySpec::P256, KeyUsage::SignVerify);
    let also_signing = key_of(&kms, KeySpec::Ed25519, KeyUsage::SignVerify);
    let agreeing = key_of(&kms, KeySpec::P256, KeyUsage::KeyAgreement);
    kms.create_alias(OPERATOR, "alias/x", &signing).unwrap();
    for other in [&symmetric, &agreeing] {
        assert_eq!(name(kms.update_alias(OPERATOR, "alias/x", other)), "ValidationException");
    }
    kms.update_alias(OPERATOR, "alias/x", &also_signing).unwrap();
    assert_eq!(kms.describe_key(OPERATOR, "alias/x").unwrap().id.to_string(), also_signing);
}

#[test]
fn the_owned_key_is_made_for_volumes_and_shown_in_no_list() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let encrypted = kms.encrypt(OPERATOR, OWNED_ALIAS, SYMMETRIC, b"x", &context());
    assert_eq!(name(encrypted), "NotFoundException");
    let made = kms.generate_data_key(FILESYSTEM, OWNED_ALIAS, 32, &context()).unwrap();
    let again = kms.generate_data_key(FILESYSTEM, OWNED_ALIAS, 32, &context()).unwrap();
    assert_eq!(made.encrypted.key, again.encrypted.key);
    let id = made.encrypted.key.to_string();
    assert!(kms.list_keys(OPERATOR, Page::whole()).unwrap().items.is_empty());
    assert!(kms.list_aliases(OPERATOR, None, Page::whole()).unwrap().items.is_empty());
    assert_eq!(kms.describe_key(OPERATOR, &id).unwrap().manager, KeyManager::Owned);
    let blob = &made.encrypted.blob;
    let decrypted = kms.decrypt(OPERATOR, None, SYMMETRIC, blob, &context());
    assert_eq!(name(decrypted), "AccessDeniedException");
    assert_eq!(name(kms.disable_key(OPERATOR, &id)), "AccessDeniedException");
    assert!(kms.decrypt(FILESYSTEM, None, SYMMETRIC, blob, &context()).is_ok());
}
