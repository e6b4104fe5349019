//! CreateGrant, RetireGrant, RevokeGrant, and what a grant allows.

use super::*;
use GrantOperation as G;

const ALICE: &str = "arn:aws:iam::000000000000:user/alice";
const BOB: &str = "arn:aws:iam::000000000000:user/bob";
const ROOT: &str = "arn:aws:iam::000000000000:root";

/// A keystore with Alice, Bob and a key.
struct World {
    kms: Kms,
    key: String,
    alice: Call<'static>,
    bob: Call<'static>,
    scratch: Scratch,
}

impl World {
    fn new() -> World {
        let scratch = Scratch::new();
        let kms = scratch.create();
        let [alice, bob] = ["user/alice", "user/bob"].map(|name| call_of(&kms, &principal(&kms, name)));
        World { key: key(&kms), kms, alice, bob, scratch }
    }

    fn request<'a>(&'a self, grantee: &'a str, operations: &'a [GrantOperation]) -> CreateGrant<'a> {
        let constraints = GrantConstraints::default();
        CreateGrant { key: &self.key, grantee, retiring: None, operations, constraints, name: None }
    }

    fn grant(&self, grantee: &str, operations: &[GrantOperation]) -> CreatedGrant {
        self.kms.create_grant(OPERATOR, &self.request(grantee, operations)).unwrap()
    }

    fn encrypt(&self, call: &Call<'_>, context: &EncryptionContext) -> &'static str {
        name(self.kms.encrypt(call, &self.key, SYMMETRIC, b"x", context))
    }
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn equals(given: &[(&str, &str)]) -> GrantConstraints {
    GrantConstraints { encryption_context_equals: Some(pairs(given)), ..GrantConstraints::default() }
}

fn subset(given: &[(&str, &str)]) -> GrantConstraints {
    GrantConstraints { encryption_context_subset: Some(pairs(given)), ..GrantConstraints::default() }
}

#[test]
fn a_grant_allows_its_operations_to_its_grantee_until_it_is_revoked() {
    let world = World::new();
    let World { kms, key, alice, bob, .. } = &world;
    let made = world.grant(ALICE, &[G::Encrypt, G::DescribeKey]);
    assert_eq!(world.encrypt(alice, &context()), "ok");
    assert_eq!(name(kms.describe_key(alice, key)), "ok");
    assert_eq!(name(kms.generate_data_key(alice, key, 32, &context())), "AccessDeniedException");
    assert_eq!(world.encrypt(bob, &context()), "AccessDeniedException");
    assert_eq!(
        name(kms.encrypt(alice, &super::key(kms), SYMMETRIC, b"x", &context())),
        "AccessDeniedException"
    );
    assert_eq!(name(kms.revoke_grant(alice, key, &made.id.to_string())), "AccessDeniedException");
    kms.revoke_grant(OPERATOR, key, &made.id.to_string()).unwrap();
    assert_eq!(world.encrypt(alice, &context()), "AccessDeniedException");
    assert_eq!(name(kms.revoke_grant(OPERATOR, key, &made.id.to_string())), "NotFoundException");
}

#[test]
fn a_grant_to_a_role_serves_every_session_and_one_to_a_session_only_that() {
    let world = World::new();
    let World { kms, key, .. } = &world;
    let role = principal(kms, "role/backup");
    let session = call_of(kms, &role); // named `session`
    for (grantee, expected) in [
        ("arn:aws:iam::000000000000:role/backup", "ok"),
        ("arn:aws:sts::000000000000:assumed-role/backup/session", "ok"),
        ("arn:aws:sts::000000000000:assumed-role/backup/other", "AccessDeniedException"),
    ] {
        let made = world.grant(grantee, &[G::Encrypt]);
        assert_eq!(world.encrypt(&session, &context()), expected, "{grantee}");
        kms.revoke_grant(OPERATOR, key, &made.id.to_string()).unwrap();
    }
}

#[test]
fn constraints_bind_a_grant_to_encryption_contexts() {
    let world = World::new();
    let none = EncryptionContext::new;
    let (a, ab) = (none().with("a", "1"), none().with("a", "1").with("b", "2"));
    for (constraints, context, allowed) in [
        (equals(&[("a", "1")]), &a, true),
        (equals(&[("A", "1")]), &a, true),
        (equals(&[("a", "1")]), &ab, false),
        (equals(&[("a", "1")]), &none(), false),
        (equals(&[("a", "2")]), &a, false),
        (equals(&[("a", "1"), ("b", "2")]), &ab, true),
        (equals(&[("a", "1"), ("b", "2")]), &none().with("a", "1").with("c", "2"), false),
        (subset(&[("a", "1")]), &a, true),
        (subset(&[("a", "1")]), &ab, true),
        (subset(&[("B", "2")]), &ab, true),
        (subset(&[("b", "3")]), &ab, false),
        (subset(&[("a", "1"), ("b", "2")]), &a, false),
        (subset(&[("a", "1")]), &none(), false),
    ] {
        let request = CreateGrant { constraints, ..world.request(ALICE, &[G::Encrypt, G::DescribeKey]) };
        let made = world.kms.create_grant(OPERATOR, &request).unwrap();
        let expected = if allowed { "ok" } else { "AccessDeniedException" };
        assert_eq!(world.encrypt(&world.alice, context), expected, "{:?} {context:?}", request.constraints);
        assert_eq!(name(world.kms.describe_key(&world.alice, &world.key)), "ok", "it has no context");
        world.kms.revoke_grant(OPERATOR, &world.key, &made.id.to_string()).unwrap();
    }
}

#[test]
fn the_same_name_and_terms_are_the_same_grant() {
    let world = World::new();
    let named = |name, operations, grantee| {
        let request = CreateGrant { name: Some(name), ..world.request(grantee, operations) };
        world.kms.create_grant(OPERATOR, &request).unwrap()
    };
    let first = named("n", &[G::Encrypt, G::Decrypt], ALICE);
    let generation = world.kms.generation();
    let again = named("n", &[G::Decrypt, G::Encrypt, G::Decrypt], ALICE);
    assert_eq!(first.id, again.id);
    assert_ne!(first.token, again.token, "tokens differ and name the same grant");
    assert_eq!(world.kms.generation(), generation, "nothing changed");
    for other in [
        named("m", &[G::Encrypt, G::Decrypt], ALICE),
        named("n", &[G::Encrypt], ALICE),
        named("n", &[G::Encrypt, G::Decrypt], BOB),
        world.grant(ALICE, &[G::Encrypt, G::Decrypt]),
        world.grant(ALICE, &[G::Encrypt, G::Decrypt]),
    ] {
        assert_ne!(other.id, first.id);
    }
    assert_eq!(world.kms.core.table().unwrap().grants().all().count(), 6);
    world.kms.retire_grant_by_token(OPERATOR, &again.token).unwrap();
    assert_eq!(name(world.kms.retire_grant_by_token(OPERATOR, &first.token)), "InvalidGrantTokenException");
}

#[test]
fn a_grant_is_for_what_the_key_can_do_and_to_who_exists() {
    let world = World::new();
    let outcome = |request: CreateGrant<'_>| name(world.kms.create_grant(OPERATOR, &request));
    for operation in G::ALL {
        let fits = !matches!(
            operation,
            G::Sign
                | G::Verify
                | G::GetPublicKey
                | G::GenerateMac
                | G::VerifyMac
                | G::DeriveSharedSecret
                | G::Encapsulate
                | G::Decapsulate
        );
        let expected = if fits { "ok" } else { "ValidationException" };
        assert_eq!(outcome(world.request(ALICE, &[*operation])), expected, "{operation}");
    }
    assert_eq!(outcome(world.request(ALICE, &[])), "ValidationException");
    for (arn, expected) in [
        (ROOT, "ok"),
        ("arn:aws:iam::000000000000:user/carol", "InvalidArnException"),
        ("arn:aws:iam::000000000000:user/Alice", "InvalidArnException"),
        ("arn:aws:iam::111122223333:root", "InvalidArnException"),
        ("arn:aws:iam::111122223333:user/alice", "InvalidArnException"),
        ("alice", "InvalidArnException"),
        ("*", "InvalidArnException"),
    ] {
        assert_eq!(outcome(world.request(arn, &[G::Encrypt])), expected, "{arn}");
        let retiring = CreateGrant { retiring: Some(arn), ..world.request(ALICE, &[G::Encrypt]) };
        assert_eq!(outcome(retiring), expected, "{arn}");
    }
    let long = "x".repeat(385);
    let nine: Vec<(String, &str)> = (0..9).map(|i| (i.to_string(), "")).collect();
    let nine: Vec<(&str, &str)> = nine.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    for (constraints, expected) in [
        (subset(&nine), "ValidationException"),
        (equals(&nine[1..]), "ok"),
        (equals(&[("a", &long)]), "ValidationException"),
        (subset(&[("a", &long[1..])]), "ok"),
        (subset(&[("a", "1"), ("A", "1")]), "ValidationException"),
    ] {
        let request = CreateGrant { constraints, ..world.request(ALICE, &[G::Encrypt]) };
        assert_eq!(outcome(request), expected);
    }
}

#[test]
fn constraints_need_a_key_with_an_encryption_context() {
    let world = World::new();
    for (spec, usage, operation) in [
        (KeySpec::P256, KeyUsage::SignVerify, G::Sign),
        (KeySpec::Hmac256, KeyUsage::GenerateVerifyMac, G::GenerateMac),
        (KeySpec::P256, KeyUsage::KeyAgreement, G::DeriveSharedSecret),
    ] {
        let request = CreateKey { spec, usage: Some(usage), ..CreateKey::default() };
        let key = world.kms.create_key(OPERATOR, request).unwrap().id.to_string();
        let operations = [operation, G::DescribeKey];
        let request = CreateGrant { key: &key, ..world.request(ALICE, &operations) };
        assert_eq!(name(world.kms.create_grant(OPERATOR, &request)), "ok", "{spec}");
        let request = CreateGrant { constraints: subset(&[("a", "1")]), ..request };
        assert_eq!(name(world.kms.create_grant(OPERATOR, &request)), "ValidationException", "{spec}");
        let request = CreateGrant { key: &key, ..world.request(ALICE, &[G::Encrypt]) };
        assert_eq!(name(world.kms.create_grant(OPERATOR, &request)), "ValidationException", "{spec}");
    }
}

#[test]
fn a_grantee_gives_on_no_more_than_the_grant_gives() {
    let world = World::new();
    let World { kms, key, alice, bob, .. } = &world;
    let give = |operations: &[GrantOperation], constraints: GrantConstraints| {
        let request = CreateGrant { constraints, ..world.request(BOB, operations) };
        name(kms.create_grant(alice, &request))
    };
    let none = GrantConstraints::default;
    assert_eq!(give(&[G::Encrypt], none()), "AccessDeniedException", "without CreateGrant");
    let parent = world.grant(ALICE, &[G::Encrypt, G::CreateGrant]);
    assert_eq!(give(&[G::Encrypt], none()), "ok");
    assert_eq!(give(&[G::Encrypt, G::CreateGrant], equals(&[("a", "1")])), "ok");
    assert_eq!(give(&[G::Encrypt, G::Decrypt], none()), "AccessDeniedException");
    kms.revoke_grant(OPERATOR, key, &parent.id.to_string()).unwrap();
    assert_eq!(world.encrypt(bob, &context()), "ok", "what was given on stays");

    for (parent, child, expected) in [
        (subset(&[("a", "1")]), none(), "AccessDeniedException"),
        (subset(&[("a", "1")]), subset(&[("a", "1")]), "ok"),
        (subset(&[("a", "1")]), subset(&[("A", "1"), ("b", "2")]), "ok"),
        (subset(&[("a", "1")]), equals(&[("a", "1"), ("b", "2")]), "ok"),
        (subset(&[("a", "1")]), subset(&[("a", "2")]), "AccessDeniedException"),
        (subset(&[("a", "1"), ("b", "2")]), subset(&[("a", "1")]), "AccessDeniedException"),
        (equals(&[("a", "1")]), equals(&[("a", "1")]), "ok"),
        (equals(&[("a", "1")]), equals(&[("a", "1"), ("b", "2")]), "AccessDeniedException"),
        (equals(&[("a", "1")]), subset(&[("a", "1")]), "AccessDeniedException"),
        (equals(&[("a", "1")]), none(), "AccessDeniedException"),
    ] {
        let request = CreateGrant {
            constraints: parent.clone(),
            ..world.request(ALICE, &[G::Encrypt, G::CreateGrant])
        };
        let made = kms.create_grant(OPERATOR, &request).unwrap();
        assert_eq!(give(&[G::Encrypt], child.clone()), expected, "{parent:?} {child:?}");
        kms.revoke_grant(OPERATOR, key, &made.id.to_string()).unwrap();
    }
}

#[test]
fn a_grant_is_retired_by_those_it_says_and_by_the_account() {
    let world = World::new();
    let World { kms, key, alice, bob, .. } = &world;
    let root = call_of_root(kms);
    let denied = "AccessDeniedException";
    let carol_name = principal(kms, "user/carol");
    let carol = call_of(kms, &carol_name);
    let allow = policy(&[r#"{"Effect": "Allow", "Action": "kms:RetireGrant", "Resource": "*"}"#]);
    kms.put_identity_policy(OPERATOR, &carol_name, "retire", &allow).unwrap();
    for (operations, retiring, by, expected) in [
        (&[G::Encrypt][..], None, alice, denied),
        (&[G::Encrypt], None, bob, denied),
        (&[G::Encrypt], None, &root, "ok"),
        (&[G::Encrypt], None, OPERATOR, "ok"),
        (&[G::Encrypt], None, FILESYSTEM, denied),
        (&[G::Encrypt], None, &carol, "ok"),
        (&[G::Encrypt, G::RetireGrant], None, alice, "ok"),
        (&[G::Encrypt, G::RetireGrant], None, bob, denied),
        (&[G::Encrypt], Some(BOB), bob, "ok"),
        (&[G::Encrypt], Some(BOB), alice, denied),
        (&[G::Encrypt], Some(ROOT), bob, denied),
    ] {
        let request = CreateGrant { retiring, ..world.request(ALICE, operations) };
        for by_token in [true, false] {
            let made = kms.create_grant(OPERATOR, &request).unwrap();
            let id = made.id.to_string();
            let retired = |call: &Call<'_>| match by_token {
                true => kms.retire_grant_by_token(call, &made.token),
                false => kms.retire_grant(call, key, &id),
            };
            let dry = Call { dry_run: true, ..by.clone() };
            let dry_expected = if expected == "ok" { "DryRunOperationException" } else { expected };
            assert_eq!(name(retired(&dry)), dry_expected);
            assert_eq!(name(retired(by)), expected, "{operations:?} {retiring:?} {:?}", by.caller);
            let gone = kms.core.table().unwrap().grants().get(made.id).is_none();
            assert_eq!(gone, expected == "ok");
        }
    }
}

#[test]
fn an_explicit_denial_wins_over_a_grant() {
    let world = World::new();
    let World { kms, key, alice, .. } = &world;
    let made = world.grant(ALICE, &[G::Encrypt, G::RetireGrant]);
    let keep = format!(
        r#"{{"Effect": "Allow", "Principal": {{"AWS": "{ROOT}"}}, "Action": "kms:*", "Resource": "*"}}"#
    );
    let deny = format!(
        r#"{{"Effect": "Deny", "Principal": {{"AWS": "{ALICE}"}}, "Action": ["kms:Encrypt", "kms:RetireGrant"],
            "Resource": "*"}}"#
    );
    kms.put_key_policy(OPERATOR, key, None, &policy(&[&keep, &deny]), false).unwrap();
    assert_eq!(world.encrypt(alice, &context()), "AccessDeniedException");
    assert_eq!(name(kms.retire_grant_by_token(alice, &made.token)), "AccessDeniedException");
}

