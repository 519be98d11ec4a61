package layer

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// reseal gives the file the checksums that fit what it holds now, as far as its footer makes sense, so that
// damage comes past them.
func reseal(b []byte, footer bool) {
	tail := b[len(b)-blockSize:]
	be := binary.BigEndian
	c := checksums{chunkSize: int(be.Uint32(tail[12:])), covered: int64(be.Uint64(tail[16:])), identity: xxhash.Sum64(b[:blockSize])}
	if c.chunkSize < minChunk || c.covered < 0 || c.covered > int64(len(b)-blockSize) {
		return
	}
	at := b[c.covered:]
	for off, i := 0, 0; off+c.chunkSize <= int(c.covered); off, i = off+c.chunkSize, i+1 {
		place := i/sumsPerBlock*blockSize + i%sumsPerBlock*sumSize
		if place+sumSize > len(at)-blockSize {
			break
		}
		be.PutUint64(at[place:], xxhash.Sum64(b[off:off+c.chunkSize]))
	}
	n := int64(0)
	for ; len(at) > blockSize; at, n = at[blockSize:], n+1 {
		c.seal(at[:blockSize], n)
	}
	if footer {
		be.PutUint64(tail[32:], c.identity)
		c.seal(tail, n)
	}
}

// FuzzTrailer damages a small checked file at places of its choice, and then may make checksums fit again:
// whatever Verify passes must read as it was or be a layer of other content throughout; nothing may panic,
// hang, or allocate much more than the file has.
func FuzzTrailer(f *testing.F) {
	l := corpus(f, 3)[0]
	last := len(l.content) - blockSize
	edit := func(off int, b byte) []byte { return []byte{byte(off >> 16), byte(off >> 8), byte(off), b} }
	f.Add([]byte{}, uint8(0))
	for _, off := range []int{0, 8, 13, 20, 30, 33, blockSumAt, 4000} {
		for how := range uint8(3) {
			f.Add(edit(last+off, 0x55), how)
		}
	}
	f.Add(edit(last-blockSize, 1), uint8(1))
	f.Add(edit(blockSize, 1), uint8(2))
	f.Add(edit(92, 1), uint8(2))
	f.Fuzz(func(t *testing.T, edits []byte, how uint8) {
		b := bytes.Clone(l.content)
		for ; len(edits) >= 4; edits = edits[4:] {
			b[(int(edits[0])<<16|int(edits[1])<<8|int(edits[2]))%len(b)] = edits[3]
		}
		if how%4 > 0 {
			reseal(b, how%4 > 1)
		}
		d := l.desc
		d.Checked, d.Size = how&8 == 0, 0
		disk := diskOn(fileFS(d, b))
		got := map[string]string{}
		var err error
		used := allocated(func() {
			_, err = Verify(context.Background(), disk, "/", testID, d, func(k page.Key, lsn page.LSN, init bool, s Stored) error {
				got[fmt.Sprint(k, lsn)] = fmt.Sprint(init, s.Data)
				return nil
			})
		})
		require.Less(t, used, uint64(2<<20+100*len(b)))
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, d.FileName())
			require.ErrorContains(t, err, "offset")
		} else if how%4 == 0 {
			require.Equal(t, l.want, got)
		}
		readDamaged(t, d, b)
	})
}

// allocated gives the bytes that fn allocates on the Go heap.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzFooter reads a last block that may hold anything, with a sum that fits.
func FuzzFooter(f *testing.F) {
	c := checksums{chunkSize: 1024, covered: 3 * blockSize, identity: 7}
	f.Add(c.appendFooter(nil)[:48], uint16(5))
	c.chunkSize = 8192
	f.Add(c.appendFooter(nil)[:48], uint16(5))
	f.Add([]byte(trailerMagic), uint16(4))
	f.Fuzz(func(t *testing.T, head []byte, blocks uint16) {
		tail := make([]byte, blockSize)
		copy(tail[:blockSumAt], head)
		size := int64(blocks) * blockSize
		at := size - blockSize
		be := binary.BigEndian
		covered := int64(be.Uint64(tail[16:]))
		be.PutUint64(tail[blockSumAt:], blockSum(tail, be.Uint64(tail[32:])+uint64((at-covered)/blockSize)))
		c, has, err := parseFooter("f", tail, size)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		if !has {
			require.False(t, blocks > minBlocks && bytes.HasPrefix(head, []byte(trailerMagic)))
			return
		}
		require.Equal(t, size, c.fileSize())
		for _, chunk := range []int64{0, c.chunks() / 2, c.chunks() - 1} {
			blk, off := c.blockOf(chunk)
			require.True(t, blk >= c.covered/blockSize && (blk+1)*blockSize < size && off >= 0 && off < blockSumAt)
		}
		if covered := int(c.covered); covered < 1<<20 {
			err := c.verify("f", 0, make([]byte, covered), func(int64) []byte { return make([]byte, blockSize) })
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorIs(t, c.checkBlock("f", c.covered/blockSize, make([]byte, blockSize)), ErrCorrupt)
		}
	})
}

