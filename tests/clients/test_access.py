"""Who may do what: key policies and grants, with several principals."""

import json

import pytest
from botocore.exceptions import ClientError

from conftest import ACCOUNT, allow, arn_of, fails, new_key, pages, policy

SEALED = {"Plaintext": b"plain", "EncryptionContext": {"team": "red"}}


@pytest.fixture
def blob(kms, key):
    return kms.encrypt(KeyId=key, **SEALED)["CiphertextBlob"]


def may(client, key):
    """Whether a principal may encrypt."""
    try:
        client.encrypt(KeyId=key, **SEALED)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDeniedException", error
        return False
    return True


def test_a_principal_without_rights_is_refused_by_name(alice, kms, key, blob):
    arn = kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"]
    message = f"User: {arn_of('alice')} is not authorized to perform: kms:Encrypt on resource: {arn}"
    with fails("AccessDeniedException", message):
        alice.encrypt(KeyId=key, **SEALED)
    for call, parameters in (
        (alice.describe_key, {"KeyId": key}),
        (alice.disable_key, {"KeyId": key}),
        (alice.decrypt, {"CiphertextBlob": blob, "EncryptionContext": {"team": "red"}}),
        (alice.create_key, {}),
        (alice.list_keys, {}),
    ):
        with fails("AccessDeniedException", arn_of("alice")):
            call(**parameters)


