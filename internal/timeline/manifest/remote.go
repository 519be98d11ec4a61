package manifest

import (
	"bytes"
	"cmp"

	"github.com/stratapg/strata/internal/sorted"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// remoteFile is what is known of a layer that remote storage has. There may be very many of timelines that nobody reads, so it
// is small and has no pointers.
type remoteFile struct {
	keys  [2 * page.KeySize]byte
	shard uint16
	image bool
	lsns  page.LSNRange
	sum   uint64
}

func compareRemote(a, b *remoteFile) int {
	if c := cmp.Or(bytes.Compare(a.keys[:], b.keys[:]), cmp.Compare(a.lsns.Start, b.lsns.Start), cmp.Compare(a.lsns.End, b.lsns.End)); c != 0 || a.image == b.image {
		return c
	}
	if a.image {
		return 1
	}
	return -1
}

func remoteOf(d *layer.Desc) (f remoteFile) {
	d.Keys.Start.Put(f.keys[:])
	d.Keys.End.Put(f.keys[page.KeySize:])
	f.lsns, f.image = d.LSNs, d.Image
	return f
}

// remoteFiles makes the set of a whole state. Of a layer that is there twice the last counts.
func remoteFiles(rs []Remote) *sorted.Set[remoteFile] {
	all := make([]remoteFile, 0, len(rs))
	for i := range rs {
		all = append(all, remoteOf(&rs[i].Layer))
		all[i].sum, all[i].shard = rs[i].Sum, rs[i].Shard
	}
	if s, twice := sorted.Collect(compareRemote, all); twice == nil {
		return s
	}
	s := sorted.New(compareRemote)
	for i := range rs {
		f := remoteOf(&rs[i].Layer)
		f.sum, f.shard = rs[i].Sum, rs[i].Shard
		s.Put(f)
	}
	return s
}
