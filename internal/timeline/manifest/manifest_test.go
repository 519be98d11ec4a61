package manifest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/virtualfile"
)

func sampleMeta() Meta {
	return Meta{
		Tenant:   page.TenantID{0x11, 15: 0x1F},
		Timeline: page.TimelineID{0x22, 15: 0x2F},
		Name:     "main", Version: pg.V17, Flavour: pg.Stock, Checksums: true, HintBits: true,
		WALSegSize: 16 << 20, SystemID: 0x0123456789ABCDEF, InitialLSN: 0x2377B20,
	}
}

func image(start, end page.Key, lsn page.LSN) layer.Desc {
	return layer.Desc{Keys: page.Range{Start: start, End: end}, LSNs: page.LSNRange{Start: lsn, End: lsn + 1}, Image: true, Checked: true, Size: 40960, Generation: 1}
}

func l0(start, end page.LSN) layer.Desc {
	return layer.Desc{Keys: page.FullRange, LSNs: page.LSNRange{Start: start, End: end}, Checked: true, Size: 40960, Generation: 1}
}

func sampleState() State {
	return State{
		Meta: sampleMeta(), DiskConsistentLSN: 0x2377B20, PrevRecordLSN: 0x2377AA8,
		Layers: []layer.Desc{image(page.MinKey, page.MaxKey, 0x2377B20)},
	}
}

func change(start, end page.LSN) *Edit {
	return &Edit{Position: &Position{end - 1, end - 0x39}, Add: []layer.Desc{l0(start, end)}}
}

// unsealedFile is a state, and a layer flushed.
func unsealedFile() []byte {
	s := sampleState()
	b := encodeFile(&s, 1)
	return appendEdit(b, typeChange, 2, func(b []byte) []byte { return appendChange(b, change(0x2377B21, 0x2400001)) })
}

// sampleFile is the file of the document: a state, then a layer flushed, then a seal.
func sampleFile() []byte {
	return appendEdit(unsealedFile(), typeChange, 3, func(b []byte) []byte { return b })
}

func TestDocumentExampleDecodes(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/formats/manifest.md")
	require.NoError(t, err)
	var raw []byte
	for _, m := range regexp.MustCompile(`(?m)^([0-9a-f]{4})  ((?:[0-9a-f]{2} ?)+)`).FindAllSubmatch(doc, -1) {
		require.Equal(t, fmt.Sprintf("%04x", len(raw)), string(m[1]), "offsets of the dump")
		b, err := hex.DecodeString(strings.ReplaceAll(string(m[2]), " ", ""))
		require.NoError(t, err)
		raw = append(raw, b...)
	}
	require.Equal(t, dump(sampleFile()), dump(raw))
	d, err := decodeFile(raw)
	require.NoError(t, err)
	require.EqualValues(t, len(raw), d.good)
	want := sampleState()
	want.DiskConsistentLSN, want.PrevRecordLSN = 0x2400000, 0x23FFFC8
	want.Layers = append([]layer.Desc{l0(0x2377B21, 0x2400001)}, want.Layers...)
	require.ElementsMatch(t, want.Layers, d.live.state().Layers)
	got := d.live.state()
	got.Layers, want.Layers = nil, nil
	require.Equal(t, want, got)
}

// dump is the form of the document's example.
func dump(b []byte) string {
	var s strings.Builder
	for i := 0; i < len(b); i += 16 {
		fmt.Fprintf(&s, "%04x  % x\n", i, b[i:min(i+16, len(b))])
	}
	return s.String()
}

