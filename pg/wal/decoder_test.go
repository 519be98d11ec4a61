package wal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/pg/wal/walgen"
)

const seg = wal.MinSegSize

// got is what a test keeps of a record.
type got struct {
	start, end page.LSN
	op         string
	main       string
}

func keep(v pg.Version, r *wal.Record) got {
	return got{r.Start, r.End, r.Rmgr.String() + " " + wal.OpName(v, r.Rmgr, r.Info), string(r.Main)}
}

// decode feeds the pieces that cut gives until b is used up, and gives the records and the error.
func decode(o wal.DecoderOptions, b []byte, cut func(left int) int) ([]got, *wal.Decoder, error) {
	d, err := wal.NewDecoder(o)
	if err != nil {
		return nil, nil, err
	}
	var all []got
	var r wal.Record
	for {
		ok, err := d.Next(&r)
		switch {
		case err != nil:
			return all, d, err
		case ok:
			all = append(all, keep(o.Version, &r))
			continue
		case len(b) == 0:
			return all, d, nil
		}
		n := min(max(cut(len(b)), 1), len(b))
		piece := append([]byte(nil), b[:n]...)
		d.Feed(piece)
		b = b[n:]
		if ok, err := d.Next(&r); err != nil {
			return all, d, err
		} else if ok {
			all = append(all, keep(o.Version, &r))
		} else {
			clear(piece) // Next asked for more, so it must not need these bytes any more
		}
	}
}

func whole(left int) int { return left }

// writeRandom writes records of drawn kinds and gives what a decoder should make of them.
func writeRandom(t *rapid.T, w *walgen.Writer, v pg.Version) []got {
	var want []got
	add := func(op, main string, start, end page.LSN) { want = append(want, got{start, end, op, main}) }
	switched := false // once is enough: each costs a whole segment
	for range rapid.IntRange(0, 40).Draw(t, "records") {
		switch kind := rapid.IntRange(0, 20).Draw(t, "kind"); {
		case kind == 0 && !switched:
			switched = true
			s, e := w.Switch()
			add("XLOG SWITCH", "", s, e)
		case kind == 1:
			size := rapid.SampledFrom([]int{9000, 20000, 60000}).Draw(t, "aborted size")
			_, s, e := w.Abort(wal.NewRecord(wal.RecordHeader{Prev: w.Prev(), Rmgr: pg.RmLogicalMsg}, walgen.Body(make([]byte, size))), time.Unix(1e9, 0))
			add("XLOG OVERWRITE_CONTRECORD", "", s, e)
			want[len(want)-1].main = "*"
		case kind == 2:
			w.FillPage(rapid.IntRange(0, 20).Draw(t, "left") * 8)
			want = append(want, got{op: "*"})
		default:
			n := rapid.SampledFrom([]int{0, 1, 7, 8, 100, 255, 256, 4000, 8100, 8192, 30000}).Draw(t, "size")
			main := bytes.Repeat([]byte{rapid.Byte().Draw(t, "content")}, n)
			s, e := w.Append(wal.RecordHeader{Xid: 7, Rmgr: pg.RmXLOG, Info: 0x20}, walgen.Body(main))
			add("XLOG NOOP", string(main), s, e)
		}
	}
	return want
}

// Whatever the pieces, the records are those that were written, where they were written.
func TestAnyChunkingGivesTheSameRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SampledFrom([]pg.Version{pg.V14, pg.V15, pg.V16, pg.V17}).Draw(t, "version")
		start := page.LSN(seg + rapid.SampledFrom([]int{0, 40, 48, 8184, 8192 + 24, 8192 + 104, 2*8192 - 8, seg - 8}).Draw(t, "start"))
		w := walgen.New(walgen.Options{Version: v, SystemID: 5, Start: start})
		want := writeRandom(t, w, v)
		base, b := w.Bytes()
		o := wal.DecoderOptions{Version: v, Start: start, SegSize: seg, SystemID: 5}
		all, d, err := decode(o, b[start-base:], whole)
		require.NoError(t, err)
		require.Equal(t, w.LSN(), max(d.LSN(), start))

		i := 0
		for _, x := range want {
			if x.op == "*" { // filled pages: an unknown number of NOOPs and messages
				continue
			}
			for ; i < len(all) && all[i].start != x.start; i++ {
			}
			require.Less(t, i, len(all), "record at %v", x.start)
			if x.main == "*" {
				x.main = all[i].main
			}
			require.Equal(t, x, all[i])
		}

		largest := rapid.SampledFrom([]int{5, 50, 3000, 20000}).Draw(t, "largest piece")
		if len(b) > 200_000 { // tiny pieces of much WAL take long
			largest = max(largest, 1000)
		}
		pieces, d2, err := decode(o, b[start-base:], func(int) int { return rapid.IntRange(1, largest).Draw(t, "piece") })
		if largest < 50 { // too many draws for rapid: cut evenly
			pieces, d2, err = decode(o, b[start-base:], func(int) int { return largest })
		}
		require.NoError(t, err)
		require.Equal(t, all, pieces)
		require.Equal(t, d.LSN(), d2.LSN())
	})
}

