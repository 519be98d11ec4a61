package tenant

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
	"github.com/stratapg/strata/walredo"
)

// appender is redo that appends the bytes of each record to the page, so that a wrong chain shows.
type appender struct{}

func (appender) Redo(_ context.Context, dst []byte, req *walredo.Request) ([]byte, error) {
	dst = append(dst, req.Base...)
	for i, r := range req.Records {
		if r.Value.WillInit {
			if i != 0 || req.Base != nil {
				return nil, fmt.Errorf("%s: a record that initializes has something below it", req.Key)
			}
		}
		if i > 0 && r.LSN <= req.Records[i-1].LSN {
			return nil, fmt.Errorf("%s: records out of order", req.Key)
		}
		dst = append(dst, r.Value.Bytes...)
	}
	return dst, nil
}

func (appender) Close() error { return nil }

func testOptions(fs virtualfile.FS) Options {
	return Options{Dir: "store", CreateIfMissing: true, Config: timeline.Config{
		FS: fs, CheckpointDistance: 4 << 10, MaxFrozen: 2, MaxOpenFiles: 8, MinManifestRewrite: 600, Memory: 16 << 20, ValidateIO: true, RefuseOnFullDisk: true,
		Redoer: appender{}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Clock: clock.System,
	}}
}

const firstLSN page.LSN = 0x1000

func meta(name string) manifest.Meta {
	return manifest.Meta{Name: name, Version: pg.V17, InitialLSN: firstLSN, WALSegSize: 16 << 20}
}

// tap makes writes fail as on a full disk, from when it is opened until it is shut.
type tap struct {
	open atomic.Bool
	skip atomic.Int64 // writes that still succeed
}

func (t *tap) fill(skip int) { t.skip.Store(int64(skip)); t.open.Store(true) }
func (t *tap) shut()         { t.open.Store(false) }

func (t *tap) wrap(fs virtualfile.FS) virtualfile.FS {
	return virtualfile.NewFaulty(fs, &virtualfile.Fault{
		Op: virtualfile.OpWrite, Nth: 1, Sticky: true, Err: syscall.ENOSPC, Torn: 7,
		Path: func(string) bool { return t.open.Load() && t.skip.Add(-1) < 0 },
	})
}

// entry is one version of a key in the model.
type entry struct {
	lsn   page.LSN
	init  bool
	bytes []byte
}

// history is what a timeline should hold.
type history struct {
	name    string
	id      page.TimelineID
	last    page.LSN
	initial page.LSN
	parent  *history
	cutoff  page.LSN   // of garbage collection
	leases  []page.LSN // that are held
	planned page.LSN   // below it nothing may be held anew, since a collection that failed may have moved the cutoff
	values  map[page.Key][]entry
}

func newHistory(name string, initial page.LSN, parent *history) *history {
	return &history{name: name, initial: initial, last: initial, parent: parent, values: map[page.Key][]entry{}}
}

// chain gives the versions of k at or below lsn, oldest first.
func (h *history) chain(k page.Key, lsn page.LSN) []entry {
	var out []entry
	if h.parent != nil && !page.NotInherited.Contains(k) {
		out = h.parent.chain(k, min(lsn, h.initial))
	}
	for _, e := range h.values[k] {
		if e.lsn <= lsn {
			out = append(out, e)
		}
	}
	return out
}

// at gives the value of k as of lsn; broken says that its chain has no beginning.
func (h *history) at(k page.Key, lsn page.LSN) (v []byte, ok, broken bool) {
	chain := h.chain(k, lsn)
	if len(chain) == 0 {
		return nil, false, false
	}
	first := len(chain) - 1
	for ; !chain[first].init; first-- {
		if first == 0 {
			return nil, true, true
		}
	}
	for _, e := range chain[first:] {
		v = append(v, e.bytes...)
	}
	if last := chain[len(chain)-1]; k.Sparse() && last.init && len(last.bytes) == 0 {
		return nil, false, false
	}
	return v, true, false
}

// oldest is the first LSN from which on all can be read.
func (h *history) oldest() page.LSN {
	for h.parent != nil && h.begin() == h.initial {
		p := h.parent.home(h.initial)
		if p.begin() > h.initial {
			break
		}
		h = p
	}
	return h.begin()
}

