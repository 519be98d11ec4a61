// Package bench measures the engine: `go test ./bench -run '^$' -bench . -benchmem`. Each benchmark has a
// test that runs its work once and prints a checksum of what it computed.
package bench
