package relsize

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
)

// purse grants so many bytes.
type purse struct{ left int64 }

func (p *purse) TryAcquire(n int64) bool {
	if n > p.left {
		return false
	}
	p.left -= n
	return true
}
func (p *purse) Release(n int64) { p.left += n }

// sizes is what a timeline needs of its caches.
type sizes interface {
	Get(rel page.RelTag, lsn page.LSN) (uint32, bool)
	Keep(rel page.RelTag, lsn page.LSN, blocks uint32)
	Changed(rel page.RelTag, since page.LSN, blocks uint32)
	Gone(rel page.RelTag, lsn page.LSN)
}

// change is a size that a relation has from an LSN on; gone if it was dropped there.
type change struct {
	since  page.LSN
	blocks uint32
	gone   bool
}

// history is the truth: what the store would say.
type history map[page.RelTag][]change

func (h history) at(rel page.RelTag, lsn page.LSN) (blocks uint32, exists bool) {
	for _, c := range h[rel] {
		if c.since <= lsn {
			blocks, exists = c.blocks, !c.gone
		}
	}
	return blocks, exists
}

// read is how a timeline answers: from a cache, or from the store, and then the cache is told.
func read(c sizes, h history, rel page.RelTag, lsn page.LSN) (blocks uint32, exists bool) {
	if n, ok := c.Get(rel, lsn); ok {
		return n, true
	}
	n, ok := h.at(rel, lsn)
	if ok {
		c.Keep(rel, lsn, n)
	}
	return n, ok
}

func (h history) put(c sizes, rel page.RelTag, ch change) {
	h[rel] = append(h[rel], ch)
	if ch.gone {
		c.Gone(rel, ch.since)
	} else {
		c.Changed(rel, ch.since, ch.blocks)
	}
}

// one is the single cache that would not do: reads and ingest write the same entries.
type one map[page.RelTag]latest

func (o one) Get(rel page.RelTag, lsn page.LSN) (uint32, bool) {
	v, ok := o[rel]
	return v.blocks, ok && lsn >= v.since
}

func (o one) Keep(rel page.RelTag, lsn page.LSN, blocks uint32) {
	if v, ok := o[rel]; !ok || lsn >= v.since {
		o[rel] = latest{lsn, blocks}
	}
}
func (o one) Changed(rel page.RelTag, since page.LSN, n uint32) { o[rel] = latest{since, n} }
func (o one) Gone(rel page.RelTag, _ page.LSN)                  { delete(o, rel) }

var rel = page.RelTag{Spc: 1663, DB: 5, Rel: 16384}

// standbyThenPrimary has a standby read at an older LSN what has changed since, and then the primary read the newest.
func standbyThenPrimary(t *testing.T, c sizes, forget func()) (right bool) {
	h := history{}
	h.put(c, rel, change{since: 100, blocks: 10})
	h.put(c, rel, change{since: 200, blocks: 30})
	forget() // as when the store is opened again, or memory is short
	n, ok := read(c, h, rel, 150)
	require.True(t, ok)
	require.EqualValues(t, 10, n, "the standby itself is answered right")
	n, ok = read(c, h, rel, 250)
	right = ok && n == 30
	h.put(c, rel, change{since: 300, gone: true})
	read(c, h, rel, 250)
	_, ok = read(c, h, rel, 350)
	return right && !ok
}

func TestStandbyDoesNotSpoilThePrimary(t *testing.T) {
	c := New(&purse{1 << 20}, &Counters{})
	require.True(t, standbyThenPrimary(t, c, func() { c.Prune(page.MaxLSN, func(page.RelTag) bool { return true }) }))
	o := one{}
	require.False(t, standbyThenPrimary(t, o, func() { clear(o) }), "with one cache this must fail, or the test shows nothing")
}

