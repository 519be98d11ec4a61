#!/bin/sh
# Runs every fuzz target of the module for FUZZTIME each (Go's duration; default 10m).
# What a target finds is written to its package's testdata/fuzz and fails the run.
set -eu
cd "$(dirname "$0")/.."
time=${FUZZTIME:-10m}
failed=0
for package in $(go list ./...); do
  for target in $(go test -list '^Fuzz' "$package" </dev/null 2>/dev/null | grep '^Fuzz' || true); do
    echo "fuzz: $package $target for $time"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" </dev/null || failed=1
  done
done
exit $failed