func TestAbortedContinuation(t *testing.T) {
	w := walgen.New(walgen.Options{Version: pg.V15})
	_, before := w.Message([]byte("before"))
	lost := wal.NewRecord(wal.RecordHeader{Prev: w.Prev(), Rmgr: pg.RmLogicalMsg}, walgen.Body(make([]byte, 3*wal.PageSize)))
	aborted, start, _ := w.Abort(lost, time.Unix(1e9, 0))
	_, end := w.Message([]byte("after"))
	require.Equal(t, before, aborted)
	require.Equal(t, page.LSN(seg+wal.PageSize+wal.ShortHeader), start)

	base, b := w.Bytes()
	for _, cut := range []int{1, 40, wal.PageSize, len(b)} {
		all, d, err := decode(wal.DecoderOptions{Version: pg.V15, Start: base, SegSize: seg}, b, func(int) int { return cut })
		require.NoError(t, err)
		require.Equal(t, end, d.LSN())
		require.Len(t, all, 3)
		require.Equal(t, "XLOG OVERWRITE_CONTRECORD", all[1].op)
		require.Equal(t, start, all[1].start)
		require.Equal(t, uint64(aborted), binary.LittleEndian.Uint64([]byte(all[1].main)))
		require.Contains(t, all[2].main, "after")
	}
	t.Run("that names another record", func(t *testing.T) {
		bad := append([]byte(nil), b...)
		rec := bad[start-base:][:24+2+16]
		rec[26]++
		fixCRC(rec)
		_, _, err := decode(wal.DecoderOptions{Version: pg.V15, Start: base, SegSize: seg}, bad, whole)
		require.ErrorIs(t, err, wal.ErrCorrupt)
		require.ErrorContains(t, err, "was given up")
	})
	t.Run("read from behind it", func(t *testing.T) {
		all, _, err := decode(wal.DecoderOptions{Version: pg.V15, Start: base + wal.PageSize, SegSize: seg}, b[wal.PageSize:], whole)
		require.NoError(t, err)
		require.Len(t, all, 2)
	})
}

// fixCRC gives rec the CRC of its bytes.
func fixCRC(rec []byte) {
	le := binary.LittleEndian
	fixed := wal.NewRecord(wal.RecordHeader{Xid: le.Uint32(rec[4:]), Prev: page.LSN(le.Uint64(rec[8:])), Info: rec[16], Rmgr: pg.Rmgr(rec[17])}, rec[24:])
	copy(rec, fixed)
}

// Each case breaks WAL of a few pages in one place; the error must tell the kind, the cause and the place.
func TestBrokenWAL(t *testing.T) {
	const second = seg + wal.PageSize
	type place = page.LSN
	cases := []struct {
		name  string
		at    place // what is changed
		bytes []byte
		cause wal.Cause
		kind  error
		where place
	}{
		{"zeros instead of a record", seg + 40, make([]byte, 200), wal.CauseZeros, wal.ErrEnd, seg + 40},
		{"a length below the header's", seg + 40, []byte{23, 0, 0, 0}, wal.CauseHeader, wal.ErrEnd, seg + 40},
		{"a length above any", seg + 40, []byte{255, 255, 255, 255}, wal.CauseHeader, wal.ErrEnd, seg + 40},
		{"a resource manager that does not exist", seg + 40 + 17, []byte{99}, wal.CauseHeader, wal.ErrEnd, seg + 40},
		{"a link to another record", seg + 40 + 8, []byte{8}, wal.CauseHeader, wal.ErrEnd, seg + 40},
		{"a wrong byte", seg + 40 + 30, []byte{0xEE}, wal.CauseChecksum, wal.ErrEnd, seg + 40},
		{"a page never written", second, make([]byte, wal.PageSize), wal.CauseZeros, wal.ErrEnd, second},
		{"an older page", second + 8, []byte{0, 0, 0, 0}, wal.CauseStalePage, wal.ErrEnd, second},
		{"an older timeline", second + 4, []byte{1}, wal.CauseStalePage, wal.ErrEnd, second},
		{"no continuation", second + 2, []byte{0}, wal.CauseContinue, wal.ErrEnd, second},
		{"a continuation of another length", second + 16, []byte{1, 1}, wal.CauseContinue, wal.ErrEnd, second},
		{"unknown flags", second + 2, []byte{0x11}, wal.CauseBroken, wal.ErrCorrupt, second},
		{"a long header inside", second + 2, []byte{3}, wal.CauseBroken, wal.ErrCorrupt, second},
		{"no long header at the start", seg + 2, []byte{0}, wal.CauseBroken, wal.ErrCorrupt, seg},
		{"no WAL at all", second, []byte("#!"), wal.CauseBroken, wal.ErrCorrupt, second},
		{"another version", second, []byte{0x0D, 0xD1}, wal.CauseForeign, wal.ErrForeign, second},
		{"another cluster", seg + 24, []byte{1}, wal.CauseForeign, wal.ErrForeign, seg},
		{"another segment size", seg + 34, []byte{0x20}, wal.CauseForeign, wal.ErrForeign, seg},
		{"another page size", seg + 37, []byte{0x40}, wal.CauseForeign, wal.ErrForeign, seg},
	}
	w := walgen.New(walgen.Options{Version: pg.V16, SystemID: 77, Timeline: 2, Prev: seg - 100})
	w.Message([]byte("one"))
	w.Message(make([]byte, 2*wal.PageSize))
	w.Message([]byte("last"))
	base, good := w.Bytes()
	o := wal.DecoderOptions{Version: pg.V16, Start: base, Prev: seg - 100, SegSize: seg, SystemID: 77, Timeline: 2}
	all, _, err := decode(o, good, whole)
	require.NoError(t, err)
	require.Len(t, all, 3)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bad := append([]byte(nil), good...)
			copy(bad[c.at-base:], c.bytes)
			for _, cut := range []int{3, 100, len(bad)} {
				_, d, err := decode(o, bad, func(int) int { return cut })
				var e *wal.Error
				require.ErrorAs(t, err, &e)
				require.ErrorIs(t, err, c.kind)
				require.Equal(t, c.cause, e.Cause, err)
				require.Equal(t, c.where, e.At, err)
				require.Contains(t, err.Error(), c.where.String())
				_, again := d.Next(&wal.Record{})
				require.Equal(t, err, again, "an error lasts")
			}
		})
	}
}

