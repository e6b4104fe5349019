# shellcheck shell=bash disable=SC2034
# What the scripts share: where the project is, how they speak, how they act as root, what they install.
# Sourced, not run. Everything that is missing on a bare Debian or Ubuntu is installed from Debian's packages and
# from crates.io; with KMSFS_INSTALL=0 it is only named.

PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TOOLS=$PROJECT/target/tools
export PATH="$PATH:$TOOLS/bin:/usr/sbin:/sbin"

if [ -t 1 ]; then BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' PLAIN=$'\e[0m'; else BOLD='' DIM='' RED='' PLAIN=''; fi

say() { printf '%s\n' "$*"; }
heading() { printf '\n%s== %s%s\n' "$BOLD" "$*" "$PLAIN"; }
warn() { printf '%s%s%s\n' "$RED" "$*" "$PLAIN" >&2; }
die() {
    warn "error: $*"
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root: directly, or through sudo where that works without asking.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif has sudo; then
        sudo "$@"
    else
        die "$1 needs root, and there is no sudo"
    fi
}

need_rust() {
    local least found
    least=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$PROJECT/Cargo.toml")
    has cargo || die "Rust $least or newer is needed, and there is none; https://rustup.rs installs it"
    found=$(cargo --version | cut -d' ' -f2)
    [ "$(printf '%s\n' "$least" "$found" | sort -V | head -n 1)" = "$least" ] ||
        die "Rust $least or newer is needed, and this is $found; https://rustup.rs installs it"
    # A compiler alone does not do: gcc is also found without what it links programs with.
    cc -x c -o /dev/null - <<<'int main(void) { return 0; }' >/dev/null 2>&1 || install_packages gcc libc6-dev
}

# install_packages NAME...: Debian packages, without questions.
install_packages() {
    [ "${KMSFS_INSTALL:-1}" = 1 ] || die "missing packages: $*"
    has apt-get || die "please install these packages with your system's package manager: $*"
    say "installing Debian packages: $*"
    if [ -z "${APT_UPDATED:-}" ]; then
        as_root apt-get update -qq
        APT_UPDATED=1
    fi
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "$@" >/dev/null
}

# need_commands COMMAND=PACKAGE...: installs the packages of those commands that are not there.
need_commands() {
    local missing=() pair
    for pair in "$@"; do
        has "${pair%%=*}" || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
}

# The server that scripts/lib/postgres runs. Debian keeps its programs out of PATH.
need_postgres() {
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || has initdb || install_packages postgresql
}

# need_crate NAME VERSION: a program from crates.io, built once and kept in target/tools.
need_crate() {
    local name=$1 version=$2
    if [ -x "$TOOLS/bin/$name" ] && "$TOOLS/bin/$name" --version | grep -qF "$version"; then
        return
    fi
    [ "${KMSFS_INSTALL:-1}" = 1 ] || die "missing program: $name $version"
    say "building $name $version from crates.io"
    cargo install --quiet --locked --root "$TOOLS" --target-dir "$TOOLS/build" "$name" --version "$version"
    rm -rf "$TOOLS/build"
}

# What a mount needs of the machine.
need_fuse() {
    need_commands fusermount3=fuse3
    if [ ! -e /dev/fuse ]; then
        say "loading the kernel's FUSE module"
        as_root modprobe fuse || die "the kernel has no FUSE (in a container: --device /dev/fuse --cap-add SYS_ADMIN)"
    fi
}
