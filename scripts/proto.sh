#!/bin/sh
# Generates the Go of page_service.proto anew. protoc and its well-known types are Debian's protobuf-compiler; the
# generators are Go modules of fixed versions.
set -eu
cd "$(dirname "$0")/.."
if ! command -v protoc >/dev/null 2>&1; then
	echo "scripts/proto.sh: protoc is wanted: apt-get install protobuf-compiler" >&2
	exit 1
fi
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
GOBIN=$tools go install "google.golang.org/protobuf/cmd/protoc-gen-go@$(go list -m -f '{{.Version}}' google.golang.org/protobuf)"
GOBIN=$tools go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
PATH=$tools:$PATH protoc --proto_path=pageserver/pageapi/pb \
	--go_out=pageserver/pageapi/pb --go_opt=paths=source_relative \
	--go-grpc_out=pageserver/pageapi/pb --go-grpc_opt=paths=source_relative \
	page_service.proto
