package bufpage

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

func newPage(special int) Page {
	p := Page(make([]byte, pg.BlockSize))
	p.Init(special)
	return p
}

// item gives n bytes all of which are c.
func item(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }

// add adds items to a page at its end.
func add(t testing.TB, p Page, items ...[]byte) {
	t.Helper()
	for _, it := range items {
		_, err := p.AddItem(it, p.MaxOffset()+1, 0)
		require.NoError(t, err)
	}
}

// contents gives the items of a page by line pointer, nil for those without one.
func contents(t testing.TB, p Page) (out [][]byte) {
	t.Helper()
	for n := 1; n <= p.MaxOffset(); n++ {
		if !p.ItemID(n).HasStorage() {
			out = append(out, nil)
			continue
		}
		it, err := p.Item(n)
		require.NoError(t, err)
		out = append(out, it)
	}
	return out
}

func TestHeader(t *testing.T) {
	p := newPage(16)
	require.Equal(t, HeaderSize, p.Lower())
	require.Equal(t, 8176, p.Upper())
	require.Equal(t, 8176, p.SpecialOffset())
	require.Equal(t, pg.BlockSize, p.PageSize())
	require.Equal(t, 4, p.Layout())
	require.NoError(t, p.Check())
	p.SetLSN(0x123456789ABCDEF0)
	require.Equal(t, page.LSN(0x123456789ABCDEF0), p.LSN())
	require.Equal(t, uint32(0x12345678), binary.LittleEndian.Uint32(p), "the high half comes first")
	p.SetFlag(AllVisible | HasFreeLines)
	p.ClearFlag(HasFreeLines)
	require.Equal(t, uint16(AllVisible), p.Flags())
	p.SetPruneXid(77)
	require.Equal(t, uint32(77), p.PruneXid())
	s, err := p.Special()
	require.NoError(t, err)
	require.Len(t, s, 16)
}

func TestCheck(t *testing.T) {
	require.NoError(t, Page(make([]byte, pg.BlockSize)).Check(), "zero page")
	for name, damage := range map[string]func(p Page){
		"new but not zero":   func(p Page) { p.SetUpper(0) },
		"unknown flag":       func(p Page) { p.SetFlag(8) },
		"lower above upper":  func(p Page) { p.SetLower(8180) },
		"lower in header":    func(p Page) { p.SetLower(20) },
		"upper over special": func(p Page) { p.SetUpper(8192) },
		"special unaligned":  func(p Page) { p.setU16(offSpecial, 8177) },
		"special outside":    func(p Page) { p.setU16(offSpecial, 9000) },
		"other page size":    func(p Page) { p.setU16(offSize, 16384|4) },
		"other layout":       func(p Page) { p.setU16(offSize, 8192|3) },
	} {
		p := newPage(16)
		damage(p)
		require.ErrorIs(t, p.Check(), ErrBadPage, name)
	}
	_, err := From(make([]byte, 100))
	require.ErrorIs(t, err, ErrBadPage)
}

// Every page of a real cluster carries the checksum that we compute, and none that we do not.
func TestChecksumsOfRealCluster(t *testing.T) {
	dir := t.TempDir()
	testkit.UntarFixture(t, dir, "neon-pg17/final-pgdata.tar.zst")
	pages := 0
	err := filepath.WalkDir(filepath.Join(dir, "base"), func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !relFile.MatchString(e.Name()) {
			return err
		}
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		for block := 0; (block+1)*pg.BlockSize <= len(b); block++ {
			p := Page(b[block*pg.BlockSize : (block+1)*pg.BlockSize])
			require.NoError(t, p.Check(), "%s block %d", name, block)
			require.True(t, p.ChecksumOK(uint32(block)), "%s block %d", name, block)
			if !p.IsNew() {
				require.False(t, p.ChecksumOK(uint32(block+1)), "%s block %d", name, block)
				p[100+block*8%8000] ^= 1
				require.False(t, p.ChecksumOK(uint32(block)), "%s block %d", name, block)
			}
			pages++
		}
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, pages, 2000)
}