// FuzzDeltaRoundTrip writes the entries that the input describes; what is read back is what was added, or the
// writer refused it.
func FuzzDeltaRoundTrip(f *testing.F) {
	f.Add([]byte{1, 0, 8, 3, 0, 16, 200, 1, 8, 0}, uint8(0))
	f.Add(bytes.Repeat([]byte{1, 8, 255}, 400), uint8(1))
	f.Add(bytes.Repeat([]byte{0, 1, 0}, 200), uint8(2))
	f.Fuzz(func(t *testing.T, in []byte, how uint8) {
		fs := virtualfile.NewMem()
		o := WriterOptions{Unchecked: how&1 != 0, IndexMemory: int64(how & 2)}
		w, err := NewDeltaWriter(diskFor(t, fs), "/", testID, page.MinKey, page.LSNRange{Start: 1, End: 1 << 20}, 1, o)
		require.NoError(t, err)
		defer w.Abort()
		type added struct {
			key   page.Key
			lsn   page.LSN
			init  bool
			value string
		}
		var want []added
		e := added{key: page.Key{F2: 7}, lsn: 1}
		for ; len(in) >= 3; in = in[3:] {
			if in[0] > 0 {
				e.key, e.lsn = e.key.Add(uint32(in[0])<<(in[0]%24)), 1
			}
			e.lsn += page.LSN(in[1])
			e.init = in[2]&1 == 1
			e.value = string(bytes.Repeat(in[:1], int(in[2])*int(in[2])%999))
			again := len(want) > 0 && e.key == want[len(want)-1].key && e.lsn <= want[len(want)-1].lsn
			err := w.Add(e.key, e.lsn, e.init, []byte(e.value))
			if again {
				require.ErrorIs(t, err, ErrOrder)
				_, err = w.Finish(context.Background(), page.MaxKey)
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			want = append(want, e)
		}
		d, err := w.Finish(context.Background(), page.MaxKey)
		if len(want) == 0 {
			require.Error(t, err)
			return
		}
		require.NoError(t, err)
		var got []added
		_, err = Verify(context.Background(), diskFor(t, fs), "/", testID, d, func(k page.Key, lsn page.LSN, init bool, s Stored) error {
			got = append(got, added{k, lsn, init, string(s.Data)})
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, want, got)
		r, err := openOn(t, fs, "/", testID, d)
		require.NoError(t, err)
		got = got[:0]
		require.NoError(t, r.Iterate(context.Background(), func(k page.Key, lsn page.LSN, init bool, v []byte) error {
			got = append(got, added{k, lsn, init, string(v)})
			return nil
		}))
		require.Equal(t, want, got)
		require.NoError(t, r.Close())
	})
}

// FuzzNode reads an index block that may hold anything.
func FuzzNode(f *testing.F) {
	blocks, _ := buildTree(f, spread(deltaKeyLen))
	f.Add(blocks[:200], uint16(0))
	f.Add(blocks[len(blocks)-blockSize:][:300], uint16(300))
	f.Fuzz(func(t *testing.T, head []byte, from uint16) {
		b := bytes.Clone(blocks[:blockSize])
		copy(b[int(from)%blockSize:], head)
		for _, keyLen := range []int{page.KeySize, deltaKeyLen} {
			n, err := parseNode(b, keyLen)
			if err != nil {
				continue
			}
			require.LessOrEqual(t, n.n, maxFanout+1)
			var key [maxKeyLen]byte
			for i := range n.n {
				n.copyKey(key[:keyLen], i)
				if at, _ := n.search(key[:keyLen]); at < 0 || at > n.n {
					t.Fatalf("entry %d of %d is found at %d", i, n.n, at)
				}
				_ = n.value(i)
			}
		}
	})
}
