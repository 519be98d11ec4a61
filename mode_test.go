package strata_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// TestChecksumsMayBeLeftOut: the option is that of a process, and layers of both kinds lie side by side.
func TestChecksumsMayBeLeftOut(t *testing.T) {
	ctx := t.Context()
	o := strata.Options{Dir: filepath.Join(t.TempDir(), "store"), CreateIfMissing: true, Compaction: strata.Compaction{Period: strata.Every(0)}}
	var name string
	for i, without := range []bool{true, false} {
		o.NoChecksums = without
		e, err := strata.Open(ctx, o)
		require.NoError(t, err)
		tenant, err := e.DefaultTenant(ctx)
		require.NoError(t, err)
		var tl *strata.Timeline
		if i == 0 {
			tl, err = tenant.Create(ctx, strata.CreateOptions{Name: "main", Version: 17, InitialLSN: 0x1000})
		} else {
			tl, err = tenant.Timeline(ctx, name)
		}
		require.NoError(t, err)
		name = tl.Info().Name
		lsn := page.LSN(0x1008 + 8*i)
		putAt(t, tl, page.ControlFileKey, lsn, "value")
		require.NoError(t, tl.Flush(ctx))
		checked := map[page.LSN]bool{}
		for _, d := range tl.Layers() {
			v, err := tl.VerifyLayer(ctx, d, nil)
			require.NoError(t, err)
			require.Equal(t, d.Checked, v.Desc.Checked)
			checked[d.LSNs.End-1] = d.Checked
		}
		want := map[page.LSN]bool{0x1008: false}
		if !without {
			want[lsn] = true
		}
		require.Equal(t, want, checked)
		require.NoError(t, e.Close())
	}
}

// TestModeChangesAtRunTime: layers written in one mode are read beside those of another.
func TestModeChangesAtRunTime(t *testing.T) {
	e, tl := newTimeline(t, strata.Options{IOMode: virtualfile.Buffered})
	ctx := t.Context()
	lsn := page.LSN(0x1000)
	for _, mode := range []virtualfile.Mode{virtualfile.Buffered, virtualfile.DirectRW, virtualfile.Direct, virtualfile.Buffered} {
		require.NoError(t, e.SetIOMode(mode))
		require.Equal(t, mode, e.Metrics().Disk.Mode)
		lsn += 8
		putAt(t, tl, page.ControlFileKey, lsn, mode.String())
		require.NoError(t, tl.Flush(ctx))
		for at, want := range map[page.LSN]string{0x1008: "buffered", lsn: mode.String()} {
			v, err := tl.Get(ctx, page.ControlFileKey, at)
			require.NoError(t, err)
			require.Equal(t, want, string(v))
		}
	}
	require.Error(t, e.SetIOMode(9))
	for _, k := range []virtualfile.EngineKind{virtualfile.EngineStd, virtualfile.EngineURing, virtualfile.EngineStd} {
		if err := e.SetIOEngine(k); err != nil {
			require.Equal(t, virtualfile.EngineURing, k, "the other one is everywhere: %v", err)
			continue
		}
		require.Equal(t, k, e.Metrics().Disk.Engine)
		lsn += 8
		putAt(t, tl, page.ControlFileKey, lsn, k.String())
		require.NoError(t, tl.Flush(ctx))
		before := e.Metrics().Disk.Reads
		for at, want := range map[page.LSN]string{0x1008: "buffered", lsn: k.String()} {
			v, err := tl.Get(ctx, page.ControlFileKey, at)
			require.NoError(t, err)
			require.Equal(t, want, string(v))
		}
		require.Greater(t, e.Metrics().Disk.Reads, before)
	}
	require.Error(t, e.SetIOEngine(virtualfile.EngineDefault))
	require.Equal(t, virtualfile.Buffered, e.Metrics().Disk.Mode)
}
