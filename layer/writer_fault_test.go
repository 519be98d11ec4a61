package layer

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	shares "github.com/stratapg/strata/internal/budget"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// writing is a layer to be written.
type writing struct {
	name    string
	image   bool
	entries int
	size    int // of each value
	o       WriterOptions
}

// writings are a small layer and one whose index goes through a temporary file, each as delta and as image,
// with a trailer and without.
func writings() (out []writing) {
	for _, image := range []bool{false, true} {
		for _, unchecked := range []bool{false, true} {
			o := WriterOptions{Unchecked: unchecked, Compression: Compression{Disabled: unchecked}}
			small := writing{"small", image, 100, 16000, o}
			o.IndexMemory = 1
			spilled := writing{"spilled", image, 30_000, 10, o}
			for _, w := range []writing{small, spilled} {
				w.name = fmt.Sprintf("%s image=%t unchecked=%t", w.name, image, unchecked)
				out = append(out, w)
			}
		}
	}
	return out
}

// spreadKey gives keys with little in common, which make a large index.
func spreadKey(i int) page.Key { return page.Key{F2: uint32(i) << 16, F6: 1} }

func (w *writing) write(fsys virtualfile.FS) (Desc, error) {
	return w.writeUnder(context.Background(), fsys)
}

func (w *writing) writeUnder(ctx context.Context, fsys virtualfile.FS) (Desc, error) {
	value := bytes.Repeat([]byte("0123456789abcdef"), w.size/16+1)[:w.size]
	disk := diskOn(fsys)
	defer disk.Close()
	if w.image {
		iw, err := NewImageWriter(disk, "/", testID, page.FullRange, 8, 1, w.o)
		if err != nil {
			return Desc{}, err
		}
		defer iw.Abort()
		for i := range w.entries {
			if err := iw.Add(spreadKey(i), value); err != nil {
				return Desc{}, err
			}
		}
		return iw.Finish(ctx, page.MaxKey)
	}
	dw, err := NewDeltaWriter(disk, "/", testID, page.MinKey, page.LSNRange{Start: 8, End: 16}, 1, w.o)
	if err != nil {
		return Desc{}, err
	}
	defer dw.Abort()
	for i := range w.entries {
		if err := dw.Add(spreadKey(i), 8, true, value); err != nil {
			return Desc{}, err
		}
	}
	return dw.Finish(ctx, page.MaxKey)
}

// Every operation of writing a layer fails once, torn where it can be: the error says so, no file of a
// layer's name is there unless the layer is whole, and a second attempt succeeds whatever the first left.
func TestWritingSurvivesEveryFault(t *testing.T) {
	for _, w := range writings() {
		w.entries = min(w.entries, testkit.Size(12_000, 30_000, 30_000))
		t.Run(w.name, func(t *testing.T) {
			for nth := 1; ; nth++ {
				fault := &virtualfile.Fault{Nth: nth, Torn: 512}
				m := virtualfile.NewMem()
				d, err := w.write(virtualfile.NewFaulty(m, fault))
				if fault.Hits() == 0 {
					require.NoError(t, err)
					require.Greater(t, nth, 6)
					return
				}
				names, lerr := m.List("/")
				require.NoError(t, lerr)
				layers := 0
				for _, n := range names {
					if !strings.HasSuffix(n, virtualfile.TempSuffix) {
						layers++
						require.Equal(t, d.FileName(), n)
					}
				}
				if err == nil { // a temporary file could not be removed, or is not needed
					require.Equal(t, 1, layers)
				} else {
					require.ErrorIs(t, err, virtualfile.ErrInjected)
					require.Zero(t, layers)
					d, err = w.write(m)
					require.NoError(t, err)
				}
				v, err := Verify(context.Background(), diskFor(t, m), "/", testID, d, nil)
				require.NoError(t, err)
				require.EqualValues(t, w.entries, v.Entries)
				require.Equal(t, !w.o.Unchecked, v.Desc.Checked)
			}
		})
	}
}

// The context ends at every operation of writing a layer: either the layer is there and whole, or nothing is left.
func TestCancelledWritingLeavesNothing(t *testing.T) {
	for _, w := range writings() {
		w.entries = min(w.entries, testkit.Size(12_000, 30_000, 30_000))
		t.Run(w.name, func(t *testing.T) {
			cancelled := 0
			for nth := 1; ; nth++ {
				ctx, cancel := context.WithCancel(t.Context())
				fault := &virtualfile.Fault{Nth: nth, Effect: virtualfile.Delay, Before: cancel}
				m := virtualfile.NewMem()
				d, err := w.writeUnder(ctx, virtualfile.NewFaulty(m, fault))
				cancel()
				names, lerr := m.List("/")
				require.NoError(t, lerr)
				if err != nil {
					require.ErrorIs(t, err, context.Canceled)
					require.Empty(t, names)
					cancelled++
				} else {
					require.Equal(t, []string{d.FileName()}, names)
				}
				if fault.Hits() == 0 {
					break
				}
			}
			require.Greater(t, cancelled, 4)
		})
	}
}

