"""Has moto's own tests of its KMS run against another server: a plugin of pytest.

moto's "server mode" takes care of the endpoint. Here are the account, the access key, a state that earlier tests have
not filled with aliases, and the list of cases in which the server is right and moto is not. Its tests give keys the
policy "my policy", which says nothing and is none: here they get the default one.
"""

import os
from pathlib import Path

import boto3
import botocore
import moto.core
import pytest
from moto.core.models import MockAWS

moto.core.DEFAULT_ACCOUNT_ID = os.environ["KMSFS_ACCOUNT"]
EXCLUDED = dict(
    line.split(maxsplit=1)
    for line in Path(__file__).with_name("moto_excluded.txt").read_text().splitlines()
    if line and not line.startswith("#")
)
CREDENTIALS = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
make = MockAWS.__init__


def with_credentials(self, *arguments, **more):
    make(self, *arguments, **more)
    self._fake_creds = CREDENTIALS


MockAWS.__init__ = with_credentials


def without_placeholder(params, **_):
    """Leaves the policy of a new key to the server."""
    if params.get("Policy", "").lower() in ("my policy", "my awesome key policy"):
        del params["Policy"]


@botocore.register_initializer
def watch(session):
    session.register("before-parameter-build.kms.CreateKey", without_placeholder)


def pytest_collection_modifyitems(items):
    """Expects the excluded cases to fail, and each of them to exist."""
    unknown = set(EXCLUDED)
    for item in items:
        name = f"{item.path.name}::{item.originalname}"
        if name in EXCLUDED:
            unknown.discard(name)
            item.add_marker(pytest.mark.xfail(reason=EXCLUDED[name], strict=True))
    assert not unknown, f"no such tests: {unknown}"


@pytest.fixture(autouse=True)
def no_aliases():
    """Takes away the aliases of earlier tests."""
    kms = boto3.client("kms", endpoint_url=os.environ["TEST_SERVER_MODE_ENDPOINT"], region_name="us-east-1")
    for page in kms.get_paginator("list_aliases").paginate():
        for alias in page["Aliases"]:
            if not alias["AliasName"].startswith(("alias/aws/", "alias/kmsfs/")):
                kms.delete_alias(AliasName=alias["AliasName"])