func TestTornTailIsCutAtTheLastWholeEdit(t *testing.T) {
	whole := unsealedFile()
	s := sampleState()
	first := len(encodeFile(&s, 1))
	for n := first; n < len(whole); n++ {
		d, err := decodeFile(whole[:n])
		require.NoError(t, err, n)
		require.EqualValues(t, first, d.good)
		require.Equal(t, s, d.live.state())
	}
	for n := range first {
		_, err := decodeFile(whole[:n])
		require.ErrorIs(t, err, ErrCorrupt, n)
	}
	for _, tail := range [][]byte{make([]byte, 4096), bytes.Repeat([]byte("EDIT"), 100), whole[first : len(whole)-1]} {
		d, err := decodeFile(append(bytes.Clone(whole), tail...))
		require.NoError(t, err)
		require.EqualValues(t, len(whole), d.good)
	}
}

func TestFlippedBitIsNeverBelieved(t *testing.T) {
	s := sampleState()
	first := encodeFile(&s, 1)
	whole := sampleFile()
	second := len(unsealedFile())
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 0x10
		d, err := decodeFile(b)
		switch {
		case i < second:
			require.Error(t, err, "byte %d", i)
			if i >= headerSize {
				require.ErrorIs(t, err, ErrCorrupt)
				want := headerSize
				if i >= len(first) {
					want = len(first)
				}
				require.ErrorContains(t, err, fmt.Sprintf("offset %d:", want))
			}
		default: // looks like what a crash leaves of a seal, and nothing is lost with it
			require.NoError(t, err)
			require.EqualValues(t, second, d.good)
		}
	}
}

// TestDamageOfTheLastEditIsNoCrash flips bits of an edit after Publish has returned: what a crash leaves of
// an append looks alike, but then nobody was told that it is durable.
func TestDamageOfTheLastEditIsNoCrash(t *testing.T) {
	for _, killed := range []bool{false, true} {
		fs := virtualfile.NewMem()
		require.NoError(t, fs.MkdirAll("tl"))
		require.NoError(t, Create(fs, "tl", sampleState()))
		flip := func(at int64) {
			f, err := fs.OpenAppend("tl/" + FileName)
			require.NoError(t, err)
			var b [1]byte
			_, err = f.ReadAt(b[:], at)
			require.NoError(t, err)
			_, err = f.WriteAt([]byte{b[0] ^ 1}, at)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}
		l := opened(t, fs)
		p, err := l.Publish(change(0x2377B21, 0x2400001))
		require.NoError(t, err)
		require.EqualValues(t, len(sampleFile())-int(l.stateSize), p.Bytes)
		require.NoError(t, l.Close())
		from, to, edit := l.stateSize, int64(len(unsealedFile())), l.stateSize
		if killed { // between the edit and its seal: the next opening makes up for it
			f, err := fs.OpenAppend("tl/" + FileName)
			require.NoError(t, err)
			require.NoError(t, f.Truncate(to))
			require.NoError(t, f.Close())
			l := opened(t, fs)
			require.NoError(t, l.Close())
			from, to, edit = headerSize, l.stateSize, headerSize
		}
		for at := from; at < to; at++ {
			flip(at)
			for _, writable := range []bool{false, true} {
				_, _, err = Open(fs, "tl", writable, DefaultMinRewrite)
				require.ErrorIs(t, err, ErrCorrupt, at)
				require.ErrorContains(t, err, fmt.Sprintf("tl/%s: corrupt manifest: offset %d:", FileName, edit))
			}
			flip(at)
		}
	}
}

// opened gives the manifest in tl, renewed.
func opened(t require.TestingT, fs virtualfile.FS) *Log {
	l, _, err := Open(fs, "tl", true, DefaultMinRewrite)
	require.NoError(t, err)
	require.NoError(t, l.Renew())
	return l
}