def test_a_new_key_has_the_default_policy(kms, key):
    answer = kms.get_key_policy(KeyId=key, PolicyName="default")
    assert answer["PolicyName"] == "default"
    [statement] = json.loads(answer["Policy"])["Statement"]
    assert statement["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    assert (statement["Effect"], statement["Action"], statement["Resource"]) == ("Allow", "kms:*", "*")
    assert kms.get_key_policy(KeyId=key)["Policy"] == answer["Policy"]
    assert kms.list_key_policies(KeyId=key)["PolicyNames"] == ["default"]
    assert pages(kms, "list_key_policies", KeyId=key) == ["default"]
    with fails("NotFoundException", "No such policy exists"):
        kms.get_key_policy(KeyId=key, PolicyName="another")


def test_a_key_policy_gives_rights_and_takes_them(kms, alice, bob, key):
    kms.put_key_policy(KeyId=key, Policy=policy(allow(arn_of("alice"), ["kms:Encrypt"])))
    assert may(alice, key) and not may(bob, key)
    kms.put_key_policy(
        KeyId=key,
        Policy=policy(
            allow([arn_of("alice"), arn_of("bob")], "kms:Enc*"),
            {"Effect": "Deny", "Principal": {"AWS": arn_of("alice")}, "Action": "kms:*", "Resource": "*"},
        ),
    )
    assert not may(alice, key) and may(bob, key)
    with fails("AccessDeniedException", "explicit deny"):
        alice.encrypt(KeyId=key, **SEALED)
    kms.put_key_policy(KeyId=key, Policy=policy())
    assert not may(alice, key) and not may(bob, key)


def test_conditions_on_the_encryption_context_count(kms, alice, key):
    condition = {"StringEquals": {"kms:EncryptionContext:team": "red"}}
    kms.put_key_policy(KeyId=key, Policy=policy(allow(arn_of("alice"), "kms:*crypt", Condition=condition)))
    blob = alice.encrypt(KeyId=key, **SEALED)["CiphertextBlob"]
    assert alice.decrypt(CiphertextBlob=blob, EncryptionContext={"team": "red"})["Plaintext"] == b"plain"
    for context in ({}, {"team": "blue"}):
        with fails("AccessDeniedException"):
            alice.encrypt(KeyId=key, Plaintext=b"plain", EncryptionContext=context)


def test_conditions_on_algorithms_and_aliases_count(kms, alice):
    key = new_key(kms, KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")
    alias = f"alias/signer-{key}"
    kms.create_alias(AliasName=alias, TargetKeyId=key)
    condition = {"StringEquals": {"kms:SigningAlgorithm": "RSASSA_PSS_SHA_256", "kms:RequestAlias": alias}}
    kms.put_key_policy(KeyId=key, Policy=policy(allow(arn_of("alice"), "kms:Sign", Condition=condition)))
    alice.sign(KeyId=alias, Message=b"message", SigningAlgorithm="RSASSA_PSS_SHA_256")
    with fails("AccessDeniedException"):
        alice.sign(KeyId=alias, Message=b"message", SigningAlgorithm="RSASSA_PSS_SHA_512")
    with fails("AccessDeniedException"):
        alice.sign(KeyId=key, Message=b"message", SigningAlgorithm="RSASSA_PSS_SHA_256")


def test_re_encrypting_needs_rights_on_both_keys(kms, alice, key, blob):
    other = new_key(kms)
    move = {"CiphertextBlob": blob, "SourceEncryptionContext": {"team": "red"}, "DestinationKeyId": other}
    with fails("AccessDeniedException", "kms:ReEncryptFrom"):
        alice.re_encrypt(**move)
    kms.put_key_policy(KeyId=key, Policy=policy(allow(arn_of("alice"), "kms:ReEncryptFrom")))
    with fails("AccessDeniedException", "kms:ReEncryptTo"):
        alice.re_encrypt(**move)
    kms.put_key_policy(KeyId=other, Policy=policy(allow(arn_of("alice"), "kms:ReEncryptTo")))
    alice.re_encrypt(**move)


def test_malformed_policies_are_refused(kms, key):
    before = kms.get_key_policy(KeyId=key)["Policy"]
    for wrong in ("nonsense", "[]", '{"Statement": []}', json.dumps({"Version": "2012-10-17", "Statement": [{}]})):
        with fails("MalformedPolicyDocumentException"):
            kms.put_key_policy(KeyId=key, Policy=wrong)
    nobody = allow(f"arn:aws:iam::{ACCOUNT}:user/nobody-at-all", "kms:Encrypt")
    with fails("MalformedPolicyDocumentException", "invalid principals"):
        kms.put_key_policy(KeyId=key, Policy=policy(nobody))
    assert kms.get_key_policy(KeyId=key)["Policy"] == before


def test_nobody_locks_themselves_out_by_accident(kms, key):
    alone = json.dumps({"Version": "2012-10-17", "Statement": [allow(arn_of("alice"), "kms:Encrypt")]})
    with fails("MalformedPolicyDocumentException", "will not allow you to update the key policy in the future"):
        kms.put_key_policy(KeyId=key, Policy=alone)
    kms.put_key_policy(KeyId=key, Policy=alone, BypassPolicyLockoutSafetyCheck=True)
    with fails("AccessDeniedException"):
        kms.describe_key(KeyId=key)


def test_a_grant_gives_rights_until_it_is_revoked(kms, alice, bob, key, blob):
    grant = kms.create_grant(
        KeyId=key, GranteePrincipal=arn_of("alice"), Operations=["Encrypt", "Decrypt"], Name="g",
        RetiringPrincipal=arn_of("bob"),
    )
    assert len(grant["GrantId"]) == 64 and grant["GrantToken"]
    again = kms.create_grant(
        KeyId=key, GranteePrincipal=arn_of("alice"), Operations=["Encrypt", "Decrypt"], Name="g",
        RetiringPrincipal=arn_of("bob"),
    )
    assert again["GrantId"] == grant["GrantId"]
    assert may(alice, key) and not may(bob, key)
    assert alice.decrypt(CiphertextBlob=blob, EncryptionContext={"team": "red"})["Plaintext"] == b"plain"
    with fails("AccessDeniedException"):
        alice.describe_key(KeyId=key)
    [listed] = kms.list_grants(KeyId=key)["Grants"]
    assert (listed["GrantId"], listed["Name"]) == (grant["GrantId"], "g")
    assert (listed["GranteePrincipal"], listed["RetiringPrincipal"]) == (arn_of("alice"), arn_of("bob"))
    assert sorted(listed["Operations"]) == ["Decrypt", "Encrypt"]
    assert listed["IssuingAccount"] == f"arn:aws:iam::{ACCOUNT}:root"
    kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
    assert not may(alice, key)
    with fails("NotFoundException"):
        kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])