// TestAgainstHistory compares every answer with what a store would give, with little room.
func TestAgainstHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, counters := &purse{rapid.Int64Range(0, 40).Draw(t, "KiB") << 10}, &Counters{}
		all := p.left
		c := newCaches(p, counters, rapid.IntRange(1, 300).Draw(t, "primary"), rapid.IntRange(1, 300).Draw(t, "replica"))
		h, last := history{}, page.LSN(8)
		draw := func() page.RelTag {
			return page.RelTag{Spc: 1663, DB: rapid.Uint32Range(1, 2).Draw(t, "db"), Rel: rapid.Uint32Range(1, 40).Draw(t, "rel")}
		}
		t.Repeat(map[string]func(*rapid.T){
			"resize": func(t *rapid.T) {
				last += 8
				h.put(c, draw(), change{since: last, blocks: rapid.Uint32().Draw(t, "blocks")})
			},
			"drop": func(*rapid.T) { last += 8; h.put(c, draw(), change{since: last, gone: true}) },
			"drop and make in one": func(t *rapid.T) {
				last += 8
				r, n := draw(), rapid.Uint32().Draw(t, "blocks")
				h[r] = append(h[r], change{since: last, blocks: n})
				c.Changed(r, last, n)
				c.Gone(r, last)
			},
			"drop a database": func(*rapid.T) {
				last += 8
				for r := range h {
					if r.DB == 1 {
						h[r] = append(h[r], change{since: last, gone: true})
					}
				}
				c.Prune(last, func(r page.RelTag) bool { return r.DB == 1 })
			},
			"read": func(t *rapid.T) {
				r, lsn := draw(), last
				if rapid.Bool().Draw(t, "old") {
					lsn = rapid.Custom(func(t *rapid.T) page.LSN { return page.LSN(rapid.Uint64Range(8, uint64(last)).Draw(t, "lsn")) }).Draw(t, "at")
				}
				n, ok := read(c, h, r, lsn)
				want, exists := h.at(r, lsn)
				require.Equal(t, exists, ok, "relation %s at %s", r, lsn)
				if ok {
					require.Equal(t, want, n, "relation %s at %s", r, lsn)
				}
			},
			"": func(t *rapid.T) {
				require.GreaterOrEqual(t, p.left, int64(0))
				s := counters.Stats()
				require.LessOrEqual(t, (s.Primary.Entries+s.Replica.Entries)*entryBytes, all-p.left)
			},
		})
		s := counters.Stats()
		require.Equal(t, s.Primary.Misses, s.Replica.Hits+s.Replica.Misses)
		c.Close()
		require.Equal(t, all, p.left, "memory that was taken is given back")
		s = counters.Stats()
		require.Zero(t, s.Primary.Entries+s.Replica.Entries)
		c.Keep(rel, last, 1)
		c.Changed(rel, last, 1)
		_, ok := c.Get(rel, last)
		require.False(t, ok, "closed caches keep nothing")
	})
}

// TestReplicaAnswersForItsLSNAlone shows that a size at one LSN is none for its neighbours.
func TestReplicaAnswersForItsLSNAlone(t *testing.T) {
	counters := &Counters{}
	c := New(&purse{1 << 20}, counters)
	c.Keep(rel, 800, 7)
	for lsn, want := range map[page.LSN]bool{792: false, 800: true, 808: false} {
		n, ok := c.Get(rel, lsn)
		require.Equal(t, want, ok, lsn)
		require.Equal(t, want, n == 7)
	}
	require.Equal(t, Stats{Primary: CacheStats{Misses: 3}, Replica: CacheStats{Hits: 1, Misses: 2, Entries: 1}}, counters.Stats())
	c.Changed(rel, 900, 9)
	_, ok := c.Get(rel, 808)
	require.False(t, ok)
	require.EqualValues(t, 1, counters.Stats().Newer)
}

// TestLeastUsedGoesFirst shows which entry gives way.
func TestLeastUsedGoesFirst(t *testing.T) {
	var tb table[int, int]
	tb.limit = firstRoom
	p := &purse{1 << 20}
	for i := range firstRoom {
		require.Zero(t, tb.put(i, i, p))
	}
	require.Equal(t, 0, *tb.get(0))
	require.Equal(t, 1, tb.put(1000, 1000, p))
	require.Nil(t, tb.get(1), "it was used longest ago")
	require.Equal(t, 0, *tb.get(0))
	require.Equal(t, 1000, *tb.get(1000))
	require.Len(t, tb.byKey, firstRoom)
}

func BenchmarkGet(b *testing.B) {
	for _, kind := range []string{"primary", "replica"} {
		b.Run(kind, func(b *testing.B) {
			c := New(&purse{1 << 30}, &Counters{})
			rels := make([]page.RelTag, 4096)
			for i := range rels {
				rels[i] = page.RelTag{Spc: 1663, DB: 5, Rel: uint32(16384 + i)}
				if kind == "primary" {
					c.Changed(rels[i], 800, 7)
				} else {
					c.Keep(rels[i], 800, 7)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if _, ok := c.Get(rels[i%len(rels)], 800); !ok {
					b.Fatal("miss")
				}
			}
		})
	}
}