// TestRenewedIsDurable: what a manifest says after opening is there after the next crash, and so is what is
// published then, also where the sync of a former process has failed and lost what it should have written, or
// where that process was killed before its sync.
func TestRenewedIsDurable(t *testing.T) {
	for nth := 1; nth <= 2; nth++ { // the sync of an edit, and that of its seal
		for _, effect := range []virtualfile.Effect{virtualfile.Lose, virtualfile.Fail} {
			for seed := range uint64(40) {
				mem := virtualfile.NewMem()
				require.NoError(t, mem.MkdirAll("tl"))
				require.NoError(t, mem.SyncDir(""))
				s := sampleState()
				for i := range 50 { // more than a page
					s.Layers = append(s.Layers, l0(page.LSN(i*16+1), page.LSN(i*16+17)))
				}
				require.NoError(t, Create(mem, "tl", s))
				fault := &virtualfile.Fault{Op: virtualfile.OpSync}
				l := opened(t, virtualfile.NewFaulty(mem, fault))
				at := page.LSN(0x2377B21)
				for ; int64(l.editSize) < int64(seed)*100; at += 8 { // so that the edit lies here and there
					_, err := l.Publish(change(at, at+8))
					require.NoError(t, err)
				}
				*fault = virtualfile.Fault{Op: virtualfile.OpSync, Nth: nth, Effect: effect}
				_, err := l.Publish(change(at, at+8))
				require.Equal(t, nth == 1, err != nil)
				require.Equal(t, 1, fault.Hits())
				require.NoError(t, l.Close())

				l = opened(t, mem)
				read := l.State()
				after, _, err := Open(mem.CrashClone(seed), "tl", false, DefaultMinRewrite)
				require.NoError(t, err)
				require.Equal(t, read, after.State(), "what was read was not durable")
				_, err = l.Publish(change(read.DiskConsistentLSN+1, read.DiskConsistentLSN+9))
				require.NoError(t, err)
				after, _, err = Open(mem.CrashClone(seed), "tl", false, DefaultMinRewrite)
				require.NoError(t, err)
				require.Equal(t, l.State(), after.State(), "what was published was not durable")
				require.NoError(t, l.Close())
			}
		}
	}
}

func TestEditsThatDoNotFitAreRefused(t *testing.T) {
	fs := virtualfile.NewMem()
	require.NoError(t, fs.MkdirAll("tl"))
	require.NoError(t, Create(fs, "tl", sampleState()))
	l, _, err := Open(fs, "tl", true, DefaultMinRewrite)
	require.NoError(t, err)
	defer l.Close()
	img := sampleState().Layers[0]
	for name, e := range map[string]*Edit{
		"add layer":      {Add: []layer.Desc{img}},
		"is not there":   {Remove: []layer.Desc{l0(8, 17)}},
		"would go back":  {Position: &Position{0x2377B18, 0}},
		"can have such":  {Add: []layer.Desc{{Keys: page.FullRange, LSNs: page.LSNRange{Start: 1, End: 2}}}},
		"is there twice": {Add: []layer.Desc{l0(8, 17), l0(8, 17)}},
		"there twice":    {Remove: []layer.Desc{img, img}},
	} {
		_, err := l.Publish(e)
		require.ErrorContains(t, err, name)
		require.Equal(t, sampleState(), l.State())
	}
	_, err = l.Publish(&Edit{Remove: []layer.Desc{img}, Add: []layer.Desc{img}})
	require.NoError(t, err, "a layer may be replaced by itself, of another size")
}

func TestNamesOfTimelines(t *testing.T) {
	for _, good := range []string{"main", "a b", "ünicode", "x/y"} {
		require.NoError(t, CheckName(good))
	}
	for _, bad := range []string{"", strings.Repeat("x", 256), "a\nb", "\xFF", strings.Repeat("0a", 16)} {
		require.Error(t, CheckName(bad), "%q", bad)
	}
	s := sampleState()
	s.Name = ""
	require.Error(t, Create(virtualfile.NewMem(), "", s))
}

