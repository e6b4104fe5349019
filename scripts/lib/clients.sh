# shellcheck shell=bash
# The clients of the KMS service that its tests run: a Python environment in target/clients/python, and in
# target/clients/suites the source packages of programs whose test suites are run. Sourced after common.sh.

CLIENTS=$PROJECT/target/clients

# The source packages: NAME VERSION SHA256.
SUITES="
aws-encryption-sdk 3.3.1 4880f5d8fd79eff2f952318e3edcf44c874e114d3e8c9ca63c2423852c32b35f
aws-encryption-sdk-cli 4.3.0 15f2e047b828719d1c2d5edbc6abca348f85b3b9101745e1477cdfead1d7c0e1
moto 5.2.5 391857257d5dac144334013c2c10e599def5f0562f553e979160140bd7bd9cf6
python-pkcs11 0.10.1 e0d7ccede3b3145a678d7c8c59b3c64dcebeb77c9146ad3394a4b1309c4ab2a2
"

# need_clients: installs them unless they are there. Fails with 77 if PyPI cannot be reached.
need_clients() {
    local wanted list=$PROJECT/scripts/lib/clients.txt
    wanted=$(cat "$list" - <<<"$SUITES" | sha256sum)
    if [ "$(cat "$CLIENTS/installed" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    [ "${KMSFS_INSTALL:-1}" = 1 ] || die "missing: the Python packages of scripts/lib/clients.txt"
    need_commands python3=python3
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
    say "installing the clients of scripts/lib/clients.txt from PyPI"
    rm -rf "$CLIENTS"
    mkdir -p "$CLIENTS/suites"
    python3 -m venv "$CLIENTS/python"
    if ! pip_quietly download --no-deps --dest "$CLIENTS/probe" six==1.17.0 2>/dev/null; then
        warn "SKIPPED: PyPI cannot be reached, and the clients are not installed"
        return 77
    fi
    pip_quietly install --requirement "$list"
    install_suites
    rm -r "$CLIENTS/probe"
    printf '%s\n' "$wanted" >"$CLIENTS/installed"
}

install_suites() {
    local name version sum archive
    while read -r name version sum; do
        [ -n "$name" ] || continue
        archive=$CLIENTS/suites/${name//-/_}-$version.tar.gz
        # pip looks at what a package says of itself, for which some need more than is installed.
        download_source "$name==$version" --no-build-isolation 2>/dev/null || download_source "$name==$version"
        sha256sum --check --quiet <<<"$sum  $archive"
        tar -xzf "$archive" -C "$CLIENTS/suites"
        rm "$archive"
    done <<<"$SUITES"
}

# download_source PACKAGE [OPTION]
download_source() {
    pip_quietly download --no-deps --no-binary "${1%%==*}" --dest "$CLIENTS/suites" "${@:2}" "$1"
}

pip_quietly() { "$CLIENTS/python/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
