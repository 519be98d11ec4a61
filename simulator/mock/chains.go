package mock

import (
	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// chainsOf counts the records of a key that follow each other without an image, for planners, as the engine does while it
// writes a delta. Metadata are never rebuilt from records.
func (t *Timeline) chainsOf(es []entry) *page.Chains {
	var all page.ChainCounter
	at := &region{}
	for i := 0; i < len(es); {
		k := es[i].key()
		most, run := 0, 0
		for ; i < len(es) && es[i].key() == k; i++ {
			switch {
			case es[i].image():
				run = 0
			case t.log.inits.has(es[i].record()):
				run = 1
			default:
				run++
			}
			most = max(most, run)
		}
		if k-at.start >= at.Room {
			at = &t.space.regions[t.space.regionOf(k)]
		}
		if most > 0 && !at.Sparse {
			all.Add(at.First.Add(k-at.start), most)
		}
	}
	c := all.Chains()
	return &c
}

// limitRuns puts an image in place of each record that follows too many of its key without one, as the engine's flushes and
// merges do; 0 is no limit. Metadata stay as they are.
func (t *Timeline) limitRuns(es []entry, limit int) ([]entry, error) {
	if limit == 0 || !longRun(es, limit) {
		return es, nil
	}
	f := &folder{t: t, job: &compaction.Job{}, r: compaction.NewRetention(nil, compaction.FoldThreshold, limit)}
	f.kept = make([]entry, 0, len(es))
	for i := 0; i < len(es); {
		n := i + 1
		for n < len(es) && es[n].key() == es[i].key() {
			n++
		}
		if k := es[i].key(); n-i <= limit || t.space.regions[t.space.regionOf(k)].Sparse {
			f.kept = append(f.kept, es[i:n]...)
		} else if err := f.key(k, es[i:n]); err != nil {
			return nil, err
		}
		i = n
	}
	return f.kept, nil
}

// longRun reports whether a key has more entries than n.
func longRun(es []entry, n int) bool {
	for i := n; i < len(es); i++ {
		if es[i-n].key() == es[i].key() {
			return true
		}
	}
	return false
}