// TestPublishAgainstModel puts edits, faults, crashes and restarts in random order, and compares with a list.
func TestPublishAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mem := virtualfile.NewMem()
		require.NoError(t, mem.MkdirAll("tl"))
		require.NoError(t, mem.SyncDir(""))
		require.NoError(t, Create(mem, "tl", sampleState()))
		minRewrite := rapid.SampledFrom([]int64{0, 500, DefaultMinRewrite}).Draw(t, "min")
		model := sampleState() // acknowledged
		var doubt *Edit        // failed last time, and may have come to life
		fault := &virtualfile.Fault{}
		fs := virtualfile.NewFaulty(mem, fault)
		open := func() *Log {
			l, _, err := Open(fs, "tl", true, minRewrite)
			require.NoError(t, err)
			require.NoError(t, l.Renew())
			got := l.State()
			if doubt != nil && got.DiskConsistentLSN == doubt.Position.DiskConsistentLSN {
				model = applied(t, model, doubt)
			}
			doubt = nil
			require.Equal(t, model, got)
			return l
		}
		l := open()
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"publish", "publish", "fail", "short", "crash", "reopen"}).Draw(t, "step") {
			case "publish":
				e := change(model.DiskConsistentLSN+1, model.DiskConsistentLSN+1+0x1000)
				_, err := l.Publish(e)
				require.NoError(t, err)
				model, doubt = applied(t, model, e), nil
			case "short": // writes that a kernel cuts are no failure
				*fault = virtualfile.Fault{Op: virtualfile.OpWrite, Nth: rapid.IntRange(1, 3).Draw(t, "nth"), Effect: virtualfile.Short, Torn: rapid.IntRange(0, 200).Draw(t, "torn")}
				e := change(model.DiskConsistentLSN+1, model.DiskConsistentLSN+1+0x1000)
				_, err := l.Publish(e)
				*fault = virtualfile.Fault{}
				require.NoError(t, err)
				model, doubt = applied(t, model, e), nil
			case "fail":
				*fault = virtualfile.Fault{Nth: rapid.IntRange(1, 8).Draw(t, "nth"), Err: syscall.ENOSPC, Torn: rapid.IntRange(0, 200).Draw(t, "torn")}
				e := change(model.DiskConsistentLSN+1, model.DiskConsistentLSN+1+0x1000)
				_, err := l.Publish(e)
				*fault = virtualfile.Fault{}
				if err == nil {
					model, doubt = applied(t, model, e), nil
				} else {
					require.ErrorIs(t, err, syscall.ENOSPC)
					doubt = e
				}
				require.Equal(t, model, l.State())
			case "crash":
				mem = mem.CrashClone(rapid.Uint64().Draw(t, "seed"))
				fs = virtualfile.NewFaulty(mem, fault)
				l = open()
			case "reopen":
				require.NoError(t, l.Close())
				l = open()
			}
		}
	})
}

func applied(t require.TestingT, s State, e *Edit) State {
	l, err := newLive(s)
	require.NoError(t, err)
	m, err := l.check(e)
	require.NoError(t, err)
	l.apply(e, m)
	return l.state()
}

func TestEditSizeFollowsTheChange(t *testing.T) {
	sizes := map[int]int64{}
	for _, n := range []int{1, 10000} {
		fs := virtualfile.NewMem()
		s := sampleState()
		for i := range n {
			s.Layers = append(s.Layers, l0(page.LSN(i*16+1), page.LSN(i*16+17)))
		}
		require.NoError(t, fs.MkdirAll("tl"))
		require.NoError(t, Create(fs, "tl", s))
		l := opened(t, fs)
		p, err := l.Publish(change(0x2377B21, 0x2400001))
		require.NoError(t, err)
		require.False(t, p.Rewritten)
		sizes[n] = p.Bytes
		require.NoError(t, l.Close())
	}
	require.Equal(t, sizes[1], sizes[10000])
}

