//go:build !linux

package demo

// maxrssPerMiB: macOS counts ru_maxrss in bytes.
const maxrssPerMiB = 1 << 20
