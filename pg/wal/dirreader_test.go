package wal_test

import (
	"bytes"
	"context"
	"maps"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/pg/wal/walgen"
)

// drain reads all that r gives.
func drain(t testing.TB, r *wal.DirReader) ([]got, error) {
	defer func() { require.NoError(t, r.Close()) }()
	var all []got
	var rec wal.Record
	for {
		ok, err := r.Next(context.Background(), &rec)
		if err != nil {
			_, again := r.Next(context.Background(), &rec)
			require.Equal(t, err, again)
		}
		if !ok || err != nil {
			return all, err
		}
		all = append(all, keep(pg.V16, &rec))
		require.Equal(t, rec.End, r.LSN())
	}
}

// log is WAL of some four segments of 1 MiB.
type log struct {
	base  page.LSN
	bytes []byte
	ends  []page.LSN // of records
	start []page.LSN
}

func makeLog(records int) log {
	w := walgen.New(walgen.Options{Version: pg.V16, SystemID: 7})
	var l log
	for i := range records {
		s, e := w.Message(bytes.Repeat([]byte{byte(i)}, 1000+i*37%7900))
		l.start, l.ends = append(l.start, s), append(l.ends, e)
	}
	l.base, l.bytes = w.Bytes()
	return l
}

// dir gives the log as files by name.
func (l log) dir() fstest.MapFS {
	fsys := fstest.MapFS{}
	for off := 0; off < len(l.bytes); off += seg {
		b := make([]byte, seg)
		copy(b, l.bytes[off:])
		fsys[wal.SegmentName(1, l.base+page.LSN(off), seg)] = &fstest.MapFile{Data: b}
	}
	return fsys
}

func name(n int) string { return wal.SegmentName(1, page.LSN(n*seg), seg) }

func options() wal.DirOptions {
	return wal.DirOptions{Version: pg.V16, Start: seg, SystemID: 7, Timeline: 1}
}

// Where the log just ends, reading stops at the last whole record without an error.
func TestDirEndOfLog(t *testing.T) {
	l := makeLog(700)
	require.Greater(t, len(l.bytes), 3*seg)
	stale := func(b []byte) { // what a recycled segment holds: WAL of its former place
		copy(b, makeLog(300).bytes[:seg])
	}
	for what, c := range map[string]struct {
		change func(f fstest.MapFS)
		cut    page.LSN // records that end later are not there; 0: all are
	}{
		"zeros after the last record": {func(f fstest.MapFS) {}, 0},
		"other files": {func(f fstest.MapFS) {
			f["archive_status"] = &fstest.MapFile{Mode: 0o755 | 1<<31}
			f["xlogtemp.12"] = &fstest.MapFile{}
		}, 0},
		"an empty segment follows": {func(f fstest.MapFS) { f[name(5)] = &fstest.MapFile{Data: make([]byte, seg)}; f[name(6)] = f[name(5)] }, 0},
		"a recycled segment follows": {func(f fstest.MapFS) {
			b := make([]byte, seg)
			stale(b)
			for i := 2; i < 8; i++ {
				if f[name(i)] == nil {
					f[name(i)] = &fstest.MapFile{Data: b}
				}
			}
		}, 0},
		"the next segment is missing": {func(f fstest.MapFS) {
			for i := 3; i < 8; i++ {
				delete(f, name(i))
			}
		}, 3 * seg},
		"a partial segment": {func(f fstest.MapFS) {
			for i := 4; i < 8; i++ {
				delete(f, name(i))
			}
			f[name(3)+".partial"] = f[name(3)]
			delete(f, name(3))
		}, 4 * seg},
		"a short partial segment": {func(f fstest.MapFS) {
			for i := 3; i < 8; i++ {
				delete(f, name(i))
			}
			f[name(3)+".partial"] = &fstest.MapFile{Data: l.bytes[2*seg : 2*seg+100_001]}
		}, 3*seg + 100_001},
		"the last record broken": {func(f fstest.MapFS) { flip(t, f, l.start[699]+100) }, l.start[699]},
		"the last page is a stale one": {func(f fstest.MapFS) {
			copy(f[name(2)].Data[50*8192:], makeLog(300).bytes[:seg-50*8192])
			for i := 3; i < 8; i++ {
				delete(f, name(i))
			}
		}, 2*seg + 50*8192},
		"stale bytes within the page": {func(f fstest.MapFS) {
			at := int(l.ends[400] % seg)
			copy(f[name(int(l.ends[400]/seg))].Data[at:], makeLog(300).bytes[at:seg])
			for i := int(l.ends[400]/seg) + 1; i < 8; i++ {
				delete(f, name(i))
			}
		}, l.ends[400]},
	} {
		t.Run(what, func(t *testing.T) {
			f := l.dir()
			c.change(f)
			r, err := wal.OpenFS(f, "wal", options())
			require.NoError(t, err)
			all, err := drain(t, r)
			require.NoError(t, err)
			want := 0
			for _, e := range l.ends {
				if c.cut == 0 || e <= c.cut {
					want++
				}
			}
			require.Len(t, all, want)
			require.Equal(t, l.ends[want-1], r.LSN())
			require.ErrorIs(t, r.Stopped(), wal.ErrEnd)
		})
	}
}

