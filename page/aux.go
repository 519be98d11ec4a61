package page

import (
	"math/bits"
	"strings"
)

// auxDirs are the directories that have a number of their own in the keys of auxiliary files. Source:
// Neon, pageserver/src/aux_file.rs.
var auxDirs = [...]struct {
	prefix string
	code   uint16
}{
	{"pg_logical/mappings/", 0x0101},
	{"pg_logical/snapshots/", 0x0102},
	{"pg_logical/", 0x01FF},
	{"pg_replslot/", 0x0201},
	{"pg_stat/", 0x0301},
}

const (
	auxCodeOrigins = 0x0103
	auxCodeOther   = 0xFFFF
)

// AuxKey is the key of an auxiliary file, by its path in the data directory. Several paths may share a key.
func AuxKey(path string) Key { return fileKey(prefixAux, path) }

// ClusterFileKey is the key of a file that belongs to the cluster and that branches inherit: configuration,
// timeline history, paths of tablespaces. Strata's addition; the hash is that of auxiliary files.
func ClusterFileKey(path string) Key { return fileKey(prefixClusterFile, path) }

func fileKey(prefix uint8, path string) Key {
	code, rest := uint16(auxCodeOther), path
	if path == "pg_logical/replorigin_checkpoint" {
		code, rest = auxCodeOrigins, ""
	} else {
		for _, d := range auxDirs {
			if strings.HasPrefix(path, d.prefix) {
				code, rest = d.code, path[len(d.prefix):]
				break
			}
		}
	}
	hi, lo := fnv128a(rest)
	// The low 13 bytes of the hash follow the two bytes of the directory.
	return Key{
		F1: prefix,
		F2: uint32(code),
		F3: uint32(hi >> 8),
		F4: uint32(hi&0xFF)<<24 | uint32(lo>>40),
		F5: uint8(lo >> 32),
		F6: uint32(lo),
	}
}

// fnv128a is the 128-bit FNV-1a hash (offset basis and prime of the FNV specification).
func fnv128a(s string) (hi, lo uint64) {
	const primeHi, primeLo = 1 << 24, 0x13B
	hi, lo = 0x6c62272e07bb0142, 0x62b821756295c58d
	for i := range len(s) {
		lo ^= uint64(s[i])
		h, l := bits.Mul64(lo, primeLo)
		hi, lo = h+hi*primeLo+lo*primeHi, l
	}
	return hi, lo
}
