#!/bin/sh
# Makes testdata/sample anew: a real cluster, the WAL of real work, and digests of what PostgreSQL makes of
# it at several LSNs. Needs postgresql-15 with its tools (make servers) and zstd; takes about a minute.
# testdata/sample/README.md says what is in it.
set -eu
cd "$(dirname "$0")/.."
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
STRATA_REQUIRE_ALL=1 go test -count=1 -tags makesample -run '^TestMakeSample$' -v ./internal/sample -args -out "$new/sample"
cp testdata/sample/README.md "$new/sample/"
rm -rf testdata/sample
cp -r "$new/sample" testdata/sample
du -sh testdata/sample
