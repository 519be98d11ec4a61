package trace

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
)

// TestBuilt: entries come out in the order of LSNs, once each, at places from which their keys' order can be told.
func TestBuilt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type entry struct {
			key page.Key
			lsn page.LSN
		}
		all := map[entry]int{}
		b := NewBuilder()
		for range rapid.IntRange(0, 60).Draw(t, "entries") {
			k := page.RelTag{Spc: 1663, DB: 5, Rel: uint32(rapid.IntRange(1, 3).Draw(t, "rel"))}.Block(uint32(rapid.IntRange(0, 3000).Draw(t, "block")))
			if rapid.IntRange(0, 3).Draw(t, "sparse") == 0 {
				k = page.AuxRange.Start
				k.F2, k.F6 = uint32(rapid.IntRange(0, 9).Draw(t, "f2")), uint32(rapid.IntRange(0, 9).Draw(t, "f6"))
			}
			e := entry{k, page.LSN(rapid.IntRange(1, 40).Draw(t, "lsn"))}
			if _, there := all[e]; !there {
				all[e] = rapid.IntRange(1, 100).Draw(t, "size")
			}
			require.NoError(t, b.Add(e.key, e.lsn, all[e], e.lsn%3 == 0))
		}
		tr := b.Trace("test", false)
		require.Len(t, tr.Records, len(all))
		sum := 0
		for _, n := range all {
			sum += n
		}
		require.EqualValues(t, sum, tr.Bytes)
		for _, r := range tr.Records {
			require.Less(t, r.Place, tr.Regions[r.Region].Keys)
		}
		var file bytes.Buffer
		require.NoError(t, tr.Write(&file))
		again, err := Read(&file)
		require.NoError(t, err)
		require.Equal(t, tr.Header, again.Header)
		require.Equal(t, tr.Bytes, again.Bytes)
		require.Equal(t, len(tr.Records), len(again.Records))
		for i := range tr.Records {
			require.Equal(t, tr.Records[i], again.Records[i])
		}
	})
}

// TestRefused: what is no trace, or not all of one, is refused with the line.
func TestRefused(t *testing.T) {
	const head = "strata-trace 1\n{\"regions\":[{\"first\":\"00\",\"keys\":3}]}\n"
	for text, want := range map[string]string{
		"":                           "line 1",
		"strata-trace 2\n":           "line 1",
		"strata-trace 1\n{":          "line 2",
		head:                         "cut off after 0 records",
		head + "0 1 5 0\n":           "cut off after 1 records",
		head + "0 1 5 0\nend 2\n":    "there are 1 records",
		head + "0 3 5 0\nend 1\n":    "line 3: key 3 of region 0",
		head + "1 0 5 0\nend 1\n":    "line 3: key 0 of region 1",
		head + "0 0 0 0\nend 1\n":    "no bytes",
		head + "0 0 5\nend 1\n":      "is no record",
		head + "0 0 5 1 1\nend 1\n":  "is no record",
		head + "0 0 -5 1\nend 1\n":   "is no record",
		head + "0 0 1e99 1\nend 1\n": "is no record",
	} {
		_, err := Read(strings.NewReader(text))
		require.ErrorContains(t, err, want, "%q", text)
	}
	_, err := Read(strings.NewReader(head + "0 2 7 1\nend 1\n"))
	require.NoError(t, err)
}

// FuzzRead: what is accepted is written back and read again.
func FuzzRead(f *testing.F) {
	f.Add([]byte("strata-trace 1\n{\"regions\":[{\"first\":\"00\",\"keys\":3}]}\n0 2 7 1\nend 1\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := Read(bytes.NewReader(raw))
		if err != nil {
			return
		}
		var file bytes.Buffer
		require.NoError(t, a.Write(&file))
		b, err := Read(&file)
		require.NoError(t, err)
		require.Equal(t, a.Records, b.Records)
	})
}