// relFile matches the files of relations, any fork, first segment.
var relFile = regexp.MustCompile(`^[0-9]+(_[a-z]+)?$`)

func TestChecksumIgnoresStoredOne(t *testing.T) {
	p := newPage(0)
	sum := Checksum(p, 7)
	p.SetStoredChecksum(12345)
	require.Equal(t, sum, Checksum(p, 7))
	require.False(t, p.ChecksumOK(7))
	p.SetChecksum(7)
	require.True(t, p.ChecksumOK(7))
	zero := Page(make([]byte, pg.BlockSize))
	zero.SetChecksum(7)
	require.True(t, zero.IsZero(), "a new page carries none")
	require.True(t, zero.ChecksumOK(7))
}

func TestAddItem(t *testing.T) {
	p := newPage(0)
	n, err := p.AddItem(item('a', 10), 0, 0)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, NewItemID(8176, Normal, 10), p.ItemID(1))
	add(t, p, item('c', 20))
	n, err = p.AddItem(item('b', 30), 2, 0) // moves c up
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, [][]byte{item('a', 10), item('b', 30), item('c', 20)}, contents(t, p))

	_, err = p.AddItem(item('x', 8), 2, Overwrite)
	require.ErrorIs(t, err, ErrBadPage, "in use")
	_, err = p.AddItem(item('x', 8), 5, Overwrite)
	require.ErrorIs(t, err, ErrBadPage, "gap")
	_, err = p.AddItem(item('x', 8), -1, 0)
	require.ErrorIs(t, err, ErrBadPage)
	_, err = p.AddItem(item('x', 8100), 0, 0)
	require.ErrorIs(t, err, ErrNoRoom)

	require.NoError(t, p.SetItemID(2, 0))
	p.SetFlag(HasFreeLines)
	n, err = p.AddItem(item('d', 8), 0, Heap)
	require.NoError(t, err)
	require.Equal(t, 2, n, "the unused one is taken")
	n, err = p.AddItem(item('e', 8), 0, Heap)
	require.NoError(t, err)
	require.Equal(t, 4, n)
	require.Zero(t, p.Flags()&HasFreeLines, "the hint was wrong and is gone")
}

func TestAddItemFillsThePage(t *testing.T) {
	p := newPage(0)
	for i := range MaxHeapTuples {
		_, err := p.AddItem(item(byte(i), 24), 0, Heap)
		require.NoError(t, err)
	}
	_, err := p.AddItem(nil, 0, Heap)
	require.ErrorIs(t, err, ErrBadPage, "one more than a heap page may have")
	require.NoError(t, p.Check())
}

func TestRepairFragmentation(t *testing.T) {
	for _, truncate := range []bool{false, true} {
		p := newPage(0)
		add(t, p, item('a', 100), item('b', 33), item('c', 200), item('d', 8), item('e', 50))
		require.NoError(t, p.SetItemID(1, NewItemID(3, Redirect, 0)))
		require.NoError(t, p.SetItemID(2, 0))
		require.NoError(t, p.SetItemID(4, NewItemID(0, Dead, 0)))
		require.NoError(t, p.SetItemID(5, NewItemID(8, Unused, 3))) // leftovers are cleared
		require.NoError(t, p.RepairFragmentation(truncate))
		require.NoError(t, p.Check())
		require.Equal(t, 8192-200, p.Upper())
		require.NotZero(t, p.Flags()&HasFreeLines)
		require.Equal(t, NewItemID(8192-200, Normal, 200), p.ItemID(3))
		require.Equal(t, item('c', 200), contents(t, p)[2])
		if truncate {
			require.Equal(t, 4, p.MaxOffset())
		} else {
			require.Equal(t, 5, p.MaxOffset())
			require.Zero(t, p.ItemID(5))
		}
	}
}

