# What the scripts share; to be sourced. Leaves the shell in the root of the checkout.

cd "$(dirname "$0")/.."
root=$(pwd -P)
venv=$root/.venv
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() {
    printf '==> %s\n' "$*"
}

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Print the first Python that runs, is new enough and can make environments.
find_python() {
    unfit=
    for python in python3.13 python3.12 python3.11 python3; do
        # a name on the PATH may be a shim that refuses to run
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue
        if "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            echo "$python"
            return
        fi
        unfit=${unfit:-$python}
    done
    if [ -n "$unfit" ]; then
        fail "$unfit cannot make environments: venv or ensurepip is missing" \
            "(Debian, Ubuntu: apt-get install python3-venv)"
    fi
    fail "needs Python 3.11 or newer, and found none"
}

# What an environment depends on; when it changes, the installation is done again.
stamp() {
    echo "$root"
    cksum <pyproject.toml
}

# Make .venv with the project and its tools in it, unless it is there and up to date.
prepare_environment() {
    if ! "$venv/bin/python" -c '' >/dev/null 2>&1 ||
        [ "$(head -n 1 "$venv/stamp" 2>/dev/null)" != "$root" ]; then
        python=$(find_python)
        say "making .venv with $python"
        "$python" -m venv --clear "$venv"
        stamp | head -n 1 >"$venv/stamp"
    fi
    if [ "$(cat "$venv/stamp")" != "$(stamp)" ]; then
        say "installing waystation and its tools into .venv"
        "$venv/bin/python" -m pip install --quiet --upgrade pip
        "$venv/bin/python" -m pip install --quiet --editable . --group dev
        stamp >"$venv/stamp"
    fi
    PATH=$venv/bin:$PATH
}

has_dovecot() {
    command -v dovecot >/dev/null || [ -x /usr/sbin/dovecot ]
}

# Install Debian's Dovecot for the tests that talk to a real server, or say why not.
prepare_dovecot() {
    if has_dovecot; then
        return
    fi
    how="apt-get install --no-install-recommends dovecot-imapd dovecot-pop3d"
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        say "installing Dovecot for the tests with a real server"
        if (install_dovecot) && has_dovecot; then
            return
        fi
    fi
    say "no Dovecot here: leaving out the tests marked 'server' (Debian: $how)"
}

# Install Debian's Pango for the tests that make PDF files, or say why not.
prepare_pango() {
    if ldconfig -p 2>/dev/null | grep -q 'libpango-1\.0\.so' || [ "$(uname)" != Linux ]; then
        return
    fi
    pango="libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        say "installing Pango for the tests that make PDF files"
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086 # three names
        if apt-get update -qq </dev/null >/dev/null &&
            apt-get install -qq -y --no-install-recommends $pango fonts-dejavu-core </dev/null >/dev/null; then
            return
        fi
    fi
    say "no Pango here: leaving out the tests of PDF files (Debian: apt-get install $pango)"
}

# Runs in a subshell, whose end puts the machine's own policy back.
install_dovecot() {
    policy=/usr/sbin/policy-rc.d
    kept=$(mktemp -d)
    trap 'rm -f "$policy"; [ ! -e "$kept/policy" ] || mv "$kept/policy" "$policy"; rmdir "$kept"' EXIT
    trap 'exit 130' HUP INT TERM
    if [ -e "$policy" ]; then
        mv "$policy" "$kept/policy"
    fi
    # 101: the package must not start a service of its own
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" &&
        export DEBIAN_FRONTEND=noninteractive &&
        apt-get update -qq </dev/null >/dev/null &&
        apt-get install -qq -y --no-install-recommends dovecot-imapd dovecot-pop3d \
            </dev/null >/dev/null
}

# Install Debian's Chromium for the tests that look through an archive, or say why not.
prepare_chromium() {
    if command -v chromium >/dev/null; then
        return
    fi
    how="apt-get install --no-install-recommends chromium"
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        say "installing Chromium for the tests with a real browser"
        if (install_chromium) && command -v chromium >/dev/null; then
            return
        fi
    fi
    say "no Chromium here: leaving out the tests with a real browser (Debian: $how)"
}

install_chromium() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq </dev/null >/dev/null &&
        apt-get install -qq -y --no-install-recommends chromium </dev/null >/dev/null
}
