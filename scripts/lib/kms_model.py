#!/usr/bin/env python3
"""Prints where AWS's own model of KMS is, as JSON.

It is a part of botocore, which comes from PyPI once and is kept in target/pypi. Ends with 75 if it cannot be had.
"""

import glob
import gzip
import json
import os
import subprocess
import sys
import zipfile

VERSION = "1.44.8"
MODEL = "botocore/data/kms/2014-11-01/service-2.json.gz"
UNAVAILABLE = 75

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.path.join(PROJECT, "target", "pypi")


def main():
    target = os.path.join(CACHE, f"kms-{VERSION}.json")
    if not os.path.exists(target):
        os.makedirs(CACHE, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", CACHE]
        if subprocess.run([*command, f"botocore=={VERSION}"], stdout=sys.stderr).returncode:
            return UNAVAILABLE
        (wheel,) = glob.glob(os.path.join(CACHE, f"botocore-{VERSION}-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            model = json.loads(gzip.decompress(archive.read(MODEL)))
        # Renamed into place whole: tests of several checkouts may run at once.
        temporary = f"{target}.{os.getpid()}"
        with open(temporary, "w", encoding="utf-8") as out:
            json.dump(model, out)
        os.rename(temporary, target)
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
