package sizemodel

import (
	"bytes"
	"encoding/xml"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/page"
)

// script builds histories as Neon's tests do: each step is a segment, whose size is known.
type script struct {
	segments []Segment
	branches map[string]int
}

func newScript(name string) *script {
	return &script{[]Segment{{Parent: -1, Sized: true}}, map[string]int{name: 0}}
}

func (s *script) step(branch string, wal, grow uint64) *script {
	p := s.branches[branch]
	was := s.segments[p]
	s.branches[branch] = len(s.segments)
	s.segments = append(s.segments, Segment{Parent: p, LSN: was.LSN + page.LSN(wal), Bytes: was.Bytes + grow, Sized: true})
	return s
}

func (s *script) insert(b string, n uint64) *script { return s.step(b, n, n) }
func (s *script) update(b string, n uint64, times ...int) *script {
	for range append(times, 1)[0] {
		s.step(b, n, 0)
	}
	return s
}
func (s *script) branch(of, name string) *script { s.branches[name] = s.branches[of]; return s }

func (s *script) size(t *testing.T, retention page.LSN) uint64 {
	for _, i := range s.branches {
		cutoff := s.segments[i].LSN - min(s.segments[i].LSN, retention)
		for ; i >= 0 && s.segments[i].LSN > cutoff; i = s.segments[i].Parent {
			s.segments[i].Needed = true
		}
	}
	r, err := Compute(s.segments)
	require.NoError(t, err)
	return r.Bytes
}

// TestScenarios are Neon's, with its numbers.
func TestScenarios(t *testing.T) {
	one := func() *script { return newScript("main").insert("main", 5000).update("main", 1000, 5) }
	require.EqualValues(t, 6000, one().size(t, 1000))
	two := func() *script { return one().branch("main", "child").update("child", 1000) }
	require.EqualValues(t, 7000, two().update("main", 1000).size(t, 1000))
	require.EqualValues(t, 11000, two().update("main", 1000, 5).size(t, 1000))
	require.EqualValues(t, 12000, two().update("main", 1000, 8).size(t, 1000))
	five := newScript("a").insert("a", 5000).branch("a", "b").update("b", 4000).update("a", 2000).branch("a", "c").insert("c", 4000).insert("a", 2000)
	require.EqualValues(t, 17000, five.size(t, 1000))
}

// TestOneBranch is Neon's: a snapshot at the cutoff and 64 MiB of WAL behind it.
func TestOneBranch(t *testing.T) {
	const end, snapshot = 47_000_000_000, 220_054_675_456
	m, err := New([]Timeline{{Name: "main", Ancestor: -1, Start: 26_000_000, End: end, Cutoff: end - 64<<20}})
	require.NoError(t, err)
	wants := 0
	for i := range m.Points {
		if p := &m.Points[i]; p.Wants() {
			p.Bytes, p.Sized = snapshot, true
			wants++
		}
	}
	require.Equal(t, 1, wants, "only at the cutoff")
	r, err := m.Compute()
	require.NoError(t, err)
	require.EqualValues(t, 220_121_784_320, r.Bytes)
	require.Equal(t, []Method{Skipped, Snapshot, WAL}, []Method{r.Segments[0].Method, r.Segments[1].Method, r.Segments[2].Method})
}

// TestThreeTimelines is Neon's: two branches of one timeline, one of them from its end, with the sizes that were found there.
func TestThreeTimelines(t *testing.T) {
	m, err := New([]Timeline{
		{Name: "from the end", Ancestor: 2, Start: 26_033_560, End: 35_851_472, Cutoff: 35_720_400},
		{Name: "from the middle", Ancestor: 2, Start: 24_566_168, End: 25_393_008, Cutoff: 25_261_936},
		{Name: "main", Ancestor: -1, Start: 23_694_408, End: 26_033_560, Cutoff: 25_902_488},
	})
	require.NoError(t, err)
	sizes := map[page.LSN]uint64{35_720_400: 25_206_784, 25_261_936: 26_050_560, 24_566_168: 25_739_264, 25_902_488: 26_402_816, 26_033_560: 26_468_352}
	for i := range m.Points {
		if p := &m.Points[i]; p.Wants() {
			p.Bytes, p.Sized = sizes[p.LSN], true
			require.NotZero(t, p.Bytes, "%s at %s", p.Kind, p.LSN)
		}
	}
	r, err := m.Compute()
	require.NoError(t, err)
	require.EqualValues(t, 37_851_408, r.Bytes)
}