// flip changes the byte at lsn.
func flip(t testing.TB, f fstest.MapFS, lsn page.LSN) {
	file := f[wal.SegmentName(1, lsn, seg)]
	require.NotNil(t, file)
	file.Data = append([]byte(nil), file.Data...)
	file.Data[lsn%seg] ^= 0x40
}

// Where WAL is lost, reading says so, after the records before the place.
func TestDirLostWAL(t *testing.T) {
	l := makeLog(700)
	for what, c := range map[string]struct {
		change func(f fstest.MapFS)
		kind   error
		says   string
		cut    page.LSN
	}{
		"a record broken":                {func(f fstest.MapFS) { flip(t, f, l.start[90]+50) }, wal.ErrCorrupt, "not where the log ends", l.start[90]},
		"a length broken":                {func(f fstest.MapFS) { flip(t, f, l.start[90]+2) }, wal.ErrCorrupt, name(1), l.start[90]},
		"a record in the last segment":   {func(f fstest.MapFS) { flip(t, f, l.start[690]+50) }, wal.ErrCorrupt, "the record at", l.start[690]},
		"the record before the last two": {func(f fstest.MapFS) { flip(t, f, l.start[696]+50) }, wal.ErrCorrupt, "the record at", l.start[696]},
		"a page of zeros":                {func(f fstest.MapFS) { clear(f[name(2)].Data[8192*9 : 8192*10]) }, wal.ErrCorrupt, "offset 73728", 2*seg + 9*8192},
		"zeros to the segment's end":     {func(f fstest.MapFS) { clear(f[name(2)].Data[8192*9:]) }, wal.ErrCorrupt, "segment " + name(3), 2*seg + 9*8192},
		"a segment of zeros":             {func(f fstest.MapFS) { clear(f[name(2)].Data) }, wal.ErrCorrupt, "segment " + name(3), 2 * seg},
		"a segment in another's place":   {func(f fstest.MapFS) { f[name(2)] = f[name(1)] }, wal.ErrCorrupt, "misnamed", 2 * seg},
		"a segment missing":              {func(f fstest.MapFS) { delete(f, name(2)) }, wal.ErrGap, name(2) + " is not in wal", 2 * seg},
		"a compressed segment":           {func(f fstest.MapFS) { f[name(2)+".gz"] = f[name(2)]; delete(f, name(2)) }, wal.ErrGap, "decompress", 2 * seg},
		"a truncated segment":            {func(f fstest.MapFS) { f[name(2)].Data = f[name(2)].Data[:9*8192] }, wal.ErrTruncated, "73728 bytes of 1048576", 2*seg + 9*8192},
		"an empty file":                  {func(f fstest.MapFS) { f[name(2)].Data = nil }, wal.ErrTruncated, name(2), 2 * seg},
		"a truncated last segment": {func(f fstest.MapFS) {
			n := int(l.ends[699] / seg)
			f[name(n)].Data = f[name(n)].Data[:l.ends[699]%seg+500]
		}, wal.ErrTruncated, "bytes of 1048576", l.ends[699]},
		"a short partial in the middle": {func(f fstest.MapFS) {
			f[name(2)+".partial"] = &fstest.MapFile{Data: f[name(2)].Data[:9*8192]}
			delete(f, name(2))
		}, wal.ErrTruncated, "follows it", 2*seg + 9*8192},
		"a partial of zeros in between": {func(f fstest.MapFS) {
			b := make([]byte, seg)
			copy(b, f[name(2)].Data[:9*8192])
			f[name(2)+".partial"] = &fstest.MapFile{Data: b}
			delete(f, name(2))
		}, wal.ErrCorrupt, name(3), 2*seg + 9*8192},
		"a file too long":           {func(f fstest.MapFS) { f[name(2)].Data = append(f[name(2)].Data, 0) }, wal.ErrForeign, "more than a segment", 2 * seg},
		"another cluster's segment": {func(f fstest.MapFS) { f[name(2)].Data[24]++ }, wal.ErrForeign, "system identifier", 2 * seg},
		"no WAL":                    {func(f fstest.MapFS) { f[name(2)].Data = bytes.Repeat([]byte("text"), seg/4) }, wal.ErrCorrupt, "not WAL", 2 * seg},
		"a newer timeline's segment": {func(f fstest.MapFS) {
			f["0000000500000000"+name(2)[16:]] = f[name(2)]
			for i := 2; i < 8; i++ {
				delete(f, name(i))
			}
		}, wal.ErrGap, "00000005.history", 2 * seg},
	} {
		t.Run(what, func(t *testing.T) {
			f := l.dir()
			c.change(f)
			r, err := wal.OpenFS(f, "wal", options())
			require.NoError(t, err)
			all, err := drain(t, r)
			require.ErrorIs(t, err, c.kind)
			require.ErrorContains(t, err, c.says)
			want := 0
			for _, e := range l.ends {
				if e <= c.cut {
					want++
				}
			}
			require.Len(t, all, want)
			require.Equal(t, l.ends[want-1], r.LSN())

			// What is asked for may end before the place.
			o := options()
			o.Until = l.ends[want-1]
			r, err = wal.OpenFS(f, "wal", o)
			require.NoError(t, err)
			all, err = drain(t, r)
			require.NoError(t, err)
			require.Len(t, all, want)
			require.NoError(t, r.Stopped())
		})
	}
}

