#!/bin/sh
# Builds the S3 server that the tests use (github.com/versity/versitygw, a Go program) into STRATA_S3_DIR: by default
# /var/cache/strata/s3 for root and ${XDG_CACHE_HOME:-~/.cache}/strata/s3 for anybody else. Its version and hashes are
# those of scripts/s3server/go.mod and go.sum, which are a module of their own, so that nothing of it comes near
# ours. What is there already is left alone.
#
# Nothing here is fatal: a test without the server skips and names `make servers`; with STRATA_REQUIRE_ALL set it
# fails instead.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

if [ "$(id -u)" = 0 ]; then default=/var/cache/strata/s3; else default=${XDG_CACHE_HOME:-$HOME/.cache}/strata/s3; fi
dir=${STRATA_S3_DIR:-$default}
if cmp -s "$here/s3server/go.sum" "$dir/built-go.sum" && [ -x "$dir/versitygw" ]; then
  exit 0
fi
echo "s3server: building versitygw into $dir, which takes minutes once"
umask 022
mkdir -p "$dir"
if ! (cd "$here/s3server" && go build -trimpath -ldflags='-s -w' -o "$dir/versitygw.new" github.com/versity/versitygw/cmd/versitygw); then
  echo "s3server: the build failed; the S3 server stays missing"
  exit 0
fi
mv "$dir/versitygw.new" "$dir/versitygw"
cp "$here/s3server/go.sum" "$dir/built-go.sum"