func TestRepairFragmentationOfNothing(t *testing.T) {
	p := newPage(8)
	add(t, p, item('a', 100))
	require.NoError(t, p.SetItemID(1, 0))
	require.NoError(t, p.RepairFragmentation(true))
	require.Zero(t, p.MaxOffset())
	require.Equal(t, p.SpecialOffset(), p.Upper())
	require.Zero(t, p.Flags()&HasFreeLines)
}

func TestTruncateLines(t *testing.T) {
	for _, c := range []struct {
		used []bool
		want int
		hint bool
	}{
		{[]bool{true, true}, 2, false},
		{[]bool{true, false, false}, 1, false},
		{[]bool{false, true, false}, 2, true},
		{[]bool{false, false}, 1, true}, // one always stays
	} {
		p := newPage(0)
		for i, used := range c.used {
			add(t, p, item('x', 8))
			if !used {
				require.NoError(t, p.SetItemID(i+1, 0))
			}
		}
		require.NoError(t, p.TruncateLines())
		require.Equal(t, c.want, p.MaxOffset(), "%v", c.used)
		require.Equal(t, c.hint, p.Flags()&HasFreeLines != 0, "%v", c.used)
	}
}

func TestIndexDeletes(t *testing.T) {
	fill := func() Page {
		p := newPage(16)
		add(t, p, item('a', 16), item('b', 24), item('c', 32), item('d', 40), item('e', 48))
		return p
	}
	for _, numbers := range [][]uint16{{}, {1}, {5}, {2, 4}, {1, 3, 5}, {2, 3, 4}, {1, 2, 3, 4, 5}} {
		p, want := fill(), contents(t, fill())
		for i := len(numbers) - 1; i >= 0; i-- {
			want = append(want[:numbers[i]-1], want[numbers[i]:]...)
		}
		require.NoError(t, p.IndexMultiDelete(numbers))
		require.NoError(t, p.Check())
		if len(want) == 0 {
			want = nil
		}
		require.Equal(t, want, contents(t, p), "%v", numbers)
		size := 0
		for _, it := range want {
			size += Align(len(it))
		}
		require.Equal(t, p.SpecialOffset()-size, p.Upper(), "no gap is left")
	}
	for _, numbers := range [][]uint16{{0}, {6}, {3, 2, 1}, {1, 1, 2}, {1, 2, 6}, {0, 1, 2}} {
		require.ErrorIs(t, fill().IndexMultiDelete(numbers), ErrBadPage, "%v", numbers)
	}
	p := fill()
	require.NoError(t, p.IndexTupleDeleteNoCompact(2))
	require.Equal(t, [][]byte{item('a', 16), nil, item('c', 32), item('d', 40), item('e', 48)}, contents(t, p))
	require.NoError(t, p.IndexTupleDeleteNoCompact(5))
	require.Equal(t, 4, p.MaxOffset())
}

func TestIndexTupleOverwrite(t *testing.T) {
	for _, size := range []int{1, 24, 32, 33, 500} {
		p := newPage(16)
		add(t, p, item('a', 16), item('b', 32), item('c', 8))
		require.NoError(t, p.IndexTupleOverwrite(2, item('B', size)))
		require.NoError(t, p.Check())
		require.Equal(t, [][]byte{item('a', 16), item('B', size), item('c', 8)}, contents(t, p))
	}
	p := newPage(16)
	add(t, p, item('a', 4000), item('b', 4000))
	require.ErrorIs(t, p.IndexTupleOverwrite(1, item('x', 4200)), ErrNoRoom)
}

func TestInitLike(t *testing.T) {
	o := newPage(16)
	copy(o[8176:], "special space!!!")
	add(t, o, item('a', 10))
	p := Page(make([]byte, pg.BlockSize))
	require.NoError(t, p.InitLike(o))
	require.Zero(t, p.MaxOffset())
	require.Equal(t, "special space!!!", string(p[8176:]))
}
