package wal_test

import (
	"context"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg/wal"
)

// What a look at names, sizes and headers can tell is told before the first record.
func TestSurvey(t *testing.T) {
	l := makeLog(700)
	for what, c := range map[string]struct {
		change func(f fstest.MapFS)
		kind   error // nil: no fault, or one that only reading finds
		says   string
	}{
		"whole":             {func(fstest.MapFS) {}, nil, ""},
		"truncated":         {func(f fstest.MapFS) { f[name(2)].Data = f[name(2)].Data[:9*8192] }, wal.ErrTruncated, "73728 bytes of 1048576"},
		"empty":             {func(f fstest.MapFS) { f[name(2)].Data = nil }, wal.ErrTruncated, name(2)},
		"missing":           {func(f fstest.MapFS) { delete(f, name(2)) }, wal.ErrGap, name(2) + " is not in wal"},
		"too long":          {func(f fstest.MapFS) { f[name(2)].Data = append(f[name(2)].Data, 0) }, wal.ErrForeign, "more than a segment"},
		"another cluster's": {func(f fstest.MapFS) { f[name(2)].Data[24]++ }, wal.ErrForeign, "system identifier"},
		"never written":     {func(f fstest.MapFS) { clear(f[name(2)].Data) }, nil, ""},
		"recycled":          {func(f fstest.MapFS) { f[name(2)] = f[name(1)] }, nil, ""},
		"the end missing":   {func(f fstest.MapFS) { delete(f, name(int(l.ends[699]/seg))) }, nil, ""},
		"a partial segment": {func(f fstest.MapFS) {
			f[name(2)+".partial"] = &fstest.MapFile{Data: f[name(2)].Data[:100]}
			delete(f, name(2))
		}, nil, ""},
	} {
		t.Run(what, func(t *testing.T) {
			survey := func(until page.LSN) error {
				f := l.dir()
				c.change(f)
				o := options()
				o.Until = until
				r, err := wal.OpenFS(f, "wal", o)
				require.NoError(t, err)
				return r.Survey(context.Background())
			}
			require.NoError(t, survey(2*seg), "what lies behind is not judged")
			if err := survey(0); c.kind == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, c.kind)
				require.ErrorContains(t, err, c.says)
			}
		})
	}
}
