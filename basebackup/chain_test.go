package basebackup

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// changing is a model that says which keys have changed.
type changing struct {
	*model
	keys []page.Key
}

func (c changing) EachChanged(_ context.Context, _ page.Range, _, _ page.LSN, fn func(page.Key) error) error {
	for _, k := range c.keys {
		if err := fn(k); err != nil {
			return err
		}
	}
	return nil
}

// tarBytes is an archive in memory.
type tarBytes struct {
	*bytes.Reader
	name string
}

func (t tarBytes) Name() string { return t.name }

// chainOf makes a full backup and an incremental one that has the second block of a relation, and the archive of each.
func chainOf(t *testing.T, v pg.Version) (full1, inc []byte) {
	m := small(v, true)
	m.putRecord(smallPrev-0x80, smallPrev)
	write := func(o Options) []byte {
		var b bytes.Buffer
		o.Version = v
		_, err := Write(t.Context(), &b, changing{m, []page.Key{plain.Block(1), plain.Block(77), unlogged.WithFork(page.ForkInit).Block(0), plain.SizeKey()}}, o)
		require.NoError(t, err)
		return b.Bytes()
	}
	return write(Options{LSN: smallPrev, Manifest: true}), write(Options{LSN: smallLSN, Parent: smallPrev})
}

// TestIncrementalFiles looks at what an incremental backup has.
func TestIncrementalFiles(t *testing.T) {
	for _, v := range []pg.Version{pg.V15, pg.V17} {
		full, inc := chainOf(t, v)
		was, got := entriesOf(t, full), entriesOf(t, inc)
		p := got["base/5/INCREMENTAL.16384"]
		require.Len(t, p, 2*pg.BlockSize)
		require.Equal(t, "\x0d\x1f\xae\xd3\x01\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00\x00", p[:16], "magic, one block, of six, number 1")
		require.Equal(t, was["base/5/16384"][pg.BlockSize:2*pg.BlockSize], p[pg.BlockSize:])
		require.Equal(t, "\x0d\x1f\xae\xd3\x00\x00\x00\x00\x01\x00\x00\x00", got["base/5/INCREMENTAL.16384_vm"], "nothing has changed")
		require.Contains(t, got, "base/5/16390", "made of the init fork")
		require.Contains(t, got, "base/5/16390_init", "all of it has changed")
		require.Contains(t, got, "base/5/16400", "an empty file is whole")
		require.NotContains(t, got, "base/5/16384")
		require.Equal(t, "START WAL LOCATION: 0/2000100 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/2000100\nBACKUP METHOD: streamed\n"+
			"BACKUP FROM: primary\nSTART TIME: 2000-01-01 00:00:00 UTC\nLABEL: strata base backup\nSTART TIMELINE: 1\n", was[labelPath])
		require.Equal(t, strings.ReplaceAll(was[labelPath], "0/2000100", "0/2000178")+"INCREMENTAL FROM LSN: 0/2000100\nINCREMENTAL FROM TLI: 1\n", got[labelPath])
		for _, w := range []string{`"Path": "base/5/INCREMENTAL.16384", "Size": 16384, "Last-Modified": "2000-01-01 00:00:00 GMT", "Checksum-Algorithm": "CRC32C"`,
			`{ "Timeline": 1, "Start-LSN": "0/2000178", "End-LSN": "0/2000218" }`, `"Path": "backup_label"`, `"Path": "global/pg_control"`} {
			require.Contains(t, got[manifestPath], w)
		}
		require.NotContains(t, got[manifestPath], "pg_wal")
		require.Equal(t, v == pg.V17, strings.Contains(got[manifestPath], `"System-Identifier": 7306539954587820903`))
	}
}

func entriesOf(t *testing.T, raw []byte) map[string]string {
	l, err := openLink(tarBytes{bytes.NewReader(raw), "x"})
	require.NoError(t, err)
	out := make(map[string]string)
	for i := range l.entries {
		e := &l.entries[i]
		b := make([]byte, e.size)
		require.NoError(t, l.read(e, b, 0))
		out[e.name] = string(b)
	}
	return out
}

// TestWhatTheParentHasNotIsChanged: blocks behind the end that a relation had are in an incremental backup whether or not anything names them.
func TestWhatTheParentHasNotIsChanged(t *testing.T) {
	c := &changedFork{blocks: 200, before: 130}
	require.EqualValues(t, 70, c.count(0, 200))
	c.mark(5)
	c.mark(131)
	c.mark(300) // it was there in between
	require.EqualValues(t, 71, c.count(0, 200))
	runs := map[uint32]uint32{}
	for first, n := range c.runs(0, 200) {
		runs[first] = n
	}
	require.Equal(t, map[uint32]uint32{5: 1, 130: 70}, runs)
}