func TestFileIsRewrittenOnceEditsOutgrowTheState(t *testing.T) {
	fs := virtualfile.NewMem()
	require.NoError(t, fs.MkdirAll("tl"))
	require.NoError(t, Create(fs, "tl", sampleState()))
	l, _, err := Open(fs, "tl", true, 1000)
	require.NoError(t, err)
	rewrites, at := 0, page.LSN(0x2377B21)
	for range 1000 {
		p, err := l.Publish(&Edit{Position: &Position{at, 0}})
		require.NoError(t, err)
		at += 8
		if p.Rewritten {
			rewrites++
		}
		info, err := fs.Stat("tl/" + FileName)
		require.NoError(t, err)
		require.LessOrEqual(t, info.Size, l.stateSize+max(l.stateSize, 1000))
	}
	require.Greater(t, rewrites, 5)
	want := l.State()
	require.NoError(t, l.Close())
	l, torn, err := Open(fs, "tl", false, 1000)
	require.NoError(t, err)
	require.Zero(t, torn.Bytes)
	require.Equal(t, want, l.State())
	_, err = l.Publish(&Edit{})
	require.ErrorContains(t, err, "reading only")
	require.ErrorContains(t, l.Renew(), "reading only")
}

func FuzzDecode(f *testing.F) {
	b := sampleFile()
	f.Add(b)
	f.Add(b[:len(b)-9])
	s := sampleState()
	s.Ancestor, s.AncestorLSN, s.Cutoff, s.Layers = page.TimelineID{7}, 0x2377B20, 0x2377B28, nil
	f.Add(appendEdit(encodeFile(&s, 9), typeChange, 10, func(b []byte) []byte { return appendChange(b, &Edit{Cutoff: 0x2377B30}) }))
	s.Layers = []layer.Desc{l0(8, 17)}
	s.Moved = []Moved{{bare(l0(8, 17)), []page.Range{keysFrom(1, 2), keysFrom(4, 9)}}}
	f.Add(encodeFile(&s, 3))
	s.Remote = []Remote{{bare(s.Layers[0]), 5, 0x0102}}
	f.Add(encodeFile(&s, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		// Checksums are made right, so that what lies behind them is reached.
		for _, in := range [][]byte{b, repaired(b)} {
			d, err := decodeFile(in)
			if err != nil {
				continue
			}
			s := d.live.state()
			again, err := decodeFile(encodeFile(&s, d.seq))
			require.NoError(t, err)
			require.Equal(t, s, again.live.state())
			require.Equal(t, d.seq, again.seq)
		}
	})
}

// repaired sets the checksums of header and edits to what they should be.
func repaired(b []byte) []byte {
	if len(b) < headerSize {
		return b
	}
	b = append(appendHeader(nil, max(plainVersion, min(relDirsVersion, binary.BigEndian.Uint32(b[8:])))), b[headerSize:]...)
	for e := b[headerSize:]; len(e) >= editHeaderSize; {
		n := uint64(e[4])<<24 | uint64(e[5])<<16 | uint64(e[6])<<8 | uint64(e[7])
		if n > uint64(len(e)-editHeaderSize) {
			break
		}
		one := e[:editHeaderSize+n]
		crc := editCRC(one)
		one[20], one[21], one[22], one[23] = byte(crc>>24), byte(crc>>16), byte(crc>>8), byte(crc)
		e = e[len(one):]
	}
	return b
}

