"""What the tests share: clients for several principals, keys, and a record of every operation that was called.

tests/kms_clients.rs runs them, and says in the environment where the service is and whose access keys there are:
AWS_ENDPOINT_URL_KMS, AWS_DEFAULT_REGION, and KMSFS_PRINCIPALS, a JSON object of `name: {arn, access_key_id,
secret_access_key}` with the names admin, alice and bob. admin may do everything; the others nothing, unless a key
policy or a grant says so.
"""

import json
import os
import re
from contextlib import contextmanager

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

PRINCIPALS = json.loads(os.environ["KMSFS_PRINCIPALS"])
REGION = os.environ["AWS_DEFAULT_REGION"]
ACCOUNT = PRINCIPALS["admin"]["arn"].split(":")[4]

# Operations that were answered with success.
ANSWERED = set()


def client_of(name, **config):
    """A client that signs as a principal."""
    principal = PRINCIPALS[name]
    client = boto3.client(
        "kms",
        aws_access_key_id=principal["access_key_id"],
        aws_secret_access_key=principal["secret_access_key"],
        config=Config(retries={"total_max_attempts": 1}, **config),
    )

    def record(model, parsed, **_):
        if "Error" not in parsed:
            ANSWERED.add(model.name)

    client.meta.events.register("after-call.kms", record)
    return client


def arn_of(name):
    """The ARN of a principal."""
    return PRINCIPALS[name]["arn"]


@contextmanager
def fails(code, message=""):
    """Expects an error with a code, and with a message that a pattern is found in."""
    with pytest.raises(ClientError) as caught:
        yield
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    assert re.search(message, error["Message"]), error


@pytest.fixture(scope="session")
def kms():
    """The client of who may do everything."""
    return client_of("admin")


@pytest.fixture(scope="session")
def raw():
    """The same, without boto's own checks of what it sends."""
    return client_of("admin", parameter_validation=False)


@pytest.fixture(scope="session")
def alice():
    return client_of("alice")


@pytest.fixture(scope="session")
def bob():
    return client_of("bob")


@pytest.fixture
def key(kms):
    """A new symmetric key's id."""
    return new_key(kms)


def new_key(kms, **parameters):
    """Makes a key and returns its id."""
    return kms.create_key(**parameters)["KeyMetadata"]["KeyId"]


def state_of(kms, key):
    """A key's state."""
    return kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"]


def pages(kms, operation, **parameters):
    """Everything that boto's paginator finds, two at a time."""
    paginator = kms.get_paginator(operation)
    found = paginator.paginate(PaginationConfig={"PageSize": 2}, **parameters)
    return [item for page in found for item in page[found.result_keys[0].expression]]


def allow(principal, actions, **more):
    """A statement of a key policy."""
    return {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": actions, "Resource": "*", **more}


def policy(*statements):
    """A key policy that leaves the account's administrators their rights."""
    root = allow(f"arn:aws:iam::{ACCOUNT}:root", "kms:*")
    return json.dumps({"Version": "2012-10-17", "Statement": [root, *statements]})
