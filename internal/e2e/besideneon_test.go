package e2e

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// neonFlushes are where Neon's L0s ended, neonCompacted those of them at which it compacted.
var (
	neonFlushes = []string{"0/2432748", "0/2505000", "0/25E23A8", "0/26C7348", "0/27AF1C0", "0/27D8A50", "0/28BF5F0", "0/29A76B0",
		"0/2A8FD70", "0/2B787A8", "0/2C612F0", "0/2D4A080", "0/2E32CF8", "0/2E770A0"}
	neonCompacted = []string{"0/27D8A50", "0/2A8FD70", "0/2E770A0"}
)

// neonKnobs are what Neon was set to.
var neonKnobs = compaction.Options{CheckpointDistance: mib, CompactionTargetSize: mib, CompactionThreshold: 3, ImageCreationThreshold: 3}

// TestLegacyBesideNeon gives the legacy strategy what Neon's had: the same WAL, flushed and compacted at the same LSNs, under the
// same thresholds. Pages are Neon's at all three LSNs, and so are the layers, but for what the table says.
func TestLegacyBesideNeon(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	dir := t.TempDir()
	base, wal, final := filepath.Join(dir, "base"), filepath.Join(dir, "wal"), filepath.Join(dir, "final")
	unpackNeonInput(t, base, wal)
	testkit.UntarFixture(t, final, neonFixture+"/final-pgdata.tar.zst")
	testkit.UntarFixture(t, filepath.Join(dir, "remote"), neonFixture+"/remote.tar.zst")
	tenant := openStore(t, strata.Options{Dir: filepath.Join(dir, "store"), ImageLayerSize: mib,
		Compaction: strata.Compaction{Strategy: "legacy", Knobs: neonKnobs, Period: strata.Every(0)}})
	tl, _, err := tenant.Import(t.Context(), strata.ImportOptions{PGData: base, Name: timelineName})
	require.NoError(t, err)
	for _, at := range neonFlushes {
		lsn, err := page.ParseLSN(at)
		require.NoError(t, err)
		_, err = tl.Ingest(t.Context(), strata.IngestOptions{Dir: wal, Until: lsn})
		require.NoError(t, err)
		require.Equal(t, lsn, tl.LastRecordLSN())
		require.NoError(t, tl.Flush(t.Context()))
		if slices.Contains(neonCompacted, at) {
			_, err := tl.Compact(t.Context(), strata.CompactOptions{DueOnly: true})
			require.NoError(t, err)
		}
	}
	for _, at := range []string{"0/2432748", "0/25E23A8", "0/2E770A0"} {
		compareAnswers(t, tl, at)
	}
	requireSameCluster(t, tl, pg.V17, final, tl.LastRecordLSN(), 0)

	var theirs []layer.Desc
	for _, d := range neonRemote(filepath.Join(dir, "remote")).index(t, neonMain, 2).Descs() {
		d.Generation = 0
		theirs = append(theirs, d)
	}
	c := besides(tl.Layers(), theirs, tl.Info().InitialLSN)
	ours, neons := heldByL1(t, tl), heldByL1(t, neonsOwn(t, filepath.Join(dir, "adopted"), neonRemote(filepath.Join(dir, "remote"))))
	t.Logf("layers of the same WAL:\n%s\nwhat L1s hold, values and bytes:\nours   %v\nNeon's %v", c.table(), ours, neons)
	c.requireAlike(t)
	for _, kind := range []string{"pages of relations", "pages of SLRUs"} {
		require.Equal(t, neons[kind], ours[kind], "%s", kind)
	}
	// File sizes differ by what Neon has not, and by how values are packed.
	l1 := c[3]
	ourSize := sizeOf(l1.ours) - int64(len(l1.ours))*checksums - ours["index of records"].bytes - ours["checkpoints"].bytes + neons["checkpoints"].bytes
	require.InEpsilon(t, sizeOf(l1.theirs), ourSize, 0.1, "bytes of L1s")
}