// A file from before there were integrity trailers is read as it is, and the next edit makes it one of today.
func TestFileOfVersion1IsReadAndWrittenAnew(t *testing.T) {
	text, err := os.ReadFile("testdata/version-1.hex")
	require.NoError(t, err)
	old, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	require.NoError(t, err)
	fs := virtualfile.NewMem()
	require.NoError(t, fs.MkdirAll("tl"))
	require.NoError(t, virtualfile.WriteFileAtomic(fs, "tl/"+FileName, old))
	content := func() []byte {
		b, err := virtualfile.ReadFile(fs, "tl/"+FileName, maxFileSize)
		require.NoError(t, err)
		return b
	}
	for _, writable := range []bool{false, true} {
		l, torn, err := Open(fs, "tl", writable, DefaultMinRewrite)
		require.NoError(t, err)
		require.Zero(t, torn.Bytes)
		require.Len(t, l.State().Layers, 2)
		for _, d := range l.State().Layers {
			require.False(t, d.Checked)
		}
		require.Equal(t, old, content(), "opening changes nothing")
		if writable {
			p, err := l.Publish(change(0x2400001, 0x2500001))
			require.NoError(t, err)
			require.True(t, p.Rewritten)
		}
		require.NoError(t, l.Close())
	}
	d, err := decodeFile(content())
	require.NoError(t, err)
	require.EqualValues(t, formatVersion, d.version)
	checked := 0
	for _, d := range d.live.state().Layers {
		if d.Checked {
			checked++
		}
	}
	require.Equal(t, 1, checked, "the new layer has its trailer, the old ones are without")
}

func TestVersion1KnowsNoTrailers(t *testing.T) {
	b := sampleFile()
	binary.BigEndian.PutUint32(b[8:], plainVersion)
	binary.BigEndian.PutUint32(b[12:], crc32.Checksum(b[:12], castagnoli))
	_, err := decodeFile(b)
	require.ErrorContains(t, err, "flags")
}

// A file from before there were moved keys is read as it is, and cannot have any.
func TestFileOfVersion2IsRead(t *testing.T) {
	text, err := os.ReadFile("testdata/version-2.hex")
	require.NoError(t, err)
	old, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	require.NoError(t, err)
	d, err := decodeFile(old)
	require.NoError(t, err)
	require.EqualValues(t, trailerVersion, d.version)
	today, err := decodeFile(sampleFile())
	require.NoError(t, err)
	require.Equal(t, today.live.state(), d.live.state())

	moved := change(0x2400001, 0x2500001)
	moved.Moved = []Moved{{bare(moved.Add[0]), []page.Range{{Start: page.MinKey, End: page.MinKey.Add(9)}}}}
	more := func(b []byte) []byte {
		return appendEdit(b, typeChange, 4, func(b []byte) []byte { return appendChange(b, moved) })
	}
	_, err = decodeFile(more(old))
	require.ErrorContains(t, err, "item 10 is unknown")
	d, err = decodeFile(more(sampleFile()))
	require.NoError(t, err)
	require.Equal(t, moved.Moved, d.live.state().Moved)
}

// reopened is a log that is opened anew after each edit: it must say the same as before.
type reopened struct {
	*Log
	t          *testing.T
	fs         virtualfile.FS
	minRewrite int64
}

func newReopened(t *testing.T, minRewrite int64) *reopened {
	fs := virtualfile.NewMem()
	require.NoError(t, fs.MkdirAll("tl"))
	require.NoError(t, Create(fs, "tl", sampleState()))
	r := &reopened{t: t, fs: fs, minRewrite: minRewrite}
	r.open()
	return r
}

func (r *reopened) open() {
	l, _, err := Open(r.fs, "tl", true, r.minRewrite)
	require.NoError(r.t, err)
	r.Log = l
}

func (r *reopened) publish(e *Edit) {
	_, err := r.Publish(e)
	require.NoError(r.t, err)
	want := r.State()
	require.NoError(r.t, r.Close())
	r.open()
	require.Equal(r.t, want, r.State())
}

// bare is a layer as Moved names it.
func bare(d layer.Desc) layer.Desc {
	d.Size = 0
	return d
}

func keysFrom(from, to uint32) page.Range {
	return page.Range{Start: page.MinKey.Add(from), End: page.MinKey.Add(to)}
}

