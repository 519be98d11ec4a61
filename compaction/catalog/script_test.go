package catalog_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/catalog"
	"github.com/stratapg/strata/page"
)

// TestScripts runs the scripts of testdata: what a snapshot holds, and what is planned for it. A key is
// "relation.block", "m.number" for metadata, "min" or "max"; ranges are half open.
//
//	options NAME=N ...              knobs, by their names in compaction.Options
//	timeline NAME=LSN ...           record, durable, live, cutoff, ancestor, retain=(LSN,...), checked, age (seconds)
//	live                            a line for each range of live keys
//	layers                          a line each: "l0 LSN-LSN SIZE", "delta KEY-KEY LSN-LSN SIZE", "image KEY-KEY LSN SIZE";
//	                                behind it "moved KEY-KEY" or "doomed"
//	plan STRATEGY                   the jobs
//	cut STRATEGY job=N              the outputs of a job, of a line for each run of entries: "KEY+STEP*COUNT LSN+STEP SIZE"
func TestScripts(t *testing.T) {
	for _, folder := range []string{"legacy", "tiered"} { // beside them may lie what rapid leaves
		datadriven.Walk(t, "testdata/"+folder, func(t *testing.T, path string) {
			s := &script{snap: &compaction.Snapshot{}}
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return s.run(t, d) })
		})
	}
}

type script struct{ snap *compaction.Snapshot }

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "options":
		s.options(t, d)
	case "timeline":
		s.timeline(t, d)
	case "live":
		var keys []page.Range
		for _, f := range strings.Fields(d.Input) {
			keys = append(keys, keysOf(t, f))
		}
		s.snap.Live = page.NewSet(keys...)
	case "layers":
		s.snap.Layers, s.snap.Doomed = nil, nil
		for line := range strings.Lines(d.Input) {
			s.layer(t, strings.Fields(line))
		}
	case "plan":
		return s.dump(s.plan(t, d))
	case "cut":
		return s.cut(t, d)
	default:
		t.Fatalf("%s: no command %s", d.Pos, d.Cmd)
	}
	return ""
}

func (s *script) options(t *testing.T, d *datadriven.TestData) {
	o := &s.snap.Options
	knobs := map[string]any{
		"CheckpointDistance": &o.CheckpointDistance, "CompactionTargetSize": &o.CompactionTargetSize,
		"CompactionThreshold": &o.CompactionThreshold, "CompactionUpperLimit": &o.CompactionUpperLimit,
		"ImageCreationThreshold": &o.ImageCreationThreshold, "ImageCheckDistance": &o.ImageCheckDistance,
		"ImagePreemptThreshold": &o.ImagePreemptThreshold, "ImageForcePercent": &o.ImageForcePercent,
		"ImageSmallBytes": &o.ImageSmallBytes, "MetadataThreshold": &o.MetadataThreshold,
		"FoldMinBytes": &o.FoldMinBytes, "FoldRatio": &o.FoldRatio, "FoldJobBytes": &o.FoldJobBytes,
	}
	for _, a := range d.CmdArgs {
		n := number(t, a.Vals[0])
		switch v := knobs[a.Key].(type) {
		case *int:
			*v = int(n)
		case *int64:
			*v = n
		default:
			t.Fatalf("%s: no option %s", d.Pos, a.Key)
		}
	}
	require.NoError(t, o.Validate())
}

func (s *script) timeline(t *testing.T, d *datadriven.TestData) {
	lsns := map[string]*page.LSN{
		"record": &s.snap.LastRecordLSN, "durable": &s.snap.DiskConsistentLSN, "live": &s.snap.LiveLSN,
		"cutoff": &s.snap.Cutoff, "ancestor": &s.snap.AncestorLSN, "checked": &s.snap.ImageCheck.LSN,
	}
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "retain":
			s.snap.Retain = nil
			for _, v := range a.Vals {
				if v == "" {
					continue // none
				}
				s.snap.Retain = append(s.snap.Retain, compaction.ReadPoint{LSN: page.LSN(number(t, v))})
			}
		case "age":
			s.snap.ImageCheck.Age = time.Duration(number(t, a.Vals[0])) * time.Second
		default:
			require.Contains(t, lsns, a.Key)
			*lsns[a.Key] = page.LSN(number(t, a.Vals[0]))
		}
	}
}

func (s *script) layer(t *testing.T, f []string) {
	l := compaction.Layer{ID: compaction.ID{Keys: page.FullRange}}
	if l.Image = f[0] == "image"; f[0] == "l0" {
		f = slices.Insert(f, 1, "min-max")
	}
	l.Keys, l.LSNs, l.Size = keysOf(t, f[1]), lsnsOf(t, f[2]), number(t, f[3])
	for i := 4; i < len(f); i++ {
		switch f[i] {
		case "doomed":
			s.snap.Doomed = append(s.snap.Doomed, l.ID)
			return
		case "moved":
			i++
			l.Moved = append(l.Moved, keysOf(t, f[i]))
		default:
			t.Fatalf("a layer is not %q", f[i])
		}
	}
	s.snap.Layers = append(s.snap.Layers, l)
}

