#!/bin/sh
# Runs every fuzz target of the packages named, or of the module, for FUZZTIME each (Go's duration, or a number of
# executions with an x behind it; default 10m), and says at the end how many executions each had. What a target
# finds is written to its package's testdata/fuzz and fails the run.
set -eu
cd "$(dirname "$0")/.."
time=${FUZZTIME:-10m}
failed=0
log=$(mktemp)
report=$(mktemp)
trap 'rm -f "$log" "$report"' EXIT
[ $# -gt 0 ] || set -- ./...

# The fuzzing engine may call it a failure that the time ran out within an execution. Nothing was found then,
# and it says so: a finding always names the input that it wrote.
ran_out() {
  grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input written\|panic' "$log"
}

for package in $(go list "$@"); do
  for target in $(go test -list '^Fuzz' "$package" </dev/null 2>/dev/null | grep '^Fuzz' || true); do
    echo "fuzz: $package $target for $time"
    if go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" </dev/null >"$log" 2>&1; then
      tail -n 4 "$log"
    else
      cat "$log"
      ran_out || failed=1
    fi
    execs=$(sed -n 's/.*execs: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
    echo "fuzz: $package $target: ${execs:-no} executions" >>"$report"
  done
done
cat "$report"
exit $failed