func TestDirCannotStart(t *testing.T) {
	l := makeLog(700)
	middle := l.ends[300]
	seg0 := name(int(middle / seg))
	for what, c := range map[string]struct {
		change func(f fstest.MapFS, o *wal.DirOptions)
		kind   error
		says   string
	}{
		"an empty directory":     {func(f fstest.MapFS, o *wal.DirOptions) { clear(f) }, wal.ErrGap, "no segment"},
		"the segment is missing": {func(f fstest.MapFS, o *wal.DirOptions) { delete(f, seg0) }, wal.ErrGap, seg0},
		"only earlier ones":      {func(f fstest.MapFS, o *wal.DirOptions) { o.Start += 9 * seg }, wal.ErrGap, "is not in wal"},
		"another cluster":        {func(f fstest.MapFS, o *wal.DirOptions) { o.SystemID = 8 }, wal.ErrForeign, "system identifier 7, want 8"},
		"another version":        {func(f fstest.MapFS, o *wal.DirOptions) { o.Version = pg.V17 }, wal.ErrForeign, "PostgreSQL 16's"},
		"another segment size":   {func(f fstest.MapFS, o *wal.DirOptions) { o.SegSize = 2 << 20 }, nil, ""},
		"an impossible size":     {func(f fstest.MapFS, o *wal.DirOptions) { o.SegSize = 99 }, nil, "power of two"},
		"a segment of zeros":     {func(f fstest.MapFS, o *wal.DirOptions) { clear(f[seg0].Data) }, wal.ErrCorrupt, "cannot read on"},
		"a recycled segment":     {func(f fstest.MapFS, o *wal.DirOptions) { f[seg0] = f[name(1)] }, wal.ErrForeign, "cannot read on"},
		"the page is of zeros":   {func(f fstest.MapFS, o *wal.DirOptions) { clear(f[seg0].Data[8192:]) }, wal.ErrCorrupt, "cannot read on"},
		"truncated before":       {func(f fstest.MapFS, o *wal.DirOptions) { f[seg0].Data = f[seg0].Data[:100] }, wal.ErrTruncated, "100 bytes"},
		"an unknown target":      {func(f fstest.MapFS, o *wal.DirOptions) { o.Target = 9 }, wal.ErrGap, "00000009.history"},
		"a target of other blood": {func(f fstest.MapFS, o *wal.DirOptions) {
			f["00000009.history"] = &fstest.MapFile{Data: []byte("3 0/100 x\n")}
			o.Target = 9
		}, wal.ErrForeign, "does not descend"},
		"a target that left": {func(f fstest.MapFS, o *wal.DirOptions) {
			f["00000009.history"] = &fstest.MapFile{Data: []byte("1 0/100 x\n")}
			o.Target = 9
		}, wal.ErrForeign, "left timeline 1"},
		"a broken history": {func(f fstest.MapFS, o *wal.DirOptions) { f["00000009.history"] = &fstest.MapFile{Data: []byte("x\n")} }, nil, "line 1"},
	} {
		t.Run(what, func(t *testing.T) {
			f, o := l.dir(), options()
			o.Start = middle
			c.change(f, &o)
			_, err := wal.OpenFS(f, "wal", o)
			require.Error(t, err)
			if c.kind != nil {
				require.ErrorIs(t, err, c.kind)
			}
			require.ErrorContains(t, err, c.says)
		})
	}
	t.Run("at a boundary nothing is missing yet", func(t *testing.T) {
		o := options()
		o.Start = 1 << 30
		r, err := wal.OpenFS(l.dir(), "wal", o)
		require.NoError(t, err)
		all, err := drain(t, r)
		require.NoError(t, err)
		require.Empty(t, all)
	})
	t.Run("the record before is another", func(t *testing.T) {
		o := options()
		o.Start, o.Prev = middle, l.start[299]
		r, err := wal.OpenFS(l.dir(), "wal", o)
		require.NoError(t, err)
		_, err = drain(t, r)
		require.ErrorIs(t, err, wal.ErrCorrupt)
		require.ErrorContains(t, err, "one before it")
	})
}