def test_grants_have_constraints(kms, alice, key):
    kms.create_grant(
        KeyId=key,
        GranteePrincipal=arn_of("alice"),
        Operations=["Encrypt"],
        Constraints={"EncryptionContextSubset": {"team": "red"}},
    )
    alice.encrypt(KeyId=key, Plaintext=b"plain", EncryptionContext={"team": "red", "more": "x"})
    with fails("AccessDeniedException"):
        alice.encrypt(KeyId=key, Plaintext=b"plain", EncryptionContext={"team": "blue"})
    other = new_key(kms)
    kms.create_grant(
        KeyId=other,
        GranteePrincipal=arn_of("alice"),
        Operations=["Encrypt"],
        Constraints={"EncryptionContextEquals": {"team": "red"}},
    )
    assert may(alice, other)
    with fails("AccessDeniedException"):
        alice.encrypt(KeyId=other, Plaintext=b"plain", EncryptionContext={"team": "red", "more": "x"})


def test_grants_are_retired_by_whom_they_name(kms, alice, bob, key):
    grants = [
        kms.create_grant(
            KeyId=key, GranteePrincipal=arn_of("alice"), RetiringPrincipal=arn_of("bob"), Operations=["Encrypt"],
            Name=f"g{i}",
        )
        for i in range(5)
    ]
    ids = {grant["GrantId"] for grant in grants}
    assert {grant["GrantId"] for grant in pages(kms, "list_grants", KeyId=key)} == ids
    assert ids <= {grant["GrantId"] for grant in pages(kms, "list_retirable_grants", RetiringPrincipal=arn_of("bob"))}
    assert kms.list_grants(KeyId=key, GrantId=grants[0]["GrantId"])["Grants"][0]["Name"] == "g0"
    assert kms.list_grants(KeyId=key, GranteePrincipal=arn_of("bob"))["Grants"] == []
    arn = kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"]
    with fails("AccessDeniedException"):
        alice.retire_grant(KeyId=arn, GrantId=grants[0]["GrantId"])
    bob.retire_grant(KeyId=arn, GrantId=grants[0]["GrantId"])
    bob.retire_grant(GrantToken=grants[1]["GrantToken"])
    left = {grant["GrantId"] for grant in kms.list_grants(KeyId=key)["Grants"]}
    assert left == {grant["GrantId"] for grant in grants[2:]}


def test_a_grant_token_goes_with_a_call(kms, alice, key):
    token = kms.create_grant(KeyId=key, GranteePrincipal=arn_of("alice"), Operations=["Encrypt"])["GrantToken"]
    alice.encrypt(KeyId=key, GrantTokens=[token], **SEALED)
    with fails("InvalidGrantTokenException"):
        alice.encrypt(KeyId=key, GrantTokens=["nonsense"], **SEALED)


def test_a_grantee_grants_no_more_than_it_has(kms, alice, bob, key):
    kms.create_grant(KeyId=key, GranteePrincipal=arn_of("alice"), Operations=["Encrypt", "CreateGrant"])
    alice.create_grant(KeyId=key, GranteePrincipal=arn_of("bob"), Operations=["Encrypt"])
    assert may(bob, key)
    with fails("AccessDeniedException"):
        alice.create_grant(KeyId=key, GranteePrincipal=arn_of("bob"), Operations=["Decrypt"])


def test_grants_fit_their_key(kms, key):
    with fails("ValidationException"):
        kms.create_grant(KeyId=key, GranteePrincipal=arn_of("alice"), Operations=["Sign"])
    with fails("InvalidArnException"):
        kms.create_grant(KeyId=key, GranteePrincipal="nonsense", Operations=["Encrypt"])
    with fails("InvalidGrantIdException"):
        kms.revoke_grant(KeyId=key, GrantId="nonsense")


def test_dry_runs_of_grants_leave_nothing(kms, key):
    with fails("DryRunOperationException"):
        kms.create_grant(KeyId=key, GranteePrincipal=arn_of("alice"), Operations=["Encrypt"], DryRun=True)
    assert kms.list_grants(KeyId=key)["Grants"] == []
    grant = kms.create_grant(KeyId=key, GranteePrincipal=arn_of("alice"), Operations=["Encrypt"])["GrantId"]
    with fails("DryRunOperationException"):
        kms.revoke_grant(KeyId=key, GrantId=grant, DryRun=True)
    assert len(kms.list_grants(KeyId=key)["Grants"]) == 1