func (s *script) plan(t *testing.T, d *datadriven.TestData) compaction.Plan {
	by, err := catalog.New(d.CmdArgs[0].Key)
	require.NoError(t, err)
	plan := by.Plan(s.snap)
	require.NoError(t, compaction.CheckPlan(s.snap, &plan), d.Pos)
	return plan
}

func (s *script) dump(p compaction.Plan) string {
	var b strings.Builder
	for i := range p.Jobs {
		j := &p.Jobs[i]
		fmt.Fprintf(&b, "%s %s %s level %d: %s\n", j.Kind, showKeys(j.Rect.Keys), showLSNs(j.Rect.LSNs), j.Level, j.Reason)
		if j.Fold != nil {
			fmt.Fprintf(&b, "  horizon %d", j.Fold.Horizon)
			for _, r := range j.Fold.Retain {
				fmt.Fprintf(&b, " retain %d", r)
			}
			if j.Fold.Below {
				b.WriteString(" above others")
			}
			b.WriteByte('\n')
		}
		s.dumpLayers(&b, "of", j.Inputs)
		if !slices.Equal(j.Inputs, j.Obsolete) {
			s.dumpLayers(&b, "goes", j.Obsolete)
		}
	}
	if len(p.Jobs) == 0 {
		b.WriteString("nothing to do\n")
	}
	if p.ImagesChecked {
		b.WriteString("no images due\n")
	}
	return b.String()
}

func (s *script) dumpLayers(b *strings.Builder, what string, layers []int) {
	for _, i := range layers {
		l := &s.snap.Layers[i]
		fmt.Fprintf(b, "  %s %s %s\n", what, showKeys(l.Keys), showLSNs(l.LSNs))
	}
}

func (s *script) cut(t *testing.T, d *datadriven.TestData) string {
	var n int
	d.ScanArgs(t, "job", &n)
	cutter := s.plan(t, d).Jobs[n].Cut()
	var b strings.Builder
	emit := func(r compaction.Rect) { fmt.Fprintf(&b, "%s %s\n", showKeys(r.Keys), showLSNs(r.LSNs)) }
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		keys, count, _ := strings.Cut(f[0], "*")
		first, step, _ := strings.Cut(keys, "+")
		from, by, _ := strings.Cut(f[1], "+")
		e := compaction.Entry{Key: keyOf(t, first), LSN: page.LSN(number(t, from)), Size: number(t, f[2])}
		for range number(t, count) {
			cutter.Add(e, emit)
			e.Key, e.LSN = e.Key.Add(uint32(number(t, step))), e.LSN+page.LSN(number(t, by))
		}
	}
	cutter.Finish(emit)
	return b.String()
}

func number(t *testing.T, s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	require.NoError(t, err)
	return n
}

func keyOf(t *testing.T, s string) page.Key {
	switch s {
	case "min":
		return page.MinKey
	case "max":
		return page.MaxKey
	}
	rel, block, ok := strings.Cut(s, ".")
	require.True(t, ok, s)
	if rel == "m" {
		return page.Key{F1: 0x62, F6: uint32(number(t, block))}
	}
	return page.RelTag{Spc: 1663, DB: 5, Rel: uint32(number(t, rel))}.Block(uint32(number(t, block)))
}

func keysOf(t *testing.T, s string) page.Range {
	from, to, ok := strings.Cut(s, "-")
	require.True(t, ok, s)
	return page.Range{Start: keyOf(t, from), End: keyOf(t, to)}
}

func lsnsOf(t *testing.T, s string) page.LSNRange {
	from, to, ok := strings.Cut(s, "-")
	r := page.LSNRange{Start: page.LSN(number(t, from))}
	if r.End = r.Start + 1; ok {
		r.End = page.LSN(number(t, to))
	}
	return r
}

func showKeys(r page.Range) string { return showKey(r.Start) + "-" + showKey(r.End) }

func showKey(k page.Key) string {
	switch {
	case k == page.MinKey:
		return "min"
	case k == page.MaxKey:
		return "max"
	case k == compaction.SparseKeys.Start:
		return "metadata"
	case k == compaction.SparseKeys.End:
		return "behind-metadata"
	case !k.Sparse():
		return fmt.Sprintf("%d.%d", k.F4, k.F6)
	}
	return fmt.Sprintf("m.%d", k.F6)
}

func showLSNs(r page.LSNRange) string {
	if r.End == r.Start+1 {
		return strconv.Itoa(int(r.Start))
	}
	return fmt.Sprintf("%d-%d", r.Start, r.End)
}