func TestDirResumes(t *testing.T) {
	l := makeLog(700)
	for _, i := range []int{0, 1, 77, 300, 698, 699} {
		o := options()
		o.Start, o.Prev = l.ends[i], l.start[i]
		r, err := wal.OpenFS(l.dir(), "wal", o)
		require.NoError(t, err)
		all, err := drain(t, r)
		require.NoError(t, err)
		require.Len(t, all, 699-i)
		require.Equal(t, page.LSN((len(l.bytes)+seg-1)/seg+1)*seg, r.End())
	}
}

// A server is promoted twice: what came after the switch on the old timeline must not be read.
func TestDirFollowsTimelines(t *testing.T) {
	old := walgen.New(walgen.Options{Version: pg.V16, SystemID: 7})
	for range 300 {
		old.Message(make([]byte, 5000))
	}
	fork, forkPrev := old.LSN(), old.Prev()
	base, common := old.Bytes()
	common = append([]byte(nil), common...)
	for range 300 {
		old.Message(bytes.Repeat([]byte("old"), 1000))
	}
	_, dead := old.Bytes()

	// The new timeline's WAL starts with a copy of the segment up to the fork.
	w := walgen.New(walgen.Options{Version: pg.V16, SystemID: 7, Timeline: 4, Start: fork, Prev: forkPrev})
	for range 400 {
		w.Message(bytes.Repeat([]byte("new"), 1000))
	}
	newBase, tail := w.Bytes()
	tail = append([]byte(nil), tail...)
	copy(tail, common[newBase-base:]) // headers of timeline 1 up to the fork's page
	f := fstest.MapFS{"00000004.history": &fstest.MapFile{Data: []byte("# made\n1\t" + fork.String() + "\tno recovery target specified\n")}}
	add := func(tli uint32, start page.LSN, b []byte) {
		for off := 0; off < len(b); off += seg {
			full := make([]byte, seg)
			copy(full, b[off:])
			f[wal.SegmentName(tli, start+page.LSN(off), seg)] = &fstest.MapFile{Data: full}
		}
	}
	add(1, base, dead)
	add(4, newBase, tail)
	read := func(f fstest.MapFS, o wal.DirOptions) ([]got, *wal.DirReader, error) {
		r, err := wal.OpenFS(f, "wal", o)
		require.NoError(t, err)
		all, err := drain(t, r)
		return all, r, err
	}
	for _, tli := range []uint32{1, 0} {
		o := options()
		o.Timeline = tli
		all, r, err := read(f, o)
		require.NoError(t, err)
		require.Len(t, all, 700)
		require.Equal(t, w.LSN(), r.LSN())
		require.Equal(t, uint32(4), r.History().Newest())
		require.NotContains(t, all[650].main, "old")
	}
	o := options()
	o.Target = 1
	all, r, err := read(f, o)
	require.NoError(t, err)
	require.Len(t, all, 600, "the old timeline to its end, as asked")
	require.Equal(t, uint32(1), r.History().Newest())

	t.Run("without the fork's segment on the new timeline", func(t *testing.T) {
		f := maps.Clone(f)
		delete(f, wal.SegmentName(4, fork, seg))
		all, r, err := read(f, options())
		require.ErrorIs(t, err, wal.ErrGap)
		require.Len(t, all, 300, "up to the fork")
		require.Equal(t, fork, r.LSN())
	})
	t.Run("before the new timeline arrives", func(t *testing.T) {
		f := maps.Clone(f)
		maps.DeleteFunc(f, func(n string, _ *fstest.MapFile) bool { return n[:8] == "00000004" && len(n) == 24 })
		all, _, err := read(f, options())
		require.NoError(t, err)
		require.Len(t, all, 300)
	})
	t.Run("with the old segment partial", func(t *testing.T) {
		f := maps.Clone(f)
		n := wal.SegmentName(1, fork, seg)
		f[n+".partial"] = f[n]
		delete(f, n)
		all, _, err := read(f, options())
		require.NoError(t, err)
		require.Len(t, all, 700)
	})
}

