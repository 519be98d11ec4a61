package pagestream

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

var rel = page.RelTag{Spc: 1663, DB: 5, Rel: 16384, Fork: 2}

// requests has one of each kind, with its bytes in version 3.
var requests = []struct {
	r       Request
	v3      string
	answers int // bytes of a plain answer in version 2; pages beside it
}{
	{Request{Kind: Exists, ID: 7, LSN: Latest, NotModifiedSince: 0x10, Rel: rel},
		"00 0000000000000007 ffffffffffffffff 0000000000000010 0000067f 00000005 00004000 02", 2},
	{Request{Kind: RelationSize, ID: 8, LSN: 0x20, NotModifiedSince: 0x10, Rel: rel},
		"01 0000000000000008 0000000000000020 0000000000000010 0000067f 00000005 00004000 02", 5},
	{Request{Kind: Page, ID: 9, LSN: 0x20, NotModifiedSince: 0x20, Rel: rel, Block: 0x01020304},
		"02 0000000000000009 0000000000000020 0000000000000020 0000067f 00000005 00004000 02 01020304", 8193},
	{Request{Kind: DatabaseSize, ID: 1 << 63, LSN: 0x20, NotModifiedSince: 0x20, Database: 5},
		"03 8000000000000000 0000000000000020 0000000000000020 00000005", 9},
	{Request{Kind: SLRUSegment, LSN: 0x20, NotModifiedSince: 0x20, SLRU: page.MultixactOffsets, Segment: 3},
		"04 0000000000000000 0000000000000020 0000000000000020 02 00000003", 5 + 2*8192},
}

func fromHex(t *testing.T, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

func TestRequests(t *testing.T) {
	for _, c := range requests {
		want := fromHex(t, c.v3)
		require.Equal(t, want, c.r.Append(nil, V3), "%s", c.r.Kind)
		got, err := DecodeRequest(want, V3)
		require.NoError(t, err)
		require.Equal(t, c.r, got)

		v2 := append([]byte{want[0]}, want[9:]...) // the same without the id
		require.Equal(t, v2, c.r.Append(nil, V2))
		got, err = DecodeRequest(v2, V2)
		require.NoError(t, err)
		c.r.ID = 0
		require.Equal(t, c.r, got)
		for n := range want {
			_, err := DecodeRequest(want[:n], V3)
			require.ErrorIs(t, err, ErrMalformed, "%d bytes", n)
		}
		_, err = DecodeRequest(append(want, 0), V3)
		require.ErrorIs(t, err, ErrMalformed)
	}
	for _, kind := range []byte{5, 99, 100, 255} {
		_, err := DecodeRequest(append([]byte{kind}, make([]byte, 41)...), V3)
		require.ErrorContains(t, err, "not known")
	}
}

// answer gives a plain answer.
func answer(r *Request, v Version) ([]byte, Answer) {
	switch r.Kind {
	case Exists:
		return r.AnswerExists(nil, v, true), Answer{Exists: true}
	case RelationSize:
		return r.AnswerRelationSize(nil, v, 77), Answer{Blocks: 77}
	case Page:
		image := make([]byte, pg.BlockSize)
		image[5] = 1
		return r.AnswerPage(nil, v, image), Answer{Pages: image}
	case DatabaseSize:
		return r.AnswerDatabaseSize(nil, v, 1<<40), Answer{Bytes: 1 << 40}
	}
	pages := make([]byte, 2*pg.BlockSize)
	return r.AnswerSLRUSegment(nil, v, pages), Answer{Blocks: 2, Pages: pages}
}

func TestAnswers(t *testing.T) {
	for _, c := range requests {
		v2, want := answer(&c.r, V2)
		require.Len(t, v2, c.answers, "%s", c.r.Kind)
		got, err := DecodeAnswer(v2, V2, &c.r)
		require.NoError(t, err)
		require.Equal(t, want, got)

		v3, _ := answer(&c.r, V3)
		require.Equal(t, v2[:1], v3[:1])
		require.Equal(t, v2[1:], v3[len(v3)-len(v2)+1:], "the payload is the same")
		require.Equal(t, fromHex(t, c.v3)[1:], v3[1:len(v3)-len(v2)+1], "the request comes back")
		got, err = DecodeAnswer(v3, V3, &c.r)
		require.NoError(t, err)
		require.Equal(t, want, got)

		other := c.r
		other.ID++
		_, err = DecodeAnswer(v3, V3, &other)
		require.ErrorIs(t, err, ErrMalformed, "an answer to another request")

		for _, v := range []Version{V2, V3} {
			b := c.r.AnswerError(nil, v, "no such page\x00and more")
			require.Len(t, b, map[Version]int{V2: 1, V3: 25}[v]+len("no such page")+1)
			got, err = DecodeAnswer(b, v, &c.r)
			require.NoError(t, err)
			require.Equal(t, Answer{Error: "no such page"}, got)
		}
	}
	// The numbers of Neon's table.
	kinds := ""
	for _, c := range requests {
		b, _ := answer(&c.r, V2)
		kinds += string(b[:1])
	}
	require.Equal(t, "\x64\x65\x66\x68\x69", kinds)
}

// TestRandomRequests: whatever is encoded decodes as it was, in place.
func TestRandomRequests(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u32, lsn := rapid.Uint32(), rapid.Custom(func(t *rapid.T) page.LSN { return page.LSN(rapid.Uint64().Draw(t, "lsn")) })
		r := Request{Kind: Kind(rapid.IntRange(0, 4).Draw(t, "kind")), ID: rapid.Uint64().Draw(t, "id"), LSN: lsn.Draw(t, "at"), NotModifiedSince: lsn.Draw(t, "since")}
		switch r.Kind {
		case Exists, RelationSize, Page:
			r.Rel = page.RelTag{Spc: u32.Draw(t, "spc"), DB: u32.Draw(t, "db"), Rel: u32.Draw(t, "rel"), Fork: page.Fork(rapid.Byte().Draw(t, "fork"))}
			if r.Kind == Page {
				r.Block = u32.Draw(t, "block")
			}
		case DatabaseSize:
			r.Database = u32.Draw(t, "database")
		case SLRUSegment:
			r.SLRU, r.Segment = page.SLRU(rapid.Byte().Draw(t, "slru")), u32.Draw(t, "segment")
		}
		got, err := DecodeRequest(r.Append(nil, V3), V3)
		require.NoError(t, err)
		require.Equal(t, r, got)
	})
}