func TestTimelineOutsideHistory(t *testing.T) {
	w := walgen.New(walgen.Options{Version: pg.V17, Timeline: 3})
	w.Message(nil)
	base, b := w.Bytes()
	h, err := wal.ParseHistory(4, []byte("1\t0/100\twhy\n2\t0/200\tnot\n"))
	require.NoError(t, err)
	_, _, err = decode(wal.DecoderOptions{Version: pg.V17, Start: base, SegSize: seg, History: h}, b, whole)
	require.ErrorIs(t, err, wal.ErrForeign)
	require.ErrorContains(t, err, "timeline 3")
}

// A length that a record only claims costs nothing until the bytes come.
func TestNoAllocationForClaimedLength(t *testing.T) {
	w := walgen.New(walgen.Options{Version: pg.V17})
	w.Message(make([]byte, 4*wal.PageSize))
	base, b := w.Bytes()
	binary.LittleEndian.PutUint32(b[40:], 1000<<20)
	res := testing.Benchmark(func(bm *testing.B) {
		bm.ReportAllocs()
		for bm.Loop() {
			_, _, err := decode(wal.DecoderOptions{Version: pg.V17, Start: base, SegSize: seg}, b[:wal.PageSize], whole)
			if err != nil {
				bm.Fatal(err)
			}
		}
	})
	require.Less(t, res.AllocedBytesPerOp(), int64(10*wal.PageSize))
}

func TestDecoderOptions(t *testing.T) {
	good := wal.DecoderOptions{Version: pg.V15, Start: seg, SegSize: seg}
	for name, change := range map[string]func(o *wal.DecoderOptions){
		"version": func(o *wal.DecoderOptions) { o.Version = 13 }, "segment size": func(o *wal.DecoderOptions) { o.SegSize = 3 << 20 },
		"start not aligned": func(o *wal.DecoderOptions) { o.Start++ }, "start in a long header": func(o *wal.DecoderOptions) { o.Start += 32 },
		"start in a short header": func(o *wal.DecoderOptions) { o.Start += wal.PageSize + 16 },
	} {
		o := good
		change(&o)
		_, err := wal.NewDecoder(o)
		require.Error(t, err, name)
	}
	_, err := wal.NewDecoder(good)
	require.NoError(t, err)
	require.False(t, errors.Is(err, wal.ErrEnd))
}

// Records that lie in one piece are handed out where they lie, and none costs an allocation.
func TestNoCopyNoAllocation(t *testing.T) {
	w := walgen.New(walgen.Options{Version: pg.V17})
	for range 2000 {
		w.Append(wal.RecordHeader{Rmgr: pg.RmXLOG, Info: 0xB0}, walgen.Body([]byte("x"),
			walgen.Block{Rel: page.RelTag{Spc: 1, DB: 2, Rel: 3}, Data: []byte("data")}, walgen.Block{ID: 1, SameRel: true}))
	}
	base, b := w.Bytes()
	d, err := wal.NewDecoder(wal.DecoderOptions{Version: pg.V17, Start: base, SegSize: seg})
	require.NoError(t, err)
	d.Feed(b)
	var r wal.Record
	for range 300 { // over a page's end once, so that the buffers are there
		_, err = d.Next(&r)
		require.NoError(t, err)
	}
	copied := 0
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if ok, err := d.Next(&r); !ok || err != nil {
			panic("no record")
		}
		if &r.Raw[0] != &b[r.Start-base] {
			copied++
		}
	}))
	require.Less(t, copied, 20, "only those that cross a page")
}
