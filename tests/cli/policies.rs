//! `kmsfs key policy`, `key grant` and `kms policy`.

use serde_json::json;

use crate::support::Home;

const ROOT_ONLY: &str = r#"{ "Version": "2012-10-17", "Statement": [ { "Effect": "Allow",
  "Principal": { "AWS": "arn:aws:iam::000000000000:root" }, "Action": "kms:*", "Resource": "*" } ] }"#;
const IDENTITY: &str = r#"{ "Version": "2012-10-17", "Statement": [ { "Effect": "Allow",
  "Action": "kms:Decrypt", "Resource": "*" } ] }"#;

#[test]
fn a_key_policy_reads_back_as_it_was_given() {
    let home = Home::new();
    let key = home.key();
    let default = home.ok(&["key", "policy", "get", &key]);
    assert!(default.contains(":root"), "{default}");
    home.ok(&["key", "alias", "create", "alias/work", &key]);
    let file = home.secret_file("policy.json", ROOT_ONLY);
    home.ok(&["key", "policy", "put", "alias/work", "--in", &file]);
    assert_eq!(home.ok(&["key", "policy", "get", &key]).trim_end(), ROOT_ONLY);
    let shown = home.json(&["key", "policy", "get", &key]);
    assert_eq!((&shown["Policy"], &shown["PolicyName"]), (&ROOT_ONLY.into(), &"default".into()));

    let bad = home.secret_file("bad.json", "{}");
    let refused = home.fails(10, &["key", "policy", "put", &key, "--in", &bad]);
    assert!(refused.contains("MalformedPolicyDocumentException"), "{refused}");
    let binary = home.path("binary");
    std::fs::write(&binary, [0xff, 0xfe]).unwrap();
    assert!(
        home.fails(10, &["key", "policy", "put", &key, "--in", binary.to_str().unwrap()])
            .contains("not text")
    );
    assert_eq!(
        home.ok(&["key", "policy", "get", &key]).trim_end(),
        ROOT_ONLY,
        "what was refused changed nothing"
    );
}

#[test]
fn grants_are_made_listed_and_revoked() {
    let home = Home::new();
    let key = home.key();
    home.ok(&["kms", "principal", "create", "role/backup"]);
    let create = [
        "key",
        "grant",
        "create",
        &key,
        "--grantee",
        "role/backup",
        "--operation",
        "Decrypt",
        "--operation",
        "DescribeKey",
        "--context",
        "purpose=backup",
        "--name",
        "nightly",
    ];
    let id = home.ok(&create).trim().to_owned();
    assert_eq!(home.json(&create)["GrantId"], *id, "the same name and terms are the same grant");
    let grants = home.json(&["key", "grant", "list", &key])["Grants"].as_array().unwrap().clone();
    assert_eq!(grants.len(), 1);
    let grant = &grants[0];
    assert_eq!(grant["GranteePrincipal"], "arn:aws:iam::000000000000:role/backup");
    assert_eq!(grant["Operations"], json!(["Decrypt", "DescribeKey"]));
    assert_eq!(grant["Constraints"], json!({ "EncryptionContextSubset": { "purpose": "backup" } }));
    assert!(home.ok(&["key", "grant", "list", &key]).contains("nightly"));
    home.ok(&["key", "grant", "revoke", &key, &id]);
    assert_eq!(home.json(&["key", "grant", "list", &key])["Grants"], json!([]));
    assert_ne!(home.run(&["key", "grant", "revoke", &key, &id]).status.code(), Some(0));
    home.fails(2, &["key", "grant", "create", &key, "--grantee", "role/backup", "--operation", "Rule"]);
    home.fails(2, &["key", "grant", "create", &key, "--grantee", "role/backup"]);
}

#[test]
fn policies_hang_on_principals_by_name() {
    let home = Home::new();
    home.ok(&["kms", "principal", "create", "user/alice"]);
    home.ok_fed(&["kms", "policy", "attach", "user/alice", "decrypt"], IDENTITY.as_bytes());
    assert_eq!(home.ok(&["kms", "policy", "list", "user/alice"]), "decrypt\n");
    assert_eq!(home.ok(&["kms", "policy", "show", "user/alice", "decrypt"]).trim_end(), IDENTITY);
    assert_eq!(
        home.json(&["kms", "principal", "show", "user/alice"])["Principal"]["Policies"],
        json!(["decrypt"])
    );
    let file = home.secret_file("policy.json", ROOT_ONLY);
    let refused = home.fails(10, &["kms", "policy", "attach", "user/alice", "all", "--in", &file]);
    assert!(refused.contains("MalformedPolicyDocumentException"), "{refused}");
    home.ok(&["kms", "policy", "detach", "user/alice", "decrypt"]);
    assert_eq!(home.json(&["kms", "policy", "list", "user/alice"])["PolicyNames"], json!([]));
    assert!(
        home.fails(10, &["kms", "policy", "detach", "user/alice", "decrypt"]).contains("NotFoundException")
    );
}