// neonsOwn opens the layers that Neon wrote.
func neonsOwn(t *testing.T, store string, remote neonRemote) *strata.Timeline {
	remote.adopt(t, store, 2, false)
	e, err := strata.Open(t.Context(), strata.Options{Dir: store, ReadOnly: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	tn, err := e.Tenant(t.Context(), neonTenant)
	require.NoError(t, err)
	tl, err := tn.Timeline(t.Context(), "main")
	require.NoError(t, err)
	return tl
}

// held is what layers hold of one kind of keys.
type held struct{ values, bytes int64 }

// heldByL1 counts what L1 layers hold.
func heldByL1(t *testing.T, tl *strata.Timeline) map[string]held {
	out := map[string]held{}
	for _, d := range tl.Layers() {
		if d.Image || d.IsL0() {
			continue
		}
		_, err := tl.VerifyLayer(t.Context(), d, func(k page.Key, _ page.LSN, _ bool, s layer.Stored) error {
			kind := "rest"
			if _, _, ok := k.RelBlock(); ok {
				kind = "pages of relations"
			} else if _, _, _, ok := k.SLRUBlock(); ok {
				kind = "pages of SLRUs"
			} else if page.RecordsRange.Contains(k) {
				kind = "index of records"
			} else if k == page.CheckpointKey {
				kind = "checkpoints"
			}
			h := out[kind]
			out[kind] = held{h.values + 1, h.bytes + int64(len(s.Data))}
			return nil
		})
		require.NoError(t, err)
	}
	return out
}

// checksums is what a small file of ours has behind its last block.
const checksums = 2 * pg.BlockSize

// perFile is what either has in a small file besides values: the summary, and one block of index.
const perFile = 2 * pg.BlockSize

// requireAlike demands what both must have in common. What may differ:
//
//   - an image of ours is of the last LSN that is durable, Neon's of the one behind it, which is not yet;
//   - files of ours end in checksums, and what matches alone make small has no entropy coding;
//   - an L1 of ours ends once its values have the target size, Neon's once its file has, index included: ours are fewer and larger;
//   - images of our import end where its jobs do, Neon's by pages: there are more, and each file has two blocks besides its values. Neon
//     cuts off what lies before and behind the largest holes between keys, which are counted by these images;
//   - the checkpoint is exact after each transaction, Neon's goes in steps of 1,024 transaction ids; and we keep an index of records.
func (c besideNeon) requireAlike(t *testing.T) {
	images, l1 := c[1], c[3]
	require.Len(t, images.ours, len(images.theirs))
	require.Equal(t, len(images.ours), images.same(func(a, b layer.Desc) bool {
		return a.Keys == b.Keys && a.LSNs.Start == b.LSNs.Start-1
	}), "images of the same keys, at the last LSN that is durable")
	require.Empty(t, c[2].ours)
	require.Equal(t, stretches(l1.theirs), stretches(l1.ours), "L1s came of the same runs of L0s")
	require.InDelta(t, len(l1.theirs), len(l1.ours), 0.2*float64(len(l1.theirs)), "L1s")
	for _, b := range []*beside{c[0], images} {
		require.InEpsilon(t, sizeOf(b.theirs)-perFile*int64(len(b.theirs)), sizeOf(b.ours)-(perFile+checksums)*int64(len(b.ours)), 0.15, "bytes of %s", b.kind)
	}
}

// stretches lists the LSN ranges of layers, each once.
func stretches(ds []layer.Desc) (out []page.LSNRange) {
	for _, d := range ds {
		if !slices.Contains(out, d.LSNs) {
			out = append(out, d.LSNs)
		}
	}
	slices.SortFunc(out, func(a, b page.LSNRange) int { return cmp.Compare(a.Start, b.Start) })
	return out
}

// beside are the layers of one kind.
type beside struct {
	kind         string
	ours, theirs []layer.Desc
}

type besideNeon []*beside

// besides sorts layers by kind.
func besides(ours, theirs []layer.Desc, imported page.LSN) besideNeon {
	c := besideNeon{{kind: "images of the import"}, {kind: "images later"}, {kind: "L0"}, {kind: "L1"}}
	of := func(d layer.Desc) *beside {
		switch {
		case d.Image && d.LSNs.Start == imported:
			return c[0]
		case d.Image:
			return c[1]
		case d.IsL0():
			return c[2]
		}
		return c[3]
	}
	for _, d := range ours {
		b := of(d)
		b.ours = append(b.ours, d)
	}
	for _, d := range theirs {
		b := of(d)
		b.theirs = append(b.theirs, d)
	}
	return c
}

func sizeOf(ds []layer.Desc) (n int64) {
	for _, d := range ds {
		n += d.Size
	}
	return n
}

// same counts layers of ours of which Neon has one with the same bounds.
func (b *beside) same(equal func(a, b layer.Desc) bool) (n int) {
	for _, d := range b.ours {
		if slices.ContainsFunc(b.theirs, func(o layer.Desc) bool { return equal(d, o) }) {
			n++
		}
	}
	return n
}

func (c besideNeon) table() string {
	var s strings.Builder
	w := tabwriter.NewWriter(&s, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "kind\tours\tbytes\tNeon's\tbytes\tsame keys\tand LSNs")
	for _, b := range c {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\n", b.kind, len(b.ours), sizeOf(b.ours), len(b.theirs), sizeOf(b.theirs),
			b.same(func(a, b layer.Desc) bool { return a.Keys == b.Keys }),
			b.same(func(a, b layer.Desc) bool { return a.Keys == b.Keys && a.LSNs == b.LSNs }))
	}
	w.Flush()
	return s.String()
}