// TestCombineRefuses gives what is no chain, and archives that are not whole.
func TestCombineRefuses(t *testing.T) {
	full, inc := chainOf(t, pg.V17)
	combine := func(archives ...[]byte) error {
		var chain []TarFile
		for i, a := range archives {
			chain = append(chain, tarBytes{bytes.NewReader(a), fmt.Sprintf("archive %d", i)})
		}
		_, err := Combine(t.Context(), io.Discard, chain, CombineOptions{})
		return err
	}
	require.NoError(t, combine(full))
	require.NoError(t, combine(full, inc))
	require.ErrorIs(t, combine(), ErrChain)
	require.ErrorContains(t, combine(inc), "archive 0: not a chain of backups: the first is an incremental backup, which follows that of 0/2000100")
	require.ErrorContains(t, combine(full, full), "archive 1: not a chain of backups: only the first may be a full backup")
	require.ErrorContains(t, combine(full, inc, inc), "archive 2: not a chain of backups: it follows the backup at 0/2000100 on PostgreSQL's timeline 1, and archive 1 is at 0/2000178 on 1")
	var plainFull bytes.Buffer
	_, err := Write(t.Context(), &plainFull, small(pg.V17, true), Options{LSN: smallLSN, Version: pg.V17})
	require.NoError(t, err)
	require.ErrorContains(t, combine(plainFull.Bytes()), "there is no backup_label (backups of a chain are made with a manifest)")
	require.Error(t, combine(full[:len(full)-20<<10], inc), "cut off before the manifest")
	require.ErrorContains(t, combine(full, bytes.Replace(inc, []byte("INCREMENTAL FROM TLI: 1"), []byte("INCREMENTAL FROM TLI: 2"), 1)), "timeline 2")
	require.ErrorContains(t, combine(full, bytes.Replace(inc, []byte("\x0d\x1f\xae\xd3"), []byte("\x0d\x1f\xae\xd4"), 1)), "no incremental file")
	require.ErrorContains(t, combine(full, bytes.Replace(inc, []byte("\x0d\x1f\xae\xd3\x01"), []byte("\x0d\x1f\xae\xd3\x02"), 1)), "an incremental file of 2 blocks has 16384 bytes")
	require.ErrorContains(t, combine([]byte("nothing of the kind, and long enough for a header"+strings.Repeat("x", 1024))), "must be a tar")
}

// A source that cannot tell what has changed, or a parent behind the backup, is refused.
func TestIncrementalRefused(t *testing.T) {
	m := small(pg.V17, true)
	_, err := Write(t.Context(), io.Discard, m, Options{LSN: smallLSN, Version: pg.V17, Parent: smallLSN})
	require.ErrorIs(t, err, errNoChanges)
	m.putRecord(smallPrev-0x80, smallPrev)
	_, err = Write(t.Context(), io.Discard, changing{m, nil}, Options{LSN: smallPrev, Version: pg.V17, Parent: smallLSN})
	require.ErrorContains(t, err, "the parent backup is of LSN 0/2000178, behind 0/2000100")
	_, err = Write(t.Context(), io.Discard, changing{m, nil}, Options{LSN: smallPrev, Version: pg.V17, Parent: smallPrev, Format: FormatStandby})
	require.ErrorContains(t, err, "Format is standby")
}

// FuzzParseIncremental: a header is refused, or its blocks are in order and fit the file.
func FuzzParseIncremental(f *testing.F) {
	f.Add([]byte("\x0d\x1f\xae\xd3\x00\x00\x00\x00\x01\x00\x00\x00"))
	f.Add(append([]byte("\x0d\x1f\xae\xd3\x01\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00\x00"), make([]byte, 2*pg.BlockSize-16)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseIncremental(int64(len(b)), func(to []byte, off int64) error {
			_, err := bytes.NewReader(b).ReadAt(to, off)
			return err
		})
		if err != nil {
			return
		}
		require.Equal(t, int64(len(b)), p.data+int64(len(p.numbers))*pg.BlockSize)
		for i, n := range p.numbers {
			require.True(t, n < pg.RelSegBlocks && (i == 0 || n > p.numbers[i-1]))
		}
	})
}
