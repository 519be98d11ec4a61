package redocheck

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo/native"
)

func TestOptionsRefused(t *testing.T) {
	_, err := Run(context.Background(), Options{Version: 12})
	require.ErrorContains(t, err, "WALDir is empty")
	require.ErrorContains(t, err, "version 12")
	require.ErrorContains(t, err, "Redoer is nil")
	_, err = Run(context.Background(), Options{WALDir: t.TempDir(), Version: pg.V15, Redoer: native.New()})
	require.ErrorContains(t, err, "no WAL segment in")
	_, err = Run(context.Background(), Options{WALDir: t.TempDir(), Version: pg.V15, Redoer: native.New(), PGData: t.TempDir()})
	require.ErrorContains(t, err, "pg_control")
}

func TestFirstRecordOfBrokenSegments(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "000000010000000000000001")
	require.NoError(t, os.WriteFile(name, make([]byte, 100), 0o600))
	_, err := firstRecord(dir, pg.V15)
	require.ErrorContains(t, err, "page magic 0000")
	// A segment in which nothing but the middle of one record lies.
	seg := make([]byte, 3*8192)
	for off := 0; off < len(seg); off += 8192 {
		copy(seg[off:], []byte{0x10, 0xD1, 1})
		copy(seg[off+16:], []byte{0xFF, 0xFF, 0xFF, 0})
	}
	require.NoError(t, os.WriteFile(name, seg, 0o600))
	_, err = firstRecord(dir, pg.V15)
	require.ErrorContains(t, err, "no record starts in it")
}

func rel(n uint32) page.RelTag { return page.RelTag{Spc: pg.DefaultTablespace, DB: 5, Rel: n} }

func filled(b byte) []byte {
	p := make([]byte, pg.BlockSize)
	for i := range p {
		p[i] = b
	}
	return p
}

func TestPages(t *testing.T) {
	for _, most := range []int{1, 3, 100} {
		p := newPages(most)
		want := map[page.RelTag]map[uint32]byte{}
		set := func(r page.RelTag, block uint32, b byte) {
			require.NoError(t, p.put(r, block, filled(b)))
			if want[r] == nil {
				want[r] = map[uint32]byte{}
			}
			want[r][block] = b
		}
		check := func() {
			t.Helper()
			for r, blocks := range want {
				for n := range uint32(12) {
					got, err := p.get(r, n)
					require.NoError(t, err)
					if b, ok := blocks[n]; ok {
						require.Equal(t, filled(b), got, "%v block %d with %d in memory", r, n, most)
					} else {
						require.Nil(t, got)
					}
				}
			}
			require.LessOrEqual(t, p.hot, most)
		}
		for n := range uint32(10) {
			set(rel(1), n, byte(n+1))
			set(rel(2), n, byte(n+101))
		}
		check()
		set(rel(1), 3, 77)
		p.truncate(rel(2), 4)
		for n := uint32(4); n < 10; n++ {
			delete(want[rel(2)], n)
		}
		check()
		from, to := database{pg.DefaultTablespace, 5}, database{pg.DefaultTablespace, 6}
		require.NoError(t, p.copyDatabase(to, from))
		for _, n := range []uint32{1, 2} {
			c := rel(n)
			c.DB = 6
			want[c] = map[uint32]byte{}
			for block, b := range want[rel(n)] {
				want[c][block] = b
			}
		}
		check()
		set(rel(1), 5, 200) // the copy keeps what it has
		check()
		p.dropDatabase(from)
		want[rel(1)], want[rel(2)] = nil, nil
		check()
		p.forget(page.RelTag{Spc: pg.DefaultTablespace, DB: 6, Rel: 1}, 0)
		delete(want[page.RelTag{Spc: pg.DefaultTablespace, DB: 6, Rel: 1}], 0)
		check()
		require.LessOrEqual(t, p.slots, int64(45), "slots are used again")
		require.NoError(t, p.close())
	}
}
