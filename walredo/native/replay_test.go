package native

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/mask"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/walredo"
)

// replayer redoes a stream of records page by page. A page comes from the base cluster when it is first
// touched and is our own result from then on. Where a record carries a copy of the page for checking
// (wal_consistency_checking), the result is compared with it.
type replayer struct {
	t         testing.TB
	redo      *Redoer
	version   pg.Version
	flavour   pg.Flavour
	checksums bool
	base      string // data directory to start from
	pages     map[page.Key][]byte

	checked, different, failed int
	unsupported                map[string]int
	seen                       map[string]int // records by operation: compared pages
	images                     map[string]int // records by operation: restored or unchecked
}

func newReplayer(t testing.TB, v pg.Version, base string) *replayer {
	return &replayer{
		t: t, redo: New(), version: v, base: base, pages: map[page.Key][]byte{},
		unsupported: map[string]int{}, seen: map[string]int{}, images: map[string]int{},
	}
}

// relPath is the file of a relation's fork below a data directory.
func relPath(r page.RelTag) string {
	name := strconv.FormatUint(uint64(r.Rel), 10)
	if r.Fork != page.ForkMain {
		name += "_" + r.Fork.String()
	}
	if r.Spc == pg.GlobalTablespace {
		return filepath.Join("global", name)
	}
	return filepath.Join("base", strconv.FormatUint(uint64(r.DB), 10), name)
}

