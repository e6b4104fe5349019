//! What time brings about: deletion and rotation.

use super::*;

fn run_due(kms: &Kms) {
    kms.core.run_due().unwrap();
}

#[test]
fn a_deletion_waits_seven_to_thirty_days() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    for days in [0, 6, 31] {
        assert_eq!(name(kms.schedule_key_deletion(OPERATOR, &key, days)), "ValidationException");
    }
    let date = kms.schedule_key_deletion(OPERATOR, &key, 7).unwrap().date;
    assert_eq!(date, start() + ::time::Duration::days(7));
    assert_eq!(kms.describe_key(OPERATOR, &key).unwrap().deletion_date, Some(date));
}

#[test]
fn a_cancelled_deletion_leaves_the_key_disabled_for_good() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    let blob = kms.encrypt(OPERATOR, &key, SYMMETRIC, b"secret", &context()).unwrap().blob;
    kms.schedule_key_deletion(OPERATOR, &key, 7).unwrap();
    scratch.pass(6);
    run_due(&kms);
    kms.cancel_key_deletion(OPERATOR, &key).unwrap();
    let seen = kms.describe_key(OPERATOR, &key).unwrap();
    assert_eq!((seen.state, seen.deletion_date), (KeyState::Disabled, None));
    scratch.pass(100);
    run_due(&kms);
    kms.enable_key(OPERATOR, &key).unwrap();
    assert_eq!(
        kms.decrypt(OPERATOR, None, SYMMETRIC, &blob, &context()).unwrap().plaintext.expose(),
        b"secret"
    );
}

#[test]
fn at_its_date_the_material_is_destroyed_and_the_aliases_are_free() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    kms.create_alias(OPERATOR, "alias/x", &key).unwrap();
    kms.rotate_key_on_demand(OPERATOR, &key).unwrap();
    let blob = kms.encrypt(OPERATOR, &key, SYMMETRIC, b"secret", &context()).unwrap().blob;
    kms.schedule_key_deletion(OPERATOR, &key, 7).unwrap();
    let sealed = sealed_material(&scratch);
    assert_eq!(sealed.len(), 2);
    scratch.pass(7);
    run_due(&kms);

    assert_eq!(name(kms.describe_key(OPERATOR, &key)), "NotFoundException");
    assert_eq!(name(kms.describe_key(OPERATOR, "alias/x")), "NotFoundException");
    assert_eq!(name(kms.cancel_key_deletion(OPERATOR, &key)), "NotFoundException");
    assert_eq!(name(kms.decrypt(OPERATOR, None, SYMMETRIC, &blob, &context())), "NotFoundException");
    assert!(
        kms.list_keys(OPERATOR, Page::whole()).unwrap().items.is_empty()
            && kms.list_aliases(OPERATOR, None, Page::whole()).unwrap().items.is_empty()
    );
    assert!(sealed_material(&scratch).is_empty());
    for (place, content) in scratch.content() {
        for row in &sealed {
            assert!(!content.windows(row.len()).any(|window| window == row), "left in {}", place.display());
        }
    }
    kms.create_alias(OPERATOR, "alias/x", &super::key(&kms)).unwrap();
    drop(kms);
    assert_eq!(name(scratch.open().describe_key(OPERATOR, &key)), "NotFoundException");
}

fn sealed_material(scratch: &Scratch) -> Vec<Vec<u8>> {
    scratch.bytes("SELECT sealed FROM material")
}

#[test]
fn what_came_due_while_no_process_ran_happens_on_opening() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let (dying, rotating) = (key(&kms), key(&kms));
    kms.schedule_key_deletion(OPERATOR, &dying, 30).unwrap();
    kms.enable_key_rotation(OPERATOR, &rotating, 90).unwrap();
    drop(kms);
    scratch.pass(90);
    let kms = scratch.open();
    within_a_second("deletion", || name(kms.describe_key(OPERATOR, &dying)) == "NotFoundException");
    assert_eq!(kms.describe_key(OPERATOR, &rotating).unwrap().current_material, 2);
}

#[test]
fn a_rotated_key_encrypts_with_the_new_version_and_decrypts_with_all() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    let blob = || kms.encrypt(OPERATOR, &key, SYMMETRIC, b"secret", &context()).unwrap();
    let mut blobs = vec![blob()];
    for version in 2..=26 {
        assert_eq!(kms.rotate_key_on_demand(OPERATOR, &key).unwrap().version, version);
        blobs.push(blob());
        assert_eq!(blobs.last().unwrap().material, version);
    }
    assert_eq!(name(kms.rotate_key_on_demand(OPERATOR, &key)), "LimitExceededException");
    assert_eq!(kms.key_rotation_status(OPERATOR, &key).unwrap().on_demand, 25);
    drop(kms);
    let kms = scratch.open();
    for (version, blob) in (1..).zip(&blobs) {
        let opened = kms.decrypt(OPERATOR, None, SYMMETRIC, &blob.blob, &context()).unwrap();
        assert_eq!((opened.plaintext.expose(), opened.material), (b"secret".as_slice(), version));
    }
    let rotations = kms.list_key_rotations(OPERATOR, &key, true, Page::whole()).unwrap().items;
    assert_eq!(rotations.len(), 26);
    assert_eq!(
        (rotations[0].material.rotation, rotations[1].material.rotation),
        (RotationType::Initial, RotationType::OnDemand)
    );
}

#[test]
fn automatic_rotation_follows_its_period() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    for days in [89, 2561] {
        assert_eq!(name(kms.enable_key_rotation(OPERATOR, &key, days)), "ValidationException");
    }
    kms.enable_key_rotation(OPERATOR, &key, 90).unwrap();
    let version = || {
        run_due(&kms);
        kms.describe_key(OPERATOR, &key).unwrap().current_material
    };
    for (days, expected) in [(89, 1), (1, 2), (89, 2), (1, 3)] {
        scratch.pass(days);
        assert_eq!(version(), expected);
        assert_eq!(version(), expected, "once per period");
    }
    kms.rotate_key_on_demand(OPERATOR, &key).unwrap();
    scratch.pass(90);
    assert_eq!(version(), 5, "rotation on demand leaves the schedule alone");
    kms.disable_key_rotation(OPERATOR, &key).unwrap();
    scratch.pass(1000);
    assert_eq!(version(), 5);
    assert!(kms.key_rotation_status(OPERATOR, &key).unwrap().schedule.is_none());
}

#[test]
fn a_key_that_is_not_enabled_does_not_rotate_until_it_is() {
    let scratch = Scratch::new();
    let kms = scratch.create();
    let key = key(&kms);
    kms.enable_key_rotation(OPERATOR, &key, 90).unwrap();
    kms.schedule_key_deletion(OPERATOR, &key, 30).unwrap();
    assert!(kms.key_rotation_status(OPERATOR, &key).unwrap().schedule.is_none());
    kms.cancel_key_deletion(OPERATOR, &key).unwrap();
    assert!(kms.key_rotation_status(OPERATOR, &key).unwrap().schedule.is_some());
    scratch.pass(100);
    run_due(&kms);
    assert_eq!(kms.describe_key(OPERATOR, &key).unwrap().current_material, 1);
    kms.enable_key(OPERATOR, &key).unwrap();
    run_due(&kms);
    assert_eq!(kms.describe_key(OPERATOR, &key).unwrap().current_material, 2);
}