// TestCheapest compares with the cheapest of all ways there are.
func TestCheapest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		segments := []Segment{{Parent: -1, LSN: 10, Bytes: rapid.Uint64Range(0, 100).Draw(t, "first"), Sized: true}}
		for i := range rapid.IntRange(0, 8).Draw(t, "n") {
			parent := rapid.IntRange(0, i).Draw(t, "parent")
			segments = append(segments, Segment{
				Parent: parent, LSN: segments[parent].LSN + page.LSN(rapid.Uint64Range(0, 60).Draw(t, "wal")),
				Bytes: rapid.Uint64Range(0, 100).Draw(t, "bytes"), Sized: rapid.Bool().Draw(t, "sized"), Needed: rapid.Bool().Draw(t, "needed"),
			})
		}
		best, ways := uint64(1<<62), 1
		for range segments {
			ways *= 3
		}
		for way := range ways {
			if bytes, ok := costOf(segments, way); ok {
				best = min(best, bytes)
			}
		}
		r, err := Compute(segments)
		require.NoError(t, err)
		require.Equal(t, max(best, 1), r.Bytes)
		way := 0
		for i := len(segments) - 1; i >= 0; i-- {
			way = way*3 + int(r.Segments[i].Method)
		}
		chosen, ok := costOf(segments, way)
		require.True(t, ok, "what was chosen is a way")
		require.Equal(t, best, chosen)
	})
}

// costOf adds up one way: a method for each segment, or says that it is none.
func costOf(segments []Segment, way int) (bytes uint64, ok bool) {
	there := make([]bool, len(segments))
	for i, s := range segments {
		m := Method(way % 3)
		way /= 3
		switch m {
		case Skipped:
			if s.Needed {
				return 0, false
			}
		case Snapshot:
			if !s.Sized || s.Needed && s.Parent >= 0 {
				return 0, false
			}
			bytes, there[i] = bytes+s.Bytes, true
		case WAL:
			if s.Parent < 0 || !there[s.Parent] {
				return 0, false
			}
			bytes, there[i] = bytes+uint64(s.LSN-segments[s.Parent].LSN), true
		}
	}
	return bytes, true
}

func branchy() []Timeline {
	return []Timeline{
		{Name: "grandchild", Ancestor: 2, Start: 500, End: 700, Cutoff: 600},
		{Name: "main", Ancestor: -1, Start: 100, End: 1000, Cutoff: 800, Leases: []page.LSN{300, 500, 900}},
		{Name: "child", Ancestor: 1, Start: 400, End: 650, Cutoff: 0},
		{Name: "at its start", Ancestor: 2, Start: 400, End: 400, Cutoff: 0},
	}
}

func TestInputs(t *testing.T) {
	m, err := New(branchy())
	require.NoError(t, err)
	var all []string
	for i, p := range m.Points {
		require.Less(t, p.Parent, i)
		all = append(all, branchy()[p.Timeline].Name+" "+p.Kind.String())
	}
	require.Equal(t, []string{"main start", "main lease", "main lease start", "main lease end", "main branch", "main lease", "main lease start",
		"main lease end", "main cutoff", "main lease", "main lease start", "main lease end", "main end",
		"child start", "child branch", "child end", "grandchild start", "grandchild cutoff", "grandchild end", "at its start start", "at its start end"}, all)
	for i := range m.Points {
		if p := &m.Points[i]; p.Wants() {
			p.Bytes, p.Sized = 50, true
		}
	}
	r, err := m.Compute()
	require.NoError(t, err)
	require.Positive(t, r.Bytes)
	d := xml.NewDecoder(bytes.NewReader(m.SVG(r)))
	circles := 0
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "circle" {
			circles++
		}
	}
	snapshots := 0
	for _, c := range r.Segments {
		if c.Method == Snapshot {
			snapshots++
		}
	}
	require.Equal(t, snapshots, circles)
	require.Positive(t, circles)
}

func TestImpossibleInputs(t *testing.T) {
	for name, timelines := range map[string][]Timeline{
		"itself":      {{Ancestor: 0, Start: 1, End: 2}},
		"a circle":    {{Ancestor: 1, Start: 1, End: 2}, {Ancestor: 0, Start: 1, End: 2}},
		"nobody":      {{Ancestor: 7, Start: 1, End: 2}},
		"backward":    {{Ancestor: -1, Start: 2, End: 1}},
		"behind end":  {{Ancestor: -1, Start: 1, End: 2}, {Ancestor: 0, Start: 3, End: 4}},
		"before that": {{Ancestor: -1, Start: 10, End: 20}, {Ancestor: 0, Start: 3, End: 40}},
	} {
		_, err := New(timelines)
		require.Error(t, err, name)
	}
	_, err := Compute([]Segment{{Parent: -1, Needed: true}})
	require.ErrorContains(t, err, "not known")
	_, err = Compute([]Segment{{Parent: 0, Sized: true}})
	require.Error(t, err)
}