// TestNoAllocations of what is done for each page.
func TestNoAllocations(t *testing.T) {
	r := requests[2].r
	message, image := r.Append(nil, V3), make([]byte, pg.BlockSize)
	buf := make([]byte, 0, 2*pg.BlockSize)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		got, err := DecodeRequest(message, V3)
		if err != nil || got.Block != r.Block {
			t.Fatal(got, err)
		}
		buf = got.AnswerPage(buf[:0], V3, image)
	}))
}

// FuzzRequest: any message decodes or is refused, and what decodes encodes as it was.
func FuzzRequest(f *testing.F) {
	for _, c := range requests {
		f.Add(c.r.Append(nil, V2), c.r.Append(nil, V3))
	}
	f.Fuzz(func(t *testing.T, v2, v3 []byte) {
		for v, b := range map[Version][]byte{V2: v2, V3: v3} {
			if r, err := DecodeRequest(b, v); err == nil {
				require.Equal(t, b, r.Append(nil, v))
			}
		}
	})
}

// FuzzAnswer: any answer decodes or is refused.
func FuzzAnswer(f *testing.F) {
	f.Add(uint8(0), false, []byte{errorKind}) // no message at all
	for i := range requests {
		for _, v := range []Version{V2, V3} {
			b, _ := answer(&requests[i].r, v)
			f.Add(uint8(i), v == V3, b)
			f.Add(uint8(i), v == V3, requests[i].r.AnswerError(nil, v, "no"))
		}
	}
	f.Fuzz(func(t *testing.T, i uint8, v3 bool, b []byte) {
		v := V2
		if v3 {
			v = V3
		}
		r := requests[int(i)%len(requests)].r
		a, err := DecodeAnswer(b, v, &r)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
		}
		require.LessOrEqual(t, len(a.Pages), len(b))
	})
}