// home is the history of the ancestry that lsn belongs to.
func (h *history) home(lsn page.LSN) *history {
	for h.parent != nil && lsn < h.initial {
		h = h.parent
	}
	return h
}

func (h *history) begin() page.LSN { return max(h.cutoff, h.initial) }

// readable reports whether lsn can be read.
func (h *history) readable(lsn page.LSN) bool {
	h = h.home(lsn)
	return lsn >= h.begin() || slices.Contains(h.leases, lsn)
}

// cut forgets what lies above lsn, as a crash does.
func (h *history) cut(lsn page.LSN) {
	for k, es := range h.values {
		h.values[k] = slices.DeleteFunc(es, func(e entry) bool { return e.lsn > lsn })
	}
	h.last = lsn
}

// put adds to a batch and to the model alike.
func (h *history) put(b *page.Batch, k page.Key, lsn page.LSN, kind int, data []byte) {
	e := entry{lsn, true, slices.Clone(data)}
	switch kind {
	case 0:
		b.PutImage(k, lsn, data)
	case 1:
		b.PutRecord(k, lsn, true, data)
	default:
		b.PutRecord(k, lsn, false, data)
		e.init = false
	}
	es := h.values[k]
	if n := len(es); n > 0 && es[n-1].lsn == lsn {
		es[n-1] = e
	} else {
		h.values[k] = append(es, e)
	}
}

var modelKeys = func() (ks []page.Key) {
	for rel := range uint32(2) {
		for b := range uint32(6) {
			ks = append(ks, page.RelTag{Spc: 1663, DB: 5, Rel: 16384 + rel}.Block(b))
		}
	}
	return append(ks, page.AuxKey("pg_logical/a"), page.AuxKey("b"), page.ClusterFileKey("postgresql.conf"), page.OriginKey(3))
}()

var modelSets = []page.Set{
	page.NewSet(page.FullRange),
	page.NewSet(page.RelTag{Spc: 1663, DB: 5, Rel: 16384}.Blocks(100)),
	page.NewSet(page.AuxRange, page.ClusterFileRange),
	page.SetOfKeys(modelKeys[1], modelKeys[7], modelKeys[13]),
}

// pages is a timeline, or a snapshot of one.
type pages interface {
	Get(ctx context.Context, key page.Key, lsn page.LSN) ([]byte, error)
	GetVectored(ctx context.Context, keys page.Set, lsn page.LSN, fn func(k page.Key, value []byte, err error) error) error
}

// same compares a timeline with the model at lsn.
func (h *history) same(t require.TestingT, tl pages, set page.Set, lsn page.LSN) {
	ctx := context.Background()
	if !h.readable(lsn) {
		err := tl.GetVectored(ctx, set, lsn, nil)
		require.ErrorIs(t, err, timeline.ErrBeforeHistory)
		return
	}
	got := map[page.Key][]byte{}
	var before page.Key
	err := tl.GetVectored(ctx, set, lsn, func(k page.Key, v []byte, err error) error {
		require.True(t, len(got) == 0 || before.Less(k), "keys out of order")
		before = k
		_, _, broken := h.at(k, lsn)
		if broken {
			require.ErrorIs(t, err, timeline.ErrCorrupt, "%s at %s", k.Describe(), lsn)
			require.ErrorContains(t, err, k.Describe())
		} else {
			require.NoError(t, err)
		}
		got[k] = bytes.Clone(v)
		return nil
	})
	require.NoError(t, err)
	for _, k := range modelKeys {
		want, ok, broken := h.at(k, lsn)
		if !set.Contains(k) {
			ok = false
		}
		v, there := got[k]
		require.Equal(t, ok, there, "%s at %s in %s", k.Describe(), lsn, h.name)
		if ok && !broken {
			require.True(t, bytes.Equal(want, v), "%s at %s in %s: want %q, got %q", k.Describe(), lsn, h.name, want, v)
		}
		delete(got, k)
	}
	require.Empty(t, got, "keys that were never put")
}

// tree lists every file of a directory with size, time and content.
func tree(t *testing.T, dir string) string {
	var s strings.Builder
	require.NoError(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		require.NoError(t, err)
		fmt.Fprintln(&s, path, info.Size(), info.ModTime().UnixNano(), info.Mode())
		if !info.IsDir() {
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			fmt.Fprintf(&s, "%x\n", b)
		}
		return nil
	}))
	return s.String()
}