// After a failed write nothing is synced, after a failed sync nothing is synced again, and in neither case
// is anything renamed: only the removal follows.
func TestFailedFileIsNotSyncedAgain(t *testing.T) {
	for _, w := range writings() {
		for _, op := range []virtualfile.Op{virtualfile.OpWrite, virtualfile.OpSync} {
			count := &virtualfile.Fault{Op: op}
			_, err := w.write(virtualfile.NewFaulty(virtualfile.NewMem(), count))
			require.NoError(t, err)
			require.NotZero(t, count.Seen())
			for nth := 1; nth <= count.Seen(); nth++ {
				fault := &virtualfile.Fault{Op: op, Nth: nth}
				syncs := &virtualfile.Fault{Op: virtualfile.OpSync}
				renames := &virtualfile.Fault{Op: virtualfile.OpRename}
				m := virtualfile.NewMem()
				_, err := w.write(virtualfile.NewFaulty(m, syncs, renames, fault))
				require.ErrorIs(t, err, virtualfile.ErrInjected, w.name)
				require.Zero(t, renames.Seen(), w.name)
				if op == virtualfile.OpWrite {
					require.Zero(t, syncs.Seen(), w.name)
				} else {
					require.Equal(t, 1, syncs.Seen(), w.name)
				}
				names, err := m.List("/")
				require.NoError(t, err)
				require.Empty(t, names, w.name)
			}
		}
	}
}

// What went through temporary files is the same file, byte for byte, and neither files nor memory are left.
func TestSpilledIndexGivesTheSameFile(t *testing.T) {
	for _, w := range writings() {
		if w.o.IndexMemory == 0 {
			continue
		}
		file := func(o WriterOptions) ([]byte, int) {
			w.o = o
			m := virtualfile.NewMem()
			creates := &virtualfile.Fault{Op: virtualfile.OpCreate}
			d, err := w.write(virtualfile.NewFaulty(m, creates))
			require.NoError(t, err)
			names, err := m.List("/")
			require.NoError(t, err)
			require.Equal(t, []string{d.FileName()}, names)
			return get(t, m, d.FileName()), creates.Seen()
		}
		o := w.o
		spilled, files := file(o)
		require.Equal(t, 2, files, "the layer and its index")
		o.IndexMemory = 0
		whole, files := file(o)
		require.Equal(t, 1, files)
		require.True(t, bytes.Equal(whole, spilled), w.name)
		// A budget that has nothing to give does the same, and gets back what it gave.
		share, err := shares.New(1<<20).Share("index", segmentSize)
		require.NoError(t, err)
		o.Budget = share
		charged, files := file(o)
		require.Equal(t, 2, files)
		require.True(t, bytes.Equal(whole, charged), w.name)
		require.Zero(t, share.Used())
	}
}

// Checksums of a file that needs more of them than may stay in memory.
func TestSpilledChecksumsHold(t *testing.T) {
	m := virtualfile.NewMem()
	creates := &virtualfile.Fault{Op: virtualfile.OpCreate}
	w := writing{"large", true, 40 << 20 / 8192, 8192, WriterOptions{IndexMemory: 1, Compression: Compression{Disabled: true}}}
	d, err := w.write(virtualfile.NewFaulty(m, creates))
	require.NoError(t, err)
	require.Equal(t, 2, creates.Seen())
	v, err := Verify(context.Background(), diskFor(t, m), "/", testID, d, nil)
	require.NoError(t, err)
	require.EqualValues(t, w.entries, v.Entries)
}

// A bit that flips in the temporary file breaks the writing, not the layer.
func TestSpilledIndexIsCheckedWhenItComesBack(t *testing.T) {
	for _, w := range writings() {
		if w.o.IndexMemory == 0 {
			continue
		}
		flip := &virtualfile.Fault{Op: virtualfile.OpRead, Nth: 1, Effect: virtualfile.Flip, Bit: 777,
			Path: func(name string) bool { return strings.Contains(name, ".index.") }}
		m := virtualfile.NewMem()
		_, err := w.write(virtualfile.NewFaulty(m, flip))
		require.Equal(t, 1, flip.Hits())
		require.ErrorIs(t, err, ErrCorrupt)
		names, err := m.List("/")
		require.NoError(t, err)
		require.Empty(t, names)
	}
}

// The bytes before the trailer are those of a file without.
func TestTrailerChangesNothingBeforeIt(t *testing.T) {
	for _, w := range writings() {
		w.o.Compression = Compression{}
		w.o.Unchecked = true
		plain, checked := virtualfile.NewMem(), virtualfile.NewMem()
		a, err := w.write(plain)
		require.NoError(t, err)
		w.o.Unchecked = false
		b, err := w.write(checked)
		require.NoError(t, err)
		require.False(t, a.Checked)
		require.True(t, b.Checked)
		without, with := get(t, plain, a.FileName()), get(t, checked, b.FileName())
		require.Len(t, without, int(a.Size))
		require.Len(t, with, int(b.Size))
		require.True(t, bytes.HasPrefix(with, without), w.name)
		require.Less(t, float64(b.Size), float64(a.Size)*1.009+2*blockSize)
	}
}
