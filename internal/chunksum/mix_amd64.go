//go:build !purego

package chunksum

import "golang.org/x/sys/cpu"

var vectors = cpu.X86.HasAVX2

// mix gives the lanes of three chunks of size bytes, which lie behind each other from b on. size is a multiple of
// stripe, and not 0.
//
//go:noescape
func mix(l *[together]lanes, b *byte, size uint64)
