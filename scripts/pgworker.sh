#!/bin/sh
# Builds the library that makes a stock PostgreSQL server a redo worker (walredo/pgworker/extension), for each
# major version from 14 to 17 whose headers are here, into walredo/pgworker/build/VERSION. On Debian the headers
# of 15 are in postgresql-server-dev-15, which `make servers` brings; a pg_config elsewhere goes into PG_CONFIGS.
#
# Nothing here is fatal but a build that fails: tests that need a library that is not there skip and name
# `make pgworker`; with STRATA_REQUIRE_ALL set they fail.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
source=$top/walredo/pgworker/extension
build=$top/walredo/pgworker/build

say() { echo "pgworker: $*"; }

if ! command -v cc >/dev/null 2>&1; then
  say "no C compiler here (run make servers)"
  exit 0
fi

built=
for config in ${PG_CONFIGS:-} /usr/lib/postgresql/14/bin/pg_config /usr/lib/postgresql/15/bin/pg_config \
  /usr/lib/postgresql/16/bin/pg_config /usr/lib/postgresql/17/bin/pg_config; do
  [ -x "$config" ] || continue
  [ -f "$("$config" --includedir-server)/postgres.h" ] && [ -f "$("$config" --pgxs)" ] || continue
  version=$("$config" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
  mkdir -p "$build/$version"
  "${MAKE:-make}" --no-print-directory -s -C "$build/$version" -f "$source/Makefile" VPATH="$source" PG_CONFIG="$config" strata_redo.so
  built="$built $version"
done
[ -n "$built" ] || { say "no server headers here (run make servers, which brings postgresql-server-dev-15)"; exit 0; }
say "built for PostgreSQL$built"