#[test]
fn grants_are_listed_in_parts_by_key_and_by_who_may_retire_them() {
    let world = World::new();
    let World { kms, key, alice, .. } = &world;
    let made: Vec<GrantId> = (0..7)
        .map(|i| {
            let (grantee, retiring) = if i % 2 == 0 { (ALICE, Some(BOB)) } else { (BOB, None) };
            let name = format!("grant-{i}");
            let request =
                CreateGrant { retiring, name: Some(&name), ..world.request(grantee, &[G::Encrypt]) };
            world.scratch.wait(::time::Duration::milliseconds(1));
            kms.create_grant(OPERATOR, &request).unwrap().id
        })
        .collect();
    world.scratch.wait(::time::Duration::milliseconds(1));
    let other = super::key(kms);
    let elsewhere = CreateGrant { key: &other, retiring: Some(BOB), ..world.request(ALICE, &[G::Decrypt]) };
    let elsewhere = kms.create_grant(OPERATOR, &elsewhere).unwrap().id;
    let ids = |listed: Listed<GrantEntry>| listed.items.iter().map(|entry| entry.id).collect::<Vec<_>>();
    let list = |grant: Option<&str>, grantee: Option<&str>| {
        kms.list_grants(OPERATOR, key, grant, grantee, Page::whole()).map(ids).unwrap()
    };
    assert_eq!(list(None, None), made);
    assert_eq!(list(None, Some(BOB)), [made[1], made[3], made[5]]);
    assert_eq!(list(Some(&made[2].to_string()), None), [made[2]]);
    assert_eq!(list(Some(&made[2].to_string()), Some(BOB)), []);
    let of_other = kms.list_grants(OPERATOR, key, Some(&elsewhere.to_string()), None, Page::whole());
    assert_eq!(name(of_other), "NotFoundException");

    let mut seen = Vec::new();
    let mut marker: Option<String> = None;
    loop {
        let page = Page::new(Some(2), marker.as_deref());
        let part = kms.list_grants(OPERATOR, key, None, None, page).unwrap();
        marker = part.next.clone();
        seen.extend(ids(part));
        if marker.is_none() {
            break;
        }
    }
    assert_eq!(seen, made);

    let retirable = kms.list_retirable_grants(OPERATOR, BOB, Page::whole()).unwrap();
    assert_eq!(ids(retirable), [made[0], made[2], made[4], made[6], elsewhere]);
    assert_eq!(ids(kms.list_retirable_grants(OPERATOR, ALICE, Page::whole()).unwrap()), []);
    let stranger = kms.list_retirable_grants(OPERATOR, "arn:aws:iam::000000000000:user/x", Page::whole());
    assert_eq!(name(stranger), "InvalidArnException");

    let entry = kms.list_grants(OPERATOR, key, None, None, Page::whole()).unwrap().items.remove(0);
    assert_eq!((entry.name.as_deref(), entry.grantee.as_str()), (Some("grant-0"), ALICE));
    assert_eq!((entry.retiring.as_deref(), entry.issuing_account.as_str()), (Some(BOB), ROOT));
    assert_eq!(entry.key_arn, kms.describe_key(OPERATOR, key).unwrap().arn);

    assert_eq!(name(kms.list_grants(alice, key, None, None, Page::whole())), "AccessDeniedException");
    let allow = format!(r#"{{"Effect": "Allow", "Action": "kms:ListRetirableGrants", "Resource": "{BOB}"}}"#);
    kms.put_identity_policy(OPERATOR, &"user/alice".parse().unwrap(), "p", &policy(&[&allow])).unwrap();
    assert_eq!(name(kms.list_retirable_grants(alice, BOB, Page::whole())), "ok");
    assert_eq!(name(kms.list_retirable_grants(alice, ALICE, Page::whole())), "AccessDeniedException");
}

#[test]
fn grants_are_named_exactly() {
    let world = World::new();
    let World { kms, key, .. } = &world;
    let id = world.grant(ALICE, &[G::Encrypt]).id.to_string();
    assert_eq!(id.parse::<GrantId>().unwrap().to_string(), id);
    let other_key = super::key(kms);
    for (of, grant, expected) in [
        (&**key, "", "InvalidGrantIdException"),
        (key, &id[1..], "InvalidGrantIdException"),
        (key, &format!("{id}0"), "InvalidGrantIdException"),
        (key, &id.replace(|c: char| c.is_ascii_hexdigit(), "g"), "InvalidGrantIdException"),
        (key, &"0".repeat(64), "NotFoundException"),
        (&other_key, &id, "NotFoundException"),
        ("alias/x", &id, "NotFoundException"),
        (key, &id, "ok"),
    ] {
        let dry = Call { dry_run: true, ..OPERATOR.clone() };
        let outcome = name(kms.revoke_grant(&dry, of, grant)).replace("DryRunOperationException", "ok");
        assert_eq!(outcome, expected, "{of} {grant}");
        assert_eq!(name(kms.retire_grant(OPERATOR, of, grant)), expected, "{of} {grant}");
    }
}

#[test]
fn a_dry_run_grants_nothing() {
    let world = World::new();
    let dry = Call { dry_run: true, ..OPERATOR.clone() };
    let outcome = world.kms.create_grant(&dry, &world.request(ALICE, &[G::Encrypt]));
    assert_eq!(name(outcome), "DryRunOperationException");
    let dry = Call { dry_run: true, ..world.alice.clone() };
    let outcome = world.kms.create_grant(&dry, &world.request(ALICE, &[G::Encrypt]));
    assert_eq!(name(outcome), "AccessDeniedException");
    assert_eq!(world.kms.core.table().unwrap().grants().all().count(), 0);
}

#[test]
fn grants_go_with_their_grantee_and_their_key() {
    let world = World::new();
    let World { kms, key, alice, .. } = &world;
    world.grant(ALICE, &[G::Encrypt]);
    world.grant(BOB, &[G::Encrypt]);
    kms.delete_principal(OPERATOR, &"user/alice".parse().unwrap()).unwrap();
    assert_eq!(kms.core.table().unwrap().grants().all().count(), 1);
    let again = call_of(kms, &principal(kms, "user/alice"));
    assert_eq!(world.encrypt(&again, &context()), "AccessDeniedException", "a namesake inherits nothing");
    assert_eq!(world.encrypt(alice, &context()), "AccessDeniedException");
    kms.disable_key(OPERATOR, key).unwrap();
    assert_eq!(name(kms.create_grant(OPERATOR, &world.request(BOB, &[G::Encrypt]))), "DisabledException");
}

#[test]
fn conditions_see_what_is_to_be_granted() {
    let world = World::new();
    let World { kms, alice, .. } = &world;
    let name_of = "user/alice".parse().unwrap();
    for (condition, expected) in [
        (r#"{"StringEquals": {"kms:GranteePrincipal": "arn:aws:iam::000000000000:user/bob"}}"#, "ok"),
        (r#"{"StringLike": {"kms:GranteePrincipal": "*:user/carol"}}"#, "AccessDeniedException"),
        (r#"{"StringEquals": {"kms:RetiringPrincipal": "arn:aws:iam::000000000000:root"}}"#, "ok"),
        (r#"{"ForAllValues:StringEquals": {"kms:GrantOperations": ["Encrypt", "Decrypt"]}}"#, "ok"),
        (r#"{"ForAllValues:StringEquals": {"kms:GrantOperations": ["Encrypt"]}}"#, "AccessDeniedException"),
        (r#"{"StringEquals": {"kms:GrantConstraintType": "EncryptionContextSubset"}}"#, "ok"),
        (
            r#"{"StringEquals": {"kms:GrantConstraintType": "EncryptionContextEquals"}}"#,
            "AccessDeniedException",
        ),
        (r#"{"StringEquals": {"kms:EncryptionContext:a": "1"}}"#, "ok"),
        (r#"{"Bool": {"kms:GrantIsForAWSResource": "false"}}"#, "ok"),
        (r#"{"Bool": {"kms:GrantIsForAWSResource": "true"}}"#, "AccessDeniedException"),
    ] {
        let allow = format!(
            r#"{{"Effect": "Allow", "Action": "kms:CreateGrant", "Resource": "*", "Condition": {condition}}}"#
        );
        kms.put_identity_policy(OPERATOR, &name_of, "p", &policy(&[&allow])).unwrap();
        let request = CreateGrant {
            retiring: Some(ROOT),
            constraints: subset(&[("a", "1")]),
            ..world.request(BOB, &[G::Decrypt, G::Encrypt])
        };
        assert_eq!(name(kms.create_grant(alice, &request)), expected, "{condition}");
    }
}