func TestHistoryFile(t *testing.T) {
	h, err := wal.ParseHistory(5, []byte("1\t0/3000158\tno recovery target specified\n\n# note\n3\t1/2A\tbefore transaction 700\n"))
	require.NoError(t, err)
	require.Equal(t, []wal.HistoryEntry{
		{ID: 1, LSNs: page.LSNRange{End: 0x3000158}}, {ID: 3, LSNs: page.LSNRange{Start: 0x3000158, End: 1<<32 + 0x2A}},
		{ID: 5, LSNs: page.LSNRange{Start: 1<<32 + 0x2A, End: page.MaxLSN}}}, h.Entries)
	require.Equal(t, uint32(3), h.At(0x3000158).ID)
	for _, bad := range []string{"1", "x 0/1 y", "1 zz y", "5 0/1 y", "2 0/9 y\n1 0/10 y", "1 0/9 y\n2 0/8 y", "0 0/1 z"} {
		_, err := wal.ParseHistory(5, []byte(bad))
		require.ErrorContains(t, err, "00000005.history, line", bad)
	}
	_, ok := wal.ParseHistoryName("0000000A.history")
	require.True(t, ok)
	for _, bad := range []string{"0000000a.history", "A.history", "00000001.history.done", "00000000.history"} {
		_, ok := wal.ParseHistoryName(bad)
		require.False(t, ok, bad)
	}
}

func TestSegmentNames(t *testing.T) {
	for _, size := range []uint32{1 << 20, 16 << 20, 1 << 30} {
		for _, lsn := range []page.LSN{0, 5 << 30, 0xFFFFFFFF, 0x1_0000_0000, 0x12345_9ABCDEF0} {
			tli, start, ok := wal.ParseSegmentName(wal.SegmentName(7, lsn, size), size)
			require.True(t, ok)
			require.Equal(t, uint32(7), tli)
			require.Equal(t, lsn&^page.LSN(size-1), start)
		}
	}
	for _, bad := range []string{"", "00000001000000000000000G", "00000001000000000000000a", "000000010000000000000001.partial", "000000010000000000000100", "000000000000000000000001"} {
		_, _, ok := wal.ParseSegmentName(bad, wal.DefaultSegSize)
		require.False(t, ok, bad)
	}
}

func TestDirAfterSwitch(t *testing.T) {
	w := walgen.New(walgen.Options{Version: pg.V16, SystemID: 7})
	w.Message([]byte("one"))
	_, end := w.Switch()
	require.Equal(t, page.LSN(2*seg), end)
	w.Message([]byte("two"))
	f := fstest.MapFS{}
	for n, b := range w.Segments() {
		f[n] = &fstest.MapFile{Data: b}
	}
	// What lies behind the switch does not matter, even if it looks like WAL.
	copy(f[name(1)].Data[20*8192:], makeLog(300).bytes[20*8192:seg])
	r, err := wal.OpenFS(f, "wal", options())
	require.NoError(t, err)
	all, err := drain(t, r)
	require.NoError(t, err)
	require.Len(t, all, 3)
	require.Contains(t, all[2].main, "two")

	delete(f, name(2))
	r, err = wal.OpenFS(f, "wal", options())
	require.NoError(t, err)
	all, err = drain(t, r)
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, page.LSN(2*seg), r.LSN())
}
