//go:build !amd64 || purego

package chunksum

// vectors says that mix is there.
const vectors = false

func mix(*[together]lanes, *byte, uint64) {}
