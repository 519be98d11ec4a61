package sample

import (
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/mask"
)

// Digest stands for a page's bytes under PostgreSQL's masks. Empty stands for a page that says nothing.
type Digest uint64

// Empty is the digest of an all-zero page, and of a visibility map page without a set bit.
const Empty Digest = 0

// headerSize is the size of a page header (storage/bufpage.h), all that a map page without bits holds.
const headerSize = 24

// PageDigest gives the digest of a relation's page: XXH64 of the page under the mask of its kind. p is not
// changed.
func PageDigest(p []byte, fork page.Fork, block uint32) Digest {
	from := 0
	if fork == page.ForkVM {
		from = min(headerSize, len(p))
	}
	if allZero(p[from:]) {
		return Empty
	}
	var masked [pg.BlockSize]byte
	copy(masked[:], p)
	mask.Apply(masked[:], mask.KindOf(p, fork), block)
	return sum(masked[:])
}

// SLRUDigest gives the digest of a page of an SLRU: XXH64 of its bytes.
func SLRUDigest(p []byte) Digest {
	p = p[:min(len(p), pg.BlockSize)] // a stored commit log page may have a timestamp behind it
	if allZero(p) {
		return Empty
	}
	return sum(p)
}

// MapDigest gives the digest of a relation map's file: XXH64 of its bytes.
func MapDigest(file []byte) Digest { return sum(file) }

func sum(b []byte) Digest {
	d := Digest(xxhash.Sum64(b))
	if d == Empty {
		d++ // Empty has a meaning of its own
	}
	return d
}

func allZero(p []byte) bool {
	return !slices.ContainsFunc(p, func(b byte) bool { return b != 0 })
}

// trim cuts off the empty pages at the end: PostgreSQL extends files ahead of what its WAL says.
func trim(ds []Digest) []Digest {
	for len(ds) > 0 && ds[len(ds)-1] == Empty {
		ds = ds[:len(ds)-1]
	}
	return ds
}