// TestMovedKeysAddUpAndGoWithTheirLayer: they are the union of what was said, over reopening and rewriting, in
// any number, until the layer is removed.
func TestMovedKeysAddUpAndGoWithTheirLayer(t *testing.T) {
	for _, minRewrite := range []int64{1, DefaultMinRewrite} {
		l := newReopened(t, minRewrite)
		d := l0(0x2377B21, 0x2400001)
		publish := l.publish
		publish(&Edit{Add: []layer.Desc{d}, Moved: []Moved{{bare(d), []page.Range{keysFrom(5, 10)}}}})
		publish(&Edit{Moved: []Moved{{bare(d), []page.Range{keysFrom(10, 20), keysFrom(30, 40)}}}})
		require.Equal(t, []Moved{{bare(d), []page.Range{keysFrom(5, 20), keysFrom(30, 40)}}}, l.State().Moved)
		var many []page.Range
		for i := range uint32(3*maxMovedRanges + 1) {
			many = append(many, keysFrom(100+2*i, 101+2*i))
		}
		publish(&Edit{Moved: []Moved{{bare(d), many}}})
		require.Len(t, l.State().Moved, 1)
		require.Len(t, l.State().Moved[0].Keys, len(many)+2)
		for name, e := range map[string]*Edit{
			"is not there":     {Moved: []Moved{{bare(l0(8, 17)), []page.Range{keysFrom(1, 2)}}}},
			"and it is not":    {Remove: []layer.Desc{d}, Moved: []Moved{{bare(d), []page.Range{keysFrom(1, 2)}}}},
			"cannot have them": {Moved: []Moved{{bare(d), []page.Range{keysFrom(2, 2)}}}},
		} {
			_, err := l.Publish(e)
			require.ErrorContains(t, err, name)
		}
		publish(&Edit{Remove: []layer.Desc{d}})
		require.Empty(t, l.State().Moved)
		publish(&Edit{Add: []layer.Desc{d}})
		require.Empty(t, l.State().Moved, "a new layer of that name begins anew")
		require.NoError(t, l.Close())
	}
}

// TestLayersInRemoteStorage: what is said of them is kept over reopening and rewriting, the last word counts, and it
// goes with the layer. A file that says nothing of the kind is of the version that older programs know.
func TestLayersInRemoteStorage(t *testing.T) {
	for _, minRewrite := range []int64{1, DefaultMinRewrite} {
		l := newReopened(t, minRewrite)
		d := l0(0x2377B21, 0x2400001)
		publish := l.publish
		version := func() uint32 {
			b, err := virtualfile.ReadFile(l.fs, "tl/"+FileName, 1<<20)
			require.NoError(t, err)
			d, err := decodeFile(b)
			require.NoError(t, err)
			return d.version
		}
		publish(&Edit{Add: []layer.Desc{d}})
		require.EqualValues(t, formatVersion, version())
		publish(&Edit{Remote: []Remote{{bare(d), 7, 0}}})
		require.EqualValues(t, remoteVersion, version())
		publish(&Edit{Remote: []Remote{{bare(d), 8, 0x0104}, {bare(sampleState().Layers[0]), 0, 0}}})
		require.Equal(t, []Remote{{bare(sampleState().Layers[0]), 0, 0}, {bare(d), 8, 0x0104}}, l.State().Remote)
		r, ok := l.Remote(d)
		require.True(t, ok)
		require.EqualValues(t, 8, r.Sum)
		other := d
		other.Generation++
		for _, x := range []layer.Desc{l0(8, 17), other} {
			_, err := l.Publish(&Edit{Remote: []Remote{{bare(x), 1, 0}}})
			require.ErrorContains(t, err, "is not there")
		}
		publish(&Edit{Remove: []layer.Desc{d}})
		require.Len(t, l.State().Remote, 1)
		publish(&Edit{Add: []layer.Desc{d}})
		require.Len(t, l.State().Remote, 1, "a new layer of that name begins anew")
		publish(&Edit{Remove: []layer.Desc{sampleState().Layers[0]}})
		require.Empty(t, l.State().Remote)
		require.NoError(t, l.Renew())
		require.EqualValues(t, formatVersion, version())
		require.NoError(t, l.Close())
	}
}
