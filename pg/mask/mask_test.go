package mask_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/pg/mask"
)

var le = binary.LittleEndian

// empty makes an initialized page whose special space ends with the given bytes.
func empty(special int, end ...byte) bufpage.Page {
	p := bufpage.Page(make([]byte, pg.BlockSize))
	p.Init(special)
	copy(p[pg.BlockSize-len(end):], end)
	return p
}

func TestKindOf(t *testing.T) {
	zero := make([]byte, pg.BlockSize)
	onlyLSN := make([]byte, pg.BlockSize)
	onlyLSN[4] = 9
	sequence := empty(8, 0x17, 0x17, 0, 0, 0, 0, 0, 0)
	row := make([]byte, 41)
	row[18] = 3 // three columns
	_, err := sequence.AddItem(row, 1, 0)
	require.NoError(t, err)
	gin := empty(8, 0x17, 0x17, 0, 0, 0, 0, 0, 0)
	_, err = gin.AddItem(make([]byte, 40), 1, 0)
	require.NoError(t, err)
	for _, c := range []struct {
		name string
		page []byte
		fork page.Fork
		want mask.Kind
	}{
		{"zeros", zero, page.ForkMain, mask.KindNew},
		{"an LSN and nothing else", onlyLSN, page.ForkMain, mask.KindNew},
		{"zeros in a map", zero, page.ForkVM, mask.KindVM},
		{"free space map", zero, page.ForkFSM, mask.KindFSM},
		{"heap", empty(0), page.ForkMain, mask.KindHeap},
		{"btree", empty(16, 1, 0, 0, 0), page.ForkMain, mask.KindBtree},
		{"btree of an init fork", empty(16, 8, 0, 0, 0), page.ForkInit, mask.KindBtree},
		{"btree with the highest cycle id", empty(16, 1, 0, 0x7F, 0xFF), page.ForkMain, mask.KindBtree},
		{"hash", empty(16, 8, 0, 0x80, 0xFF), page.ForkMain, mask.KindHash},
		{"gist", empty(16, 1, 0, 0x81, 0xFF), page.ForkMain, mask.KindGist},
		{"spgist", empty(8, 0x82, 0xFF), page.ForkMain, mask.KindSPGist},
		{"brin meta", empty(8, 0x91, 0xF0), page.ForkMain, mask.KindBRIN},
		{"brin map", empty(8, 0x92, 0xF0), page.ForkMain, mask.KindBRIN},
		{"brin regular", empty(8, 0x93, 0xF0), page.ForkMain, mask.KindBRIN},
		{"gin leaf", empty(8, 2, 0), page.ForkMain, mask.KindGin},
		{"sequence", sequence, page.ForkMain, mask.KindSequence},
		{"gin whose right sibling is the sequence magic", gin, page.ForkMain, mask.KindGin},
		{"bloom", empty(8, 0x83, 0xFF), page.ForkMain, mask.KindGeneric},
		{"special space of 24 bytes", empty(24), page.ForkMain, mask.KindGeneric},
		{"short", zero[:100], page.ForkMain, mask.KindGeneric},
	} {
		require.Equal(t, c.want.String(), mask.KindOf(c.page, c.fork).String(), c.name)
	}
}

func TestDifference(t *testing.T) {
	a, b := empty(0), empty(0)
	require.Equal(t, -1, mask.Difference(a, b, mask.KindHeap, 0))
	b.SetLSN(77)
	b.SetStoredChecksum(5)
	b.SetPruneXid(900)
	b.SetFlag(bufpage.AllVisible | bufpage.PageFull | bufpage.HasFreeLines)
	b[4000] = 1
	require.Equal(t, -1, mask.Difference(a, b, mask.KindHeap, 0))
	require.Equal(t, 10, mask.Difference(a, b, mask.KindVM, 0), "map pages have no hints")
	b[18]++
	require.Equal(t, 18, mask.Difference(a, b, mask.KindHeap, 0))
	require.Equal(t, 100, mask.Difference(a[:100], a, mask.KindHeap, 0), "one is shorter")
}

// The token of a speculative insertion in the server's page equals the pointer to itself that redo makes.
func TestSpeculativeToken(t *testing.T) {
	const block = 70000
	row := make([]byte, 32)
	server, redone := empty(0), empty(0)
	le.PutUint16(row[16:], 0xFFFE)
	le.PutUint16(row[14:], 123)
	_, err := server.AddItem(row, 1, 0)
	require.NoError(t, err)
	le.PutUint16(row[12:], block>>16)
	le.PutUint16(row[14:], block&0xFFFF)
	le.PutUint16(row[16:], 1)
	_, err = redone.AddItem(row, 1, 0)
	require.NoError(t, err)
	require.Equal(t, -1, mask.Difference(server, redone, mask.KindHeap, block))
	require.GreaterOrEqual(t, mask.Difference(server, redone, mask.KindHeap, block+1), 0)
}

func FuzzApply(f *testing.F) {
	f.Add([]byte{24, 0, 0, 32, 0, 32}, uint8(mask.KindHeap))
	f.Add([]byte{0xFF, 0xFF, 0, 0, 0xFF, 0xFF}, uint8(mask.KindBtree))
	f.Add([]byte{28, 0, 100, 0, 0xF8, 0x1F, 4, 32, 0, 0, 0, 0, 0xFE, 0x9F, 0xFE, 0xFF}, uint8(mask.KindSequence))
	f.Fuzz(func(t *testing.T, head []byte, k uint8) {
		p := make([]byte, pg.BlockSize)
		copy(p[12:], head)
		if len(head) > 0 {
			copy(p[pg.BlockSize-min(len(head), 400):], head)
		}
		kind := mask.Kind(k)
		before := append([]byte(nil), p...)
		cover := mask.Cover(p, kind, 1)
		require.True(t, bytes.Equal(before, p), "Cover changed the page")
		once := append([]byte(nil), p...)
		mask.Apply(once, kind, 1)
		for i := range p {
			if p[i]&^cover[i] != once[i]&^cover[i] {
				t.Fatalf("byte %d changed outside the cover", i)
			}
		}
		require.Equal(t, -1, mask.Difference(p, p, kind, 1))
		mask.KindOf(p, page.Fork(k%5))
		_ = kind.String()
	})
}
