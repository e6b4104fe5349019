"""The protocol as boto meets it: validation messages, request ids, signatures; and that nothing was left out."""

import botocore.session
import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import ANSWERED, PRINCIPALS, fails

# What AWS KMS has beyond this service: keys in other stores and in several regions.
NOT_SERVED = {
    "ConnectCustomKeyStore",
    "CreateCustomKeyStore",
    "DeleteCustomKeyStore",
    "DescribeCustomKeyStores",
    "DisconnectCustomKeyStore",
    "ReplicateKey",
    "UpdateCustomKeyStore",
    "UpdatePrimaryRegion",
}


def test_answers_have_a_request_id(kms):
    first, second = (kms.list_keys(Limit=1)["ResponseMetadata"] for _ in range(2))
    assert first["HTTPStatusCode"] == 200 and len(first["RequestId"]) == 36
    assert first["RequestId"] != second["RequestId"]
    with pytest.raises(ClientError) as caught:
        kms.describe_key(KeyId="alias/nobody")
    metadata = caught.value.response["ResponseMetadata"]
    assert metadata["HTTPStatusCode"] == 400 and len(metadata["RequestId"]) == 36


def test_all_that_is_wrong_is_named_at_once(raw):
    with pytest.raises(ClientError) as caught:
        raw.generate_data_key(KeyId="", NumberOfBytes=2000)
    message = caught.value.response["Error"]["Message"]
    assert message.startswith("2 validation errors detected: ")
    assert (
        "Value '2000' at 'numberOfBytes' failed to satisfy constraint: "
        "Member must have value less than or equal to 1024" in message
    )
    assert "at 'keyId' failed to satisfy constraint: Member must have length greater than or equal to 1" in message


def test_missing_members_are_named(raw):
    with fails("ValidationException", "at 'keyId' failed to satisfy constraint: Member must not be null"):
        raw.describe_key()


def test_unknown_values_are_refused(raw, key):
    with fails("ValidationException", "Member must satisfy enum value set: "):
        raw.generate_data_key(KeyId=key, KeySpec="AES_512")


def test_a_wrong_secret_is_refused():
    stranger = {"aws_access_key_id": PRINCIPALS["alice"]["access_key_id"], "aws_secret_access_key": "wrong"}
    with fails("InvalidSignatureException"):
        boto3.client("kms", **stranger).list_keys()


def test_an_unknown_access_key_is_refused():
    stranger = {"aws_access_key_id": "AKIAAAAAAAAAAAAAAAAA", "aws_secret_access_key": "wrong"}
    with fails("UnrecognizedClientException"):
        boto3.client("kms", **stranger).list_keys()


def test_anonymous_callers_are_refused():
    with fails("MissingAuthenticationTokenException", "Missing Authentication Token"):
        boto3.client("kms", config=Config(signature_version=botocore.UNSIGNED)).list_keys()


def test_every_operation_was_answered():
    """Runs last: the others have called everything by now."""
    model = botocore.session.get_session().get_service_model("kms")
    assert set(model.operation_names) - NOT_SERVED - ANSWERED == set()
