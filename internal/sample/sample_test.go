package sample_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
)

func open(t testing.TB) *sample.Sample {
	t.Helper()
	s, err := sample.Open(filepath.Join(testkit.RepoRoot(t), "testdata", "sample"))
	require.NoError(t, err)
	return s
}

// TestFirstDigests shows that the digests at the first LSN are those of the cluster in the sample, so that
// masks and digests are still those that the sample was made with.
func TestFirstDigests(t *testing.T) {
	s := open(t)
	dir := filepath.Join(t.TempDir(), "cluster")
	require.NoError(t, s.ExtractCluster(dir))
	first := s.LSNs()[0]
	want, err := s.Pages(first)
	require.NoError(t, err)
	require.Equal(t, want, digestDir(t, dir, first))
	rels, slru := want.Count()
	require.Greater(t, rels, 4000)
	require.Positive(t, slru)
}

// TestDigestsDiffer shows that the positions are of different states, each with most of its pages.
func TestDigestsDiffer(t *testing.T) {
	s := open(t)
	require.GreaterOrEqual(t, len(s.LSNs()), 4)
	var before *sample.Pages
	for _, lsn := range s.LSNs() {
		p, err := s.Pages(lsn)
		require.NoError(t, err)
		rels, _ := p.Count()
		require.Greater(t, rels, 4000)
		changed := 0
		for tag, ds := range p.Rels {
			for i, d := range ds {
				if before != nil && (i >= len(before.Rels[tag]) || before.Rels[tag][i] != d) {
					changed++
				}
			}
		}
		if before != nil {
			require.Greater(t, changed, 500, "pages changed up to %s", lsn)
		}
		before = p
	}
}

func TestWALExtracted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "wal")
	require.NoError(t, open(t).ExtractWAL(dir))
	require.NotEmpty(t, entries(t, dir))
}

func TestPagesText(t *testing.T) {
	p := sample.NewPages(0x16B3748)
	p.AddRel(page.RelTag{Spc: 1663, DB: 5, Rel: 1259}, []sample.Digest{1, sample.Empty, 3, sample.Empty})
	p.AddRel(page.RelTag{Spc: 1663, DB: 5, Rel: 1260}, nil)
	p.AddRel(page.RelTag{Spc: 1663, DB: 5, Rel: 1260, Fork: page.ForkInit}, []sample.Digest{9})
	p.AddRel(page.RelTag{Spc: 1663, DB: 5, Rel: 1259, Fork: page.ForkVM}, []sample.Digest{sample.Empty})
	p.AddRel(page.RelTag{Spc: 1663, DB: 5, Rel: 1259, Fork: page.ForkFSM}, []sample.Digest{7})
	p.AddSegment(sample.Segment{Kind: page.MultixactMembers, Number: 0x1F}, []sample.Digest{5})
	p.Maps[sample.Database{Spc: 1663, DB: 5}] = 0xABC
	var b bytes.Buffer
	_, err := p.WriteTo(&b)
	require.NoError(t, err)
	require.Equal(t, `strata-pages 1
lsn 0/16B3748
rel 1663/5/1259 000000000000000100000000000000000000000000000003
rel 1663/5/1260 
rel 1663/5/1260_init 0000000000000009
slru pg_multixact/members/001F 0000000000000005
relmap 1663/5 0000000000000abc
end
`, b.String())
	again, err := sample.ReadPages(bytes.NewReader(b.Bytes()))
	require.NoError(t, err)
	require.Equal(t, p.Maps, again.Maps)
	require.Equal(t, p.Segments, again.Segments)
	require.Len(t, again.Rels, 3)
}

func TestPagesRefused(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":        "",
		"another file":   "strata-pages 2\nlsn 0/10\nend\n",
		"cut off":        "strata-pages 1\nlsn 0/10\nrel 1/2/3 0000000000000001\n",
		"no LSN":         "strata-pages 1\nend\n",
		"half a digest":  "strata-pages 1\nlsn 0/10\nrel 1/2/3 00000001\nend\n",
		"no digest":      "strata-pages 1\nlsn 0/10\nrel 1/2/3 zzzzzzzzzzzzzzzz\nend\n",
		"no relation":    "strata-pages 1\nlsn 0/10\nrel 1/x \nend\n",
		"no fork":        "strata-pages 1\nlsn 0/10\nrel 1/2/3_what \nend\n",
		"no SLRU":        "strata-pages 1\nlsn 0/10\nslru pg_what/0000 \nend\n",
		"no relmap":      "strata-pages 1\nlsn 0/10\nrelmap 1/2 \nend\n",
		"another thing":  "strata-pages 1\nlsn 0/10\nwhat 1/2 \nend\n",
		"text behind it": "strata-pages 1\nlsn 0/10\nend\nrel 1/2/3 \n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sample.ReadPages(strings.NewReader(text))
			require.Error(t, err)
		})
	}
}

// TestCompare shows that every kind of difference is found, each once.
func TestCompare(t *testing.T) {
	rel := page.RelTag{Spc: 1663, DB: 5, Rel: 1259}
	other := page.RelTag{Spc: 1663, DB: 5, Rel: 1260}
	seg, db := sample.Segment{Kind: page.Clog}, sample.Database{Spc: 1663, DB: 5}
	make := func(change func(*sample.Pages)) *sample.Pages {
		p := sample.NewPages(0x100)
		p.AddRel(rel, []sample.Digest{1, 2, 3})
		p.AddSegment(seg, []sample.Digest{4})
		p.Maps[db] = 5
		if change != nil {
			change(p)
		}
		return p
	}
	require.Zero(t, sample.Compare(make(nil), make(nil)).Different)
	for name, change := range map[string]func(*sample.Pages){
		"a page":                func(p *sample.Pages) { p.Rels[rel][1] = 9 },
		"a page at the end":     func(p *sample.Pages) { p.Rels[rel] = p.Rels[rel][:2] },
		"a relation too many":   func(p *sample.Pages) { p.AddRel(other, nil) },
		"a relation missing":    func(p *sample.Pages) { delete(p.Rels, rel) },
		"an SLRU page":          func(p *sample.Pages) { p.Segments[seg][0] = 9 },
		"a segment missing":     func(p *sample.Pages) { delete(p.Segments, seg) },
		"a relation map":        func(p *sample.Pages) { p.Maps[db] = 9 },
		"a missing map":         func(p *sample.Pages) { delete(p.Maps, db) },
		"a map's database more": func(p *sample.Pages) { p.Maps[sample.Database{Spc: 1663, DB: 6}] = 1 },
	} {
		require.Equal(t, 1, sample.Compare(make(change), make(nil)).Different, name)
		require.Equal(t, 1, sample.Compare(make(nil), make(change)).Different, name)
	}
}
