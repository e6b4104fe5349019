#!/usr/bin/env python3
"""Checks what the program depends on, from Cargo.lock and the crates that a build has fetched: no network.

Every crate must carry a licence that goes with "Apache-2.0 OR MIT", come from crates.io, and not be one that was
refused for a reason.
"""

import json
import re
import subprocess
import sys

ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
    "ISC", "MIT", "MIT-0", "OpenSSL", "Unicode-3.0", "Unlicense", "Zlib",
}  # fmt: skip

REFUSED = {
    "sharks": "RUSTSEC-2024-0398: biased shares give the secret away",
    "openssl-sys": "one TLS and cryptography stack is enough: aws-lc-rs",
}

CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


def acceptable(expression):
    """Whether an SPDX expression can be satisfied with the allowed licences alone."""
    words = [word for word in re.split(r"(\(|\)|\bAND\b|\bOR\b)", expression.replace("/", " OR ")) if word.strip()]
    python = {"AND": "and", "OR": "or", "(": "(", ")": ")"}
    return eval(" ".join(python.get(word.strip(), str(word.strip() in ALLOWED)) for word in words))


def host():
    """This machine's target triple: what other platforms would need is neither built nor fetched."""
    version = subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return re.search(r"^host: (.+)$", version, re.MULTILINE).group(1)


def main():
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform", host()]
    packages = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["packages"]
    problems = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        if package["name"] in REFUSED:
            problems.append(f"{name}: {REFUSED[package['name']]}")
        if package["source"] not in (None, CRATES_IO):
            problems.append(f"{name}: comes from {package['source']}")
        if not package["license"] or not acceptable(package["license"]):
            problems.append(f"{name}: licence {package['license']}")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    print(f"{len(packages)} packages looked at, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