// fileBlock reads a block of a relation's first segment, nil if it is not there.
func fileBlock(t testing.TB, dir string, r page.RelTag, n uint32) []byte {
	f, err := os.Open(filepath.Join(dir, relPath(r)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	defer f.Close()
	b := make([]byte, pg.BlockSize)
	if n, _ := f.ReadAt(b, int64(n)*pg.BlockSize); n < len(b) {
		return nil
	}
	return b
}

// run redoes everything in the segments, whose first byte stands at the start of a segment.
func (r *replayer) run(segments []byte, o wal.DecoderOptions) page.LSN {
	d, err := wal.NewDecoder(o)
	require.NoError(r.t, err)
	d.Feed(segments[o.Start%page.LSN(o.SegSize):])
	var rec wal.Record
	for {
		ok, err := d.Next(&rec)
		if err != nil {
			r.t.Logf("end of WAL at %s: %v", d.LSN(), err)
		}
		if err != nil || !ok {
			return d.LSN()
		}
		r.record(&rec)
	}
}

func (r *replayer) record(rec *wal.Record) {
	for i := range rec.Blocks {
		b := &rec.Blocks[i]
		op := fmt.Sprintf("%s/%02X/%s", rec.Rmgr, rec.Info&opMask, b.Rel.Fork)
		r.apply(b.Rel.Block(b.Blkno), walredo.Record{LSN: rec.End, Value: page.Value{
			Kind: page.KindPostgres, WillInit: b.WillInit || b.Apply, Bytes: rec.Raw,
		}}, op, b)
	}
	r.clearMaps(rec)
	if rec.Rmgr == pg.RmSMGR && rec.Info&opMask == 0x20 {
		r.truncate(rec)
	}
}

// truncate does what the ingest does when a relation is cut: blocks u32, tablespace, database, relation.
func (r *replayer) truncate(rec *wal.Record) {
	blocks := le.Uint32(rec.Main)
	rel := page.RelTag{Spc: le.Uint32(rec.Main[4:]), DB: le.Uint32(rec.Main[8:]), Rel: le.Uint32(rec.Main[12:])}
	for k := range r.pages {
		if b, n, _ := k.RelBlock(); b == rel && n >= blocks {
			r.pages[k] = nil
		}
	}
	vm := rel.WithFork(page.ForkVM).Block(mapBlock(blocks))
	if r.get(vm) != nil {
		r.apply(vm, walredo.Record{LSN: rec.End, Value: page.Value{
			Kind:      page.KindTruncateVM,
			TruncByte: uint64(blocks % mapHeapBlocks / mapPerByte),
			TruncBits: uint64(blocks % mapPerByte * mapBits),
		}}, "truncate map", nil)
	}
}

// get finds the page before the record; a map page that nobody wrote yet is zeros.
func (r *replayer) get(k page.Key) []byte {
	p, ok := r.pages[k]
	if !ok {
		rel, n, _ := k.RelBlock()
		p = fileBlock(r.t, r.base, rel, n)
		if p == nil && rel.Fork != page.ForkMain {
			p = make([]byte, pg.BlockSize)
		}
	}
	return p
}

func (r *replayer) apply(k page.Key, rec walredo.Record, op string, b *wal.Block) {
	base := r.get(k)
	got, err := r.redo.Redo(context.Background(), nil, &walredo.Request{
		Key: k, LSN: rec.LSN, Version: r.version, Flavour: r.flavour, Checksums: r.checksums, Base: base, Records: []walredo.Record{rec},
	})
	switch {
	case errors.Is(err, walredo.ErrUnsupported):
		r.unsupported[op]++
		if b.HasImage {
			got = make([]byte, pg.BlockSize)
			require.NoError(r.t, b.RestoreImage(got))
		}
		r.pages[k] = got
		return
	case err != nil:
		r.failed++
		if r.failed < 10 {
			r.t.Errorf("%s: %v", op, err)
		}
		return
	}
	r.pages[k] = got
	if b == nil || !b.HasImage || b.Apply {
		r.images[op]++
		return
	}
	want := make([]byte, pg.BlockSize)
	require.NoError(r.t, b.RestoreImage(want))
	r.checked++
	r.seen[op]++
	kind := mask.KindOf(want, b.Rel.Fork)
	if at := mask.Difference(got, want, kind, b.Blkno); at >= 0 {
		r.different++
		if r.different < 10 {
			r.t.Errorf("%s ending at %s: %s differs at byte %d (%s)", op, rec.LSN, k.Describe(), at, kind)
		}
		r.pages[k] = want
	}
}

// clearMaps does what the ingest does for records of older minor releases, which clear bits of the
// visibility map without naming its page.
func (r *replayer) clearMaps(rec *wal.Record) {
	if r.flavour == pg.Neon || rec.Rmgr != pg.RmHeap && rec.Rmgr != pg.RmHeap2 || len(rec.Blocks) == 0 {
		return
	}
	for i := range rec.Blocks {
		if rec.Blocks[i].Rel.Fork == page.ForkVM {
			return
		}
	}
	newBlock, oldBlock, bits := uint32(page.NoBlock), uint32(page.NoBlock), uint8(mapValid)
	first, last := rec.Blocks[0].Blkno, rec.Blocks[len(rec.Blocks)-1].Blkno
	switch op := rec.Info & 0x70; {
	case rec.Rmgr == pg.RmHeap && op == heapInsert && rec.Main[2]&1 != 0,
		rec.Rmgr == pg.RmHeap && op == heapDelete && rec.Main[7]&1 != 0,
		rec.Rmgr == pg.RmHeap2 && op == heap2MultiInsert && rec.Main[0]&1 != 0:
		newBlock = first
	case rec.Rmgr == pg.RmHeap && (op == heapUpdate || op == heapHotUpdate):
		if rec.Main[7]&1 != 0 {
			oldBlock = last
		}
		if rec.Main[7]&2 != 0 {
			newBlock = first
		}
	case rec.Rmgr == pg.RmHeap && op == heapLock && rec.Main[7]&1 != 0,
		rec.Rmgr == pg.RmHeap2 && op == heap2LockUpdated && rec.Main[7]&1 != 0:
		oldBlock, bits = first, mapAllFrozen
	}
	vm := rec.Blocks[0].Rel.WithFork(page.ForkVM)
	for _, v := range []page.Value{
		{Kind: page.KindClearVM, NewHeapBlock: newBlock, OldHeapBlock: page.NoBlock, Flags: bits},
		{Kind: page.KindClearVM, NewHeapBlock: page.NoBlock, OldHeapBlock: oldBlock, Flags: bits},
	} {
		if heap := min(v.NewHeapBlock, v.OldHeapBlock); heap != page.NoBlock {
			r.apply(vm.Block(mapBlock(heap)), walredo.Record{LSN: rec.End, Value: v}, "clear map", nil)
		}
	}
}

// compareWith compares every page that records touched with the files of a cleanly stopped cluster.
func (r *replayer) compareWith(dir string) (compared, different, gone int) {
	for k, got := range r.pages {
		rel, n, _ := k.RelBlock()
		want := fileBlock(r.t, dir, rel, n)
		if want == nil || got == nil {
			gone++
			continue
		}
		kind := mask.KindOf(want, rel.Fork)
		if kind == mask.KindSequence || kind == mask.KindFSM {
			continue // sequences are logged ahead of their use, and the free space map is not logged at all
		}
		if kind == mask.KindSPGist && n == 0 {
			continue // the metapage has a cache of pages with room, which is not logged
		}
		compared++
		if at := mask.Difference(got, want, kind, n); at >= 0 {
			different++
			if different < 10 {
				r.t.Errorf("%s differs at byte %d: got pd_lsn %s", k.Describe(), at, page.LSN(uint64(le.Uint32(got))<<32|uint64(le.Uint32(got[4:]))))
			}
		}
	}
	return compared, different, gone
}

func (r *replayer) report() {
	for what, m := range map[string]map[string]int{"compared": r.seen, "not compared": r.images, "unsupported": r.unsupported} {
		for _, op := range slices.Sorted(maps.Keys(m)) {
			r.t.Logf("%-12s %-28s %d", what, op, m[op])
		}
	}
	r.t.Logf("pages=%d checked=%d different=%d failed=%d", len(r.pages), r.checked, r.different, r.failed)
}
